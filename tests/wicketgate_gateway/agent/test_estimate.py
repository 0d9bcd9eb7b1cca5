"""How far statements would reach in the real demo database, which stays as it is."""

import time
from typing import Any

import asyncpg
import pytest

from wicketgate_gateway.agent import estimate as module
from wicketgate_gateway.agent.estimate import estimate, read_plan
from wicketgate_gateway.agent.target import Target
from wicketgate_gateway.contract.gateway import PostgresTarget
from wicketgate_gateway.tunnel.messages import Estimate, Estimated

pytestmark = pytest.mark.anyio
DATABASE, ROLE = "agent_demo", "agent_demo"


@pytest.fixture
def table(postgres: Any, agent_target: PostgresTarget) -> Any:
    """A table of 40 rows; `table()` counts those that are as they were."""
    postgres.sql(
        f"SET ROLE {ROLE}; CREATE TABLE reach (id int PRIMARY KEY, n int CHECK (n < 1000));"
        "INSERT INTO reach SELECT i, 0 FROM generate_series(1, 40) i; ANALYZE reach",
        DATABASE,
    )
    yield lambda: int(postgres.sql("SELECT count(*) FROM reach WHERE n = 0", DATABASE))
    postgres.sql("DROP TABLE reach", DATABASE)


async def measure(target: PostgresTarget, statement: str, **more: Any) -> Estimated:
    found = await estimate(
        Target("orders-db", target), Estimate(number=7, target="orders-db", statement=statement, **more)
    )
    assert found.number == 7
    return found


async def test_an_estimate_and_a_count_that_changes_nothing(table: Any, agent_target: PostgresTarget) -> None:
    found = await measure(agent_target, "UPDATE reach SET n = 1 WHERE id <= 10", count=True)
    assert found.counted == 10
    assert found.rows is not None
    assert 1 <= found.rows <= 40
    assert found.plan == "Update on reach"
    assert found.note == ""
    assert table() == 40


async def test_parameters_in_both_formats(table: Any, agent_target: PostgresTarget) -> None:
    text = "DELETE FROM reach WHERE id <= $1"
    found = await measure(agent_target, text, types=[23], parameters=[b"\0\0\0\3"], formats=[1], count=True)
    assert (found.counted, found.note) == (3, "")
    found = await measure(agent_target, text, parameters=[b"4"], count=True)
    assert (found.counted, found.note) == (4, "")
    assert table() == 40


async def test_without_count_nothing_is_run(table: Any, agent_target: PostgresTarget) -> None:
    found = await measure(agent_target, "DELETE FROM reach")
    assert (found.rows, found.counted) == (40, None)
    found = await measure(agent_target, "SELECT * FROM reach")
    assert (found.rows, found.plan) == (40, "Seq Scan reading reach")


@pytest.mark.parametrize(
    "text",
    [
        "DELETE FROM reach; COMMIT",
        "COMMIT",
        "COMMIT; DELETE FROM reach",
        "ANALYZE DELETE FROM reach",
        "DELETE FROM reach RETURNING (SELECT 1 / 0)",
    ],
)
async def test_nothing_gets_out_of_the_transaction(text: str, table: Any, agent_target: PostgresTarget) -> None:
    await measure(agent_target, text, count=True)
    assert table() == 40


async def test_failures_are_told_without_values(table: Any, agent_target: PostgresTarget) -> None:
    found = await measure(agent_target, "UPDATE reach SET n = 4711 WHERE id = 1", count=True)
    assert found.rows is not None
    assert found.note == "no count: it breaks a check (SQLSTATE 23514)"
    found = await measure(agent_target, "SELECT * FROM nowhere_4711", count=True)
    assert "4711" not in found.note
    assert found.note.startswith("no estimate: a relation in it does not exist")


async def test_a_lock_is_waited_for_a_second_only(postgres: Any, table: Any, agent_target: PostgresTarget) -> None:
    holder = await asyncpg.connect(postgres.admin_dsn, database=DATABASE)
    try:
        async with holder.transaction():
            await holder.execute("SELECT FROM reach FOR UPDATE")
            begin = time.monotonic()
            found = await measure(agent_target, "DELETE FROM reach", count=True)
            assert time.monotonic() - begin < 8
    finally:
        await holder.close()
    assert found.rows == 40
    assert found.note == "no count: it waited longer than 1 s for a lock (SQLSTATE 55P03)"


async def test_a_target_that_is_away(agent_target: PostgresTarget) -> None:
    found = await measure(agent_target.model_copy(update={"address": "127.0.0.1:1"}), "SELECT 1")
    assert (found.rows, found.note) == (None, "the target cannot be reached for it")


async def test_a_target_that_does_not_answer(agent_target: PostgresTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ESTIMATE_SECONDS", 0.0)
    assert "did not answer" in (await measure(agent_target, "SELECT 1")).note


@pytest.mark.parametrize("text", ["", "{}", "[]", '[{"Plan": 1}]', '[{"Plan": {"Plan Rows": "x"}}]'])
def test_a_plan_that_cannot_be_read(text: str) -> None:
    assert read_plan(text) == (None, "")


def test_changes_within_a_query() -> None:
    plan = """[{"Plan": {"Node Type": "CTE Scan", "Plan Rows": 9, "Plans": [
        {"Node Type": "ModifyTable", "Operation": "Delete", "Relation Name": "a", "Plan Rows": 9,
         "Plans": [{"Node Type": "Seq Scan", "Parent Relationship": "Outer", "Plan Rows": 5}]}]}}]"""
    assert read_plan(plan) == (5, "Delete on a")
