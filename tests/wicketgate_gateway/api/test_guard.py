"""The layer around the application, without a network: bounds that the process's tests cannot reach."""

import asyncio
from typing import Any

import pytest

from wicketgate_gateway.api import guard
from wicketgate_gateway.api.guard import Buckets, Guard

pytestmark = pytest.mark.anyio


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_fills_again_and_forgets_the_least_used(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    buckets = Buckets(1.0, 3.0, clock)
    assert [buckets.take("a") for _ in range(4)] == [True, True, True, False]
    assert buckets.take("b")
    clock.now = 1.0
    assert [buckets.take("a"), buckets.take("a")] == [True, False]
    clock.now = 100.0
    assert [buckets.take("a") for _ in range(4)] == [True, True, True, False]
    monkeypatch.setattr(guard, "MAX_BUCKETS", 10)
    for number in range(50):
        buckets.take(str(number))
    assert len(buckets._buckets) <= 11


async def ask(chunks: list[bytes] | None, headers: dict[bytes, bytes], method: bytes = b"POST", **scope: Any) -> Any:
    """Status, and the body as the application got it."""
    seen: list[bytes] = []
    sent: list[Any] = []
    left = list(chunks or [])

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        seen.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"public")]})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Any:
        if chunks is None:
            await asyncio.sleep(60)
        body = left.pop(0) if left else b""
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    async def send(message: Any) -> None:
        sent.append(message)

    whole = {
        "type": "http",
        "method": method.decode(),
        "raw_path": b"/x",
        "path": "/x",
        "query_string": b"",
        "headers": list(headers.items()),
        "client": ("192.0.2.1", 5),
        **scope,
    }
    await Guard(app)(whole, receive, send)
    assert [h for h in sent[0]["headers"] if h[0] == b"cache-control"] == [(b"cache-control", b"no-store")]
    return sent[0]["status"], b"".join(seen)


JSON = {b"content-type": b"application/json"}


async def test_a_body_without_a_length_is_bounded_as_it_comes() -> None:
    assert await ask([b"{", b"}"], JSON) == (200, b"{}")
    assert (await ask([b"x" * 9000, b"x" * 9000], JSON))[0] == 413


async def test_a_body_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.05)
    assert (await ask(None, JSON))[0] == 408


@pytest.mark.parametrize("length", [b"-1", b"1e3", b"+5", b"99999999999", b" 5"])
async def test_lengths_that_are_none(length: bytes) -> None:
    assert (await ask([b"{}"], {**JSON, b"content-length": length}))[0] == 400


async def test_long_addresses_and_bodies_where_none_belongs() -> None:
    assert (await ask([b""], {}, b"GET", query_string=b"a=" + b"x" * 5000))[0] == 414
    assert (await ask([b"x"], {b"content-length": b"1"}, b"GET"))[0] == 400
    assert (await ask([b"x"], {b"transfer-encoding": b"chunked"}, b"DELETE"))[0] == 400


async def test_a_link_may_lead_here_and_a_form_may_not() -> None:
    page = {b"sec-fetch-site": b"cross-site", b"sec-fetch-mode": b"navigate"}
    assert (await ask([b""], page, b"GET"))[0] == 200
    assert (await ask([b"{}"], {**JSON, **page}))[0] == 403
    assert (await ask([b""], {b"sec-fetch-site": b"cross-site", b"sec-fetch-mode": b"no-cors"}, b"GET"))[0] == 403
