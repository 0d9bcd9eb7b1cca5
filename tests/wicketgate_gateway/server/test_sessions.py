"""What all protocols share: who is let in, what is on record, who is checked again."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from wicketgate_gateway.audit.events import SessionRefused
from wicketgate_gateway.contract.gateway import GatewayTarget, TargetKind
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.server.sessions import LogInError, Sessions

pytestmark = pytest.mark.anyio
RULES = "rules:\n  - allow: {sql: {statements: [read]}}\n"


class World:
    """Sessions whose neighbours are one answer each."""

    def __init__(self, decider: Any) -> None:
        self.events: list[Any] = []
        self.principal = decider.principal
        self.answer: Any = decider.principal
        self.fail = False
        target = GatewayTarget(kind=TargetKind.POSTGRES, agent="eu", labels={"env": "prod"})
        config: Any = SimpleNamespace(
            targets={"orders-db": target, "api": GatewayTarget(kind=TargetKind.HTTP, agent="eu")},
            limits=SimpleNamespace(sessions=1, groups_cache="60s"),
        )
        gate: Any = SimpleNamespace(
            policies=lambda: decider.set, catalogue=lambda _: None, journal=self, mask_key=b"k" * 32
        )
        self.sessions = Sessions(config, gate, self, self)  # pyright: ignore[reportArgumentType]

    def submit(self, events: Any, release: Any = None) -> None:
        self.events += events
        if release is not None:
            release(OSError("full") if self.fail else None)

    def agent_of(self, _target: str) -> str:
        return "eu"

    async def recheck(self, _principal: Any) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Live:
    """A session that runs."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.over = False
        self.busy = False
        self.ends: list[str] = []
        self.became: Any = None

    def end(self, _sqlstate: str, _message: str, *, hint: str = "", reason: str) -> None:
        self.ends.append(reason)
        self.over = True

    def become(self, principal: Any) -> None:
        self.became = principal


@pytest.fixture
def world(decider: Any) -> World:
    """One bot that may read one database."""
    return World(decider(RULES))


async def test_one_answer_for_what_is_not_there_and_what_is_not_allowed(world: World) -> None:
    """And the targets of this kind that the bot may use."""
    for name, kind in (("nope", TargetKind.POSTGRES), ("orders-db", TargetKind.HTTP), ("api", TargetKind.HTTP)):
        with pytest.raises(LogInError, match=f"no policy lets this bot use the target `{name}`") as caught:
            world.sessions.session_for(world.principal, name, kind, peer="p")
        assert caught.value.code == "no-policy"
    with pytest.raises(LogInError) as caught:
        world.sessions.session_for(world.principal, "", TargetKind.POSTGRES, peer="p", named_by="as the host")
    assert (caught.value.code, caught.value.remedy) == ("target-missing", "use as the host one of: `orders-db`")


async def test_a_session_of_its_kind(world: World) -> None:
    """The protocol is the target's kind."""
    session = world.sessions.session_for(world.principal, "orders-db", TargetKind.POSTGRES, peer="p", client="c" * 300)
    opening = session.opening
    assert (opening.protocol, opening.agent, len(opening.client)) == ("postgres", "eu", 200)
    assert session.held("GET /x").protocol == "postgres"


async def test_room_kills_and_records(world: World) -> None:
    """Each has its words."""
    session = world.sessions.session_for(world.principal, "orders-db", TargetKind.POSTGRES, peer="p")
    assert not world.sessions.full
    world.sessions.add(Live(session), lambda: None)
    assert world.sessions.full
    world.sessions.refuse_killed(session)
    world.sessions.killed = lambda *_: SimpleNamespace(reason="astray", by="Ann")  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(LogInError, match="cut off by Ann: astray"):
        world.sessions.refuse_killed(session)
    world.sessions.refused("bad", "why", protocol="http", peer="p", target="t" * 100, principal=world.principal)
    (event,) = world.events
    assert isinstance(event, SessionRefused)
    assert (event.code, event.protocol, len(event.target), event.bot_id) == (
        "bad",
        "http",
        63,
        world.principal.object_id,
    )
    world.fail = True
    with pytest.raises(LogInError, match="what is not recorded does not happen"):
        await world.sessions.journalled([event])


async def test_bots_are_checked_again(world: World) -> None:
    """Taken up as they are, or out."""
    session = world.sessions.session_for(world.principal, "orders-db", TargetKind.POSTGRES, peer="p")
    live = Live(session)
    world.sessions.add(live, lambda: None)
    world.answer = dataclasses.replace(world.principal, name="other")
    await world.sessions.recheck([live])
    assert live.became == world.answer
    world.answer = Refused("bot-disabled", "it is disabled", "")
    await world.sessions.recheck([live])
    assert live.ends == ["bot-disabled: it is disabled"]
    assert world.sessions.running() == []
    world.sessions.remove(live)
    assert len(world.sessions) == 0


async def test_a_check_that_breaks_ends_the_session(world: World) -> None:
    """Fail closed."""
    live = Live(world.sessions.session_for(world.principal, "orders-db", TargetKind.POSTGRES, peer="p"))
    world.answer = ValueError("x")
    await world.sessions.recheck([live])
    assert live.ends == ["internal-error"]
