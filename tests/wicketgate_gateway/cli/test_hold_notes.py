"""Who said what, and where in the replay it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wicketgate_gateway.audit import ingest
from wicketgate_gateway.audit.events import HoldDecided, HoldUsed, HoldVoted
from wicketgate_gateway.cli import hold_notes
from wicketgate_gateway.recording.journal import Journal
from wicketgate_gateway.recording.replay import Asked, Note
from wicketgate_gateway.store import sqlite


def voted(time: int, session: str = "s1", handle: str = "hold-a", **more: Any) -> HoldVoted:
    given = {"digest": "d", "seal": "s", "bot": "b", "target": "t", "approver": "id-dana", "name": "Dana"}
    return HoldVoted(time=time, session=session, handle=handle, **{**given, "choice": "approve", **more})


def used(time: int, session: str = "s1", handle: str = "hold-a") -> HoldUsed:
    return HoldUsed(
        time=time, session=session, handle=handle, digest="d", seal="s", bot="b", target="t", claim="c", seq=1,
        approvers=["id-dana", "id-erik"],
    )  # fmt: skip


def decided(time: int, state: str, reason: str = "") -> HoldDecided:
    return HoldDecided(
        time=time, session="s1", handle="hold-a", digest="d", bot="b", target="t", state=state, reason=reason
    )


def test_what_is_said() -> None:
    found = hold_notes.notes(
        [
            used(5),
            voted(1, comment="as\x1b[2J agreed"),
            voted(2, choice="deny", name="", approver="id-x"),
            decided(3, "approved"),
            decided(4, "void", "the policy changed"),
        ]
    )
    assert [note.time for note in found] == [1, 2, 4, 5]
    assert [note.text for note in found] == [
        "hold-a: Dana approves: as\\x1b[2J agreed",
        "hold-a: id-x denies",
        "hold-a: void, the policy changed",
        "hold-a: goes out, as approved by Dana, id-erik",
    ]


def test_they_stand_where_they_belong_and_once() -> None:
    steps = [Asked(1, 10, "a"), Asked(2, 20, "b")]
    made = [Note(5, "before"), Note(20, "between"), Note(30, "after")]
    for again in (False, True):
        assert [getattr(s, "text", "") for s in hold_notes.merged(iter(steps), lambda: made, again=again)] == [
            "before", "a", "between", "b", "after",
        ]  # fmt: skip


def test_answers_to_a_request_that_another_session_made(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.append([voted(1, "s0"), voted(2, "s0", handle="hold-other"), used(3, "s1"), voted(4, "s2")])
    journal.close()
    connection = sqlite.connect(sqlite.database(tmp_path))
    ingest.catch_up(tmp_path, connection)
    texts = [note.text for note in hold_notes.look(connection, "s1")]
    assert "hold-a: Dana approves" in texts
    assert "hold-a: goes out, as approved by Dana, id-erik" in texts
    assert not [text for text in texts if "hold-other" in text]
    connection.close()
