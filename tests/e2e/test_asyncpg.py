"""asyncpg through the gateway: it describes statements, never portals, and takes everything in binary."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import asyncpg
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.anyio]


async def connect(gateway: Any, **more: Any) -> asyncpg.Connection:
    context = ssl.create_default_context(cafile=str(gateway.ca_file))
    context.set_alpn_protocols(["postgresql"])
    return await asyncpg.connect(
        host="localhost",
        port=gateway.ports["postgres"],
        user="bot",
        database="orders-db",
        password=gateway.cloud.bot_token(),
        ssl=context,
        **more,
    )


async def test_masks(gateway: Any) -> None:
    db = await connect(gateway)
    rows = await db.fetch("SELECT id, email, card, balance FROM customers WHERE id <= $1 ORDER BY id", 2)
    assert [tuple(row) for row in rows] == [
        (1, "a***@example.com", "•••", None),
        (2, "b***@example.org", "•••", None),
    ]
    await db.close()


async def test_prepared_statements_are_run_many_times(gateway: Any) -> None:
    db = await connect(gateway)
    statement = await db.prepare("SELECT email, id FROM customers WHERE id = $1")
    for i in range(50):
        row = await statement.fetchrow(i % 2 + 1)
        assert row is not None
        assert tuple(row) == (("a***@example.com", 1), ("b***@example.org", 2))[i % 2]
    await db.close()


async def test_denied_and_going_on(gateway: Any) -> None:
    db = await connect(gateway)
    for _ in range(3):
        with pytest.raises(asyncpg.InsufficientPrivilegeError) as caught:
            await db.fetch("SELECT * FROM secrets WHERE id = $1", 1)
        assert caught.value.hint
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await db.execute("DELETE FROM customers")
        assert await db.fetchval("SELECT 1") == 1
    await db.close()


async def test_cursors_in_a_transaction(gateway: Any) -> None:
    db = await connect(gateway)
    async with db.transaction():
        cursor = await db.cursor("SELECT id, email FROM customers ORDER BY id")
        first = await cursor.fetch(1)
        async with db.transaction():
            await db.execute("INSERT INTO uploads VALUES (700, 'x')")
        second = await cursor.fetch(2)
    assert [tuple(r) for r in (*first, *second)] == [
        (1, "a***@example.com"), (2, "b***@example.org"), (3, None)
    ]  # fmt: skip
    await db.close()


async def test_a_cursor_lives_through_a_rolled_back_savepoint(gateway: Any) -> None:
    db = await connect(gateway)
    async with db.transaction():
        cursor = await db.cursor("SELECT id, email FROM customers ORDER BY id")
        first = await cursor.fetch(1)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with db.transaction():
                await db.execute("SELECT * FROM secrets")
        second = await cursor.fetch(1)
    assert [r["email"] for r in (*first, *second)] == ["a***@example.com", "b***@example.org"]
    await db.close()


async def test_copy(gateway: Any) -> None:
    db = await connect(gateway)
    records = [(200_000 + i, "y" * 20) for i in range(10_000)]
    assert await db.copy_records_to_table("uploads", records=records) == "COPY 10000"
    count = 0

    async def take(data: bytes) -> None:
        nonlocal count
        count += len(data)

    await db.copy_from_query("SELECT * FROM uploads WHERE id >= 200000", output=take)
    assert count > 10_000 * 20
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await db.copy_from_query("SELECT id FROM customers ORDER BY email", output=take)
    assert await db.fetchval("SELECT 1") == 1
    await db.close()


async def test_many_sessions_at_once(gateway: Any) -> None:
    connections = await asyncio.gather(*(connect(gateway) for _ in range(20)))
    values = await asyncio.gather(*(db.fetchval("SELECT $1::int", i) for i, db in enumerate(connections)))
    assert values == list(range(20))
    await asyncio.gather(*(db.close() for db in connections))


async def test_cancel_by_timeout(gateway: Any) -> None:
    db = await connect(gateway)
    with pytest.raises(asyncio.TimeoutError):
        await db.execute("SELECT pg_sleep(60)", timeout=0.3)
    assert await db.fetchval("SELECT 1") == 1
    await db.close()


async def test_direct_tls(gateway: Any) -> None:
    db = await connect(gateway, direct_tls=True)
    assert await db.fetchval("SELECT 1") == 1
    await db.close()


async def test_one_stream_of_rows_does_not_starve_another_session(gateway: Any) -> None:
    bulk, small = await connect(gateway), await connect(gateway)

    async def stream() -> int:
        async with bulk.transaction():
            return sum([1 async for _ in bulk.cursor("SELECT g, repeat('z', 500) FROM generate_series(1, 100000) g")])

    running = asyncio.create_task(stream())
    done = 0
    while not running.done():
        async with asyncio.timeout(5):
            assert await small.fetchval("SELECT 1") == 1
        done += 1
    assert await running == 100_000
    assert done > 20
    await asyncio.gather(bulk.close(), small.close())
