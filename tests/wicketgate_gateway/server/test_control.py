"""The process's part in the control store: kills are known before anyone is let in; a store that cannot be read stops
the start."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wicketgate_gateway.approvals.gone import Gone
from wicketgate_gateway.approvals.model import Choice, Held, Request, Scope, State
from wicketgate_gateway.approvals.store import open_store
from wicketgate_gateway.audit.events import HoldDecided, KillOrdered
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import GatewayConfig
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.contract.policy import BundledBot
from wicketgate_gateway.contract.verdict import HoldTerms
from wicketgate_gateway.identity import http
from wicketgate_gateway.identity.authenticator import Authenticator
from wicketgate_gateway.server.control import Control

pytestmark = pytest.mark.anyio
GROUP = "10000000-0000-4000-8000-000000000009"
BOT = Principal(PrincipalKind.BOT, "t", "bot", "bot", "bot", "uti", 4e9)


def config(folder: Path, url_file: Path | None = None) -> Any:
    return SimpleNamespace(state=str(folder), control=SimpleNamespace(url_file=str(url_file) if url_file else None))


class Journal:
    """Takes everything at once."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def submit(self, events: Any, release: Any = None) -> None:
        self.events += events
        if release is not None:
            release(None)


async def test_what_was_killed_before_the_start_is_known_and_gets_on_record(tmp_path: Path) -> None:
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path}/control.db")
    await store.kill(Scope.BOT, "bot", by="Ann", by_id="ann", reason="astray")
    await store.close()
    control = await Control.open(config(tmp_path), lambda: "sha256:1")
    listener: Any = SimpleNamespace(running=list, killed=None)
    journal: Any = Journal()
    try:
        await control.watch(listener, journal)
        kill = listener.killed(BOT, "orders", "s1")
        assert kill is not None
        assert kill.reason == "astray"
        async with asyncio.timeout(10):
            while not journal.events:  # noqa: ASYNC110 - what is waited for tells by no event
                await asyncio.sleep(0.01)
        assert [type(e) for e in journal.events] == [KillOrdered]
    finally:
        await control.close()


async def test_without_a_store_the_process_does_not_start(tmp_path: Path) -> None:
    url = tmp_path / "url"
    url.write_text("postgresql+asyncpg://nobody@127.0.0.1:1/none?sslmode=disable")
    with pytest.raises(WicketgateError) as error:
        await Control.open(config(tmp_path, url), lambda: "sha256:1")
    assert error.value.code == "approvals-unavailable"


async def test_a_bot_that_is_disabled_in_entra_or_past_its_last_day_leaves_nothing_open(
    cloud: Any, tmp_path: Path
) -> None:
    bots = {cloud.ids["bot"]: BundledBot(name="code-review", owner="group:platform")}
    gate = GatewayConfig.model_validate(
        {
            "name": "gate",
            "entra": cloud.document(),
            "audience": cloud.audience,
            "workload": cloud.workload("gateway"),
            "agents": {},
            "listen": {"postgres": {"port": 0}, "agents": {"port": 0}},
            "tls": {"certificateFile": "x", "keyFile": "x"},
            "state": str(tmp_path),
            "policies": str(tmp_path),
            "targets": {},
            "limits": {"groupsCache": "1s"},
        }
    )
    held = Held(
        bot_id=cloud.ids["bot"], bot="code-review", owner="group:platform", owner_id=cloud.ids["others"],
        target="orders-db", protocol="postgres", session="s", statement="DELETE FROM orders", policy="sha256:1",
    )  # fmt: skip
    terms = HoldTerms("orders#2", (cloud.ids["dba"],), ("dba",), within=600.0)

    async with http.client(gate.entra) as client, asyncio.timeout(30):
        authenticator = Authenticator(gate, groups=lambda: frozenset({GROUP}), bots=lambda: bots, http=client)
        gone = Gone(cloud.entra.tenant, authenticator, lambda: bots)
        control = await Control.open(gate, lambda: "sha256:1", gone, seconds=0.05)
        listener: Any = SimpleNamespace(running=list, killed=None)
        journal: Any = Journal()

        async def asked() -> Request:
            request = await control.approvals.ask(held, terms)
            assert request.state is State.PENDING
            end = asyncio.get_running_loop().time() + 0.3
            while asyncio.get_running_loop().time() < end:  # it is looked at meanwhile, and it stays
                await asyncio.sleep(0.05)
                assert (await control.store.get(request.handle)).state is State.PENDING
            return request

        async def until_void(request: Request, why: str) -> None:
            while (found := await control.store.get(request.handle)).state is not State.VOID:  # noqa: ASYNC110 - tells by no event
                await asyncio.sleep(0.02)
            assert why in found.note

        try:
            await control.watch(listener, journal)
            request = await asked()
            cloud.patch(f"servicePrincipals/{cloud.ids['bot']}", {"accountEnabled": False})
            try:
                await until_void(request, "disabled or deleted in Entra")
                with pytest.raises(WicketgateError) as error:
                    await control.approvals.decide(
                        (await control.approvals.ask(held, terms)).handle,
                        Principal(
                            PrincipalKind.PERSON, "t", cloud.ids["Dana"], "cli", "Dana", "", 4e9,
                            groups=frozenset({cloud.ids["dba"]}),
                        ),
                        Choice.APPROVE,
                        checked=frozenset({cloud.ids["dba"], cloud.ids["others"]}),
                    )  # fmt: skip
                assert error.value.code in ("bot-gone", "hold-closed")
            finally:
                cloud.patch(f"servicePrincipals/{cloud.ids['bot']}", {"accountEnabled": True})
            await asyncio.sleep(1.1)  # Entra's answer is kept for a second
            request = await asked()
            bots[cloud.ids["bot"]] = BundledBot(name="code-review", owner="group:platform", expires="2026-01-01")
            await until_void(request, "expired at the end of 2026-01-01")
            decided = [e for e in journal.events if isinstance(e, HoldDecided) and e.state == "void"]
            assert decided
        finally:
            await control.close()
