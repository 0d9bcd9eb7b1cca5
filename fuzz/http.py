"""Fuzz target `http`: what is decided on and what goes out are the same request to every reader.

A run takes bytes as a client would send them. Where our parser refuses them, all is well. Where it takes them:

- `llhttp` (httptools) and h11 read the same method, target and body in the same bytes, and find them whole where we do;
- what goes out, written anew, is read by llhttp and h11 as exactly one request, with the method, path and query that
  were decided on, the headers that passed, and the same body; nothing is left behind it;
- read by ourselves again it leads to the very same point, so nothing changes by a second gateway;
- the path that a server would see, decoded by Python's own `unquote` and normalised by `posixpath`, is the decided one.
"""

from __future__ import annotations

import posixpath
from typing import Any
from urllib.parse import unquote, urlsplit

import h11
import httptools

from wicketgate_gateway.wire.http import headers as rules
from wicketgate_gateway.wire.http.body import Body
from wicketgate_gateway.wire.http.head import (
    CHUNKED,
    LAST_CHUNK,
    HttpError,
    RequestHead,
    chunk,
    head_end,
    parse_request,
    request_length,
    write_request,
)
from wicketgate_gateway.wire.http.target import Target, parse_target

MAX_BYTES = 4096
WORDS = (
    b"GET ", b"POST ", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"Host: a\r\n", b"Content-Length: 3\r\n", b"\r\n\r\n",
    b"\r\n", b"Transfer-Encoding: chunked\r\n", b"chunked", b"0\r\n\r\n", b"3\r\nabc\r\n", b"%2e%2e/", b"%2f", b"%5c",
    b"..;/", b"//", b"Connection: close\r\n", b"Upgrade: websocket\r\n", b"Expect: 100-continue\r\n", b";", b"\t",
    b"\x0b", b"%252e", b"X-Forwarded-For: b\r\n", b"?a=b&c[]=d", b"%c0%ae", b"\n", b"\r", b" ", b":", b"\0", b"+", b"#",
    b"@",
)  # fmt: skip


class DifferenceError(AssertionError):
    """Two readers disagree."""


def seeds() -> list[bytes]:
    """Requests to start from."""
    return [
        b"GET /orders/7?expand=lines HTTP/1.1\r\nHost: api.gate\r\nAccept: */*\r\n\r\n",
        b"POST /t/api/upload HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n",
        b"PUT /a%20b/c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"DELETE /orders/7 HTTP/1.0\r\nConnection: keep-alive\r\nX_Forwarded_For: a\r\n\r\n",
        b"GET /%c3%a9/..;/x HTTP/1.1\r\nHost: a\r\n\r\n",
    ]


def run(data: bytes) -> None:
    """One run. Raises DifferenceError."""
    try:
        end = head_end(data)
        if end < 0:
            return
        head = parse_request(data[:end])
        length = request_length(head)
        target = parse_target(head.target)
        body = Body(length)
        content = b"".join(body.feed(data[end:]))
    except HttpError:
        return
    if not body.done:
        return
    taken = data[: len(data) - len(body.rest)]
    _same_as_llhttp(taken, head, content)
    _same_as_h11(taken, head, content)
    passed = rules.forwarded(head)
    framing = [("Transfer-Encoding", "chunked")] if length == CHUNKED else [("Content-Length", str(length))]
    out = write_request(head.method, target.forwarded, [("Host", "target.internal"), *passed, *framing])
    out += chunk(content) + LAST_CHUNK if length == CHUNKED else content
    _goes_out(out, head, target, content, passed)
    _path_is_decided(target)


def _same_as_llhttp(raw: bytes, head: RequestHead, content: bytes) -> None:
    seen = _llhttp(raw)
    if seen is None:
        return  # stricter than we are, which is no danger: we do not pass raw heads on
    method, url, body, complete, _ = seen
    if head.method in ("CONNECT", "PRI") or "upgrade" in head.listed("connection"):
        return
    if (method, url, body, complete) != (head.method, head.target, content, 1):
        raise DifferenceError(f"llhttp reads {method} {url} {body!r} {complete}")


def _llhttp(raw: bytes) -> tuple[str, str, bytes, int, list[tuple[str, str]]] | None:
    class Reader:
        def __init__(self) -> None:
            self.url, self.body, self.complete = b"", b"", 0
            self.headers: list[tuple[str, str]] = []

        def on_url(self, url: bytes) -> None:
            self.url += url

        def on_header(self, name: bytes, value: bytes) -> None:
            self.headers.append((name.decode("latin-1"), value.decode("latin-1")))

        def on_body(self, body: bytes) -> None:
            self.body += body

        def on_message_complete(self) -> None:
            self.complete += 1

    reader = Reader()
    parser: Any = httptools.HttpRequestParser(reader)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError:
        return None
    return parser.get_method().decode(), reader.url.decode("latin-1"), reader.body, reader.complete, reader.headers


def _h11(raw: bytes) -> tuple[str, str, bytes, list[tuple[str, str]]] | None:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    try:
        connection.receive_data(raw)
        request = connection.next_event()
        if not isinstance(request, h11.Request):
            return None
        body = b""
        while isinstance(event := connection.next_event(), h11.Data):
            body += event.data
    except h11.RemoteProtocolError:
        return None
    if not isinstance(event, h11.EndOfMessage):
        raise DifferenceError("h11 waits for more")
    if connection.trailing_data[0]:
        raise DifferenceError("h11 finds something behind the request")
    headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in request.headers.raw_items()]
    return request.method.decode(), request.target.decode(), body, headers


def _same_as_h11(raw: bytes, head: RequestHead, content: bytes) -> None:
    seen = _h11(raw)
    if seen is not None and seen[:3] != (head.method, head.target, content):
        raise DifferenceError(f"h11 reads {seen[:3]}")


def one_request(out: bytes, method: str, target: str, content: bytes) -> None:
    """Whether h11 and llhttp read these bytes as exactly this one request. Raises DifferenceError."""
    first, second = _h11(out), _llhttp(out)
    if first is None or first[:3] != (method, target, content):
        raise DifferenceError(f"h11 reads what goes out as {first}")
    if second is None or (*second[:3], second[3]) != (method, target, content, 1):
        raise DifferenceError(f"llhttp reads what goes out as {second}")


def _goes_out(
    out: bytes, head: RequestHead, target: Target, content: bytes, passed: tuple[tuple[str, str], ...]
) -> None:
    wanted = (head.method, target.forwarded, content)
    first = _h11(out)
    if first is None or first[:3] != wanted:
        raise DifferenceError(f"h11 reads what goes out as {first}")
    if [(n, v) for n, v in first[3] if (n, v) in passed] != list(passed):
        raise DifferenceError("h11 reads other headers in what goes out")
    if head.method not in ("CONNECT", "PRI", "SOURCE"):
        second = _llhttp(out)
        if second is not None and (*second[:3], second[3]) != (*wanted, 1):
            raise DifferenceError(f"llhttp reads what goes out as {second}")
    again = parse_request(out[: head_end(out)])
    if parse_target(again.target) != target or again.method != head.method:
        raise DifferenceError("we read what goes out as another request")
    if rules.without(rules.forwarded(again), ()) != passed:
        raise DifferenceError("a second gateway would pass other headers on")


def _path_is_decided(target: Target) -> None:
    decided = "/" + "/".join(target.segments)
    seen = unquote(urlsplit("http://h" + target.forwarded).path, errors="strict")
    normal = posixpath.normpath(seen) + ("/" if decided.endswith("/") and decided != "/" else "")
    if seen != decided or normal != decided:
        raise DifferenceError(f"a server sees {seen} ({normal}), decided was {decided}")
