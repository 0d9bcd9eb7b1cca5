"""The tables that queries are built from are those that the migrations make, in both kinds of store."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import inspect

from wicketgate_gateway.approvals import tables

pytestmark = pytest.mark.anyio


async def test_tables_and_migrations_agree(world: Any) -> None:
    def look(connection: Any) -> dict[str, dict[str, bool]]:
        inspector = inspect(connection)
        return {
            name: {column["name"]: column["nullable"] for column in inspector.get_columns(name)}
            for name in inspector.get_table_names()
        }

    async with world.store.database.engine.connect() as connection:
        found = await connection.run_sync(look)
    assert found.pop("control_schema") == {"version": False}
    assert set(found) == set(tables.METADATA.tables)
    for name, table in tables.METADATA.tables.items():
        keys = {column.name for column in table.primary_key}
        wanted = {column.name: bool(column.nullable) for column in table.columns}
        # SQLite lets keys be NULL by its reflection; that they are keys is what counts.
        assert {n: v for n, v in found[name].items() if n not in keys} == {
            n: v for n, v in wanted.items() if n not in keys
        }
        assert set(found[name]) == set(wanted)
