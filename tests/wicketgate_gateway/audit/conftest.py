"""A journal to ask about."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wicketgate_gateway.audit.events import AuditEvent, Operation, OperationFinished, SessionEnded, SessionStarted
from wicketgate_gateway.recording.ids import new_session_id
from wicketgate_gateway.recording.journal import Journal
from wicketgate_gateway.store import sqlite


@pytest.fixture
def store(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite.connect(sqlite.database(tmp_path))
    yield connection
    connection.close()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., None]:
    """Open the journal, append each list of events as a frame, and close it."""

    def append(*frames: list[AuditEvent], **options: int) -> None:
        journal = Journal(tmp_path / "journal", **options)  # type: ignore[arg-type]
        for frame in frames:
            journal.append(frame)
        journal.close()

    return append


@pytest.fixture
def make_session() -> Callable[..., list[AuditEvent]]:
    def make(
        bot: str = "code-review",
        target: str = "orders-db",
        statements: tuple[str, ...] = ("SELECT 1",),
        effect: str = "allow",
        ended: bool = True,
        start: int = 0,
    ) -> list[AuditEvent]:
        session = new_session_id()
        at = start or time.time_ns()
        events: list[AuditEvent] = [
            SessionStarted(
                time=at,
                session=session,
                bot=bot,
                bot_id="b",
                token_id="u",
                target=target,
                protocol="postgres",
                peer="127.0.0.1:5",
                agent="eu",
            )
        ]
        for seq, statement in enumerate(statements, 1):
            at += 1_000_000
            events.append(
                Operation(
                    time=at,
                    session=session,
                    seq=seq,
                    statement=statement,
                    effect=effect,
                    rule="p#1",
                    bot=bot,
                    target=target,
                    parameters=[b"\x00\xff", None],
                )
            )
            if effect == "allow":
                at += 1_000_000
                events.append(
                    OperationFinished(time=at, session=session, seq=seq, outcome="ok", rows=3, duration_us=500)
                )
        if ended:
            events.append(SessionEnded(time=at + 1, session=session, reason="client left", bytes_in=7, bytes_out=9))
        return events

    return make
