"""Stores of both kinds, a clock to turn, and a bot, a rule and people to play with."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from wicketgate.testing.postgres import PostgresServer
from wicketgate_gateway.approvals.model import Choice, Held, Parameter, Request
from wicketgate_gateway.approvals.service import Approvals, groups_to_check
from wicketgate_gateway.approvals.store import ApprovalStore, open_store
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.contract.verdict import HoldTerms

SECOND = 1_000_000_000


@dataclass
class Turned:
    """A clock that runs as the machine's does, and can be turned."""

    offset: int = 0

    def __call__(self) -> int:
        return time.time_ns() + self.offset

    def turn(self, seconds: float) -> None:
        self.offset += round(seconds * SECOND)


class World:
    """One store with the service on it, and everyone who acts."""

    approvers, others, owners, bot, ann, bob, eve = (f"00000000-0000-4000-8000-{i:012x}" for i in range(10, 17))

    def __init__(self, url: str, store: ApprovalStore, clock: Turned) -> None:
        self.url, self.store, self.clock = url, store, clock
        self.policy = "sha256:" + "1" * 64
        self.gone: dict[str, str] = {}
        self.approvals = Approvals(store, policy=lambda: self.policy, bot_gone=self._gone)

    async def _gone(self, bot_id: str) -> str:
        return self.gone.get(bot_id, "")

    def held(self, **changed: Any) -> Held:
        given: dict[str, Any] = {
            "bot_id": self.bot,
            "bot": "code-review",
            "owner": "group:platform",
            "owner_id": self.owners,
            "target": "orders-db",
            "protocol": "postgres",
            "session": "session-1",
            "statement": "DELETE FROM orders WHERE id = $1",
            "parameters": (Parameter("23", 0, b"7"),),
            "facts": {"search_path": "public", "role": "app", "standard_conforming_strings": "on"},
            "policy": self.policy,
            "reason": "ticket 7",
        }
        return Held(**{**given, **changed})

    def terms(self, **changed: Any) -> HoldTerms:
        given: dict[str, Any] = {"rule": "orders#2", "approver_groups": (self.approvers,), "approver_names": ("dba",)}
        return HoldTerms(**{**given, **changed})

    def person(
        self, oid: str, *groups: str, kind: PrincipalKind = PrincipalKind.PERSON, name: str = "Ann"
    ) -> Principal:
        return Principal(kind, "tenant", oid, "cli", name, "uti", 0.0, groups=frozenset(groups or {self.approvers}))

    async def ask(self, terms: HoldTerms | None = None, **changed: Any) -> Request:
        return await self.approvals.ask(self.held(**changed), terms or self.terms())

    async def answer(self, request: Request, choice: Choice, who: Principal | str = "", **more: Any) -> Request:
        person = who if isinstance(who, Principal) else self.person(who or self.ann)
        more.setdefault("checked", groups_to_check(request))
        return await self.approvals.decide(request.handle, person, choice, **more)

    async def approved(self, terms: HoldTerms | None = None, **changed: Any) -> Request:
        return await self.answer(await self.ask(terms, **changed), Choice.APPROVE)


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of each kind."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/state/control.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    name = f"control_{uuid.uuid4().hex[:12]}"
    server.create_user("wicketgate_control", "store password")
    server.create_database(name, "wicketgate_control")
    return server.dsn("wicketgate_control", "store password", name)


@pytest.fixture
async def world(store_url: str) -> AsyncIterator[World]:
    """A store of each kind with the service on it."""
    clock = Turned()
    store = await open_store(store_url, clock=clock)
    yield World(store_url, store, clock)
    await store.close()


@pytest.fixture
async def sqlite_world(tmp_path: Path) -> AsyncIterator[World]:
    """Where the kind of store makes no difference."""
    clock = Turned()
    url = f"sqlite+aiosqlite:///{tmp_path}/state/control.db"
    store = await open_store(url, clock=clock)
    yield World(url, store, clock)
    await store.close()


@pytest.fixture
def refused() -> Callable[[str], Any]:
    """`with refused("code"):` the block raises a WicketgateError of that code."""
    from wicketgate_gateway.contract.errors import WicketgateError

    class Refused:
        def __init__(self, code: str) -> None:
            self.code = code

        def __enter__(self) -> None: ...

        def __exit__(self, kind: object, error: BaseException | None, _: object) -> bool:
            assert isinstance(error, WicketgateError), f"nothing was refused, `{self.code}` was expected: {error!r}"
            assert error.code == self.code, error
            assert error.remedy
            return True

    return Refused
