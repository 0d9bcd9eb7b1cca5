"""What an approval is bound to: canonical bytes, and digests over them.

How this works: the operation and the terms are each written as JSON in the form of RFC 8785 (sorted keys, no spaces;
only ASCII keys, texts, whole numbers, truth values and null, for which Python's `json` writes that very form). The
store keeps those bytes and nothing beside them, so what is shown, digested and run cannot differ. Each kind of digest
has a prefix of its own: no operation can pass for terms.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, cast

from wicketgate_gateway.approvals.model import Held, Parameter, Request
from wicketgate_gateway.contract.errors import WicketgateError

_OPERATION = b"wicketgate operation v1\n"
_TERMS = b"wicketgate approval v1\n"
_TERMS_FIELDS = (
    "approver_groups",
    "approver_names",
    "blast",
    "bot",
    "created",
    "expires",
    "handle",
    "owner",
    "owner_id",
    "quorum",
    "reason",
    "session",
)
"""Beside `digest`, and `use_within` and `reuse` (in nanoseconds): all else that an approver is shown or bound to."""


def canonical(value: object) -> str:
    """`value` in the form of RFC 8785. Raises WicketgateError (`hold-not-canonical`) for what has none here."""
    _check(value)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _not_canonical("a text that is not valid Unicode") from error
    return text


def _check(value: object) -> None:
    if value is None or isinstance(value, str | bool | int):
        return
    if isinstance(value, Mapping):
        for key, inner in cast("Mapping[object, object]", value).items():
            if not isinstance(key, str) or not key.isascii():
                raise _not_canonical("a key that is not ASCII text")
            _check(inner)
    elif isinstance(value, list | tuple):
        for inner in cast("list[object]", value):
            _check(inner)
    else:
        raise _not_canonical(f"a value of type {type(value).__name__}")


def _not_canonical(what: str) -> WicketgateError:
    return WicketgateError(
        f"the operation cannot be bound to an approval: it holds {what}",
        code="hold-not-canonical",
        remedy="send plain text and whole numbers",
    )


def operation_text(held: Held, rule: str) -> str:
    """The operation's canonical form: everything that decides what running it does, and under which rule."""
    return canonical(
        {
            "bot": held.bot_id,
            "facts": dict(held.facts),
            "parameters": [
                [p.type, p.format, None if p.value is None else base64.b64encode(p.value).decode()]
                for p in held.parameters
            ],
            "policy": held.policy,
            "protocol": held.protocol,
            "rule": rule,
            "statement": held.statement,
            "target": held.target,
        }
    )


def operation_digest(held: Held, rule: str) -> str:
    """The key under which an approval is looked up: hex SHA-256 of the operation's canonical form."""
    return digest_of_operation(operation_text(held, rule))


def digest_of_operation(text: str) -> str:
    """The digest of an operation in canonical form."""
    return hashlib.sha256(_OPERATION + text.encode()).hexdigest()


def terms_text(request: Request) -> str:
    """The terms' canonical form: what the approver is shown and bound to beside the operation itself."""
    terms: dict[str, Any] = {name: getattr(request, name) for name in _TERMS_FIELDS}
    terms["digest"] = request.digest
    terms["use_within"] = round(request.use_within * 1e9)
    terms["reuse"] = None if request.reuse is None else round(request.reuse * 1e9)
    return canonical(terms)


def seal_of_terms(text: str) -> str:
    """The seal of terms in canonical form."""
    return hashlib.sha256(_TERMS + text.encode()).hexdigest()


def read(operation: str, terms: str, *, digest: str, seal: str, handle: str) -> dict[str, Any]:
    """The fields of a `Request` out of the two stored texts.

    Raises WicketgateError (`approval-damaged`) if they are not what `digest`, `seal` and `handle` say.
    """
    damaged = WicketgateError(
        f"the stored request `{handle}` was changed after it was made",
        code="approval-damaged",
        remedy="do not approve it; look into who can write to the store",
    )
    if digest_of_operation(operation) != digest or seal_of_terms(terms) != seal:
        raise damaged
    what, how = json.loads(operation), json.loads(terms)
    if how["digest"] != digest or how["handle"] != handle:
        raise damaged
    found: dict[str, Any] = {name: how[name] for name in _TERMS_FIELDS}
    found |= {name: tuple(how[name]) for name in ("approver_groups", "approver_names")}
    found |= {name: what[name] for name in ("facts", "policy", "protocol", "rule", "statement", "target")}
    found["parameters"] = tuple(
        Parameter(kind, form, None if value is None else base64.b64decode(value))
        for kind, form, value in what["parameters"]
    )
    return found | {
        "bot_id": what["bot"],
        "digest": digest,
        "seal": seal,
        "use_within": how["use_within"] / 1e9,
        "reuse": None if how["reuse"] is None else how["reuse"] / 1e9,
    }


HELD_FIELDS = tuple(f.name for f in fields(Held))
