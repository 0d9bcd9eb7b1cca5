"""Held requests end to end: curl waits, people answer, and what was approved goes out once; kills; WebSockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.running import DBA
from wicketgate_gateway.approvals.model import Choice, Request, Scope, State
from wicketgate_gateway.approvals.service import Approvals, groups_to_check
from wicketgate_gateway.approvals.store import ApprovalStore, open_store
from wicketgate_gateway.audit.events import HoldUsed, SessionKilled
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.policy.load import PolicyStore

pytestmark = pytest.mark.slow
ANN = "60000000-0000-4000-8000-000000000001"


def store_of(web: Any, work: Any) -> Any:
    """Run something on the gateway's own control store."""

    async def run() -> Any:
        store = await open_store(f"sqlite+aiosqlite:///{web.state}/control.db")
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def pending(web: Any, text: str) -> Request:
    """The request whose text holds this, once people are asked."""
    end = time.monotonic() + 15
    while time.monotonic() < end:
        for request in store_of(web, lambda store: store.list((State.PENDING,))):
            if text in request.statement:
                return request
        time.sleep(0.05)
    raise AssertionError("nobody was asked")


def decide(web: Any, handle: str, choice: Choice, comment: str = "") -> None:
    """Answer as Ann does."""

    async def work(store: ApprovalStore) -> None:
        digest = PolicyStore(str(web.folder / "policies.json")).current.digest
        request = await store.get(handle)
        ann = Principal(PrincipalKind.PERSON, "t", ANN, "cli", "Ann", "uti", time.time() + 60, groups=frozenset([DBA]))
        approvals = Approvals(store, policy=lambda: digest)
        checked = groups_to_check(request)
        await approvals.decide(handle, ann, choice, checked=checked, comment=comment, seal=request.seal)

    store_of(web, work)


def refund(web: Any, number: int, *more: str) -> tuple[int, dict[str, Any]]:
    """A held POST; its status and document."""
    body = json.dumps({"order": number})
    done = web.curl("-w", "\n%{http_code}", "-H", "Content-Type: application/json", "-d", body, *more, "/refunds")
    text, _, status = done.stdout.rpartition(b"\n")
    return int(status), json.loads(text)


def sent(web: Any, number: int) -> list[bytes]:
    """What the server got of a refund."""
    return [raw for raw in web.upstream.seen if b'{"order": %d}' % number in raw]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Clients that wait."""
    with ThreadPoolExecutor(4) as made:
        yield made


def test_curl_waits_and_goes_on_when_it_is_approved(web: Any, pool: ThreadPoolExecutor) -> None:
    """People see the whole request; it goes out once; a second of the same asks anew."""
    waits = pool.submit(refund, web, 1, "-H", "X-Wicketgate-Reason: broken parcel")
    request = pending(web, '{"order": 1}')
    assert request.statement == 'POST /refunds\naccept: */*\ncontent-type: application/json\n\n{"order": 1}'
    assert request.reason == "broken parcel"
    assert sent(web, 1) == []
    decide(web, request.handle, Choice.APPROVE)
    assert waits.result(20)[0] == 200
    (raw,) = sent(web, 1)
    assert raw.startswith(b"POST /refunds HTTP/1.1\r\n")
    assert b"user-agent" not in raw.lower()
    web.wait(lambda: any(isinstance(e, HoldUsed) and e.handle == request.handle for e in web.events()))
    operation = next(op for op in reversed(web.operations()) if op.statement == "POST /refunds")
    assert (operation.effect, operation.code) == ("hold", "hold-approved")
    again = pool.submit(refund, web, 1)
    second = pending(web, '{"order": 1}')
    assert second.handle != request.handle
    decide(web, second.handle, Choice.DENY, "once is enough")
    status, problem = again.result(20)
    assert (status, problem["code"]) == (403, "hold-denied")
    assert "once is enough" in problem["detail"]
    assert len(sent(web, 1)) == 1


def test_two_at_once_of_one_approval_run_once(web: Any, pool: ThreadPoolExecutor) -> None:
    """One claim, one run."""
    waits = [pool.submit(refund, web, 2) for _ in range(3)]
    request = pending(web, '{"order": 2}')
    time.sleep(0.5)
    decide(web, request.handle, Choice.APPROVE)
    web.wait(lambda: len(sent(web, 2)) == 1, 15)
    for other in store_of(web, lambda store: store.list((State.PENDING,))):
        if '{"order": 2}' in other.statement:
            decide(web, other.handle, Choice.DENY)
    for _ in range(10):
        if all(each.done() for each in waits):
            break
        time.sleep(0.3)
        for other in store_of(web, lambda store: store.list((State.PENDING,))):
            if '{"order": 2}' in other.statement:
                decide(web, other.handle, Choice.DENY)
    assert sorted(each.result(20)[0] for each in waits).count(200) == 1
    assert len(sent(web, 2)) == 1


@pytest.mark.parametrize("change", ["body", "query", "header", "method"])
def test_what_is_changed_after_the_approval_is_another_request(web: Any, pool: ThreadPoolExecutor, change: str) -> None:
    """Approve A, run B: B is asked for anew."""
    number = {"body": 31, "query": 32, "header": 33, "method": 34}[change]
    waits = pool.submit(refund, web, number)
    request = pending(web, f'{{"order": {number}}}')
    more = {
        "body": ("--data-raw", "&x"),
        "query": ("-G",),
        "header": ("-H", "X-Tenant: other"),
        "method": ("-X", "PUT"),
    }[change]
    other = pool.submit(web.curl, "-H", "Content-Type: application/json", "-d", f'{{"order": {number}}}', *more,
                        "--max-time", "3", "/refunds")  # fmt: skip
    time.sleep(1.0)
    decide(web, request.handle, Choice.APPROVE)
    assert waits.result(20)[0] == 200
    other.result(20)
    assert len(sent(web, number)) == 1


NEAR: dict[str, tuple[str, ...]] = {
    "query order": ("-d", '{"order": 5}', "/refunds?b=2&a=1"),
    "a parameter more": ("-d", '{"order": 5}', "/refunds?a=1&b=2&a=1"),
    "no query": ("-d", '{"order": 5}', "/refunds"),
    "a blank in the body": ("-d", '{"order":  5}', "/refunds?a=1&b=2"),
    "a key more": ("-d", '{"order": 5, "order": 6}', "/refunds?a=1&b=2"),
    "a header more": ("-H", "X-Tenant: other", "-d", '{"order": 5}', "/refunds?a=1&b=2"),
    "another language": ("-H", "Accept-Language: de", "-d", '{"order": 5}', "/refunds?a=1&b=2"),
    "another way to write it": ("-d", '{"order": 5}', "/refunds?a=%31&b=2"),
    "a slash at the end": ("-d", '{"order": 5}', "/refunds/?a=1&b=2"),
    "no type": ("-H", "Content-Type:", "-d", '{"order": 5}', "/refunds?a=1&b=2"),
}


def test_what_is_near_an_approved_request_is_not_it(web: Any, pool: ThreadPoolExecutor) -> None:
    """Approved and not yet used: nothing takes it but the very request, and that once."""
    exact = ("-H", "Content-Type: application/json", "-d", '{"order": 5}', "/refunds?a=1&b=2")
    web.curl(*exact, "--max-time", "1.5")
    request = pending(web, "a=1&b=2")
    decide(web, request.handle, Choice.APPROVE)

    def near(arguments: tuple[str, ...]) -> None:
        kind = () if "Content-Type:" in arguments else ("-H", "Content-Type: application/json")
        web.curl(*kind, *arguments, "--max-time", "2")

    list(pool.map(near, NEAR.values()))
    assert [raw for raw in web.upstream.seen if b'"order":' in raw and b"5}" in raw] == []
    # What says nothing of what the request does may differ: it is neither shown nor sent.
    done = web.curl("-w", "%{http_code}", "-H", "X-Request-Id: 7", "-A", "another", *exact)
    assert done.stdout.endswith(b"200")
    (raw,) = [raw for raw in web.upstream.seen if b'{"order": 5}' in raw]
    assert b"X-Request-Id" not in raw
    assert web.curl(*exact, "--max-time", "1.5").returncode == 28
    assert len([raw for raw in web.upstream.seen if b'{"order": 5}' in raw]) == 1


def test_a_client_that_hangs_up_runs_nothing(web: Any) -> None:
    """The claim is not taken."""
    web.curl("-H", "Content-Type: application/json", "-d", '{"order": 4}', "--max-time", "1.5", "/refunds")
    request = pending(web, '{"order": 4}')
    decide(web, request.handle, Choice.APPROVE)
    time.sleep(0.5)
    assert sent(web, 4) == []
    assert refund(web, 4)[0] == 200  # the same again takes what was approved
    assert len(sent(web, 4)) == 1


def connect(web: Any) -> ssl.SSLSocket:
    """A connection to the gateway."""
    context = ssl.create_default_context(cafile=str(web.ca_file))
    plain = socket.create_connection(("localhost", web.ports["http"]), timeout=15)
    return context.wrap_socket(plain, server_hostname="localhost")


def test_a_websocket_passes_recorded(web: Any) -> None:
    """Raw bytes both ways behind the 101."""
    with connect(web) as sock:
        upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13")
        sock.sendall(web.head("GET /t/orders-api/ws HTTP/1.1", *upgrade))
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += sock.recv(4096)
        assert answer.startswith(b"HTTP/1.1 101")
        sock.sendall(b"\x81\x05hello")
        assert sock.recv(4096) == b"\x81\x05hello"
    session = web.operations()[-1].session
    assert b"\x81\x05hello" in web.recorded(session)


def test_a_kill_ends_what_runs(web: Any) -> None:
    """Within a second or so, and nothing new begins."""
    with connect(web) as sock:
        upgrade = ("Connection: Upgrade", "Upgrade: websocket")
        sock.sendall(web.head("GET /t/orders-api/ws HTTP/1.1", *upgrade))
        assert sock.recv(4096).startswith(b"HTTP/1.1 101")
        target = Scope.TARGET
        number = store_of(web, lambda s: s.kill(target, "orders-api", by="Ann", by_id=ANN, reason="a test")).id
        try:
            began = time.monotonic()
            with contextlib.suppress(OSError):
                while sock.recv(4096):
                    pass
            assert time.monotonic() - began < 5
            done = web.curl("-w", "%{http_code}", "/orders/1")
            assert done.stdout.endswith(b"403")
            assert b"cut off by Ann: a test" in done.stdout
        finally:
            store_of(web, lambda store: store.lift(number, by="Ann", by_id=ANN))
    assert any(isinstance(e, SessionKilled) for e in web.events())
    web.wait(lambda: web.curl("-w", "%{http_code}", "-o", "/dev/null", "/orders/1").stdout == b"200")
