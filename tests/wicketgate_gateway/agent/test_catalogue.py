"""The catalogue of the real demo database."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from wicketgate_gateway.agent import catalogue as module
from wicketgate_gateway.agent.catalogue import CatalogueWatcher, read_catalogue
from wicketgate_gateway.agent.target import Target
from wicketgate_gateway.contract.catalogue import Catalogue
from wicketgate_gateway.contract.gateway import PostgresTarget

pytestmark = pytest.mark.anyio
Eventually = Callable[[Callable[[], object]], Awaitable[None]]


async def test_relations_columns_views_functions(agent_target: PostgresTarget) -> None:
    catalogue = await read_catalogue(Target("orders-db", agent_target))
    assert catalogue.server_version
    by_name = {(r.schema, r.name): r for r in catalogue.relations}
    customers, mails = by_name["public", "customers"], by_name["public", "mails"]
    assert [(c.number, c.name, c.type_oid) for c in customers.columns] == [(1, "id", 23), (2, "email", 25)]
    assert (customers.kind, customers.sources) == ("r", [])
    assert mails.kind == "v"
    assert sorted(mails.sources) == [(customers.oid, 1), (customers.oid, 2)]
    assert ("public", "twice") in catalogue.functions
    assert "pg_class" in catalogue.system
    assert ("information_schema", "columns") in by_name
    assert not any(schema.startswith(("pg_toast", "pg_temp")) for schema, _ in by_name)


async def test_what_hides_a_source(postgres: Any, agent_target: PostgresTarget) -> None:
    postgres.sql(
        """
        CREATE SCHEMA odd;
        CREATE FUNCTION odd.peek() RETURNS SETOF text LANGUAGE sql AS 'SELECT email FROM public.customers';
        CREATE FUNCTION odd.same(a int, b int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN a = b; END';
        CREATE OPERATOR odd.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = odd.same);
        CREATE VIEW odd.by_function AS SELECT * FROM odd.peek();
        CREATE VIEW odd.by_operator AS SELECT 1 OPERATOR(odd.===) 2 AS v;
        CREATE VIEW odd.plain AS SELECT upper('x') AS v, 1 + 1 AS n;
        CREATE TABLE odd.parent (id int, mail text, upper_mail text GENERATED ALWAYS AS (upper(mail)) STORED)
            PARTITION BY RANGE (id);
        CREATE TABLE odd.child PARTITION OF odd.parent FOR VALUES FROM (0) TO (10);
        CREATE INDEX ON odd.parent (id);
        CREATE TABLE odd.base (a text);
        CREATE TABLE odd.derived (b text) INHERITS (odd.base);
        """,
        "agent_demo",
    )
    try:
        catalogue = await read_catalogue(Target("orders-db", agent_target))
        by_name = {r.name: r for r in catalogue.relations if r.schema == "odd"}
        oid = {f: int(postgres.sql(f"SELECT 'odd.{f}'::regproc::oid", "agent_demo")) for f in ("peek", "same")}
        assert by_name["by_function"].sources == [(oid["peek"], 0)]
        assert by_name["by_operator"].sources == [(oid["same"], 0)]
        assert by_name["plain"].sources == []
        assert catalogue.inherits == [
            (by_name["child"].oid, by_name["parent"].oid),
            (by_name["derived"].oid, by_name["base"].oid),
        ]
        assert sorted(catalogue.generated) == sorted((by_name[name].oid, 3, 2) for name in ("parent", "child"))
    finally:
        postgres.sql("DROP SCHEMA odd CASCADE", "agent_demo")


def test_a_function_with_a_relations_number_does_not_pass_for_it() -> None:
    rows: list[list[str | None]] = [
        ["20000", "public", "t", "r", None, None],
        ["20001", "public", "v", "v", None, None],
    ]
    sources: list[list[str | None]] = [["20001", "20000", "0", "t"], ["20001", "1299", "0", "t"]]
    assert module._relations(rows, sources)[1].sources == [(0xFFFFFFFF, 0)]
    sources = [["20001", "20000", "3", "f"]]
    assert module._relations(rows, sources)[1].sources == [(20000, 3)]


async def test_the_version_follows_the_content(postgres: Any, agent_target: PostgresTarget) -> None:
    target = Target("orders-db", agent_target)
    first = await read_catalogue(target)
    assert (await read_catalogue(target)).version == first.version
    postgres.sql("CREATE TABLE added (n int)", "agent_demo")
    try:
        assert (await read_catalogue(target)).version != first.version
    finally:
        postgres.sql("DROP TABLE added", "agent_demo")
    assert (await read_catalogue(target)).version == first.version


async def test_a_table_of_the_targets_cannot_pose_as_a_system_one(postgres: Any, agent_target: PostgresTarget) -> None:
    postgres.sql("CREATE TABLE pg_class (oid int); CREATE TABLE public.pg_depend (x int)", "agent_demo")
    try:
        names = {r.name for r in (await read_catalogue(Target("orders-db", agent_target))).relations}
        assert {"customers", "pg_class", "pg_depend"} <= names
    finally:
        postgres.sql("DROP TABLE public.pg_class, public.pg_depend", "agent_demo")


async def test_the_watcher_tells_of_changes_alone(
    postgres: Any, agent_target: PostgresTarget, running: Any, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SPACING_SECONDS", 0.0)
    told: list[tuple[str, Catalogue]] = []
    reads: list[None] = []
    real = module.read_catalogue

    async def counted(target: Target) -> Catalogue:
        reads.append(None)
        return await real(target)

    monkeypatch.setattr(module, "read_catalogue", counted)
    watcher = CatalogueWatcher(Target("orders-db", agent_target), lambda name, c: told.append((name, c)))
    running(watcher.run())
    await eventually(lambda: told)
    assert told == [("orders-db", watcher.current)]
    watcher.refresh()
    await eventually(lambda: len(reads) == 2)
    postgres.sql("CREATE TABLE fresh (n int)", "agent_demo")
    try:
        watcher.refresh()
        await eventually(lambda: len(told) == 2)
        assert any(r.name == "fresh" for r in told[1][1].relations)
    finally:
        postgres.sql("DROP TABLE fresh", "agent_demo")


async def test_the_watcher_outlives_a_target_that_is_away(
    agent_target: PostgresTarget, running: Any, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SPACING_SECONDS", 0.01)
    told: list[Any] = []
    target = Target("orders-db", agent_target)
    port, target.port = target.port, 1
    watcher = CatalogueWatcher(target, lambda *change: told.append(change))
    running(watcher.run())
    await eventually(lambda: watcher._failure)
    target.port = port
    watcher.refresh()
    await eventually(lambda: told)


async def test_a_catalogue_too_long_for_a_message_is_not_sent(
    agent_target: PostgresTarget, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    watcher = CatalogueWatcher(Target("orders-db", agent_target), lambda *_: pytest.fail("told"))
    await watcher._read()
    assert watcher.current is None
    assert "too large" in "".join(capsys.readouterr())
