"""Detectors on what HTTP services answer and on what is recorded of requests, with stock curl."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.web import CARD, KEY, LEAKS

pytestmark = pytest.mark.slow
HIDDEN = (b"ann@", b"ann%40", b"ann\\u0040", b"ann&", b"4111", b"1111", KEY.encode(), KEY[1:].encode())


@pytest.mark.parametrize("piecewise", ["", "?piecewise"])
@pytest.mark.parametrize("coding", ["", "+gzip", "+br", "+zstd", "+deflate"])
@pytest.mark.parametrize("kind", list(LEAKS))
def test_answers(web: Any, kind: str, coding: str, piecewise: str) -> None:
    """Whatever the type, the encoding and the chunks: what is found is gone, all else is there."""
    done = web.curl("-w", "\n%{http_code}", f"/leak/{kind}{coding}{piecewise}", target="detecting-api")
    body, _, status = done.stdout.rpartition(b"\n")
    assert status == b"200", body
    for hidden in HIDDEN:
        assert hidden not in body
    assert b"kept" in body
    if kind in ("json", "escaped", "number"):
        assert json.loads(body)["fine"] == "kept"


REQUESTS: dict[str, tuple[list[str], bytes]] = {
    "query": (["/orders/q?mail=ann%40example.com&card=4111+1111+1111+1111&k=" + KEY], b""),
    "path": ([f"/orders/{KEY}"], b""),
    "header": (["-H", f"X-Thing: {KEY}", "/orders/h"], b""),
    "json": (["-H", "Content-Type: application/json", "-d", LEAKS["escaped"][1], "/orders/j"], b"kept"),
    "form": (["-d", LEAKS["form"][1], "/orders/f"], b"kept"),
    "chunked": (["-H", "Transfer-Encoding: chunked", "-H", "Content-Type: text/plain",
                 "-d", LEAKS["text"][1], "/orders/c"], b"kept"),
    "compressed": (["-H", "Content-Encoding: gzip", "-d", f"not even gzip {KEY}", "/orders/z"], b"*"),
    "denied": (["-H", "Content-Type: application/json", "-d", LEAKS["json"][1], f"/denied/{KEY}"], b""),
}  # fmt: skip


@pytest.mark.parametrize("name", list(REQUESTS))
def test_requests_on_record(web: Any, name: str) -> None:
    """Recording and audit are without what is found; the target gets the exact bytes."""
    arguments, kept = REQUESTS[name]
    before = len(web.operations())
    web.curl(*arguments, target="detecting-api")
    web.wait(lambda: len(web.operations()) > before)
    event = web.operations()[-1]
    told = f"{event.statement} {event.relations} {event.reason}".encode()
    recorded = web.recorded(event.session)
    for hidden in (b"ann@", b"ann%40", b"1111", KEY[1:].encode()):
        assert hidden not in told
        assert hidden not in recorded
    assert kept in recorded
    if name == "denied":
        return
    seen = web.upstream.seen[-1]
    if name == "query":
        assert b"GET /orders/q?mail=ann%40example.com&card=4111+1111+1111+1111&k=" + KEY.encode() in seen
    else:
        assert KEY[1:].encode() in seen
    assert CARD not in event.statement


def test_a_held_request_with_a_key_is_not_askable(web: Any) -> None:
    """Nobody is shown a key, so nobody can approve it; with an address in it, people can."""
    before = len(web.upstream.seen)
    for arguments in (["-d", f"key={KEY}", "/held/1"], [f"/held/2?key={KEY}"], ["-H", f"X-Thing: {KEY}", "/held/3"],
                      ["-H", f"X-Wicketgate-Reason: {KEY}", "/held/4"]):  # fmt: skip
        done = web.curl("-w", "\n%{http_code}", *arguments, target="detecting-api")
        body, _, status = done.stdout.rpartition(b"\n")
        assert status == b"403", body
        assert json.loads(body)["code"] == "hold-not-showable"
    status = web.curl("-o", "/dev/null", "-w", "%{http_code}", "-d", "mail=ann@example.com", "/held/5",
                      target="detecting-api").stdout  # fmt: skip
    assert status == b"202"
    assert len(web.upstream.seen) == before
