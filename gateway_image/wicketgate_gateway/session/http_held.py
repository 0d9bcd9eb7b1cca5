"""A held request as text: what people read, what the digest is over, and what an approved request is built from.

    POST /orders?dry=1
    Content-Type: application/json

    {"amount": 5}

Headers that say nothing of what the request does are left out, and do not go out either.
"""

from __future__ import annotations

import re

from wicketgate_gateway.wire.http.head import Headers, HttpError

_SAYS_NOTHING = re.compile(
    r"(?:user-agent|date|trace(?:parent|state)|baggage|x-request-id|x-correlation-id|x-b3-.*|b3|accept-encoding"
    r"|cache-control|pragma|sec-.*|priority|referer|origin|dnt|x-amzn-trace-id|uber-trace-id|range|if-range)\Z"
)


def canonical_request(method: str, path: str, headers: Headers, body: bytes) -> str:
    """The text. Raises HttpError for a body that nobody could read."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise HttpError(
            "this is held for approval, and its body is no text that people could read",
            code="hold-not-showable",
            status=403,
            remedy="send text",
        ) from None
    kept = sorted((n.lower(), v) for n, v in headers if not _SAYS_NOTHING.match(n.lower()))
    return "\n".join((f"{method} {path}", *(f"{name}: {value}" for name, value in kept), "", text))


def parse_canonical(text: str) -> tuple[str, str, Headers, bytes]:
    """Method, path, headers and body of a stored text. Raises HttpError."""
    head, gap, body = text.partition("\n\n")
    lines = head.split("\n")
    method, _, path = lines[0].partition(" ")
    headers: list[tuple[str, str]] = []
    for line in lines[1:]:
        name, colon, value = line.partition(": ")
        if not colon:
            raise HttpError("the stored request cannot be read", code="hold-void", status=409)
        headers.append((name, value))
    if not gap or not path:
        raise HttpError("the stored request cannot be read", code="hold-void", status=409)
    return method, path, tuple(headers), body.encode()
