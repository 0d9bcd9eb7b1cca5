from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wicketgate_gateway.audit import ingest, query
from wicketgate_gateway.audit.events import AuditEvent, Operation, RecordingClosed, SessionRefused
from wicketgate_gateway.audit.rows import Rows
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording.journal import Journal, journal_files
from wicketgate_gateway.store import place
from wicketgate_gateway.store.base import Connection

Write = Callable[..., None]
Session = Callable[..., list[AuditEvent]]
EVERYTHING = query.AuditFilter(limit=100_000)


def kinds(store: Connection) -> list[str]:
    return [row.kind for row in query.events(store, EVERYTHING)]


def damage(store: Connection) -> list[str]:
    return [row.reason for row in query.events(store, EVERYTHING) if row.kind == ingest.DAMAGED]


def texts(store: Connection) -> list[str]:
    rows = [row.event for row in query.events(store, EVERYTHING)]
    return [event.statement for event in rows if isinstance(event, Operation)]


def test_events_arrive_once_and_in_order(
    tmp_path: Path, store: Connection, write: Write, make_session: Session
) -> None:
    session = make_session(statements=("SELECT 1", "SELECT 2", "SELECT 1"))
    refused = SessionRefused(time=time.time_ns(), code="token-expired", reason="the token ended", peer="1.2.3.4:5")
    write(session[:3], session[3:], [refused])
    assert ingest.catch_up(tmp_path, store) == 10
    assert ingest.catch_up(tmp_path, store) == 0
    assert sorted(kinds(store)) == sorted(
        ["gateway-started", "session-started", *["operation"] * 3, "session-ended", "session-refused"]
    )
    assert texts(store) == ["SELECT 1", "SELECT 2", "SELECT 1"]
    assert store.execute("SELECT count(*) FROM statements").fetchone() == (2,)
    operation = next(row for row in query.events(store, EVERYTHING) if row.kind == "operation")
    assert (operation.outcome, operation.rows, operation.duration_us) == ("ok", 3, 500)
    assert operation.event == session[1]
    found = query.sessions(store)[0]
    assert found.started == session[0]
    assert (found.state, found.operations, found.denied, found.bytes_in, found.bytes_out) == ("ended", 3, 0, 7, 9)
    assert found.reason == "client left"


def test_a_journal_that_grows(tmp_path: Path, store: Connection, make_session: Session) -> None:
    journal = Journal(tmp_path / "journal", rotate_bytes=700)
    for number in range(20):
        journal.append(make_session(statements=(f"SELECT {number}",)))
        assert ingest.catch_up(tmp_path, store) >= 4
    assert len(journal_files(tmp_path / "journal")) > 5
    journal.close()
    assert texts(store) == [f"SELECT {number}" for number in range(20)]
    assert damage(store) == []


def test_small_steps_are_the_same(
    tmp_path: Path, store: Connection, write: Write, make_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "_STEP_EVENTS", 1)
    write(*[make_session(statements=(f"SELECT {n}",)) for n in range(10)], rotate_bytes=900)
    assert ingest.catch_up(tmp_path, store) == 41
    assert texts(store) == [f"SELECT {n}" for n in range(10)]


def test_a_frame_under_way_is_left_for_later(
    tmp_path: Path, store: Connection, write: Write, make_session: Session
) -> None:
    write(make_session(), make_session(statements=("SELECT 'later'",)))
    path = journal_files(tmp_path / "journal")[0]
    data = path.read_bytes()
    for cut in range(len(data) - 300, len(data), 7):
        path.write_bytes(data[:cut])
        ingest.catch_up(tmp_path, store)
        assert damage(store) == []
    path.write_bytes(data)
    ingest.catch_up(tmp_path, store)
    assert texts(store) == ["SELECT 1", "SELECT 'later'"]


def test_nothing_is_doubled_when_a_step_fails(
    tmp_path: Path, store: Connection, write: Write, make_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(make_session(statements=("SELECT 1", "SELECT 2")))
    real = Rows._other
    calls = 0

    def failing(self: Rows, event: AuditEvent) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise sqlite3.OperationalError("database or disk is full")
        real(self, event)

    monkeypatch.setattr(Rows, "_other", failing)
    with pytest.raises(WicketgateError, match="disk is full"):
        ingest.catch_up(tmp_path, store)
    assert kinds(store) == []
    ingest.catch_up(tmp_path, store)
    assert texts(store) == ["SELECT 1", "SELECT 2"]


def test_two_ingesters_never_double(tmp_path: Path, store: Connection, write: Write, make_session: Session) -> None:
    assert kinds(store) == []
    write(*[make_session(statements=(f"SELECT {n}",)) for n in range(300)])

    def work() -> None:
        connection = place.open_store(tmp_path)
        ingest.catch_up(tmp_path, connection)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    connection = place.open_store(tmp_path)
    assert sorted(texts(connection)) == sorted(f"SELECT {n}" for n in range(300))
    connection.close()


def test_sessions_of_a_dead_gateway_are_lost(
    tmp_path: Path, store: Connection, write: Write, make_session: Session
) -> None:
    write(make_session(ended=False))
    ingest.catch_up(tmp_path, store)
    assert [row.state for row in query.sessions(store)] == ["live"]
    write(make_session(ended=False))
    ingest.catch_up(tmp_path, store)
    assert [row.state for row in query.sessions(store)] == ["lost", "live"]
    assert [row.state for row in query.sessions(store, live=True)] == ["live"]


def test_a_recordings_digest_is_kept(tmp_path: Path, store: Connection, write: Write, make_session: Session) -> None:
    session = make_session()
    closed = RecordingClosed(time=session[-1].time, session=session[0].session, digest=b"d" * 32, files=1, size=9)
    write(session, [closed])
    ingest.catch_up(tmp_path, store)
    assert query.sessions(store)[0].closed == closed


def test_damage_is_told_once_and_the_next_file_read(
    tmp_path: Path, store: Connection, write: Write, make_session: Session
) -> None:
    write(make_session(), make_session())
    path = journal_files(tmp_path / "journal")[0]
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    data += b"more"
    path.write_bytes(data)
    for _ in range(3):
        ingest.catch_up(tmp_path, store)
    assert len(damage(store)) == 1
    assert "checksum" in damage(store)[0]
    assert texts(store) == ["SELECT 1"]
    write(make_session(statements=("SELECT 'next file'",)))
    for _ in range(3):
        ingest.catch_up(tmp_path, store)
    assert len(damage(store)) == 1
    assert texts(store) == ["SELECT 1", "SELECT 'next file'"]


def test_missing_files_are_told(tmp_path: Path, store: Connection, write: Write, make_session: Session) -> None:
    write(*[make_session(statements=(f"SELECT {n}",)) for n in range(9)], rotate_bytes=500)
    files = journal_files(tmp_path / "journal")
    (tmp_path / "aside").mkdir()
    for path in files[3:]:
        shutil.move(path, tmp_path / "aside")
    ingest.catch_up(tmp_path, store)
    for path in files[5:]:
        shutil.move(tmp_path / "aside" / path.name, path)
    ingest.catch_up(tmp_path, store)
    assert damage(store) == ["files 4 to 5 of the journal are missing"]


def test_a_file_moved_elsewhere_breaks_the_chain(
    tmp_path: Path, store: Connection, write: Write, make_session: Session
) -> None:
    write(*[make_session(statements=(f"SELECT {n}",)) for n in range(9)], rotate_bytes=500)
    files = journal_files(tmp_path / "journal")
    shutil.copy(files[4], files[2])
    ingest.catch_up(tmp_path, store)
    assert "`journal-00000003.wgj` does not go on from the file before it" in damage(store)


def test_a_removed_journal_is_told_and_another_one_read(
    tmp_path: Path, store: Connection, write: Write, make_session: Session
) -> None:
    write(*[make_session(statements=(f"SELECT {n}",)) for n in range(9)], rotate_bytes=500)
    ingest.catch_up(tmp_path, store)
    files = journal_files(tmp_path / "journal")
    shutil.move(files[-1], tmp_path / "aside")
    for _ in range(2):
        ingest.catch_up(tmp_path, store)
    assert damage(store) == [f"the journal's file {len(files)} was removed before all of it was read"]
    assert len(texts(store)) == 9
    shutil.rmtree(tmp_path / "journal")
    write(make_session(statements=("SELECT 'anew'",)))
    for _ in range(2):
        ingest.catch_up(tmp_path, store)
    assert damage(store)[1:] == ["the journal was removed, and another one begun"]
    assert texts(store)[-1] == "SELECT 'anew'"
    assert len(texts(store)) == 10


def test_no_journal_is_no_error(tmp_path: Path, store: Connection) -> None:
    assert ingest.catch_up(tmp_path, store) == 0


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def test_the_process_keeps_up_and_ends(tmp_path: Path, store: Connection, make_session: Session) -> None:
    journal = Journal(tmp_path / "journal")
    ingester = ingest.Ingester(tmp_path)
    try:
        journal.append(make_session(statements=("SELECT 'while it runs'",)))
        wait_for(lambda: texts(store) == ["SELECT 'while it runs'"])
        journal.append(make_session(statements=("SELECT 'at the end'",)))
    finally:
        ingester.stop()
    journal.close()
    assert texts(store) == ["SELECT 'while it runs'", "SELECT 'at the end'"]


def test_a_process_that_was_killed_is_started_again_and_reads_on(
    tmp_path: Path, store: Connection, make_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "_RESTART_SECONDS", 0.0)
    ingester = ingest.Ingester(tmp_path)
    try:
        assert not ingester.look()
        dead = ingester.pid
        os.kill(dead, signal.SIGKILL)
        wait_for(ingester.look)
        assert ingester.pid != dead
        journal = Journal(tmp_path / "journal")
        journal.append(make_session(statements=("SELECT 'after it died'",)))
        journal.close()
        wait_for(lambda: texts(store) == ["SELECT 'after it died'"])
    finally:
        ingester.stop()


def test_the_process_ends_with_its_gateway(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom wicketgate_gateway.audit.ingest import Ingester\n"
        "print(Ingester(Path(sys.argv[1])).pid, flush=True)\ntime.sleep(60)\n"
    )
    gateway = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert gateway.stdout is not None
    pid = int(gateway.stdout.readline())
    gateway.send_signal(signal.SIGKILL)
    gateway.wait()
    gateway.stdout.close()
    wait_for(lambda: _gone(pid))


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True
