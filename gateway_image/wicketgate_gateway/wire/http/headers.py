"""Which headers pass, and which do not: those of one hop, those that say who or where the client is, credentials."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from wicketgate_gateway.wire.http.head import Head, Headers

_HOP: Final = frozenset(
    {
        "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
        "http2-settings", "expect", "content-length", "host", "proxy-authenticate", "proxy-authentication-info",
    }
)  # fmt: skip
_CREDENTIALS: Final = frozenset({"authorization", "proxy-authorization", "cookie", "cookie2", "x-api-key-wicketgate"})
_SPOOFING = re.compile(
    r"""(?: x-forwarded(?:-.*)? | forwarded | via | x-real-ip | x-client-ip | x-cluster-client-ip | true-client-ip
    | cf-.* | fastly-client-ip | x-originating-ip | x-remote-.* | remote-.* | x-azure-.* | x-appengine-.* | x-envoy-.*
    | x-amzn-oidc-.* | x-ms-client-principal.* | x-goog-authenticated-.* | x-auth-request-.* | x-authenticated-.*
    | x-webauth-.* | x-original-.* | x-rewrite-url | x-host | x-http-host-override | x-http-method(?:-override)?
    | x-method-override | x-arr-.* | x-ssl-.* | ssl-.* | x-client-(?:cert|dn|verify).* | x-user(?:-.*)? | impersonate-.*
    | x-wicketgate-.* | x-proxy-.* | client-ip | x-custom-ip-authorization | x-accel-.* | x-sendfile.* | x-middleware-.*
    )\Z""",
    re.VERBOSE,
)
_ANSWER_DROPPED: Final = frozenset(
    {"set-cookie", "set-cookie2", "alt-svc", "public-key-pins", "strict-transport-security", "x-accel-redirect",
     "x-sendfile", "proxy-authenticate", "proxy-authentication-info", "authentication-info", "refresh"}
)  # fmt: skip
VALIDATORS: Final = frozenset(
    {"etag", "accept-ranges", "content-range", "content-md5", "digest", "repr-digest", "content-digest",
     "last-modified", "content-encoding", "want-digest", "signature", "signature-input"}
)  # fmt: skip
"""What speaks of the very bytes of an answer, and is wrong once some were masked."""
RANGES: Final = frozenset({"range", "if-range", "want-digest", "want-repr-digest", "want-content-digest"})
"""What asks for a part of an answer."""


TROUBLE: Final = "x-wicketgate-trouble"
"""By which the agent, and nobody else, says what is wrong with a target's answer: a code, a blank, and words."""

FRAMING_TRAILERS: Final = _HOP | _CREDENTIALS | frozenset({"content-type", "content-encoding", "content-range"})
"""What a trailer must not say (RFC 9110 section 6.5.1)."""


def forwarded(head: Head) -> Headers:
    """A request's headers as far as they pass on. The framing, `Host` and `Upgrade` are the forwarder's."""
    named = set(head.listed("connection"))
    return tuple((name, value) for name, value in head.headers if _passes(name.lower(), named))


def _passes(name: str, named: set[str]) -> bool:
    # CGI and WSGI make `_` and `-` the same: a header with `_` could pose as one that was removed.
    return not (name in _HOP or name in named or name in _CREDENTIALS or "_" in name or _SPOOFING.match(name))


def answered(head: Head) -> Headers:
    """An answer's headers as far as they pass on to the client. The framing is the forwarder's."""
    named = set(head.listed("connection"))
    return tuple(
        (name, value)
        for name, value in head.headers
        if not ((low := name.lower()) in _HOP or low in named or low in _ANSWER_DROPPED)
    )


def without(headers: Iterable[tuple[str, str]], names: Iterable[str]) -> Headers:
    """The headers but for some, by their names in lower case."""
    gone = frozenset(names)
    return tuple((name, value) for name, value in headers if name.lower() not in gone)


def grouped(headers: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """The values of each header by its name in lower case."""
    found: dict[str, tuple[str, ...]] = {}
    for name, value in headers:
        found[name.lower()] = (*found.get(name.lower(), ()), value)
    return found


def keeps_alive(head: Head) -> bool:
    """Whether the sender of this head will go on with the connection (RFC 9112 section 9.3)."""
    options = head.listed("connection")
    return "close" not in options and (head.version == 1 or "keep-alive" in options)
