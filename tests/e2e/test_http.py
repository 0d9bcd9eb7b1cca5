"""Stock curl through a real gateway and agent to a real server: allowed, denied, held, masked, recorded."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import time
from typing import Any

import pytest

from wicketgate_gateway.audit.events import OperationFinished, SessionEnded

pytestmark = pytest.mark.slow


def code(web: Any, *arguments: str, **more: Any) -> tuple[int, bytes]:
    """Status and body."""
    done = web.curl("-w", "\n%{http_code}", *arguments, **more)
    body, _, status = done.stdout.rpartition(b"\n")
    return int(status or 0), body


def test_allowed(web: Any) -> None:
    """The target's answer, and on record who did what."""
    status, body = code(web, "/orders/7?expand=lines")
    assert status == 200
    assert json.loads(body)["name"] == "Ann"
    operation = web.operations()[-1]
    assert (operation.statement, operation.effect, operation.rule) == ("GET /orders/7?expand=lines", "allow", "web#1")
    session = operation.session
    web.wait(lambda: any(isinstance(e, SessionEnded) and e.session == session for e in web.events()))
    finished = [e for e in web.events() if isinstance(e, OperationFinished) and e.session == session]
    assert [e.outcome for e in finished] == ["ok"]
    recorded = web.recorded(session)
    assert recorded.startswith(b"GET /orders/7?expand=lines HTTP/1.1\r\n")
    assert body in recorded
    assert b"Authorization" not in recorded


def test_the_target_sees_its_own_credential_and_nothing_of_the_bot(web: Any) -> None:
    """No token, no address, no cookie of the client."""
    token = web.cloud.bot_token()
    assert code(web, "-H", "Cookie: a=b", "-H", "X-Forwarded-For: 1.2.3.4", "/orders/8")[0] == 200
    head = web.upstream.seen[-1].decode()
    assert "Authorization: Bearer canary-token-of-the-target\r\n" in head
    assert token not in head
    assert "Cookie" not in head
    assert "X-Forwarded-For" not in head
    assert f"Host: localhost:{web.upstream.port}\r\n" in head


def test_denied(web: Any) -> None:
    """A problem document that says which rule, why, and what may be done."""
    before = len(web.upstream.seen)
    status, body = code(web, "-X", "POST", "-d", "{}", "/orders")
    problem = json.loads(body)
    assert (status, problem["code"], problem["rule"]) == (403, "not-allowed", "default")
    assert "`POST /orders`" in problem["detail"]
    assert problem["whatToDo"].startswith("allowed here:")
    status, body = code(web, "/orders/secret/1")
    assert json.loads(body)["detail"] == "rule `web#8` denies `GET /orders/secret/1`: it is secret"
    assert len(web.upstream.seen) == before
    assert web.operations()[-1].effect == "deny"


def test_no_token(web: Any) -> None:
    """401, with what to do."""
    done = web.curl("-i", "/orders", token="")
    assert b"HTTP/1.1 401" in done.stdout
    assert b'WWW-Authenticate: Bearer realm="wicketgate"' in done.stdout
    assert b"token-missing" in done.stdout
    assert code(web, "/orders", token="nonsense")[0] == 401


@pytest.mark.parametrize("way", ["host", "basic", "own header"])
def test_other_ways_to_name_the_target_and_to_bring_the_token(web: Any, way: str) -> None:
    """By host name, by Basic, by a header of our own."""
    token = web.cloud.bot_token()
    port = web.ports["http"]
    if way == "host":
        name = "orders-api.gate.example"
        arguments = ["--connect-to", f"{name}:{port}:localhost:{port}", "-k", f"https://{name}:{port}/orders/7"]
        assert code(web, *arguments)[0] == 200
    elif way == "basic":
        assert code(web, "-u", f"bot:{token}", "/orders/7", token="")[0] == 200
    else:
        assert (
            code(web, "-H", f"X-Wicketgate-Token: {token}", "-H", "Authorization: Bearer x", "/orders/7", token="")[0]
            == 200
        )
        assert "Bearer x" not in web.upstream.seen[-1].decode()


def test_other_bots_and_targets(web: Any) -> None:
    """One answer for what is not there and what is not allowed."""
    for target in ("other-api", "nope"):
        status, body = code(web, "/orders", target=target)
        assert (status, json.loads(body)["code"]) == (403, "no-policy")
    assert code(web, "/orders", token=web.cloud.bot_token("stranger"))[0] == 403
    status, body = code(web, "/orders", target="down-api")
    assert (status, json.loads(body)["code"]) == (502, "target-unavailable")


def test_bodies_and_conditions(web: Any) -> None:
    """JSON fields and CEL decide; what is ambiguous is refused."""
    post = ("-X", "POST", "-H", "Content-Type: application/json")
    assert code(web, *post, "-d", '{"currency": "EUR", "amount": 5}', "/payments")[0] == 200
    assert web.upstream.seen[-1].endswith(b'\r\n\r\n{"currency": "EUR", "amount": 5}')
    assert code(web, *post, "-d", '{"currency": "EUR", "amount": 500}', "/payments")[0] == 403
    assert code(web, *post, "-d", '{"currency": "XXX", "amount": 5}', "/payments")[0] == 403
    status, body = code(web, *post, "-d", '{"currency": "EUR", "amount": 5, "amount": 500}', "/payments")
    assert (status, json.loads(body)["code"]) == (400, "body-malformed")
    assert code(web, "-X", "POST", "-d", "currency=EUR", "/payments")[0] == 403


def test_large_bodies_stream(web: Any) -> None:
    """Down and up, with lengths and in chunks."""
    status, body = code(web, "/bytes/5000000")
    assert (status, len(body)) == (200, 5000000)
    status, body = code(web, "/chunked/2000")
    assert (status, len(body)) == (200, 2000 * 11)
    assert code(web, "--data-binary", "x" * 100000, "/upload")[1] == b'{"got": 100000}'
    status, _ = code(web, "-H", "Transfer-Encoding: chunked", "--data-binary", "abc", "/echo/x")
    assert status == 200
    assert web.upstream.seen[-1].endswith(b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n")


@pytest.mark.parametrize("status", [204, 304, 404, 500])
def test_statuses(web: Any, status: int) -> None:
    """As the target says."""
    assert code(web, f"/status/{status}")[0] == status


def test_keep_alive_heads_events_and_trailers(web: Any) -> None:
    """Several requests on one connection are one session."""
    done = web.curl(web.url("/orders/1"), web.url("/orders/2"), "-I", "-w", "%{num_connects}")
    assert done.stdout.count(b"HTTP/1.1 200") == 2
    assert web.operations()[-1].session == web.operations()[-2].session
    assert code(web, "/events")[1].count(b"data: ") == 3
    assert code(web, "/trailers") == (200, b"abc")


def test_secrets_and_cookies_stay_with_the_agent(web: Any) -> None:
    """Echoed or set: not here."""
    done = web.curl("-i", "/cookies")
    assert b"canary-token" not in done.stdout
    assert b"*" * 26 + b" and more" in done.stdout
    assert b"Set-Cookie" not in done.stdout


def test_redirects_stay_within(web: Any) -> None:
    """Never followed; a path comes back below the prefix that named the target."""
    assert b"Location: /t/orders-api/orders/7\r\n" in web.curl("-i", "/redirect").stdout


def test_addresses_of_the_target_itself(web: Any) -> None:
    """Its own absolute addresses come back as paths, those of others as they are; its base is not the bot's."""
    own = f"https://localhost:{web.upstream.port}"
    for where, told in (
        (f"{own}/orders/7?x=1", "/t/orders-api/orders/7?x=1"),
        ("https://evil.example/orders", "https://evil.example/orders"),
        ("//evil.example/orders", "//evil.example/orders"),
    ):
        assert f"Location: {told}\r\n".encode() in web.curl("-i", f"/redirect?to={where}").stdout
    plain = web.curl("-i", "/redirect?to=/base/orders/7", target="plain-api").stdout
    assert b"Location: /t/plain-api/orders/7\r\n" in plain


def test_a_credential_is_seen_in_any_answer(web: Any) -> None:
    """The target is asked for answers that are not compressed, whatever the bot asks for."""
    done = web.curl("-H", "Accept-Encoding: gzip, br", "/echo/x")
    assert b"canary-token" not in done.stdout
    assert web.upstream.seen[-1].count(b"Accept-Encoding: identity\r\n") == 1
    assert b"gzip" not in web.upstream.seen[-1]


def test_a_slow_client_gets_the_end(web: Any) -> None:
    """The connection ends with an answer that its client has not read yet: nothing of it is lost."""
    context = ssl.create_default_context(cafile=str(web.ca_file))
    size = 3_000_000
    for _ in range(3):
        with socket.socket() as plain:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
            plain.connect(("127.0.0.1", web.ports["http"]))
            with context.wrap_socket(plain, server_hostname="localhost") as sock:
                sock.settimeout(60)
                sock.sendall(web.head(f"GET /t/orders-api/bytes/{size} HTTP/1.1", "Connection: close"))
                web.wait(lambda: f"/bytes/{size} ".encode() in web.upstream.seen[-1])
                time.sleep(1.0)  # a client that does not read is what this is about
                found = b""
                while piece := sock.recv(65536):
                    found += piece
                    if len(found) > size - 600_000:
                        time.sleep(0.02)
        assert len(found.partition(b"\r\n\r\n")[2]) == size


def test_held_then_202_then_the_same_again(web: Any) -> None:
    """Without an answer in time: a problem document with the handle."""
    before = len(web.upstream.seen)
    done = web.curl("-i", "-X", "DELETE", "-H", "X-Wicketgate-Reason: it is a test", "/orders/77")
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    problem = json.loads(body)
    assert b"HTTP/1.1 202" in head
    assert b"Retry-After: 30" in head
    assert (problem["code"], problem["rule"]) == ("hold-pending", "web#6")
    assert problem["handle"].startswith("hold-")
    assert "send exactly the same request again" in problem["whatToDo"]
    assert len(web.upstream.seen) == before


MASKED_BODY = {"id": 7, "name": "Ann", "email": "a•••@example.com", "card": "•••", "total": None}


@pytest.mark.parametrize("path", ["/orders/7", "/gzip", "/br", "/zstd", "/deflate"])
def test_masked(web: Any, path: str) -> None:
    """Fields of JSON, whatever the encoding; without what speaks of the target's bytes."""
    done = web.curl("-i", path, target="masked-api")
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    found = json.loads(body)
    assert found["card"] == "•••"
    assert found["total"] is None
    assert "ann@" not in body.decode()
    assert found["name"] == "Ann"
    assert b"etag" not in head.lower()
    assert b"content-encoding" not in head.lower()


def test_masked_streams_and_what_cannot_be(web: Any) -> None:
    """Line by line, event by event; all else is refused."""
    for path in ("/ndjson", "/events"):
        status, body = code(web, path, target="masked-api")
        assert status == 200
        assert b"example.com" in body
        assert b"ann@" not in body
    for path in ("/csv", "/bad-gzip"):
        status, body = code(web, path, target="masked-api")
        assert (status, json.loads(body)["code"]) == (502, "answer-unmaskable")
        assert b"ann@" not in body


@pytest.mark.parametrize("target", ["masked-api", "detecting-api", "orders-api"])
def test_parts_of_answers(web: Any, target: str) -> None:
    """Where answers are looked into, no part is asked for, and none is taken; nor where a credential is held."""
    status, body = code(web, "-H", "Range: bytes=0-9", "-H", "If-Range: x", "/orders/7", target=target)
    assert (status, json.loads(body)["id"]) == (200, 7)
    assert b"range" not in web.upstream.seen[-1].lower()
    if target != "orders-api":
        status, body = code(web, "/parts", target=target)
        assert (status, json.loads(body)["code"]) == (502, "answer-unmaskable")


def test_events_are_on_record(web: Any) -> None:
    """As they came."""
    assert code(web, "/events")[0] == 200
    session = next(op.session for op in reversed(web.operations()) if op.statement == "GET /events")
    assert web.recorded(session).count(b'"email": "ann@example.com"') == 3


def test_what_a_target_does_wrong(web: Any) -> None:
    """Told as a problem of the target."""
    for path, wanted in (("/hang-up", "target-lost"), ("/broken", "length-ambiguous")):
        status, body = code(web, path, target="masked-api")
        assert (status, json.loads(body)["code"]) == (502, wanted)


def test_replayed(web: Any) -> None:
    """`wicketgate replay` shows each request, the verdict on it, and its answer."""
    assert code(web, "/orders/31")[0] == 200
    session = next(op.session for op in reversed(web.operations()) if op.statement == "GET /orders/31")
    web.recorded(session)
    told = subprocess.run(
        [sys.executable, "-m", "wicketgate_gateway.cli", "replay", session, "--json", "--state", str(web.state)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr
    assert "GET /orders/31" in told.stdout
    assert "200 OK" in told.stdout
    assert '"web#1"' in told.stdout
