"""The store that is gone, replaced, locked, too new or somebody else's: nothing is approved."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import time
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from wicketgate.testing.postgres import PostgresServer
from wicketgate_gateway.approvals import database as module
from wicketgate_gateway.approvals.database import Database, default_url
from wicketgate_gateway.approvals.model import Scope
from wicketgate_gateway.approvals.store import open_store
from wicketgate_gateway.contract.errors import WicketgateError

pytestmark = pytest.mark.anyio


async def everything_fails(world: Any, refused: Any, handle: str) -> None:
    with refused("approvals-unavailable"):
        await world.ask(statement="DELETE FROM another")
    with refused("approvals-unavailable"):
        await world.approvals.claim(world.held(), "orders#2")
    with refused("approvals-unavailable"):
        await world.store.vote(handle, None)


async def test_a_file_that_was_removed_or_replaced(sqlite_world: Any, refused: Any, tmp_path: Path) -> None:
    world = sqlite_world
    request = await world.approved()
    path = world.store.database.path
    path.rename(tmp_path / "away")
    await everything_fails(world, refused, request.handle)
    shutil.copy(tmp_path / "away", path)  # a copy that holds the same approval is not the store
    await everything_fails(world, refused, request.handle)
    path.unlink()
    (tmp_path / "away").rename(path)
    assert await world.approvals.claim(world.held(), "orders#2") is not None


async def test_a_file_that_someone_holds_on_to(
    sqlite_world: Any, refused: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = sqlite_world
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.2)
    other = await open_store(world.url, clock=world.clock)
    async with world.store.database.writing():
        with refused("approvals-unavailable"):
            async with other.database.writing():
                pass
    async with other.database.writing():
        pass
    await other.close()


async def test_the_file_is_its_owners_alone(sqlite_world: Any) -> None:
    await sqlite_world.ask()
    path = sqlite_world.store.database.path
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_link_is_not_followed(tmp_path: Path, refused: Any) -> None:
    os.symlink(tmp_path / "elsewhere", tmp_path / "control.db")
    with refused("approvals-unavailable"):
        await open_store(default_url(tmp_path))
    assert not (tmp_path / "elsewhere").exists()


async def test_a_file_that_is_no_database(tmp_path: Path, refused: Any) -> None:
    (tmp_path / "control.db").write_bytes(b"not a database" * 100)
    with refused("approvals-unavailable"):
        await open_store(default_url(tmp_path))


async def test_an_update_that_does_not_commit_leaves_nothing(world: Any) -> None:
    request = await world.approved()

    async def dies() -> None:
        async with world.store.database.writing() as (connection, _):
            await connection.execute(text("UPDATE requests SET state = 'used'"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await dies()
    assert (await world.store.get(request.handle)).open
    assert await world.approvals.claim(world.held(), "orders#2") is not None


async def test_a_caller_that_is_cancelled_leaves_nothing_behind(world: Any) -> None:
    await world.approved()
    for turn in range(30):
        task = asyncio.create_task(world.ask(statement=f"DELETE FROM t{turn}"))
        await asyncio.sleep(turn * 0.0004)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        world.clock.turn(0.01)
    async with asyncio.timeout(5):
        assert await world.approvals.claim(world.held(), "orders#2") is not None


async def test_a_store_of_a_later_version(world: Any, refused: Any) -> None:
    async with world.store.database.writing() as (connection, _):
        await connection.execute(text("UPDATE control_schema SET version = 99"))
    with refused("store-newer"):
        await open_store(world.url)


async def test_processes_that_make_it_at_once(store_url: str) -> None:
    stores = await asyncio.gather(*(open_store(store_url) for _ in range(4)))
    for store in stores:
        assert await store.list() == []
        await store.close()


async def test_urls_that_are_refused_are_not_repeated() -> None:
    urls = (
        "mysql://u:pass-word@h/d",
        "postgresql://u:pass-word@h",
        "sqlite://",
        "sqlite+aiosqlite:///:memory:",
        "x",
        "",
    )
    for url in (*urls, "postgresql+psycopg://u:pass-word@h/d"):
        with pytest.raises(WicketgateError) as caught:
            await Database.open(url)
        assert caught.value.code == "store-url-invalid"
        assert "pass-word" not in str(caught.value) + repr(caught.value.__cause__) + repr(caught.value.__context__)


async def test_a_server_that_is_not_there() -> None:
    with pytest.raises(WicketgateError) as caught:
        await Database.open("postgresql://u:pass-word@127.0.0.1:1/d")
    assert caught.value.code == "approvals-unavailable"
    assert "pass-word" not in str(caught.value)


async def test_a_server_elsewhere_must_show_a_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def connect(dsn: str, **_: Any) -> None:
        asked.append(dsn)
        raise OSError

    monkeypatch.setattr(asyncpg, "connect", connect)
    for url in ("postgresql://u@db.example.com/d", "postgresql+asyncpg://u@db.example.com/d?sslmode=require"):
        with pytest.raises(WicketgateError):
            await Database.open(url)
    assert asked == [
        "postgresql://u@db.example.com/d?sslmode=verify-full",
        "postgresql://u@db.example.com/d?sslmode=require",
    ]


async def test_a_server_that_goes_and_comes_back(
    postgres: PostgresServer, world: Any, refused: Any, store_url: str
) -> None:
    if not store_url.startswith("postgres"):
        return
    request = await world.approved()
    waiter = asyncio.create_task(
        world.store.wait((await world.ask(statement="DELETE FROM w")).handle, world.clock() + 10**11)
    )
    await asyncio.sleep(0.2)
    name = world.store.database.url.database
    kill = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name}'"
    postgres.sql(kill)
    # The pool looks at a connection before it uses it, and the listener comes back.
    assert await world.approvals.claim(world.held(), "orders#2") is not None
    assert (await world.store.get(request.handle)).uses == 1
    waiter.cancel()
    postgres.sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false;\n{kill}')
    await everything_fails(world, refused, request.handle)
    postgres.sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    await world.ask(statement="DELETE FROM another")


async def test_a_gateway_that_hangs_in_its_turn(world: Any, monkeypatch: pytest.MonkeyPatch, refused: Any) -> None:
    """Others are refused meanwhile, in bounded time; nothing of what it did holds if it is thrown out."""
    if world.store.database.kind != "postgresql":
        return
    monkeypatch.setattr(module, "WAIT_SECONDS", 1)
    other = await open_store(world.url)
    held = await asyncpg.connect(world.url)
    transaction = held.transaction()
    await transaction.start()
    await held.execute(f"SELECT pg_advisory_xact_lock({module._LOCK})")
    before = time.monotonic()
    with refused("approvals-unavailable"):
        await other.sweep() or await other.kill(Scope.ALL, "", by="", by_id="", reason="")
    assert time.monotonic() - before < 4
    await held.close()
    await other.close()


async def test_the_servers_clock_holds_in_postgresql(store_url: str) -> None:
    store = await open_store(store_url)
    async with store.database.reading() as (_, now):
        assert abs(now - time.time_ns()) < 5 * 10**9
    await store.close()
