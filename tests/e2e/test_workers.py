"""Several gateway processes on one port: clients spread, agents reach each, kills and cancels find their session, and a
process that is killed takes only its own sessions along."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from wicketgate_gateway.approvals.database import default_url
from wicketgate_gateway.approvals.model import Scope
from wicketgate_gateway.approvals.store import open_store
from wicketgate_gateway.audit.events import AgentConnected, AuditEvent, SessionKilled, SessionStarted
from wicketgate_gateway.audit.ingest import journal_folder
from wicketgate_gateway.cli import main
from wicketgate_gateway.recording.format import JOURNAL_MAGIC, FrameReader
from wicketgate_gateway.recording.journal import journal_files
from wicketgate_gateway.server import workers

pytestmark = pytest.mark.slow
COUNT = 2
PASSWORD = "a password for the workers' store"
SECONDS = 120.0


@pytest.fixture(scope="module")
def several(make_gateway: Callable[..., Any], running_cloud: Any) -> Any:
    """A gateway of two processes, with an audit store that they share."""
    postgres = running_cloud.postgres
    postgres.create_user("e2e_workers", PASSWORD)
    postgres.create_database("e2e_workers", "e2e_workers")
    running = make_gateway()
    running.stop("agent")
    running.stop("gateway")
    url = running.folder / "audit-url"
    url.write_text(postgres.dsn("e2e_workers", PASSWORD, "e2e_workers") + "\n")
    path = running.folder / "gateway.yaml"
    changes = {"audit": {"store": {"urlFile": str(url)}}, "limits": {"workers": COUNT}}
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    (running.state / "ports.json").unlink(missing_ok=True)
    running._start("gateway", "wicketgate_gateway.server", "gateway.yaml")
    running.wait(lambda: (running.state / "ports.json").exists(), SECONDS)
    running.start_agent()
    running.wait(lambda: all(agents(running, number) for number in range(COUNT)), SECONDS)
    return running


def events(running: Any, number: int) -> list[Any]:
    decoder = msgspec.msgpack.Decoder(list[AuditEvent])
    found: list[Any] = []
    for path in journal_files(journal_folder(workers.folder(running.state, number))):
        with path.open("rb") as file:
            for frame in FrameReader(file, JOURNAL_MAGIC):
                found += decoder.decode(frame.payload)
    return found


def of(kind: type, found: list[Any]) -> list[Any]:
    return [event for event in found if isinstance(event, kind)]


def agents(running: Any, number: int) -> int:
    return len(of(AgentConnected, events(running, number)))


def pid_of(running: Any, number: int) -> int:
    try:
        return json.loads((workers.folder(running.state, number) / "ports.json").read_text())["pid"]
    except FileNotFoundError:
        return 0  # it begins anew


@contextlib.contextmanager
def clients_in_each(running: Any, name: str) -> Generator[dict[int, list[psycopg.Connection]]]:
    """Connections until each process has at least two, by process."""
    found: dict[int, list[psycopg.Connection]] = {number: [] for number in range(COUNT)}
    with contextlib.ExitStack() as stack:
        for tried in range(100):
            own = f"{name}-{tried}"
            connection = stack.enter_context(
                contextlib.closing(psycopg.connect(running.dsn(application_name=own), autocommit=True))
            )
            started = [
                number
                for number in range(COUNT)
                if any(isinstance(event, SessionStarted) and event.client == own for event in events(running, number))
            ]
            assert len(started) == 1, "a session is in one process's journal, before the client is let in"
            found[started[0]].append(connection)
            if all(len(connections) >= 2 for connections in found.values()):
                break
        yield found


def alive(connection: psycopg.Connection) -> bool:
    try:
        return connection.execute("SELECT 7").fetchone() == (7,)
    except psycopg.Error:
        return False


def test_clients_spread_and_a_cancel_finds_its_session_in_any_process(several: Any) -> None:
    with clients_in_each(several, "spread") as found:
        for connections in found.values():
            for connection in connections:
                assert connection.execute("SELECT name FROM customers WHERE id = 1").fetchone() == ("Ann",)
                assert connection.execute("SELECT email FROM customers WHERE id = 1").fetchone() != ("ann@example.com",)
        # Each cancel comes by a connection of its own, to whichever process: eight times to the right one is luck.
        for connection in [found[number][0] for number in range(COUNT)] * 4:
            began = time.monotonic()
            raw = connection.pgconn
            raw.send_query(b"SELECT pg_sleep(120)")
            raw.flush()
            time.sleep(0.2)
            connection.cancel_safe(timeout=20)
            results = list(iter(raw.get_result, None))
            assert b"canceling" in results[-1].error_message
            assert time.monotonic() - began < SECONDS


def test_a_killed_process_takes_its_own_sessions_along_and_is_started_again(several: Any) -> None:
    with clients_in_each(several, "death") as found:
        before = agents(several, 1)
        killed = pid_of(several, 1)
        os.kill(killed, signal.SIGKILL)
        assert not any(alive(connection) for connection in found[1])
        assert all(alive(connection) for connection in found[0])
        several.wait(lambda: pid_of(several, 1) not in (0, killed) and agents(several, 1) > before, SECONDS)
    with clients_in_each(several, "back") as found:
        assert all(alive(connection) for connections in found.values() for connection in connections)


def test_a_kill_ends_the_sessions_of_every_process(
    several: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    async def order() -> int:
        store = await open_store(default_url(several.state))
        try:
            return (await store.kill(Scope.TARGET, "orders-db", by="Ann", by_id="a", reason="drill")).id
        finally:
            await store.close()

    async def lift(number: int) -> None:
        store = await open_store(default_url(several.state))
        try:
            await store.lift(number, by="Ann", by_id="a")
        finally:
            await store.close()

    with clients_in_each(several, "kill") as found:
        number = asyncio.run(order())
        try:
            ended = time.monotonic() + SECONDS
            left = [connection for connections in found.values() for connection in connections]
            while left and time.monotonic() < ended:
                left = [connection for connection in left if alive(connection)]
            assert not left
        finally:
            asyncio.run(lift(number))
        for worker in range(COUNT):
            several.wait(lambda worker=worker: of(SessionKilled, events(several, worker)), SECONDS)
    # One question is answered for all of them, and each has a journal that verifies.
    config = str(several.folder / "gateway.yaml")
    several.wait(lambda: _sessions(capsys, config) >= {f"kill-{n}" for n in range(4)}, SECONDS)
    for worker in range(COUNT):
        assert main.run(["audit", "verify", "--state", str(workers.folder(several.state, worker))]) == 0


def _sessions(capsys: pytest.CaptureFixture[str], config: str) -> set[str]:
    capsys.readouterr()
    assert main.run(["sessions", "--json", "--limit", "500", "--config", config]) == 0
    return {json.loads(line)["client"] for line in capsys.readouterr().out.splitlines()}
