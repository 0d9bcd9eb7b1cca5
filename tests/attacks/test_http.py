"""Attacks by HTTP: raw bytes to a real gateway, and the raw bytes that a server behind it got.

Each of the `REFUSED` must not reach the server at all. Each of the `TAMED` reaches it as something that was decided on,
without what made it an attack. In both, what the audit says was allowed is exactly what the server got, read by another
parser (h11).
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import h11
import pytest

from wicketgate_gateway.audit.events import AgentDisconnected, Operation, SessionRefused

pytestmark = pytest.mark.slow

GET = "GET /t/orders-api{} HTTP/1.1"
TAIL = b"GET /t/orders-api/orders/secret/2 HTTP/1.1\r\nHost: x\r\n\r\n"

# name: (request line behind `/t/orders-api`, further headers, body, statuses)
PATHS = {
    "dot-dot": "/orders/../customers",
    "dot-dot at the end": "/orders/..",
    "dot": "/./orders/1",
    "encoded dots": "/orders/%2e%2e/customers",
    "half encoded dots": "/orders/.%2E/customers",
    "encoded slash": "/orders%2fsecret%2f1",
    "encoded slash, upper case": "/orders%2Fsecret",
    "double slash": "/orders//secret/1",
    "leading double slash": "//orders/1",
    "backslash": "/orders\\secret\\1",
    "encoded backslash": "/orders%5csecret",
    "dot-dot-semicolon": "/orders/..;/customers",
    "semicolon parameters": "/orders;x=1/secret",
    "encoded semicolon": "/orders%3bx/secret",
    "double encoding": "/orders/%252e%252e/customers",
    "double encoded slash": "/orders%252fsecret",
    "triple encoding": "/orders/%25252e%25252e/customers",
    "overlong dot": "/orders/%c0%ae%c0%ae/customers",
    "overlong slash": "/orders%c0%afsecret",
    "three-byte overlong": "/orders/%e0%80%ae/customers",
    "latin-1": "/orders/%ff",
    "surrogate": "/orders/%ed%a0%80",
    "NUL": "/orders/1%00.json",
    "encoded line feed": "/orders/1%0aX",
    "encoded CR LF": "/orders/1%0d%0aX-Evil:%201",
    "encoded tab": "/orders/%09",
    "C1 control": "/orders/%c2%85",
    "encoded question mark": "/orders/1%3fdebug=1",
    "encoded hash": "/orders/1%23x",
    "fragment": "/orders/1#x",
    "half an escape": "/orders/%2",
    "no hex": "/orders/%zz",
    "utf-16 escape": "/orders/%u002e%u002e/customers",
    "encoded blank at the end": "/orders/secret%20",
    "quote": '/orders/"1"',
    "angle brackets": "/orders/<script>",
    "curly braces": "/orders/{id}",
    "pipe": "/orders/a|b",
    "query: NUL": "/search?q=%00",
    "query: encoded line end": "/search?q=a%0d%0aX:1",
    "query: half an escape": "/search?q=%",
    "query: latin-1": "/search?q=%ff",
    "denied by case": "/Orders/SECRET/1",
    "denied with a last slash": "/orders/secret/",
    "denied parameter as a list": "/orders/1?debug[]=1",
    "denied parameter in capitals": "/orders/1?DEBUG=1",
    "denied parameter beside another": "/orders/1?x=1&debug=1",
    "denied parameter, encoded name": "/orders/1?%64ebug=1",
    "prefix of another target": "/../masked-api/orders",
}

# name: (whole head without the token's line, body, expected status)
FRAMING: dict[str, tuple[tuple[str, ...], bytes]] = {
    "content-length and transfer-encoding": (
        ("POST /t/orders-api/upload HTTP/1.1", "Content-Length: 4", "Transfer-Encoding: chunked"), b"0\r\n\r\n" + TAIL),
    "transfer-encoding and content-length": (
        ("POST /t/orders-api/upload HTTP/1.1", "Transfer-Encoding: chunked", "Content-Length: 4"), b"0\r\n\r\n" + TAIL),
    "two content-lengths": (("POST /t/orders-api/upload HTTP/1.1", "Content-Length: 0", "Content-Length: 99"), TAIL),
    "two equal content-lengths": (
        ("POST /t/orders-api/upload HTTP/1.1", "Content-Length: 3", "Content-Length: 3"), b"abc" + TAIL),
    "content-length as a list": (("POST /t/orders-api/upload HTTP/1.1", "Content-Length: 3, 3"), b"abc" + TAIL),
    "content-length with a sign": (("POST /t/orders-api/upload HTTP/1.1", "Content-Length: +3"), b"abc" + TAIL),
    "negative content-length": (("POST /t/orders-api/upload HTTP/1.1", "Content-Length: -1"), TAIL),
    "content-length in hex": (("POST /t/orders-api/upload HTTP/1.1", "Content-Length: 0x3"), b"abc" + TAIL),
    "content-length with a blank within": (("POST /t/orders-api/upload HTTP/1.1", "Content-Length: 3 0"), TAIL),
    "content-length, endless": (("POST /t/orders-api/upload HTTP/1.1", "Content-Length: " + "9" * 40), TAIL),
    "content-length with an underscore": (("POST /t/orders-api/upload HTTP/1.1", "Content-Length: 1_0"), TAIL),
    "xchunked": (("POST /t/orders-api/upload HTTP/1.1", "Transfer-Encoding: xchunked"), b"0\r\n\r\n" + TAIL),
    "chunked, identity": (("POST /t/orders-api/upload HTTP/1.1", "Transfer-Encoding: chunked, identity"), TAIL),
    "gzip, chunked": (("POST /t/orders-api/upload HTTP/1.1", "Transfer-Encoding: gzip, chunked"), TAIL),
    "chunked twice": (
        ("POST /t/orders-api/upload HTTP/1.1", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        TAIL,
    ),
    "chunked with a tab": (("POST /t/orders-api/upload HTTP/1.1", "Transfer-Encoding: \x0bchunked"), TAIL),
    "blank before the colon": (
        ("POST /t/orders-api/upload HTTP/1.1", "Transfer-Encoding : chunked"),
        b"0\r\n\r\n" + TAIL,
    ),
    "tab before the colon": (("POST /t/orders-api/upload HTTP/1.1", "Content-Length\t: 3"), b"abc" + TAIL),
    "folded header": (("POST /t/orders-api/upload HTTP/1.1", "X: a", " Transfer-Encoding: chunked"), TAIL),
    "folded coding": (("POST /t/orders-api/upload HTTP/1.1", "Transfer-Encoding:", " chunked"), b"0\r\n\r\n" + TAIL),
    "chunked in HTTP/1.0": (("POST /t/orders-api/upload HTTP/1.0", "Transfer-Encoding: chunked"), b"0\r\n\r\n" + TAIL),
    "bare LF between headers": (("GET /t/orders-api/orders/1 HTTP/1.1", "X: a\nY: b"), b""),
    "bare CR between headers": (("GET /t/orders-api/orders/1 HTTP/1.1", "X: a\rY: b"), b""),
    "NUL in a value": (("GET /t/orders-api/orders/1 HTTP/1.1", "X: a\0b"), b""),
    "control in a value": (("GET /t/orders-api/orders/1 HTTP/1.1", "X: a\x01b"), b""),
    "no header name": (("GET /t/orders-api/orders/1 HTTP/1.1", ": value"), b""),
    "blank in a header name": (("GET /t/orders-api/orders/1 HTTP/1.1", "X Y: z"), b""),
    "colonless header": (("GET /t/orders-api/orders/1 HTTP/1.1", "Nonsense"), b""),
    "non-ASCII header name": (("GET /t/orders-api/orders/1 HTTP/1.1", "Trånsfer-Encoding: chunked"), b""),
    "two hosts": (("GET /t/orders-api/orders/1 HTTP/1.1", "Host: other"), b""),
    "absolute form": (("GET https://localhost/t/orders-api/orders/1 HTTP/1.1",), b""),
    "absolute form, elsewhere": (("GET http://169.254.169.254/latest/meta-data HTTP/1.1",), b""),
    "connect": (("CONNECT localhost:443 HTTP/1.1",), b""),
    "asterisk": (("OPTIONS * HTTP/1.1",), b""),
    "HTTP/1.2": (("GET /t/orders-api/orders/1 HTTP/1.2",), b""),
    "HTTP/2.0 in the line": (("GET /t/orders-api/orders/1 HTTP/2.0",), b""),
    "no version": (("GET /t/orders-api/orders/1",), b""),
    "two blanks in the line": (("GET  /t/orders-api/orders/1 HTTP/1.1",), b""),
    "tab in the line": (("GET\t/t/orders-api/orders/1 HTTP/1.1",), b""),
    "more behind the version": (("GET /t/orders-api/orders/1 HTTP/1.1 x",), b""),
    "method with a slash": (("GE/T /t/orders-api/orders/1 HTTP/1.1",), b""),
    "lower-case method": (("post /t/orders-api/upload HTTP/1.1", "Content-Length: 0"), b""),
    "unknown expectation": (("POST /t/orders-api/upload HTTP/1.1", "Expect: 200-ok", "Content-Length: 1"), b"x"),
    "too many headers": (("GET /t/orders-api/orders/1 HTTP/1.1", *(f"X-{i}: 1" for i in range(300))), b""),
    "head too long": (("GET /t/orders-api/orders/1 HTTP/1.1", "X: " + "a" * 70000), b""),
    "target too long": (("GET /t/orders-api/search?q=" + "a" * 20000 + " HTTP/1.1",), b""),
    "chunk size with an extension": (
        ("POST /t/orders-api/payments HTTP/1.1", "Content-Type: application/json", "Transfer-Encoding: chunked"),
        b"2;x=y\r\n{}\r\n0\r\n\r\n" + TAIL),
    "chunk size too long": (
        ("POST /t/orders-api/payments HTTP/1.1", "Content-Type: application/json", "Transfer-Encoding: chunked"),
        b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
    "chunk size with a sign": (
        ("POST /t/orders-api/payments HTTP/1.1", "Content-Type: application/json", "Transfer-Encoding: chunked"),
        b"+2\r\n{}\r\n0\r\n\r\n" + TAIL),
    "chunk ended by a bare LF": (
        ("POST /t/orders-api/payments HTTP/1.1", "Content-Type: application/json", "Transfer-Encoding: chunked"),
        b"2\n{}\r\n0\r\n\r\n" + TAIL),
    "chunk longer than it says": (
        ("POST /t/orders-api/payments HTTP/1.1", "Content-Type: application/json", "Transfer-Encoding: chunked"),
        b"2\r\n{}xx\r\n0\r\n\r\n" + TAIL),
    "websocket by POST": (
        ("POST /t/orders-api/ws HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket", "Content-Length: 0"), b""),
    "websocket where no rule says so": (
        ("GET /t/orders-api/orders/1 HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket"), b""),
    "websocket with masks": (("GET /t/masked-api/ws HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket"), b""),
    "duplicate key in JSON": (
        ("POST /t/orders-api/payments HTTP/1.1", "Content-Type: application/json", "Content-Length: 44"),
        b'{"currency":"EUR","amount":5,"amount":50000}'),
    "key in another case": (
        ("POST /t/orders-api/payments HTTP/1.1", "Content-Type: application/json", "Content-Length: 47"),
        b'{"currency":"EUR","amount":5,"Currency":"XXX" }'),
    "JSON as text": (
        ("POST /t/orders-api/payments HTTP/1.1", "Content-Type: text/plain", "Content-Length: 29"),
        b'{"currency":"EUR","amount":5}'),
    "JSON in UTF-16": (
        ("POST /t/orders-api/payments HTTP/1.1", "Content-Type: application/json", "Content-Length: 62"),
        '{"currency":"EUR","amount":500}'.encode("utf-16-le")),
    "NaN": (
        ("POST /t/orders-api/payments HTTP/1.1", "Content-Type: application/json", "Content-Length: 31"),
        b'{"currency":"EUR","amount":NaN}'),
}  # fmt: skip

TAMED: dict[str, tuple[tuple[str, ...], bytes, bytes]] = {
    # name: (headers, body, what must not be in what the server got)
    "x-forwarded-for": (("X-Forwarded-For: 10.0.0.1",), b"", b"10.0.0.1"),
    "x-forwarded-host": (("X-Forwarded-Host: internal",), b"", b"internal"),
    "forwarded": (("Forwarded: for=10.0.0.1;host=internal",), b"", b"internal"),
    "x-original-url": (("X-Original-URL: /admin",), b"", b"/admin"),
    "x-rewrite-url": (("X-Rewrite-URL: /admin",), b"", b"/admin"),
    "method override": (("X-HTTP-Method-Override: DELETE",), b"", b"DELETE"),
    "underscores": (("X_Forwarded_For: 10.0.0.1",), b"", b"10.0.0.1"),
    "x-real-ip": (("X-Real-IP: 127.0.0.1",), b"", b"127.0.0.1"),
    "remote user": (("X-Remote-User: admin",), b"", b"admin"),
    "impersonation": (("Impersonate-User: admin",), b"", b"admin"),
    "a cookie": (("Cookie: session=stolen",), b"", b"stolen"),
    "proxy authorization": (("Proxy-Connection: keep-alive", "Proxy-Foo: a"), b"", b"Proxy-Connection"),
    "connection names a header": (("Connection: close, X-Tenant", "X-Tenant: a"), b"", b"X-Tenant"),
    "h2c upgrade": (
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"), b"", b"h2c"),
    "te trailers": (("TE: trailers",), b"", b"TE:"),
    "x-wicketgate headers": (("X-Wicketgate-Reason: secret plan",), b"", b"secret plan"),
    "x-accel": (("X-Accel-Redirect: /etc/passwd",), b"", b"passwd"),
    "client certificate": (("X-SSL-Client-Cert: abc", "X-Client-Cert: abc"), b"", b"abc"),
    "azure principal": (("X-MS-CLIENT-PRINCIPAL: abc",), b"", b"abc"),
    "host of another": (("X-Host: internal",), b"", b"internal"),
}  # fmt: skip


def seen_by_h11(raw: bytes) -> tuple[str, str]:
    """Method and target of a request as another parser reads it."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(raw)
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    return event.method.decode(), event.target.decode()


def run(web: Any, data: bytes) -> tuple[bytes, list[bytes], list[Operation]]:
    """What came back, what the server got, and the new operations on record; the last two must agree."""
    before, known = len(web.upstream.seen), len(web.operations())
    refused = sum(isinstance(e, SessionRefused) for e in web.events())
    answer = web.raw(data, seconds=3.0, until=lambda found: b"\r\n\r\n" in found and b"HTTP/1.1 100" not in found)
    got = web.upstream.seen[before:]

    def on_record() -> bool:
        operations = web.operations()[known:]
        return bool(operations) or sum(isinstance(e, SessionRefused) for e in web.events()) > refused

    web.wait(on_record, 5)
    operations = web.operations()[known:]
    allowed = [op.statement for op in operations if op.effect == "allow"]
    assert [" ".join(seen_by_h11(raw)) for raw in got] == allowed
    return answer, got, operations


@pytest.mark.parametrize("path", PATHS.values(), ids=list(PATHS))
def test_paths_that_mean_two_things(web: Any, path: str) -> None:
    """None reaches the server."""
    answer, got, _ = run(web, web.head(GET.format(path)))
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 403"))
    assert got == []


@pytest.mark.parametrize("name", list(FRAMING))
def test_framing_and_heads(web: Any, name: str) -> None:
    """None reaches the server, and nothing that was smuggled behind it does."""
    (line, *headers), body = FRAMING[name]
    answer, got, operations = run(web, web.head(line, *headers) + body)
    assert answer[:10] in (b"HTTP/1.1 4", b"HTTP/1.1 5"), answer[:200]
    assert got == []
    assert all(op.effect == "deny" for op in operations)


@pytest.mark.parametrize("name", list(TAMED))
def test_headers_that_lie(web: Any, name: str) -> None:
    """They do not pass."""
    headers, body, gone = TAMED[name]
    answer, got, _ = run(web, web.head("GET /t/orders-api/orders/5 HTTP/1.1", *headers) + body)
    assert answer.startswith(b"HTTP/1.1 200")
    (raw,) = got
    assert gone not in raw
    assert raw.startswith(b"GET /orders/5 HTTP/1.1\r\n")


@pytest.mark.parametrize("host", ["169.254.169.254", "localhost:1", "orders-api", "evil.example", "x@y", "[::1]"])
def test_the_host_leads_nowhere(web: Any, host: str) -> None:
    """The address is the agent's, whatever the host says."""
    _, got, _ = run(web, web.head("GET /t/orders-api/orders/5 HTTP/1.1", host=host))
    assert len(got) == 1
    assert f"Host: localhost:{web.upstream.port}".encode() in got[0]
    assert host.encode() not in got[0].replace(b"localhost:%d" % web.upstream.port, b"")


def test_pipelined_requests_are_decided_one_by_one(web: Any) -> None:
    """An allowed one in front opens nothing for the one behind it."""
    before, known = len(web.upstream.seen), len(web.operations())
    data = web.head("GET /t/orders-api/orders/1 HTTP/1.1")
    data += web.head("GET /t/orders-api/orders/secret/1 HTTP/1.1")
    data += web.head("GET /t/orders-api/orders/2 HTTP/1.1", "Connection: close")
    answer = web.raw(data)
    assert re.findall(rb"HTTP/1\.1 (\d+) ", answer) == [b"200", b"403", b"200"]
    assert [seen_by_h11(raw)[1] for raw in web.upstream.seen[before:]] == ["/orders/1", "/orders/2"]
    web.wait(lambda: len(web.operations()) == known + 3)


def test_a_body_of_a_denied_request_is_no_request(web: Any) -> None:
    """What stands in it is never looked at as a head."""
    before = len(web.upstream.seen)
    inner = web.head("GET /t/orders-api/orders/9 HTTP/1.1")
    data = web.head("POST /t/orders-api/customers HTTP/1.1", f"Content-Length: {len(inner)}") + inner
    answer = web.raw(data + web.head("GET /t/orders-api/orders/3 HTTP/1.1", "Connection: close"))
    assert answer.count(b"HTTP/1.1 ") == 2
    assert [seen_by_h11(raw)[1] for raw in web.upstream.seen[before:]] == ["/orders/3"]


@pytest.mark.parametrize(
    "headers",
    [
        ("Authorization: Basic !!!",),
        ("Authorization: Digest x",),
        ("Authorization: Bearer",),
        ("X-Wicketgate-Token: a", "X-Wicketgate-Token: b"),
        ("Authorization: Basic " + base64.b64encode(b"bot:").decode(),),
    ],
)
def test_proofs_that_prove_nothing(web: Any, headers: tuple[str, ...]) -> None:
    """401, and nothing reaches the server."""
    before = len(web.upstream.seen)
    answer = web.raw(
        "\r\n".join(("GET /t/orders-api/orders/1 HTTP/1.1", "Host: x", *headers, "", "")).encode(), seconds=3.0
    )
    assert answer.startswith(b"HTTP/1.1 401")
    assert len(web.upstream.seen) == before


def test_two_authorizations_are_none(web: Any) -> None:
    """Which of them counts is not guessed."""
    answer = web.raw(web.head("GET /t/orders-api/orders/1 HTTP/1.1", "Authorization: Bearer x"), seconds=3.0)
    assert answer.startswith(b"HTTP/1.1 401")


def test_a_redirect_is_not_followed_and_leads_to_no_other_target(web: Any) -> None:
    """An address in an answer is the client's to follow, through the gateway's own rules."""
    before = len(web.upstream.seen)
    answer, got, _ = run(web, web.head("GET /t/orders-api/redirect?to=http://169.254.169.254/ HTTP/1.1"))
    assert answer.startswith(b"HTTP/1.1 302")
    assert len(got) == 1
    assert len(web.upstream.seen) == before + 1


@pytest.mark.parametrize("size", [20_000, 60_000, 64_900, 200_000])
def test_a_huge_head_costs_no_other_request_anything(web: Any, size: int) -> None:
    """Heads go over the tunnel that all sessions share, in parts if they are longer than a frame."""
    known = len(web.events())
    lines = [f"X-{n}: {'v' * 1000}" for n in range(size // 1008)]
    for extra in (lines, [f"X-One: {'v' * (size - 2000)}"], [f"X-{n}: " for n in range(size // 8)]):
        answer = web.raw(web.head("GET /t/orders-api/orders/5 HTTP/1.1", *extra, "Connection: close"))
        assert answer[:12] in (b"HTTP/1.1 200", b"HTTP/1.1 431", b"HTTP/1.1 400", b"HTTP/1.1 413"), answer[:200]
    long = web.head(f"GET /t/orders-api/orders/5?{'q' * size} HTTP/1.1", "Connection: close")
    assert web.raw(long).startswith(b"HTTP/1.1 ")
    good = web.head("GET /t/orders-api/orders/5 HTTP/1.1", "Connection: close")
    assert web.raw(good).startswith(b"HTTP/1.1 200")
    assert not [event for event in web.events()[known:] if isinstance(event, AgentDisconnected)]


def test_problems_tell_no_secret(web: Any) -> None:
    """Neither the bot's token nor the target's."""
    answer, _, _ = run(web, web.head("GET /t/orders-api/customers HTTP/1.1"))
    assert web.cloud.bot_token().encode() not in answer
    assert b"canary-token" not in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2] or b"{}").get("code") in (None, "not-allowed")


def test_the_corpus_is_large_enough() -> None:
    """At least eighty."""
    assert len(PATHS) + len(FRAMING) + len(TAMED) >= 120
