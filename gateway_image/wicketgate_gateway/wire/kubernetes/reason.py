"""Why a bot asks: text that travels beside a request, for people who are asked to approve it.

How this works: kubectl and Helm can add nothing to a request but their credential. So `wicketgate kube token`, which
they run for it, writes what `WICKETGATE_REASON` says behind the token: `TOKEN~REASON`, the reason in base64url. A token
of Entra holds no `~` (RFC 7515), and an `Authorization` header may (RFC 6750 2.1). Libraries send
`X-Wicketgate-Reason`. Neither goes further than the gateway. What is not one line of plain text is refused, since
approvers read it.
"""

from __future__ import annotations

import base64
import re
from typing import Final

from wicketgate_gateway.wire.http.head import RequestHead
from wicketgate_gateway.wire.kubernetes.request import RequestError

MAX_REASON: Final = 1000
"""Characters, as for every protocol."""
SEPARATOR: Final = "~"
_MAX_ENCODED: Final = MAX_REASON * 4 * 4 // 3 + 4
_ENCODED: Final = re.compile(r"[A-Za-z0-9_-]+\Z")


def written(token: str, reason: str) -> str:
    """The credential of a client: the token, with the reason behind it if there is one. Raises RequestError."""
    text = " ".join(reason.split())
    if not text:
        return token
    return token + SEPARATOR + base64.urlsafe_b64encode(_plain(text).encode()).decode().rstrip("=")


def split(credential: str) -> tuple[str, str]:
    """The token, and what stands behind it, which `given` reads."""
    token, _, encoded = credential.partition(SEPARATOR)
    return token, encoded


def given(head: RequestHead) -> str:
    """The reason that a request gives, empty if none. Raises RequestError for one that has not one certain reading."""
    told = head.all("x-wicketgate-reason")
    credentials = head.all("authorization")
    behind = [encoded for value in credentials if SEPARATOR in value for _, encoded in [split(value)]]
    if len(told) + len(behind) > 1:
        raise _unclear("the reason is given twice")
    if told:
        try:
            return _plain(told[0].encode("latin-1").decode().strip())
        except UnicodeError:
            raise _unclear("the reason is not UTF-8") from None
    return _decoded(behind[0]) if behind else ""


def _decoded(encoded: str) -> str:
    if len(encoded) > _MAX_ENCODED:
        raise _unclear(f"the reason is longer than {MAX_REASON} characters")
    try:
        if not _ENCODED.match(encoded):
            raise ValueError(encoded)
        data = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        # One text has one encoding: bits that are left over must be zero.
        if base64.urlsafe_b64encode(data).decode().rstrip("=") != encoded:
            raise ValueError(encoded)
        return _plain(data.decode())
    except ValueError:
        raise _unclear("the reason behind the token is not UTF-8 in base64url") from None


def _plain(text: str) -> str:
    if len(text) > MAX_REASON:
        raise _unclear(f"the reason is longer than {MAX_REASON} characters")
    if not text.isprintable():
        raise _unclear("the reason holds characters that do not show themselves")
    return text


def _unclear(message: str) -> RequestError:
    return RequestError(message, code="reason-unclear", remedy=f"say it in one line of at most {MAX_REASON} characters")
