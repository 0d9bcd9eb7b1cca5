"""Held statements end to end: stock clients wait, people answer, and what was approved runs exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest

from wicketgate_gateway.approvals.model import Choice, Request, Scope, State
from wicketgate_gateway.approvals.service import Approvals, groups_to_check
from wicketgate_gateway.approvals.store import ApprovalStore, open_store
from wicketgate_gateway.audit.events import HoldDecided, HoldUsed, KillOrdered, Operation, SessionKilled
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.policy.load import PolicyStore

pytestmark = pytest.mark.slow
GROUP = "10000000-0000-4000-8000-000000000001"
DBA = "10000000-0000-4000-8000-000000000002"
BOT = "20000000-0000-4000-8000-000000000001"
ANN = "60000000-0000-4000-8000-000000000001"
DATABASE, ROLE = "e2e", "e2e_owner"


def hold(relation: str, **terms: Any) -> dict[str, Any]:
    approvers = {"groups": ["dba"]}
    return {"hold": {"sql": {"statements": ["write"], "relations": [relation]}, "approvers": approvers, **terms}}


POLICY: dict[str, Any] = {
    "policy": "held",
    "targets": ["orders-db"],
    "rules": [
        {"allow": {"sql": {"statements": ["read"], "relations": ["public.*", "pg_catalog.*"]}}},
        {"allow": {"sql": {"statements": ["read"], "functions": ["pg_sleep"]}}},
        {"allow": {"sql": {"statements": ["write"], "relations": ["public.uploads"]}}},
        hold("public.held", wait="20s", count="rollback"),
        hold("public.held_short", wait="500ms", within="1500ms", useWithin="10m"),
        hold("public.held_why", wait="10s", reason="required"),
        hold("public.held_often", wait="10s", **{"for": "1h"}),
    ],
}
TABLES = ("held", "held_short", "held_why", "held_often")


class People:
    """Who answers, over the same store as the gateway: votes by `approvals.service`, as the API does."""

    def __init__(self, url: str, policies: Path) -> None:
        self.url = url
        self.policies = policies

    def _run(self, work: Callable[[ApprovalStore], Any]) -> Any:
        async def run() -> Any:
            store = await open_store(self.url)
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(run())

    def pending(self, count: int = 1, seconds: float = 10.0) -> list[Request]:
        """The requests that wait, once there are so many."""
        end = time.monotonic() + seconds
        while True:
            found: list[Request] = self._run(lambda store: store.list((State.PENDING,)))
            if len(found) >= count:
                return found
            assert time.monotonic() < end, "nobody was asked"
            time.sleep(0.02)

    def get(self, handle: str) -> Request:
        return self._run(lambda store: store.get(handle))

    def decide(self, handle: str, choice: Choice, comment: str = "") -> Request:
        async def work(store: ApprovalStore) -> Request:
            policy = PolicyStore(str(self.policies)).current.digest
            request = await store.get(handle)
            ann = Principal(
                PrincipalKind.PERSON, "t", ANN, "cli", "Ann", "uti", time.time() + 60, groups=frozenset([DBA])
            )
            approvals = Approvals(store, policy=lambda: policy)
            checked = groups_to_check(request)
            return await approvals.decide(handle, ann, choice, checked=checked, comment=comment, seal=request.seal)

        return self._run(work)

    def approve(self, handle: str) -> Request:
        return self.decide(handle, Choice.APPROVE)

    def deny(self, handle: str, comment: str = "") -> Request:
        return self.decide(handle, Choice.DENY, comment)

    def kill(self, scope: Scope, value: str = "", reason: str = "") -> int:
        return self._run(lambda store: store.kill(scope, value, by="Ann", by_id=ANN, reason=reason)).id

    def lift(self, number: int) -> None:
        self._run(lambda store: store.lift(number, by="Ann", by_id=ANN))


@pytest.fixture(scope="module")
def tables(cloud: Any) -> None:
    """The tables that this file's policy holds."""
    for name in TABLES:
        cloud.postgres.sql(
            f"SET ROLE {ROLE}; CREATE TABLE {name}(id int PRIMARY KEY, n int NOT NULL DEFAULT 0, note text);"
            f"INSERT INTO {name}(id) SELECT generate_series(1, 50)",
            DATABASE,
        )


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the URL of a store that two gateways share."""
    folder = tmp_path_factory.mktemp("control")
    (folder / "url").write_text(f"sqlite+aiosqlite:///{folder}/control.db")
    return folder / "url"


@pytest.fixture(scope="module")
def held(make_gateway: Callable[..., Any], tables: None, control: Path) -> Any:
    """A gateway with holds."""
    return make_gateway(policies=[POLICY], control=control)


@pytest.fixture(scope="module")
def second(make_gateway: Callable[..., Any], held: Any, control: Path) -> Any:
    """Another gateway on the same store, with the same policies."""
    return make_gateway(policies=[POLICY], control=control)


@pytest.fixture
def people(held: Any, control: Path) -> People:
    return People(control.read_text(), held.folder / "policies.json")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as executor:
        yield executor


@pytest.fixture
def value(cloud: Any) -> Callable[..., Any]:
    """`value(table, id)`: what stands in the database itself."""

    def look(table: str, number: int) -> int:
        return int(cloud.postgres.sql(f"SELECT n FROM {table} WHERE id = {number}", DATABASE).strip())

    return look


def connect(running: Any, notices: list[Any] | None = None) -> psycopg.Connection[Any]:
    connection = psycopg.connect(running.dsn(), autocommit=True)
    if notices is not None:
        connection.add_notice_handler(notices.append)
    return connection


def test_psql_waits_and_goes_on_when_it_is_approved(held: Any, people: People, pool: Any, value: Any) -> None:
    waits = pool.submit(
        held.psql, "SET wicketgate.reason = 'nightly clean-up'", "UPDATE held SET n = n + 1 WHERE id < 4"
    )
    (request,) = people.pending()
    assert request.statement == "UPDATE held SET n = n + 1 WHERE id < 4"
    assert request.reason == "nightly clean-up"
    assert request.blast is not None
    assert request.blast["counted_rows"] == 3
    assert isinstance(request.blast["estimated_rows"], int)
    assert request.facts["search_path"] == "public"
    assert value("held", 1) == 0  # what counted was rolled back
    people.approve(request.handle)
    done = waits.result()
    assert done.returncode == 0
    assert "NOTICE:  01WG1" in done.stderr
    assert request.handle in done.stderr
    assert "dba" in done.stderr
    assert [value("held", n) for n in (1, 3, 4)] == [1, 1, 0]
    used = [e for e in held.events() if isinstance(e, HoldUsed) and e.handle == request.handle]
    (ran,) = [
        e for e in held.events() if isinstance(e, Operation) and (e.session, e.seq) == (used[0].session, used[0].seq)
    ]
    assert (ran.effect, ran.code) == ("hold", "hold-approved")
    assert used[0].approvers == [ANN]
    held.wait(lambda: people.get(request.handle).state is State.USED)


def test_approved_later_it_runs_once_in_any_session(held: Any, people: People, value: Any) -> None:
    text = "UPDATE held_short SET n = n + 1 WHERE id = 7"
    done = held.psql(text)
    assert "ERROR:  WG001" in done.stderr
    (request,) = people.pending()
    assert request.handle in done.stderr
    assert "send exactly the same statement again" in done.stderr
    people.approve(request.handle)
    assert held.psql(text).returncode == 0
    assert value("held_short", 7) == 1
    # A third run asks anew.
    assert "WG001" in held.psql(text).stderr
    (other,) = people.pending()
    assert other.handle != request.handle
    assert value("held_short", 7) == 1


def test_a_denial_comes_with_its_comment_and_stands(held: Any, people: People, pool: Any, value: Any) -> None:
    text = "UPDATE held SET n = 99 WHERE id = 8"
    waits = pool.submit(held.psql, text)
    (request,) = [r for r in people.pending() if r.statement == text] or people.pending(2)[-1:]
    people.deny(request.handle, "not on a Friday")
    said = waits.result().stderr
    assert "ERROR:  WG002" in said
    assert "not on a Friday" in said
    assert "ERROR:  WG002" in held.psql(text).stderr  # nobody is asked again
    assert value("held", 8) == 0


def test_a_request_lapses(held: Any, people: People) -> None:
    with connect(held) as connection:
        with pytest.raises(psycopg.Error) as error:
            connection.execute("UPDATE held_short SET n = 1 WHERE id = 20")
        assert error.value.sqlstate == "WG001"
        request = next(r for r in people.pending() if "id = 20" in r.statement)
        held.wait(lambda: people.get(request.handle).state is State.EXPIRED)
        decided = [e for e in held.events() if isinstance(e, HoldDecided) and e.handle == request.handle]
        held.wait(lambda: decided or any(isinstance(e, HoldDecided) for e in held.events()))


def test_bound_parameters_are_part_of_it(held: Any, people: People, pool: Any, value: Any) -> None:
    with connect(held) as connection:
        text = "UPDATE held SET n = %s WHERE id = %s"
        waits = pool.submit(connection.execute, text, (5, 10), prepare=True)
        request = next(r for r in people.pending() if r.parameters)
        assert request.statement == "UPDATE held SET n = $1 WHERE id = $2"
        assert [p.value for p in request.parameters] in ([b"5", b"10"], [b"\0\5", b"\0\x0a"])
        assert request.blast is not None
        assert request.blast["counted_rows"] == 1
        people.approve(request.handle)
        assert waits.result().rowcount == 1
        assert value("held", 10) == 5
        # Other values: asked anew, and they do not run meanwhile.
        waits = pool.submit(connection.execute, text, (6, 10), prepare=True)
        other = next(r for r in people.pending() if r.parameters)
        assert other.digest != request.digest
        people.deny(other.handle)
        with pytest.raises(psycopg.Error) as error:
            waits.result()
        assert error.value.sqlstate == "WG002"
        assert value("held", 10) == 5
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_the_transaction_is_as_postgresql_has_it(held: Any, people: People, pool: Any, value: Any) -> None:
    with connect(held) as connection:
        connection.execute("BEGIN")
        connection.execute("INSERT INTO uploads VALUES (77, 'x')")
        waits = pool.submit(connection.execute, "UPDATE held SET n = 3 WHERE id = 11")
        request = people.pending()[0]
        people.deny(request.handle)
        with pytest.raises(psycopg.Error):
            waits.result()
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            connection.execute("SELECT 1")
        # Nobody is asked for what cannot run.
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            connection.execute("UPDATE held SET n = 4 WHERE id = 11")
        connection.execute("ROLLBACK")
        assert connection.execute("SELECT count(*) FROM uploads WHERE id = 77").fetchone() == (0,)
        # A savepoint saves the rest.
        connection.execute("BEGIN; SAVEPOINT s")
        waits = pool.submit(connection.execute, "UPDATE held SET n = 5 WHERE id = 11")
        people.deny(people.pending()[0].handle)
        with pytest.raises(psycopg.Error):
            waits.result()
        connection.execute("ROLLBACK TO s")
        waits = pool.submit(connection.execute, "UPDATE held SET n = 6 WHERE id = 11")
        people.approve(people.pending()[0].handle)
        waits.result()
        assert value("held", 11) == 0
        connection.execute("COMMIT")
        assert value("held", 11) == 6


def test_a_pipeline_behind_it_keeps_its_order(held: Any, people: People, pool: Any, value: Any) -> None:
    def run() -> list[Any]:
        with connect(held) as connection, connection.pipeline():
            before = connection.execute("SELECT n FROM held WHERE id = 12")
            change = connection.execute("UPDATE held SET n = 41 WHERE id = 12")
            after = connection.execute("SELECT n + 1 FROM held WHERE id = 12")
            return [before.fetchone(), change.rowcount, after.fetchone()]

    waits = pool.submit(run)
    people.approve(people.pending()[0].handle)
    assert waits.result() == [(0,), 1, (42,)]


def test_a_reason_is_asked_for(held: Any, people: People, pool: Any, value: Any) -> None:
    with connect(held) as connection:
        with pytest.raises(psycopg.Error) as error:
            connection.execute("UPDATE held_why SET n = 1 WHERE id = 1")
        assert error.value.sqlstate == "WG005"
        text = "/* reason: ticket 17 */ UPDATE held_why SET n = 1 WHERE id = 1"
        waits = pool.submit(connection.execute, text)
        (request,) = [r for r in people.pending() if r.statement == text]
        assert request.reason == "ticket 17"
        people.approve(request.handle)
        waits.result()
        connection.execute("SET wicketgate.reason = 'first'")
        connection.execute("SET wicketgate.reason = 'second'")
        waits = pool.submit(connection.execute, "UPDATE held_why SET n = 2 WHERE id = 1")
        request = people.pending()[0]
        assert request.reason == "second"
        people.approve(request.handle)
        waits.result()
    assert value("held_why", 1) == 2


def test_for_a_while_it_runs_again_without_asking(held: Any, people: People, pool: Any, value: Any) -> None:
    text = "UPDATE held_often SET n = n + 1 WHERE id = 1"
    with connect(held) as connection:
        waits = pool.submit(connection.execute, text)
        people.approve(people.pending()[0].handle)
        waits.result()
        connection.execute(text)
    assert held.psql(text).returncode == 0
    assert value("held_often", 1) == 3


def test_cancel_ends_the_wait_and_the_session_lives(held: Any, people: People, pool: Any, value: Any) -> None:
    text = "UPDATE held SET n = 50 WHERE id = 13"
    with connect(held) as connection:
        waits = pool.submit(connection.execute, text)
        request = people.pending()[0]
        connection.cancel()
        with pytest.raises(psycopg.errors.QueryCanceled):
            waits.result(5)
        assert connection.execute("SELECT n FROM held WHERE id = 13").fetchone() == (0,)
        people.approve(request.handle)
        connection.execute(text)
    assert value("held", 13) == 50
    assert people.get(request.handle).uses == 1


def test_a_client_that_hangs_up_leaves_the_request_and_runs_nothing(
    held: Any, people: People, pool: Any, value: Any
) -> None:
    text = "UPDATE held SET n = 60 WHERE id = 14"
    command = ["psql", "-X", held.dsn(), "-c", text]
    client = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    request = people.pending()[0]
    client.kill()
    client.wait()
    held.wait(lambda: any(type(e).__name__ == "SessionEnded" and e.session == request.session for e in held.events()))
    people.approve(request.handle)
    time.sleep(0.3)
    assert value("held", 14) == 0
    assert people.get(request.handle).uses == 0
    assert held.psql(text).returncode == 0
    assert value("held", 14) == 60


def test_the_same_statement_of_two_gateways_runs_once(
    held: Any, second: Any, people: People, pool: Any, value: Any
) -> None:
    text = "UPDATE held_short SET n = n + 1 WHERE id = 30"
    assert "WG001" in held.psql(text).stderr
    (request,) = [r for r in people.pending() if "id = 30" in r.statement]
    people.approve(request.handle)
    done = list(pool.map(lambda running: running.psql(text), [held, second] * 4))
    assert value("held_short", 30) == 1
    assert sorted(d.returncode == 0 for d in done) == [False] * 7 + [True]
    assert people.get(request.handle).uses == 1


def test_settings_that_change_the_meaning_ask_anew(held: Any, people: People, value: Any) -> None:
    text = "UPDATE held_short SET note = '01/02/2026'::date::text WHERE id = 31"
    with connect(held) as connection:
        with pytest.raises(psycopg.Error):
            connection.execute(text)
        (request,) = [r for r in people.pending() if "id = 31" in r.statement]
        people.approve(request.handle)
        connection.execute("SET datestyle = 'ISO, DMY'")
        with pytest.raises(psycopg.Error) as error:
            connection.execute(text)
        assert error.value.sqlstate == "WG001"
        assert people.get(request.handle).state is State.APPROVED


def test_an_approval_under_another_policy_is_void(
    make_gateway: Callable[..., Any], tables: None, pool: Any, value: Any
) -> None:
    running = make_gateway(policies=[POLICY])
    people = People(f"sqlite+aiosqlite:///{running.state}/control.db", running.folder / "policies.json")
    waits = pool.submit(running.psql, "UPDATE held SET n = 70 WHERE id = 15")
    request = people.pending()[0]
    changed = {**POLICY, "rules": [*POLICY["rules"], {"deny": {"sql": {"relations": ["public.secrets"]}}}]}
    running.write_policies(changed)
    said = waits.result().stderr
    assert "ERROR:  WG004" in said
    assert people.get(request.handle).state is State.VOID
    assert value("held", 15) == 0


def test_kill_9_while_it_waits(make_gateway: Callable[..., Any], tables: None, pool: Any, value: Any) -> None:
    running = make_gateway(policies=[POLICY])
    people = People(f"sqlite+aiosqlite:///{running.state}/control.db", running.folder / "policies.json")
    text = "UPDATE held SET n = 80 WHERE id = 16"
    waits = pool.submit(running.psql, text)
    request = people.pending()[0]
    running.stop("gateway", signal.SIGKILL)
    assert waits.result().returncode != 0
    people.approve(request.handle)
    running.start_gateway()
    running.stop("agent")
    running.start_agent()
    running.wait_for_agent()
    assert value("held", 16) == 0
    assert running.psql(text).returncode == 0
    assert value("held", 16) == 80


def test_without_its_store_only_what_is_held_fails(make_gateway: Callable[..., Any], tables: None, value: Any) -> None:
    running = make_gateway(policies=[POLICY])
    (running.state / "control.db").unlink()
    done = running.psql("INSERT INTO uploads VALUES (78, 'y')", "UPDATE held SET n = 90 WHERE id = 17", "SELECT 1")
    assert "ERROR:  WG007" in done.stderr
    assert value("held", 17) == 0
    assert running.psql("SELECT 2").stdout.strip() == "2"


def test_kills_end_sessions_cancel_and_keep_out(held: Any, second: Any, people: People, pool: Any, cloud: Any) -> None:
    def sleep(running: Any) -> Any:
        with contextlib.closing(connect(running)) as connection:
            try:
                connection.execute("SELECT pg_sleep(60)")
            except psycopg.Error as error:
                return error
        return None

    waits = [pool.submit(sleep, running) for running in (held, second)]
    running_count = (
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() "
        "AND query LIKE '%pg_sleep(60)%'"
    )
    held.wait(lambda: cloud.postgres.sql(running_count, DATABASE).strip() == "2", 20)
    begin = time.monotonic()
    number = people.kill(Scope.BOT, BOT, "it went astray")
    try:
        held.wait(lambda: cloud.postgres.sql(running_count, DATABASE).strip() == "0", 5)
        assert time.monotonic() - begin < 3
        for wait in waits:
            error = wait.result(5)
            assert error.sqlstate == "57P01"
            assert "it went astray" in str(error)
        with pytest.raises(psycopg.OperationalError, match="cut off by Ann: it went astray"):
            connect(held)
        held.wait(lambda: any(isinstance(e, SessionKilled) and e.cancelled for e in held.events()))
        refused = [e for e in held.events() if getattr(e, "code", "") == "killed"]
        assert refused
    finally:
        people.lift(number)
    held.wait(lambda: held.psql("SELECT 1").returncode == 0)
    orders = [e for r in (held, second) for e in r.events() if isinstance(e, KillOrdered) and e.kill == number]
    assert len(orders) == 1


@pytest.mark.parametrize("scope", [Scope.GROUP, Scope.TARGET, Scope.SESSION, Scope.ALL])
def test_other_kills(held: Any, people: People, scope: Scope) -> None:
    with contextlib.closing(connect(held)) as connection:
        connection.execute("SELECT 1")
        session = held.operations()[-1].session
        values = {Scope.GROUP: GROUP, Scope.TARGET: "orders-db", Scope.SESSION: session}
        number = people.kill(scope, values.get(scope, ""))
        try:
            held.wait(lambda: any(isinstance(e, SessionKilled) and e.kill == number for e in held.events()))
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        finally:
            people.lift(number)
    held.wait(lambda: held.psql("SELECT 1").returncode == 0)


@pytest.mark.anyio
async def test_asyncpg_waits(held: Any, people: People, value: Any) -> None:
    context = ssl.create_default_context(cafile=str(held.ca_file))
    context.set_alpn_protocols(["postgresql"])
    notices: list[Any] = []
    db = await asyncpg.connect(
        host="localhost", port=held.ports["postgres"], user="bot", database="orders-db",
        password=held.cloud.bot_token(), ssl=context,
    )  # fmt: skip
    db.add_log_listener(lambda _, message: notices.append(message))
    waits = asyncio.ensure_future(db.execute("UPDATE held SET n = $1 WHERE id = $2", 7, 18))
    request = (await asyncio.to_thread(people.pending))[0]
    assert [p.value for p in request.parameters] == [b"\0\0\0\7", b"\0\0\0\x12"]
    await asyncio.to_thread(people.approve, request.handle)
    assert await waits == "UPDATE 1"
    assert value("held", 18) == 7
    assert [n.sqlstate for n in notices] == ["01WG1"]
    # A time limit of the driver ends the wait by a CancelRequest; the connection lives.
    with pytest.raises(asyncio.TimeoutError):
        await db.execute("UPDATE held SET n = $1 WHERE id = $2", 8, 18, timeout=1)
    assert await db.fetchval("SELECT n FROM held WHERE id = 18") == 7
    people_asked = await asyncio.to_thread(people.pending)
    await asyncio.to_thread(people.deny, people_asked[0].handle, "no")
    with pytest.raises(asyncpg.PostgresError) as error:
        await db.execute("UPDATE held SET n = $1 WHERE id = $2", 8, 18)
    assert getattr(error.value, "sqlstate", "") == "WG002"
    await db.close()


def test_node_postgres_waits(held: Any, people: People, pool: Any, value: Any, tmp_path: Path) -> None:
    for name in ("package.json", "package-lock.json", "driver.mjs"):
        shutil.copy(Path(__file__).parent / "node" / name, tmp_path)
    install = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    subprocess.run(install, cwd=tmp_path, check=True, capture_output=True)
    environment = {
        **os.environ,
        "PGHOST": "localhost",
        "PGPORT": str(held.ports["postgres"]),
        "PGDATABASE": "orders-db",
        "PGUSER": "bot",
        "PGPASSWORD": held.cloud.bot_token(),
        "PGSSLROOTCERT": str(held.ca_file),
    }

    def run(scenario: str) -> Any:
        command = ["node", "driver.mjs", scenario]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        return json.loads(done.stdout)["result"]

    waits = pool.submit(run, "held")
    request = people.pending()[0]
    people.approve(request.handle)
    result = waits.result()
    assert result["rows"] == [{"n": 21}]
    assert result["after"] == [{"n": 21}]
    assert [n["code"] for n in result["notices"]] == ["01WG1"]
    assert request.handle in result["notices"][0]["message"]
    waits = pool.submit(run, "denied_hold")
    people.deny(people.pending()[0].handle, "not this one")
    result = waits.result()
    assert result["error"]["code"] == "WG002"
    assert "not this one" in result["error"]["message"]
    assert result["still"] == 1
    assert value("held", 22) == 0


def test_a_bot_that_loses_its_group_while_it_waits(
    make_gateway: Callable[..., Any], tables: None, pool: Any, value: Any
) -> None:
    running = make_gateway(policies=[POLICY], groupsCache="1s")
    people = People(f"sqlite+aiosqlite:///{running.state}/control.db", running.folder / "policies.json")
    waits = pool.submit(running.psql, "UPDATE held SET n = 95 WHERE id = 19")
    request = people.pending()[0]
    store = running.cloud.entra.store
    assert store.unlink("members", GROUP, BOT)
    try:
        assert waits.result(20).returncode != 0
        people.approve(request.handle)
        time.sleep(0.3)
        assert value("held", 19) == 0
        assert people.get(request.handle).uses == 0
    finally:
        store.link("members", GROUP, BOT)
