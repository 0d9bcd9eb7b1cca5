"""What the listener's log-in decides, with the real policy engine. (Sockets and clients: tests/e2e.)"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from wicketgate_gateway.audit.events import SessionEnded, SessionRefused, SessionStarted
from wicketgate_gateway.contract.gateway import GatewayConfig, GatewayTarget, TargetKind
from wicketgate_gateway.recording.journal import Journal
from wicketgate_gateway.recording.recorder import Recorder
from wicketgate_gateway.server.postgres import PostgresListener
from wicketgate_gateway.server.sessions import LogInError, Sessions
from wicketgate_gateway.session.session import Gate, Notices
from wicketgate_gateway.tunnel.messages import Opened
from wicketgate_gateway.wire.postgres.login import CancelRequest, StartUp

pytestmark = pytest.mark.anyio
UUID = "11111111-1111-4111-8111-111111111111"
RULES = "rules:\n  - allow: {sql: {statements: [read]}}\n"
PARAMETERS = {"standard_conforming_strings": "on", "client_encoding": "UTF8", "search_path": "public"}


class World:
    """A listener whose identity and agents are one answer each."""

    def __init__(self, decider: Any, folder: Path, fakes: Any) -> None:
        self.principal = decider.principal
        self.events: list[Any] = []
        self.opened: list[Any] = []
        self.stream = fakes.stream()
        self.parameters = dict(PARAMETERS)
        self.journal = Journal(folder / "journal")
        submit = self.journal.submit

        def spy(events: Any, release: Any = None) -> None:
            self.events += events
            submit(events, release)

        self.journal.submit = spy  # type: ignore[method-assign]
        self.recorder = Recorder(folder / "recordings")
        gate = Gate(
            self.journal,
            Notices(self.journal),
            self.recorder,
            lambda: decider.set,
            lambda _: None,
            lambda _: None,
            b"k" * 32,
            1000,
        )
        target = GatewayTarget(kind=TargetKind.POSTGRES, agent="eu", labels={"env": "prod"})
        config = GatewayConfig.model_validate(
            {
                "name": "gate", "entra": {"tenant": UUID}, "audience": UUID,
                "workload": {"client_id": UUID, "token_file": "x"}, "agents": {},
                "listen": {"postgres": {"port": 0}, "agents": {"port": 0}},
                "tls": {"certificate_file": "x", "key_file": "x"}, "state": "x", "policies": "x",
                "targets": {"orders-db": target, "other-db": target}, "limits": {"sessions": 2},
            }
        )  # fmt: skip
        self.sessions = Sessions(config, gate, self, self)
        self.listener = PostgresListener(self.sessions)
        self.connection = self.listener._make(False)
        self.connection.connection_made(fakes.transport())

    async def bot(self, token: str) -> Any:
        return self.principal

    async def recheck(self, principal: Any) -> Any:
        return self.principal

    async def open(self, target: str, opening: Any) -> Any:
        self.opened.append(opening)
        return self.stream, Opened(parameters=self.parameters)

    def agent_of(self, target: str) -> str:
        return "eu"

    async def log_in(self, database: str = "orders-db", token: str = "t") -> None:
        parameters = {"user": "x", "application_name": "app"} | ({"database": database} if database else {})
        await self.listener.log_in(StartUp(0, parameters, ()), token, self.connection)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
async def world(decider: Any, tmp_path: Path, fakes: Any) -> Any:
    made = World(decider(RULES), tmp_path, fakes)
    yield made
    made.connection.connection_lost(None)
    await made.recorder.close()
    await made.journal.drain()
    made.journal.close()


async def test_a_session_begins_on_record(world: Any) -> None:
    await world.log_in()
    (started,) = world.of(SessionStarted)
    assert (started.bot, started.target, started.client, started.agent) == ("code-review", "orders-db", "app", "eu")
    assert world.opened[0].session == started.session
    assert world.connection.session is not None
    written = world.connection._transport.written
    assert written.startswith(b"R\0\0\0\x08\0\0\0\0S")
    assert written.endswith(b"Z\0\0\0\5I")


@pytest.mark.parametrize(
    ("database", "code"), [("other-db", "no-policy"), ("nowhere", "no-policy"), ("", "target-missing")]
)
async def test_targets_that_are_not_the_bots(world: Any, database: str, code: str) -> None:
    with pytest.raises(LogInError, match="no policy lets this bot use") as caught:
        await world.log_in(database)
    assert caught.value.code == code
    assert "`orders-db`" in caught.value.remedy
    assert "other-db" not in caught.value.remedy
    assert world.opened == []


async def test_a_bot_without_any_policy_is_told_no_names(world: Any) -> None:
    world.principal = dataclasses.replace(world.principal, groups=frozenset())
    with pytest.raises(LogInError) as caught:
        await world.log_in()
    assert "orders-db" not in caught.value.remedy


async def test_no_record_no_session(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Any) -> None:
        raise OSError(28, "full")

    monkeypatch.setattr(world.journal, "_write", broken)
    with pytest.raises(LogInError, match="recorded"):
        await world.log_in()
    monkeypatch.undo()
    assert world.stream.closed
    assert world.connection.session is None


async def test_a_server_that_is_not_as_pinned(world: Any) -> None:
    world.parameters["standard_conforming_strings"] = "off"
    with pytest.raises(Exception, match="standard_conforming_strings"):
        await world.log_in()
    assert world.stream.closed
    assert world.of(SessionStarted) == []


async def test_too_many_sessions(world: Any) -> None:
    others = [world.listener._make(False) for _ in range(2)]
    with pytest.raises(LogInError) as caught:
        await world.log_in()
    assert caught.value.sqlstate == "53300"
    for other in others:
        world.listener.gone(other)


async def test_refusals_say_who_as_far_as_it_is_proved(world: Any) -> None:
    world.connection.target = "x" * 100
    world.listener.refused(world.connection, "token-expired", "over")
    world.connection.principal = world.principal
    world.listener.refused(world.connection, "no-policy", "no")
    first, second = world.of(SessionRefused)
    assert first.bot_id == ""
    assert len(first.target) == 63
    assert second.bot_id == world.principal.object_id


async def test_cancel_and_the_end_of_its_key(world: Any) -> None:
    await world.log_in()
    written = world.connection._transport.written
    at = written.rindex(b"K\0\0\0\x0c") + 5
    request = CancelRequest(int.from_bytes(written[at : at + 4], "big"), written[at + 4 : at + 8])
    world.listener.cancel(CancelRequest(request.pid, b"\0\0\0\0"))
    assert world.stream.controls == []
    world.listener.cancel(request)
    assert len(world.stream.controls) == 1
    world.connection.session.end("57P01", "over", reason="test")
    world.listener.cancel(request)
    assert len(world.stream.controls) == 1
    assert world.of(SessionEnded)[0].reason == "test"


async def test_a_bot_that_lost_its_groups_is_out(world: Any) -> None:
    await world.log_in()
    world.principal = dataclasses.replace(world.principal, groups=frozenset())
    await world.sessions.recheck([world.connection.session])
    assert world.of(SessionEnded)[0].reason == "no-policy"
