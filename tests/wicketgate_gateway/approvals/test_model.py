"""What a kill is about, and which requests are open."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from wicketgate_gateway.approvals.model import Kill, Scope, State

SESSION: dict[str, Any] = {"bot_id": "b", "groups": frozenset({"g", "h"}), "target": "t", "session": "s"}


@pytest.mark.parametrize(
    ("scope", "value", "covered"),
    [
        (Scope.ALL, "", True),
        (Scope.BOT, "b", True),
        (Scope.BOT, "t", False),
        (Scope.GROUP, "h", True),
        (Scope.GROUP, "b", False),
        (Scope.TARGET, "t", True),
        (Scope.TARGET, "g", False),
        (Scope.SESSION, "s", True),
        (Scope.SESSION, "", False),
    ],
)
def test_what_a_kill_covers(scope: Scope, value: str, covered: bool) -> None:
    kill = Kill(1, scope, value, "Eve", "e", "", 1)
    assert kill.covers(**SESSION) is covered
    assert not dataclasses.replace(kill, lifted=2).covers(**SESSION)


@pytest.mark.anyio
async def test_open_is_what_may_still_be_decided_or_used(sqlite_world: Any) -> None:
    request = await sqlite_world.ask()
    open_states = {state for state in State if dataclasses.replace(request, state=state).open}
    assert open_states == {State.PENDING, State.APPROVED}
