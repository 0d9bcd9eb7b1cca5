"""What every request passes before anything reads it: bounds on size, time and rate, and no browsers.

How this works: an ASGI layer around the whole application. It refuses headers given twice (two readers could take
different ones), any origin (no page may call this API, and there are no cookies that one could ride on), bodies that
are not JSON by their own word, too long or too slow, and bodies where none belongs. Each peer has a bucket of requests.
What is let through gets headers that keep browsers from guessing, framing and keeping. Forwarding headers
(`X-Forwarded-For`, `X-HTTP-Method-Override`, …) mean nothing here: nobody reads them.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wicketgate_gateway.api.problems import problem

MAX_BODY = 16 * 1024
MAX_TARGET = 4 * 1024
"""Bytes of path and query."""
BODY_SECONDS = 10.0
PEER_RATE, PEER_BURST = 50.0, 200.0
MAX_BUCKETS = 10_000
_ONCE = (b"authorization", b"content-type", b"content-length", b"host", b"origin", b"transfer-encoding")
_JSON = (b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8")
_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"strict-transport-security", b"max-age=31536000"),
]


class Buckets:
    """Token buckets by key: `rate` a second, at most `burst` at once; the least used of too many is forgotten."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> bool:
        """Whether one more may pass."""
        now = self._clock()
        left, at = self._buckets.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        passes = left >= 1
        self._buckets[key] = (left - 1 if passes else left, now)
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        return passes


class Guard:
    """The ASGI layer."""

    def __init__(self, app: ASGIApp, *, buckets: Buckets | None = None) -> None:
        self._app = app
        self._buckets = buckets or Buckets(PEER_RATE, PEER_BURST)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(k, v) for k, v in message.get("headers", []) if k.lower() not in _NAMES]
                message = {**message, "headers": [*kept, *_HEADERS]}
            await send(message)

        refusal = self._refuse(scope)
        if refusal is None and scope["method"] == "POST":
            body = await read_body(receive, MAX_BODY)
            if isinstance(body, bytes):
                await self._app(scope, replay(body, receive), answer)
                return
            refusal = body
        if refusal is not None:
            await problem(*refusal, headers={"Connection": "close"})(scope, receive, answer)
            return
        await self._app(scope, receive, answer)

    def _refuse(self, scope: Scope) -> tuple[int, str, str, str] | None:
        peer = scope.get("client")
        if not self._buckets.take(str(peer[0]) if peer else ""):
            return 429, "too-many-requests", "there are too many requests from your address", "slow down"
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name in headers and name in _ONCE:
                return 400, "header-twice", "a header is given twice", "give it once"
            headers[name] = value
        if len(scope["raw_path"]) + len(scope["query_string"]) > MAX_TARGET:
            return 414, "address-too-long", "the address is too long", "shorten it"
        # A page that links here is harmless: the one page for people shows nothing and does nothing.
        navigates = scope["method"] == "GET" and headers.get(b"sec-fetch-mode") == b"navigate"
        from_page = headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin")
        if b"origin" in headers or (from_page and not navigates):
            return 403, "origin-refused", "no web page may call this", "use `wicketgate`"
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 10:
            return 400, "length-invalid", "the length of the body is no number", "correct it"
        if scope["method"] == "POST":
            if headers.get(b"content-type", b"").lower() not in _JSON:
                return 415, "not-json", "the body must be JSON", "send it as `Content-Type: application/json`"
            if b"content-encoding" in headers:
                return 415, "encoded", "the body must not be encoded", "send it as it is"
            if int(length) > MAX_BODY:
                return 413, "body-too-long", f"the body is over {MAX_BODY} bytes", "shorten it"
        elif int(length) or b"transfer-encoding" in headers:
            return 400, "body-unexpected", "there must be no body", "leave it out"
        return None


_NAMES = {name for name, _ in _HEADERS}


async def read_body(receive: Receive, most: int) -> bytes | tuple[int, str, str, str]:
    """A whole body of at most so many bytes, in time; else status, code, reason and remedy."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return 400, "gone", "the client is gone", ""
                body += message.get("body", b"")
                if len(body) > most:
                    return 413, "body-too-long", f"the body is over {most} bytes", "shorten it"
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        return 408, "too-slow", "the body did not arrive in time", "try again"


def replay(body: bytes, receive: Receive) -> Receive:
    """A receiver that gives a body which was read already."""
    sent = False

    async def once() -> Any:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once
