"""What the API server's clients print: `Status` objects, warnings (RFC 7234 5.5), and what is told of a hold."""

from __future__ import annotations

import json
from typing import Any, Final

_REASONS: Final = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    429: "TooManyRequests",
    500: "InternalError",
    502: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


def status(
    code: int,
    message: str,
    *,
    cause: str = "",
    details: dict[str, Any] | None = None,
    retry_after: int = 0,
) -> bytes:
    """A failure as JSON: `message` is what kubectl prints behind `Error from server (…):`; `cause` is our code."""
    told: dict[str, Any] = dict(details or {})
    if cause:
        told["causes"] = [{"reason": cause, "message": message}]
    if retry_after:
        told["retryAfterSeconds"] = retry_after
    return json.dumps(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": _REASONS.get(code, "InternalError"),
            **({"details": told} if told else {}),
            "code": code,
        },
        ensure_ascii=False,
    ).encode()


def warning(text: str) -> str:
    """The value of a `Warning` header; kubectl prints its text at once when the answer's head comes."""
    plain = "".join(c if " " <= c <= "~" else "?" for c in text)
    quoted = plain.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{quoted[:2000]}"'
