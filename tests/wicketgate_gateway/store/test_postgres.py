"""The store in a real PostgreSQL: versions, rights, hostile values, many gateways, kills, restarts."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wicketgate.testing.postgres import PostgresServer
from wicketgate_gateway.audit import ingest, query, retention
from wicketgate_gateway.audit.events import AuditEvent, Operation, OperationFinished, SessionRefused, SessionStarted
from wicketgate_gateway.audit.query import AuditFilter
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.keeping import AuditStore
from wicketgate_gateway.recording.ids import new_session_id
from wicketgate_gateway.recording.journal import Journal
from wicketgate_gateway.store import place, postgres
from wicketgate_gateway.store.base import Connection

Url = Callable[[], Path]
ALL = AuditFilter(limit=1_000_000)


@pytest.fixture
def url(audit_url: Url) -> str:
    return audit_url().read_text().strip()


def frame(number: int, text: str, session: str = "") -> list[AuditEvent]:
    """A session's events with one operation."""
    session = session or new_session_id()
    at = number * 1000
    return [
        SessionStarted(
            time=at, session=session, bot=f"bot-{number % 7}", bot_id="b", token_id="u", target="orders-db",
            protocol="postgres", peer="127.0.0.1:5", agent="eu",
        ),
        Operation(
            time=at + 1, session=session, seq=1, statement=text, effect="allow", rule="p#1", bot=f"bot-{number % 7}",
            target="orders-db",
        ),
        OperationFinished(time=at + 2, session=session, seq=1, outcome="ok", rows=number),
    ]  # fmt: skip


def gateway(folder: Path, url: Path) -> Path:
    """A state folder whose store is in PostgreSQL."""
    folder.mkdir()
    place.remember(folder, AuditStore(url_file=str(url)))
    return folder


def texts(store: Connection) -> list[str]:
    return [row.event.statement for row in query.events(store, ALL) if isinstance(row.event, Operation)]


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


# -- versions --------------------------------------------------------------------------------------------------------


def test_opened_by_many_at_once_it_is_made_once(url: str) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            postgres.connect(url).close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    store = postgres.connect(url)
    assert store.execute("SELECT version FROM schema_version").fetchall() == [(postgres.schema_version(),)]
    store.close()


def test_an_old_store_is_brought_up_to_date_whole_or_not_at_all(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = postgres.connect(url)
    store.execute("INSERT INTO events (journal, time, kind, data) VALUES ('j', 1, 'kept', '{}')")
    store.close()
    known = postgres._MIGRATIONS
    good = ("ALTER TABLE events ADD COLUMN more TEXT", "UPDATE events SET more = 'new'")
    monkeypatch.setattr(postgres, "_MIGRATIONS", (*known, (*good, "INSERT INTO nowhere VALUES (1)")))
    with pytest.raises(WicketgateError, match="nowhere") as caught:
        postgres.connect(url)
    assert caught.value.code == "store-failed"
    with monkeypatch.context() as patch:
        patch.setattr(postgres, "_MIGRATIONS", known)
        store = postgres.connect(url)
        columns = "SELECT 1 FROM information_schema.columns WHERE table_name = 'events' AND column_name = 'more'"
        assert store.execute(columns).fetchall() == []
        store.close()
    monkeypatch.setattr(postgres, "_MIGRATIONS", (*known, good))
    with pytest.raises(WicketgateError, match="another version"):
        postgres.connect(url, migrate=False)
    store = postgres.connect(url)
    assert store.execute("SELECT kind, more FROM events").fetchall() == [("kept", "new")]
    store.close()
    # The version before now finds a newer store.
    monkeypatch.setattr(postgres, "_MIGRATIONS", known)
    with pytest.raises(WicketgateError) as caught:
        postgres.connect(url)
    assert caught.value.code == "store-newer"
    assert "version of Wicketgate" in caught.value.remedy


def test_without_the_right_to_make_a_schema_the_one_that_is_there_is_used(
    postgres: PostgresServer, audit_url: Url
) -> None:
    from wicketgate_gateway.store import postgres as module

    url = audit_url()
    name = url.read_text().strip().partition("?")[0].rpartition("/")[2]
    postgres.create_user("audit_guest", "guest password")
    guest = postgres.dsn("audit_guest", "guest password", name)
    with pytest.raises(WicketgateError, match="permission denied"):
        module.connect(guest)
    postgres.sql("CREATE SCHEMA wicketgate_audit AUTHORIZATION audit_guest", name)
    store = module.connect(guest)
    assert store.execute("SELECT count(*) FROM events").fetchone() == (0,)
    store.close()


@pytest.mark.parametrize(
    "bad", ["mysql://u:hunter2@h/d", "postgresql://u:hunter2@h", "postgresql://u:hunter2@h:x/d", "hunter2", ""]
)
def test_a_url_that_cannot_be_used_is_not_quoted(bad: str) -> None:
    with pytest.raises(WicketgateError) as caught:
        postgres.connect(bad)
    assert caught.value.code == "store-url-invalid"
    assert "hunter2" not in f"{caught.value} {caught.value.remedy}"


def test_a_server_elsewhere_must_prove_itself() -> None:
    assert "sslmode=verify-full" in postgres._dsn("postgresql://u:p@db.internal/d")
    assert postgres._dsn("postgresql+asyncpg://u:p@db.internal/d?sslmode=require").endswith("d?sslmode=require")
    assert "sslmode" not in postgres._dsn("postgres://u:p@127.0.0.1/d")


def test_a_server_that_is_gone_is_said_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(WicketgateError) as caught:
        postgres.connect("postgresql://u:hunter2@127.0.0.1:1/d")
    assert caught.value.code == "store-failed"
    assert "hunter2" not in str(caught.value)


# -- what comes from outside -----------------------------------------------------------------------------------------


def test_hostile_values_do_not_stop_the_ingester(tmp_path: Path, audit_url: Url) -> None:
    state = gateway(tmp_path / "a", audit_url())
    journal = Journal(state / "journal")
    long = "t" * 100_000
    journal.append(
        [
            *frame(1, "SELECT 'a\0b' FROM x"),
            *frame(2, "SELECT '" + "ü%_\\🙂 " * 20_000 + "' AS needle"),
            SessionRefused(time=9, code="c", reason="bad \0 name", target="o\0" + long, bot="\0"),
        ]
    )
    journal.close()
    store = place.open_store(state)
    assert ingest.catch_up(state, store) == 8
    # The events are whole; only the columns with an index are cut.
    refused = query.events(store, AuditFilter(kinds=["session-refused"]))[0]
    assert isinstance(refused.event, SessionRefused)
    assert refused.event.target == "o\0" + long
    assert len(refused.target) == postgres.MAX_NAME
    assert query.events(store, AuditFilter(target=refused.target)) == [refused]
    assert texts(store)[0] == "SELECT 'a\0b' FROM x"
    assert len(query.events(store, AuditFilter(text="NEEDLE"))) == 1
    assert len(query.events(store, AuditFilter(text="_\\🙂 ü%"))) == 1
    assert query.events(store, AuditFilter(text="_\\🙂 Ö%")) == []
    store.close()


def test_trigrams_are_of_bytes_and_case_is_that_of_ascii() -> None:
    assert postgres.trigrams("SEl") == postgres.trigrams("sel") == [0x73656C]
    assert postgres.trigrams("ab") == []
    assert postgres.trigrams("aaaa") == [0x616161]
    assert postgres.trigrams("é;") == [0xC3A93B]


# -- many gateways ---------------------------------------------------------------------------------------------------


def test_two_gateways_share_a_store_and_each_keeps_to_its_own(tmp_path: Path, audit_url: Url) -> None:
    url = audit_url()
    states = [gateway(tmp_path / name, url) for name in "ab"]
    for number, state in enumerate(states):
        journal = Journal(state / "journal", rotate_bytes=2000)
        for n in range(40):
            # The same texts in both, so that they meet.
            journal.append(frame(n + 1, f"SELECT {n} -- shared"))
        journal.append(frame(99, f"SELECT 'only {number}'")[:2])
        journal.close()
    threads = [threading.Thread(target=_catch_up, args=(state,)) for state in states for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = place.open_store(states[0])
    both = sorted([f"SELECT {n} -- shared" for n in range(40)] * 2 + ["SELECT 'only 0'", "SELECT 'only 1'"])
    assert sorted(texts(store)) == both
    assert store.execute("SELECT count(*) FROM statements").fetchone() == (42,)
    # A gateway that starts again loses its own sessions alone.
    live = {row.started.session for row in query.sessions(store, live=True, limit=1000)}
    assert len(live) == 82
    Journal(states[0] / "journal").close()
    ingest.catch_up(states[0], store)
    assert len(query.sessions(store, live=True, limit=1000)) == 41
    # What retention forgets of one, the other keeps, and the texts that both have.
    retention.forget(states[0], store, 10**15)
    assert sorted(texts(store)) == sorted([f"SELECT {n} -- shared" for n in range(40)] + ["SELECT 'only 1'"])
    assert store.execute("SELECT count(*) FROM statements").fetchone() == (41,)
    # Built again from its journal.
    assert place.empty(states[1]) == 83
    assert texts(store) == []
    for state in states:
        ingest.catch_up(state, store)
    assert sorted(texts(store)) == sorted([f"SELECT {n} -- shared" for n in range(40)] + ["SELECT 'only 1'"])
    store.close()


def test_a_copy_of_a_state_folder_damages_nothing_in_the_shared_store(tmp_path: Path, audit_url: Url) -> None:
    state = gateway(tmp_path / "a", audit_url())
    journal = Journal(state / "journal", rotate_bytes=500)
    for n in range(3):
        journal.append(frame(n + 1, f"SELECT {n}"))
    _catch_up(state)
    shutil.copytree(state, tmp_path / "copy", ignore=lambda *_: ["lock"])
    for n in range(3, 9):
        journal.append(frame(n + 1, f"SELECT {n}"))
    journal.close()
    store = place.open_store(state)
    ingest.catch_up(state, store)
    before = texts(store)
    ingest.catch_up(tmp_path / "copy", store, copy=True)
    assert texts(store) == before
    assert query.events(store, AuditFilter(kinds=[ingest.DAMAGED])) == []
    store.close()


def _catch_up(state: Path) -> None:
    store = place.open_store(state)
    ingest.catch_up(state, store)
    store.close()


def test_an_id_that_a_purge_freed_names_no_other_text(tmp_path: Path, audit_url: Url) -> None:
    state = gateway(tmp_path / "a", audit_url())
    journal = Journal(state / "journal")
    journal.append(frame(1, "SELECT 'once'"))
    store, other = place.open_store(state), place.open_store(state)
    reader = ingest.Reader(place.writer(state, store), state / "journal")
    reader.catch_up()
    retention.forget(state, other, 10**15)
    journal.append(frame(2, "SELECT 'twice'"))
    reader.catch_up()
    journal.append(frame(3, "SELECT 'once'"))
    journal.close()
    reader.catch_up()
    assert texts(store) == ["SELECT 'twice'", "SELECT 'once'"]
    store.close()
    other.close()


# -- kills and restarts ----------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    """A server of one's own, that keeps what it committed."""
    with PostgresServer(tmp_path / "server", durable=True) as made:
        yield made


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_when_ingesters_and_the_server_are_killed(
    tmp_path: Path, server: PostgresServer
) -> None:
    server.create_user("audit", "password")
    server.create_database("audit", "audit")
    url = tmp_path / "url"
    url.write_text(server.dsn("audit", "password", "audit"))
    states = [gateway(tmp_path / name, url) for name in "ab"]
    place.open_store(states[0]).close()
    count, written = 12_000, [0, 0]

    def write(number: int) -> None:
        journal = Journal(states[number] / "journal", rotate_bytes=200_000)
        for n in range(0, count, 20):
            events: list[AuditEvent] = []
            for m in range(n, n + 20):
                events += frame(m + 1, f"SELECT {m} FROM gateway_{number}")
            journal.append(events)
            written[number] = n + 20
            time.sleep(0.004)
        journal.close()

    def start(state: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "wicketgate_gateway.audit.ingest", str(state)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)

    processes = [start(state) for state in states]
    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    kills = 0
    try:
        while kills < 9 or any(thread.is_alive() for thread in threads):
            time.sleep(0.25)
            which = kills % 3
            if which == 2:
                # As a power cut: no goodbye to anyone.
                server.stop(signal.SIGQUIT if kills % 2 else signal.SIGINT)
                server.start()
            else:
                processes[which].kill()
                processes[which].wait()
                processes[which] = start(states[which])
            kills += 1
        for thread in threads:
            thread.join()
    finally:
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(60)
    assert kills >= 9
    assert written == [count, count]
    store = place.open_store(states[0])
    for state in states:
        ingest.catch_up(state, store)
    rows = store.execute(
        "SELECT journal, count(*), count(DISTINCT session), count(outcome) FROM events WHERE kind = 'operation'"
        " GROUP BY journal"
    ).fetchall()
    assert [tuple(row)[1:] for row in rows] == [(count, count, count)] * 2
    found = set(texts(store))
    assert found == {f"SELECT {n} FROM gateway_{number}" for n in range(count) for number in range(2)}
    assert query.events(store, AuditFilter(kinds=[ingest.DAMAGED])) == []
    assert store.execute("SELECT sum(operations) FROM sessions").fetchone() == (2 * count,)
    store.close()


@pytest.mark.slow
def test_the_ingester_outlives_its_server_and_says_so(tmp_path: Path, server: PostgresServer) -> None:
    server.create_user("audit", "password")
    server.create_database("audit", "audit")
    url = tmp_path / "url"
    url.write_text(server.dsn("audit", "password", "audit"))
    state = gateway(tmp_path / "a", url)
    journal = Journal(state / "journal")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "wicketgate_gateway.audit.ingest", str(state)], stdin=subprocess.PIPE, stderr=log
        )
    assert process.stdin is not None
    try:
        journal.append(frame(1, "SELECT 'before'"))
        wait_for(lambda: _texts(state) == ["SELECT 'before'"])
        server.stop()
        journal.append(frame(2, "SELECT 'meanwhile'"))
        wait_for(lambda: b"is tried again" in (tmp_path / "log").read_bytes())
        server.start()
        wait_for(lambda: b"up to date again" in (tmp_path / "log").read_bytes())
        assert _texts(state) == ["SELECT 'before'", "SELECT 'meanwhile'"]
    finally:
        process.stdin.close()
        process.wait(30)
        journal.close()
    assert b"password" not in (tmp_path / "log").read_bytes()
    assert os.waitstatus_to_exitcode(0) == process.returncode == 0


def _texts(state: Path) -> list[str]:
    try:
        store = place.open_reader(state)
    except WicketgateError:
        return []
    assert store is not None
    found = texts(store)
    store.close()
    return found
