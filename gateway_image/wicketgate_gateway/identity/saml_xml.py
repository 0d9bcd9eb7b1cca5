"""XML from a stranger: one strict reading for everything that SAML brings.

How this works: bytes are judged before any parser sees them. UTF-8 alone, no NUL, and no markup but elements: comments,
CDATA, document types, entities, and processing instructions all begin with `<!` or `<?`, and no honest answer has them.
What makes parsers differ is so gone before they could. Then one parser without network, entities or recovery builds
the tree, whose size and depth are bounded, and in which no ID stands twice.
"""

from __future__ import annotations

import re
from typing import Any

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - compiled, without stubs

from wicketgate_gateway.identity.errors import Refused

MAX_BYTES = 128 * 1024
MAX_ELEMENTS = 2000
MAX_DEPTH = 24
MAX_ATTRIBUTES = 16
_DECLARATION = re.compile(
    rb"<\?xml version=(?:\"1\.0\"|'1\.0')(?: encoding=(?:\"utf-8\"|'utf-8'))?"
    rb"(?: standalone=(?:\"yes\"|\"no\"))? ?\?>\s*",
    re.IGNORECASE,
)
_IDS = frozenset({"id", "ID", "Id", "iD"})
XML_ID = "{http://www.w3.org/XML/1998/namespace}id"


def refuse(code: str, reason: str, remedy: str = "begin again") -> Refused:
    """The refusal of a SAML answer; nothing of the answer's own text goes into `reason`."""
    return Refused(f"saml-{code}", reason, remedy)


def parse(data: bytes, *, limit: int = MAX_BYTES, elements: int = MAX_ELEMENTS) -> Any:
    """The root element of a document. Raises Refused."""
    if len(data) > limit:
        raise refuse("too-large", f"the document is over {limit} bytes")
    body = data[m.end() :] if (m := _DECLARATION.match(data)) else data
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        raise refuse("malformed", "the document is not UTF-8") from None
    if b"\0" in body or not body.startswith(b"<"):
        raise refuse("malformed", "the document does not begin with an element in UTF-8")
    if b"<!" in body or b"<?" in body:
        raise refuse("markup", "the document has comments, declarations or processing instructions")
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        attribute_defaults=False,
        huge_tree=False,
        recover=False,
    )
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError):
        # The parser's own text quotes the document.
        raise refuse("malformed", "the document is no well-formed XML") from None
    _bound(root, elements)
    return root


def _bound(root: Any, elements: int) -> None:
    seen: set[str] = set()
    waiting: list[tuple[Any, int]] = [(root, 1)]
    count = 0
    while waiting:
        element, depth = waiting.pop()
        count += 1
        if count > elements or depth > MAX_DEPTH or len(element.attrib) > MAX_ATTRIBUTES:
            raise refuse("too-large", "the document has too many or too deeply nested elements")
        if not isinstance(element.tag, str):
            raise refuse("markup", "the document has more than elements")
        for name, value in element.attrib.items():
            if name == XML_ID or (etree.QName(name).localname in _IDS and "}" in name):
                raise refuse("malformed", "an ID is given in another vocabulary")
            if name in _IDS:
                if value in seen:
                    raise refuse("duplicate-id", "an ID stands twice")
                seen.add(value)
        waiting.extend((child, depth + 1) for child in element)


def names(element: Any) -> list[str]:
    """The tags of an element's children, in order."""
    return [child.tag for child in element]


def only_child(element: Any, tag: str, what: str) -> Any:
    """The one child of that tag. Raises Refused."""
    found = [child for child in element if child.tag == tag]
    if len(found) != 1:
        raise refuse("malformed", f"there must be exactly one {what}")
    return found[0]


def content(element: Any, what: str, limit: int = 1024) -> str:
    """The text of an element that holds nothing else. Raises Refused."""
    text = element.text
    if len(element) or not isinstance(text, str) or not text or len(text) > limit:
        raise refuse("malformed", f"{what} must hold text alone")
    return text


def no_text(element: Any) -> None:
    """Raises Refused if text stands between an element's children."""
    texts = [element.text, *(child.tail for child in element)]
    if any(text and text.strip(" \t\r\n") for text in texts):
        raise refuse("malformed", "text stands where elements belong")
