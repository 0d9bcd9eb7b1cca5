"""What is read as XML at all."""

from __future__ import annotations

from typing import Any

import pytest

from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.identity.saml_xml import MAX_BYTES, content, names, no_text, only_child, parse


@pytest.mark.parametrize("head", [b"", b'<?xml version="1.0"?>', b'<?xml version="1.0" encoding="UTF-8"?>\r\n'])
def test_plain_documents(head: bytes) -> None:
    root = parse(head + '<a ID="1"><b ID="2">ö</b></a>'.encode())
    assert names(root) == ["b"]
    assert content(only_child(root, "b", "b"), "b") == "ö"
    no_text(root)


@pytest.mark.parametrize(("data", "code"), [
    (b"", "saml-malformed"),
    (b" <a/>", "saml-malformed"),
    (b"\xef\xbb\xbf<a/>", "saml-malformed"),
    ("<a/>".encode("utf-16"), "saml-malformed"),
    (b"<a>\xff</a>", "saml-malformed"),
    (b"<a>\0</a>", "saml-malformed"),
    (b"<a></b>", "saml-malformed"),
    (b"<a>&x;</a>", "saml-malformed"),
    (b"<a/><b/>", "saml-malformed"),
    (b"<a xml:id='x'/>", "saml-malformed"),
    (b"<a xmlns:x='y' x:ID='x'/>", "saml-malformed"),
    (b"<a><!-- --></a>", "saml-markup"),
    (b"<a><![CDATA[x]]></a>", "saml-markup"),
    (b"<!DOCTYPE a><a/>", "saml-markup"),
    (b"<a><?x y?></a>", "saml-markup"),
    (b"<?xml version='1.0' encoding='utf-7'?><a/>", "saml-markup"),
    (b"<?xml version='1.0'?><?xml version='1.0'?><a/>", "saml-markup"),
    (b"<a ID='1'><b ID='1'/></a>", "saml-duplicate-id"),
    (b"<a ID='1'><b id='1'/></a>", "saml-duplicate-id"),
    (b"<a>" * 30 + b"</a>" * 30, "saml-too-large"),
    (b"<a>" + b"<b/>" * 3000 + b"</a>", "saml-too-large"),
    (b"<a>" + b" " * MAX_BYTES + b"</a>", "saml-too-large"),
])  # fmt: skip
def test_what_is_not_read(data: bytes, code: str) -> None:
    with pytest.raises(Refused) as caught:
        parse(data)
    assert caught.value.code == code


@pytest.mark.parametrize(("data", "read"), [
    (b"<a>x<b/></a>", no_text),
    (b"<a><b/>x</a>", no_text),
    (b"<a><b/></a>", lambda e: content(e, "a")),
    (b"<a/>", lambda e: content(e, "a")),
    (b"<a><b/><b/></a>", lambda e: only_child(e, "b", "b")),
])  # fmt: skip
def test_text_and_children(data: bytes, read: Any) -> None:
    with pytest.raises(Refused):
        read(parse(data))
