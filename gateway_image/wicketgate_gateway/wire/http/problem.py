"""Problem documents (RFC 9457): what a client, most often a model, is told instead of the target's answer."""

from __future__ import annotations

import json
from typing import Any

TYPE = "application/problem+json"
_TITLES = {
    202: "Waits for approval",
    400: "Malformed request",
    401: "Not authenticated",
    403: "Denied by policy",
    409: "No longer approved",
    413: "Too large",
    429: "Too many",
    431: "Too large",
    502: "The target cannot be reached",
    503: "Not available",
    504: "The target did not answer in time",
}
REASONS = {
    100: "Continue", 101: "Switching Protocols", 200: "OK", 202: "Accepted", 400: "Bad Request", 401: "Unauthorized",
    403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout", 409: "Conflict",
    413: "Content Too Large", 414: "URI Too Long", 417: "Expectation Failed", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Gateway Timeout", 505: "HTTP Version Not Supported",
}  # fmt: skip


def document(status: int, code: str, detail: str, remedy: str = "", **more: Any) -> bytes:
    """The document: `type` and `code` are for machines, `detail` and `whatToDo` for people and models."""
    found: dict[str, Any] = {
        "type": f"urn:wicketgate:{code}",
        "title": _TITLES.get(status, REASONS.get(status, "Error")),
        "status": status,
        "code": code,
        "detail": detail,
    }
    if remedy:
        found["whatToDo"] = remedy
    found |= {key: value for key, value in more.items() if value not in ("", None)}
    return json.dumps(found, ensure_ascii=False, indent=2).encode() + b"\n"
