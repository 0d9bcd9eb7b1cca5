"""A session with the real policy engine, journal and recorder; only its two ends are lists."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from wicketgate_gateway.audit.events import AuditEvent
from wicketgate_gateway.contract.gateway import GatewayTarget, TargetKind
from wicketgate_gateway.recording.journal import Journal
from wicketgate_gateway.recording.recorder import Recorder
from wicketgate_gateway.session.postgres import PostgresSession
from wicketgate_gateway.session.session import Gate, Notices, Opening, Session
from wicketgate_gateway.session.ssh import SshSession
from wicketgate_gateway.tunnel.messages import SshChannel
from wicketgate_gateway.wire.ssh.channel import FrameDecoder

_EVENTS = msgspec.msgpack.Decoder(AuditEvent)
PARAMETERS = {"standard_conforming_strings": "on", "client_encoding": "UTF8", "search_path": "public"}
RULES = """
rules:
  - allow: {sql: {statements: [read], relations: [public.*]}}
  - allow: {sql: {statements: [write], relations: [public.orders]}}
mask:
  - {columns: [public.customers.email], with: redact}
"""


class World:
    """One session, what went out of it, and what stands in the journal."""

    def __init__(self, decider: Any, folder: Path) -> None:
        self.events: list[AuditEvent] = []
        self.client = b""
        self.target = b""
        self.over: list[bool] = []
        self.asked_to_refresh: list[str] = []
        self.policies = decider.set
        self.catalogue = decider.session.catalogue
        self.journal = Journal(folder / "journal")
        submit = self.journal.submit

        def spy(events: Any, release: Any = None) -> None:
            self.events += [_EVENTS.decode(event) if isinstance(event, msgspec.Raw) else event for event in events]
            submit(events, release)

        self.journal.submit = spy  # type: ignore[method-assign]
        self.recorder = Recorder(folder / "recordings")
        self.notices = Notices(self.journal)
        self.gate = Gate(
            self.journal,
            self.notices,
            self.recorder,
            lambda: self.policies,
            lambda _: self.catalogue,
            self.asked_to_refresh.append,
            b"k" * 32,
            10_000,
        )
        target = GatewayTarget(kind=TargetKind.POSTGRES, agent="eu", labels={"env": "prod"})
        self.opening = Opening(decider.principal, "orders-db", target, "postgres", "1.2.3.4:5", "eu", "psql")
        self.session = Session(self.gate, self.opening)
        self.postgres = PostgresSession(self.session, self, PARAMETERS)
        self.session.start()

    def to_client(self, data: bytes) -> None:
        self.client += data

    def to_target(self, data: bytes) -> None:
        self.target += data

    def wake(self) -> None:
        asyncio.get_running_loop().call_soon(self.postgres.pump)

    def ended(self, *, terminate: bool) -> None:
        self.over.append(terminate)

    async def send(self, *parts: bytes) -> bytes:
        """What the target gets for what the client sends."""
        self.target = b""
        self.postgres.from_client(b"".join(parts))
        for _ in range(200):
            await asyncio.sleep(0)
        return self.target

    async def answer(self, *parts: bytes) -> bytes:
        """What the client gets for what the target sends."""
        self.client = b""
        self.postgres.from_target(b"".join(parts))
        for _ in range(5):
            await asyncio.sleep(0)
        return self.client

    def of(self, kind: type[Any]) -> list[Any]:
        """The events of one kind."""
        self.notices.flush()
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
async def make_world(decider: Any, tmp_path: Path) -> AsyncIterator[Callable[..., World]]:
    """`make_world(rules)`: see `World`."""
    made: list[World] = []

    def make(rules: str = RULES) -> World:
        made.append(World(decider(rules), tmp_path / str(len(made))))
        return made[-1]

    yield make
    for world in made:
        await world.recorder.close()
        await world.journal.drain()
        world.journal.close()


@pytest.fixture
async def world(make_world: Callable[..., World]) -> World:
    """A session whose bot reads everything (e-mail addresses masked) and writes orders."""
    return make_world()


SSH_RULES = """
rules:
  - allow: {ssh: {commands: [uname -a, cat]}}
  - hold: {ssh: {commands: [reboot *]}, approvers: {groups: [dba]}}
"""


class SshStream:
    """A stream of the tunnel or of the link, as a session has it."""

    def __init__(self, opening: Any = None) -> None:
        self.opening = opening
        self.came: list[tuple[int, bytes]] = []
        self.closed: str | None = None
        self.returned = 0
        self.writable = True
        self.on_data: Callable[[bytes], None] = lambda _: None
        self.on_close: Callable[[str], None] = lambda _: None
        self.on_writable: Callable[[], None] = lambda: None
        self._decoder = FrameDecoder()

    def send(self, data: bytes) -> None:
        self.came += self._decoder.feed(data)

    def consumed(self, count: int) -> None:
        self.returned += count

    def close(self, reason: str) -> None:
        self.closed = self.closed or reason

    def end(self, reason: str) -> None:
        """The other side ends it."""
        self.on_close(reason)

    def of(self, kind: int) -> bytes:
        """All that was sent of one kind."""
        return b"".join(payload for found, payload in self.came if found == kind)


class SshWorld(World):
    """One SSH session, its client, and what was opened at the target."""

    def __init__(self, decider: Any, folder: Path) -> None:
        super().__init__(decider, folder)
        self.fail_journal = False
        self.opened: list[SshStream] = []
        self.recorded_then: list[Any] = []
        self.before_open: Callable[[], list[Any]] = list
        self.overs = 0
        self.client: Any = SshStream()
        submit = self.journal.submit

        def failing(events: Any, release: Any = None) -> None:
            if self.fail_journal and release is not None:
                asyncio.get_running_loop().call_soon(release, OSError("full"))
            else:
                submit(events, release)

        self.journal.submit = failing  # type: ignore[method-assign]
        self.ssh = SshSession(self.session, self.client, self._open, on_over=self._over)

    async def _open(self, target: str, opening: Any) -> Any:
        assert target == "orders-db"
        self.recorded_then = self.before_open()
        self.opened.append(SshStream(opening))
        return self.opened[-1], None

    def _over(self) -> None:
        self.overs += 1

    def channels(self) -> list[SshStream]:
        """Those at the target, without the connection's own."""
        return self.opened[1:]

    def ask(self, command: str, kind: str = "exec", **more: Any) -> SshStream:
        """The client opens a channel."""
        stream: Any = SshStream()
        self.ssh.open_channel(stream, SshChannel(session=self.session.id, kind=kind, command=command, **more))
        return stream


@pytest.fixture
async def make_ssh(decider: Any, tmp_path: Path) -> AsyncIterator[Callable[..., SshWorld]]:
    """`make_ssh(rules)`: see `SshWorld`."""
    made: list[SshWorld] = []

    def make(rules: str = SSH_RULES) -> SshWorld:
        made.append(SshWorld(decider(rules), tmp_path / str(len(made))))
        return made[-1]

    yield make
    for world in made:
        world.fail_journal = False
        world.ssh.end("57P01", "the test ends", reason="test")
        await world.recorder.close()
        await world.journal.drain()
        world.journal.close()
