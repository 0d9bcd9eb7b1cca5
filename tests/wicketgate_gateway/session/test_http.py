"""What a request is understood as. (Sessions from end to end: tests/e2e/test_http.py and test_http_holds.py.)"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from wicketgate_gateway.policy.http import ABSENT, UNREADABLE, RequestPoint
from wicketgate_gateway.session.http import HttpSession
from wicketgate_gateway.wire.http.head import HttpError, RequestHead
from wicketgate_gateway.wire.http.target import parse_target

pytestmark = pytest.mark.anyio


def exchange(line: str, *headers: tuple[str, str], body: bytes = b"") -> Any:
    """A request as its connection has it."""
    method, _, path = line.partition(" ")

    async def read(_limit: int) -> bytes:
        return body

    head = RequestHead(1, headers, method, path)
    return SimpleNamespace(head=head, target=parse_target(path), prefix="", length=len(body), body=read)


async def understood(asked: Any, *, reads: bool = False) -> tuple[Any, RequestPoint]:
    """What the session makes of it, with or without a rule that looks into bodies."""
    from wicketgate_gateway.contract.policy import Rule
    from wicketgate_gateway.policy.compile import compile_rule

    rule = Rule.model_validate({"allow": {"http": {"methods": "*", "json": {"$.a": "1"}}}})
    policy = SimpleNamespace(rules=[compile_rule("p", 1, rule, {})] if reads else [], data_masks=(), operations=None)
    session: Any = SimpleNamespace(policy=policy)
    found = await HttpSession(session, SimpleNamespace(), lambda: None).understand(asked)  # type: ignore[arg-type]
    (point,) = found.points
    assert isinstance(point, RequestPoint)
    return found, point


async def test_bodies_are_read_only_where_a_rule_looks() -> None:
    """Else they are not known, which an `allow` on fields does not cover."""
    asked = exchange("POST /a", ("Content-Type", "application/json"), body=b'{"a": 1}')
    found, point = await understood(asked)
    assert (found.body, point.body) == (None, UNREADABLE)
    found, point = await understood(asked, reads=True)
    assert (found.body, point.body) == (b'{"a": 1}', {"a": 1})
    _, point = await understood(exchange("POST /a", ("Content-Type", "text/plain"), body=b'{"a": 1}'), reads=True)
    assert point.body is UNREADABLE
    _, point = await understood(exchange("GET /a"), reads=True)
    assert point.body is ABSENT


async def test_what_goes_out_is_what_was_understood() -> None:
    """Path, query and headers."""
    found, point = await understood(exchange("GET /%61/b?x=%41", ("Cookie", "a"), ("Accept", "b")))
    assert (found.method, found.path, found.headers) == ("GET", "/a/b?x=%41", (("Accept", "b"),))
    assert (point.segments, point.query, point.headers) == (("a", "b"), {"x": ("A",)}, {"accept": ("b",)})


async def test_upgrades() -> None:
    """WebSocket alone, and only as it must be asked for."""
    asked = (("Connection", "Upgrade"), ("Upgrade", "websocket"))
    found, point = await understood(exchange("GET /ws", *asked))
    assert found.upgrade == point.upgrade == "websocket"
    found, _ = await understood(exchange("GET /ws", ("Connection", "Upgrade"), ("Upgrade", "h2c")))
    assert found.upgrade == ""
    with pytest.raises(HttpError):
        await understood(exchange("POST /ws", *asked))


async def test_ambiguous_json_is_refused() -> None:
    """Where a rule looks into it."""
    with pytest.raises(HttpError, match="a key comes twice"):
        await understood(
            exchange("POST /a", ("Content-Type", "application/json"), body=b'{"a": 1, "a": 2}'), reads=True
        )
