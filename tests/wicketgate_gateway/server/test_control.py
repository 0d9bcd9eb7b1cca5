"""The process's part in the control store: kills are known before anyone is let in; a store that cannot be read stops
the start."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wicketgate_gateway.approvals.model import Scope
from wicketgate_gateway.approvals.store import open_store
from wicketgate_gateway.audit.events import KillOrdered
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.server.control import Control

pytestmark = pytest.mark.anyio
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
