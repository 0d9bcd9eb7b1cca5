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
