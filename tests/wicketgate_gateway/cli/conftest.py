"""A gateway's state folder with two sessions, and the command run in this process."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wicketgate_gateway.audit.events import (
    AuditEvent,
    Operation,
    OperationFinished,
    SessionEnded,
    SessionRefused,
    SessionStarted,
)
from wicketgate_gateway.cli import main, people
from wicketgate_gateway.identity.exchange import AccessToken
from wicketgate_gateway.recording.ids import new_session_id
from wicketgate_gateway.recording.journal import Journal
from wicketgate_gateway.recording.recorder import Recorder
from wicketgate_gateway.wire.postgres import errors
from wicketgate_gateway.wire.postgres import messages as m

EVIL = "SELECT '\x1b]0;owned\x07\x9b31m\u202e'"


async def _session(journal: Journal, recorder: Recorder, bot: str, *, end: bool = True) -> str:
    def operation(seq: int, statement: str, effect: str = "allow", reason: str = "") -> Operation:
        return Operation(
            time=time.time_ns(),
            session=session,
            seq=seq,
            statement=statement,
            effect=effect,
            rule="orders-readonly#1",
            reason=reason,
            bot=bot,
            target="orders-db",
            masked=effect == "allow",
        )

    session = new_session_id()
    started = SessionStarted(
        time=time.time_ns(),
        session=session,
        bot=bot,
        bot_id="id-of-" + bot,
        token_id="uti-1",
        target="orders-db",
        protocol="postgres",
        peer="127.0.0.1:5",
        agent="eu",
        client="psql",
    )
    events: list[AuditEvent] = [started]
    recording = recorder.start(started)
    ready = m.ready_for_query()
    columns = [m.FieldDescription("email", 1, 1, 25), m.FieldDescription("count", 0, 0, 20)]
    recording.client(m.query("SELECT email FROM customers"))
    events.append(operation(1, "SELECT email FROM customers"))
    rows = b"".join(m.data_row([b"a%d***@example.com" % n, None]) for n in range(30))
    recording.server(m.row_description(columns) + rows + m.command_complete("SELECT 30") + ready)
    events.append(OperationFinished(time=time.time_ns(), session=session, seq=1, outcome="ok", rows=30, duration_us=77))
    recording.client(m.query("DELETE FROM orders"))
    events.append(operation(2, "DELETE FROM orders", "deny", "no rule allows `delete`"))
    recording.server(errors.error("ERROR", "42501", "denied by policy", hint="read only") + ready)
    recording.client(m.query(EVIL))
    events.append(operation(3, EVIL))
    recording.server(m.row_description(columns[:1]) + m.data_row([b"\x1b[2J"]) + m.command_complete("SELECT 1") + ready)
    if end:
        recording.finish("client left")
        events.append(SessionEnded(time=time.time_ns(), session=session, reason="client left"))
    else:
        recording.flush()
    for event in events:
        journal.submit([event], lambda error: None)
    return session


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"

    async def fill() -> None:
        journal = Journal(folder / "journal")
        recorder = Recorder(folder / "recordings")
        recorder.on_closed = lambda event: journal.submit([event])
        await _session(journal, recorder, "code-review")
        await _session(journal, recorder, "support")
        refused = SessionRefused(time=time.time_ns(), code="token-expired", reason="the token ended", peer="1.2.3.4:5")
        journal.submit([refused])
        await recorder.close()
        await journal.drain()
        journal.close()

    asyncio.run(fill())
    return folder


@pytest.fixture
def live(tmp_path: Path) -> Callable[[Callable[[Path, Callable[[], None]], None]], None]:
    """Run a check while a gateway holds the state and a session is live; its second argument ends the session."""

    def run(check: Callable[[Path, Callable[[], None]], None]) -> None:
        folder = tmp_path / "live"

        async def gateway() -> None:
            journal = Journal(folder / "journal")
            recorder = Recorder(folder / "recordings")
            recorder.on_closed = lambda event: journal.submit([event])
            session = await _session(journal, recorder, "code-review", end=False)
            await journal.drain()
            loop = asyncio.get_running_loop()

            def end() -> None:
                def now() -> None:
                    for recording in list(recorder._live):
                        recording.finish("client left")
                    journal.submit([SessionEnded(time=time.time_ns(), session=session, reason="client left")])

                loop.call_soon_threadsafe(now)

            await asyncio.to_thread(check, folder, end)
            await recorder.close()
            await journal.drain()
            journal.close()

        asyncio.run(gateway())

    return run


@pytest.fixture
def wicketgate(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Run a command line; gives exit code, standard output and standard error."""
    monkeypatch.delenv("WICKETGATE_STATE", raising=False)
    monkeypatch.setenv("TZ", "UTC")

    def run(*arguments: str, at: Path | None = state) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main.run([*arguments, *(["--state", str(at)] if at else [])])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def as_person(
    desk: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """`as_person("Dana", "approvals", "list")`: a command line of a person who has signed in at the desk."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    file = tmp_path / "people.yaml"
    file.write_text(
        json.dumps(
            {
                "entra": desk.cloud.document(),
                "audience": desk.cloud.audience,
                "client": desk.cloud.clients["cli"],
                "url": desk.url,
                "caFile": str(desk.ca_file),
            }
        )
    )
    monkeypatch.setenv("WICKETGATE_CONFIG", str(file))

    def run(name: str, *arguments: str) -> tuple[int, str, str]:
        settings = people.Gate(config=file).settings()
        if name:
            people.keep(settings, AccessToken(desk.token(name), time.time() + 3000))
        else:
            people.forget(settings)
        capsys.readouterr()
        code = main.run([*arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run
