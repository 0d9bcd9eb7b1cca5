"""Holds of two gateways on one control store, a real PostgreSQL of its own: across them, and when things die."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.running import DATABASE, DBA, ROLE
from wicketgate.testing.postgres import PostgresError, PostgresServer
from wicketgate_gateway.approvals.model import Choice, Request, State
from wicketgate_gateway.approvals.service import Approvals, groups_to_check
from wicketgate_gateway.approvals.store import open_store
from wicketgate_gateway.audit.events import HoldUsed, HoldVoted, Operation
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.policy.load import PolicyStore

pytestmark = pytest.mark.slow
ANN = "60000000-0000-4000-8000-000000000001"


def hold(relation: str, **terms: Any) -> dict[str, Any]:
    sql = {"statements": ["write"], "relations": [relation]}
    return {"hold": {"sql": sql, "approvers": {"groups": ["dba"]}, **terms}}


POLICY: dict[str, Any] = {
    "policy": "shared",
    "targets": ["orders-db"],
    "rules": [
        {"allow": {"sql": {"statements": ["read"], "relations": ["public.shared_held", "public.shared_short"]}}},
        {"allow": {"sql": {"statements": ["read"], "relations": ["pg_catalog.*"]}}},
        {
            "hold": {
                "sql": {"statements": ["read"], "relations": ["public.shared_out"]},
                "approvers": {"groups": ["dba"]},
            }
        },
        hold("public.shared_held", wait="45s"),
        hold("public.shared_short", wait="1s", within="5m", useWithin="5m"),
    ],
}


class People:
    """Who answers over the store, as the API does."""

    def __init__(self, url: str, policies: Path) -> None:
        self._url = url
        self._policies = policies

    def _run(self, work: Callable[[Any], Any]) -> Any:
        async def run() -> Any:
            store = await open_store(self._url)
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(run())

    def asked(self, part: str, seconds: float = 30.0) -> Request:
        """The request that waits with this in its text."""
        end = time.monotonic() + seconds
        while True:
            for request in self._run(lambda store: store.list((State.PENDING,))):
                if part in request.statement:
                    return request
            assert time.monotonic() < end, "nobody was asked"
            time.sleep(0.05)

    def get(self, handle: str) -> Request:
        return self._run(lambda store: store.get(handle))

    def decide(self, request: Request, choice: Choice = Choice.APPROVE) -> None:
        async def work(store: Any) -> None:
            digest = PolicyStore(str(self._policies)).current.digest
            ann = Principal(PrincipalKind.PERSON, "t", ANN, "cli", "Ann", "", time.time() + 60, groups=frozenset([DBA]))
            await Approvals(store, policy=lambda: digest).decide(
                request.handle, ann, choice, checked=groups_to_check(request), seal=request.seal
            )

        self._run(work)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """The control store's own server, which tests may kill."""
    with PostgresServer(tmp_path_factory.mktemp("control"), durable=True) as running:
        yield running


@pytest.fixture(scope="module")
def two(
    make_gateway: Callable[..., Any], cloud: Any, server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, Any]:
    """Two gateways on the store."""
    for name in ("shared_held", "shared_short", "shared_out"):
        cloud.postgres.sql(
            f"SET ROLE {ROLE}; CREATE TABLE {name}(id int PRIMARY KEY, n int NOT NULL DEFAULT 0);"
            f"INSERT INTO {name}(id) SELECT generate_series(1, 30)",
            DATABASE,
        )
    url = tmp_path_factory.mktemp("url") / "url"
    server.create_user("wicketgate_control", "store password")
    server.create_database("control", "wicketgate_control")
    url.write_text(server.dsn("wicketgate_control", "store password", "control"))
    return make_gateway(policies=[POLICY], control=url), make_gateway(policies=[POLICY], control=url)


@pytest.fixture
def people(two: tuple[Any, Any]) -> People:
    assert two[0].control is not None
    return People(two[0].control.read_text(), two[0].folder / "policies.json")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as executor:
        yield executor


@pytest.fixture
def value(cloud: Any) -> Callable[[str, int], int]:
    return lambda table, number: int(cloud.postgres.sql(f"SELECT n FROM {table} WHERE id = {number}", DATABASE).strip())


def test_held_at_one_gateway_and_used_at_the_other_once(two: Any, people: People, pool: Any, value: Any) -> None:
    first, second = two
    text = "UPDATE shared_short SET n = n + 1 WHERE id = 1"
    assert "WG001" in first.psql(text).stderr
    request = people.asked("id = 1")
    assert request.handle in second.psql(text).stderr  # the same request, whoever asks
    people.decide(request)
    done = list(pool.map(lambda running: running.psql(text), [second, first] * 3))
    assert sorted(d.returncode == 0 for d in done) == [False] * 5 + [True]
    assert value("shared_short", 1) == 1
    assert people.get(request.handle).uses == 1
    first.wait(lambda: people.get(request.handle).state is State.USED)
    used = [e for g in two for e in g.events() if isinstance(e, HoldUsed) and e.handle == request.handle]
    assert len(used) == 1
    votes = [e for g in two for e in g.events() if isinstance(e, HoldVoted) and e.handle == request.handle]
    assert len(votes) == 1  # on record at one of them, once


def test_a_waiter_at_each_gateway_and_one_approval(two: Any, people: People, pool: Any, value: Any) -> None:
    text = "UPDATE shared_held SET n = n + 1 WHERE id = 2"
    waits = [pool.submit(running.psql, text) for running in two]
    request = people.asked("id = 2")
    time.sleep(1.0)  # both wait on it
    people.decide(request)
    # One runs it; the other asks anew, and is denied.
    again = people.asked("id = 2")
    assert again.handle != request.handle
    people.decide(again, Choice.DENY)
    done = [wait.result(90) for wait in waits]
    assert sorted(d.returncode == 0 for d in done) == [False, True]
    assert value("shared_held", 2) == 1


def test_a_gateway_that_is_killed_while_it_waits(two: Any, people: People, pool: Any, value: Any) -> None:
    first, second = two
    text = "UPDATE shared_held SET n = n + 1 WHERE id = 3"
    waits = pool.submit(first.psql, text)
    request = people.asked("id = 3")
    first.stop("gateway", signal.SIGKILL)
    assert waits.result(30).returncode != 0
    people.decide(request)
    assert value("shared_held", 3) == 0
    # The bot goes to the other gateway, and the approval holds there.
    assert second.psql(text).returncode == 0
    assert value("shared_held", 3) == 1
    assert people.get(request.handle).uses == 1
    first.start_gateway()
    first.stop("agent")
    first.start_agent()
    first.wait_for_agent()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGQUIT])
def test_a_store_that_dies_and_comes_back_while_someone_waits(
    two: Any, people: People, pool: Any, value: Any, server: PostgresServer, how: signal.Signals
) -> None:
    first, _ = two
    number = 4 + (how is signal.SIGQUIT)
    text = f"UPDATE shared_held SET n = n + 1 WHERE id = {number}"
    waits = pool.submit(first.psql, text)
    request = people.asked(f"id = {number}")
    server.stop(how)
    # What is not held goes on meanwhile; what is held and new is told so.
    assert first.psql("SELECT n FROM shared_held WHERE id = 1").stdout.strip() == "0"
    assert "WG007" in first.psql("UPDATE shared_short SET n = 9 WHERE id = 9").stderr
    assert not waits.done()
    end = time.monotonic() + 30
    while True:
        try:
            server.start()
            break
        except PostgresError:  # backends of a killed postmaster take a moment to notice
            assert time.monotonic() < end
            time.sleep(0.1)
    people.decide(request)
    done = waits.result(90)
    assert done.returncode == 0, done.stderr
    assert value("shared_held", number) == 1
    assert people.get(request.handle).uses == 1


# Statements that hide what they do: they cannot be held, and say so.

HIDDEN = {
    "execute": (
        ["PREPARE shared_p AS UPDATE shared_held SET n = 5 WHERE id = 20"],
        "EXECUTE shared_p",
        "send the statement itself",
    ),
    "execute with a value": (
        ["PREPARE shared_q(int) AS UPDATE shared_held SET n = $1 WHERE id = 20"],
        "EXECUTE shared_q(5)",
        "send the statement itself",
    ),
    "declare": ([], "DECLARE shared_c CURSOR FOR SELECT * FROM shared_out", "send the query itself"),
    "copy from stdin": ([], "COPY shared_held FROM STDIN", "use INSERT"),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_what_hides_what_it_does_is_denied_with_a_remedy_and_harms_nothing(
    two: Any, people: People, value: Any, name: str
) -> None:
    before, text, remedy = HIDDEN[name]
    with psycopg.connect(two[0].dsn(), autocommit=True) as db:
        db.execute("BEGIN")
        db.execute("SELECT n FROM shared_held WHERE id = 1")
        db.execute("SAVEPOINT s")
        failed: psycopg.Error | None = None
        for one in [*before, text]:
            try:
                db.execute(one.encode())
            except psycopg.Error as error:
                failed = error
                break
        assert failed is not None, "it went through"
        assert failed.sqlstate == "WG006"
        assert failed.diag.message_primary is not None
        assert remedy in (failed.diag.message_hint or "")
        # The session and its transaction are as after any error.
        assert db.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        db.execute("ROLLBACK TO s")
        assert db.execute("SELECT n FROM shared_held WHERE id = 1").fetchone() is not None
        db.execute("COMMIT")
        assert db.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    operations = [o for o in two[0].events() if isinstance(o, Operation) and o.code == "hold-not-showable"]
    assert operations
    assert operations[-1].effect == "deny"
    assert value("shared_held", 20) == 0


def test_copy_of_a_query_is_held_and_copies_once_it_is_approved(two: Any, people: People, pool: Any) -> None:
    text = "COPY (SELECT id, n FROM shared_out WHERE id < 4 ORDER BY id) TO STDOUT"

    def copied() -> tuple[list[Any], Any]:
        with psycopg.connect(two[0].dsn(), autocommit=True) as db:
            with db.cursor() as cursor, cursor.copy(text.encode()) as copy:
                rows = [bytes(row) for row in copy]
            return rows, db.execute("SELECT n FROM shared_held WHERE id = 30").fetchone()

    waits = pool.submit(copied)
    request = people.asked("COPY (SELECT")
    assert request.statement == text
    people.decide(request)
    rows, after = waits.result(90)
    assert b"".join(rows) == b"1\t0\n2\t0\n3\t0\n"
    assert after == (0,)
    # Denied, the session goes on, too.
    waits = pool.submit(copied)
    people.decide(people.asked("COPY (SELECT"), Choice.DENY)
    with pytest.raises(psycopg.Error) as error:
        waits.result(90)
    assert error.value.sqlstate == "WG002"
