"""Sessions are read from the audit store, which this process cannot change."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from wicketgate_gateway.api.sessions import Agent, SessionReader
from wicketgate_gateway.audit import ingest
from wicketgate_gateway.audit.events import (
    AgentConnected,
    AgentCredentials,
    AgentDisconnected,
    AuditEvent,
    SessionStarted,
)
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording.ids import new_session_id
from wicketgate_gateway.recording.journal import Journal
from wicketgate_gateway.store import sqlite
from wicketgate_gateway.store.place import open_store


def read(state: Path, **more: Any) -> list[Any]:
    wanted: dict[str, Any] = {"bot": "", "target": "", "live": False, "limit": 10, **more}
    return asyncio.run(SessionReader(state).list(**wanted))


def test_no_store_no_sessions(tmp_path: Path) -> None:
    assert read(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_none_says_so(tmp_path: Path) -> None:
    sqlite.connect(sqlite.database(tmp_path)).close()
    assert read(tmp_path) == []
    sqlite.database(tmp_path).write_bytes(b"no database at all" * 100)
    with pytest.raises(WicketgateError) as error:
        read(tmp_path)
    assert error.value.code == "sessions-unavailable"


def test_agents_and_last_sessions(tmp_path: Path) -> None:
    def connected(name: str, time: int) -> AgentConnected:
        return AgentConnected(time=time, agent=name, agent_id="x", peer="1.2.3.4:5", targets=["a"], version="1.0")

    def session(bot: str, time: int) -> SessionStarted:
        return SessionStarted(
            time=time, session=new_session_id(), bot=bot, bot_id="x", token_id="u", target="a", protocol="ssh",
            peer="p", agent="eu",
        )  # fmt: skip

    events: list[AuditEvent] = [
        connected("eu", 1),
        AgentCredentials(time=2, agent="eu", expires={"a": 5}),
        AgentCredentials(time=2, agent="never connected", expires={"a": 5}),
        connected("us", 3),
        AgentDisconnected(time=4, agent="us", reason="gone"),
        session("ann", 5),
        session("ann", 7),
        session("ben", 6),
    ]

    async def write() -> None:
        journal = Journal(tmp_path / "journal")
        journal.submit(events)
        await journal.drain()
        journal.close()

    asyncio.run(write())
    connection = open_store(tmp_path)
    ingest.catch_up(tmp_path, connection)
    connection.close()
    reader = SessionReader(tmp_path)
    assert reader.agents() == {
        "eu": Agent(True, 1, "1.2.3.4:5", "1.0", {"a": 5}),
        "us": Agent(False, 4, ""),
    }
    assert reader.last_used(["ann", "ben", "cid"]) == {"ann": 7, "ben": 6}
