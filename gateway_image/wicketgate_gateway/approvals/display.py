"""What an approver is shown: everything, with nothing in it that could hide or pose as something else.

How this works: characters that a terminal or a browser does not draw as themselves (controls, bidirectional marks,
zero-width and unusual spaces, surrogates, private use, unassigned) are written as `⟦U+202E⟧`; so is `⟦` itself, so
that two different texts never look the same. Nothing is cut, folded or normalised. Lines and tabs stay. Letters of
other scripts that look like Latin ones stay too, and `warnings` says where they are.
"""

from __future__ import annotations

import unicodedata
from typing import Any

from wicketgate_gateway.approvals.model import Parameter, Request

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Mn", "Me"})
"""Combining marks too: a thousand of them on one letter cover the lines above."""
_OPEN = "⟦"
_BLANK = frozenset("ᅟᅠㅤﾠ⠀")
"""Letters and symbols that are drawn as nothing."""


def visible(text: str) -> str:
    """`text` with all that does not show itself written out; keeps line ends (LF) and tabs."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if _shows(letter) else f"{_OPEN}U+{ord(letter):04X}⟧" for letter in text)


def _shows(letter: str) -> bool:
    if letter in "\n\t ":
        return True
    if letter == _OPEN or letter in _BLANK:
        return False
    category = unicodedata.category(letter)
    return category not in _HIDDEN and category != "Zs"


def parameter(value: Parameter) -> str:
    """A bound value, whole: NULL, text in quotes, or bytes in hexadecimal."""
    if value.value is None:
        return "NULL"
    if value.format == 0:
        try:
            return "'" + visible(value.value.decode()).replace("'", "''") + "'"
        except UnicodeDecodeError:
            pass
    return "\\x" + value.value.hex()


def warnings(text: str) -> list[str]:
    """What an approver should know before believing their eyes."""
    found: list[str] = []
    if visible(text) != text:
        found.append("holds characters that do not show: they are written as ⟦U+…⟧")
    foreign = sorted({letter for letter in text if not letter.isascii() and letter.isalpha()})
    if foreign:
        names = ", ".join(f"{letter} ({unicodedata.name(letter, hex(ord(letter)))})" for letter in foreign[:5])
        found.append(f"holds letters beyond ASCII, which may pose as others: {names}" + (" …" if foreign[5:] else ""))
    return found


def document(request: Request) -> dict[str, Any]:
    """All of a request as JSON values, for the API and `--json`. Texts are as they are: whoever draws them calls
    `visible`.
    """
    return {
        "handle": request.handle,
        "state": request.state.value,
        "digest": request.digest,
        "seal": request.seal,
        "bot": request.bot,
        "bot_id": request.bot_id,
        "owner": request.owner,
        "owner_id": request.owner_id,
        "target": request.target,
        "protocol": request.protocol,
        "session": request.session,
        "statement": request.statement,
        "parameters": [{"type": p.type, "format": p.format, "value": parameter(p)} for p in request.parameters],
        "facts": dict(request.facts),
        "policy": request.policy,
        "rule": request.rule,
        "reason": request.reason,
        "blast": None if request.blast is None else dict(request.blast),
        "approver_groups": list(request.approver_groups),
        "approver_names": list(request.approver_names),
        "quorum": request.quorum,
        "created": request.created,
        "expires": request.expires,
        "use_within": request.use_within,
        "reuse": request.reuse,
        "decided": request.decided,
        "use_by": request.use_by,
        "uses": request.uses,
        "note": request.note,
        "votes": [
            {
                "approver": v.approver,
                "name": v.name,
                "choice": v.choice.value,
                "comment": v.comment,
                "time": v.time,
            }
            for v in request.votes
        ],
        "warnings": warnings(request.statement),
    }
