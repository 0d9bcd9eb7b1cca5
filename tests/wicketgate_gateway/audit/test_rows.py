"""What one step of an ingester writes, seen by a writer that keeps it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wicketgate_gateway.audit.events import (
    Event,
    GatewayStarted,
    HoldVoted,
    Operation,
    OperationFinished,
    SessionEnded,
    SessionRefused,
    SessionStarted,
)
from wicketgate_gateway.audit.rows import REFUSED, Rows


class Kept:
    """A writer that keeps what it gets, and knows one session of an earlier step."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.texts: dict[bytes, int] = {}

    def add_texts(self, texts: Mapping[bytes, str]) -> dict[bytes, int]:
        self.calls.append(("texts", list(texts.values())))
        self.texts |= {digest: len(self.texts) + n for n, digest in enumerate(texts, 1)}
        return {digest: self.texts[digest] for digest in texts}

    def add_events(self, rows: Sequence[Any], ids: Mapping[bytes, int]) -> None:
        found = [(r.kind, r.bot, r.target, r.outcome, None if r.statement is None else ids[r.statement]) for r in rows]
        self.calls.append(("events", found))

    def finish(self, outcomes: Sequence[Any]) -> None:
        self.calls.append(("finish", [tuple(each) for each in outcomes]))

    def change_sessions(self, changes: Mapping[str, Any]) -> None:
        self.calls.append(("sessions", {s: (c.operations, c.denied, c.ended) for s, c in changes.items()}))

    def lose_sessions(self, time: int) -> None:
        self.calls.append(("lost", time))

    def who(self, sessions: Iterable[str]) -> dict[str, tuple[str, str]]:
        return {session: ("early", "orders") for session in sessions if session == "s0"}


def step(rows: Rows, *events: Event, purges: int = 0) -> list[tuple[str, Any]]:
    kept: Any = rows._writer
    kept.calls.clear()
    rows.begin(purges)
    for event in events:
        rows.add(event)  # type: ignore[arg-type]
    rows.flush()
    return list(kept.calls)


def started(session: str = "s1") -> SessionStarted:
    return SessionStarted(
        time=1, session=session, bot="ann", bot_id="b", token_id="t", target="stock", protocol="p", peer="x", agent="eu"
    )


def operation(seq: int, text: str = "SELECT 1", session: str = "s1", effect: str = "allow") -> Operation:
    return Operation(
        time=2, session=session, seq=seq, statement=text, effect=effect, rule="p#1", bot="ann", target="stock"
    )


def test_an_end_in_the_same_step_joins_its_operation() -> None:
    rows = Rows(Kept())  # type: ignore[arg-type]
    calls = step(
        rows,
        started(),
        operation(1),
        operation(2, effect="deny"),
        OperationFinished(time=3, session="s1", seq=1, outcome="ok", rows=4),
        SessionEnded(time=4, session="s1", reason="left"),
    )
    assert calls == [
        ("texts", ["SELECT 1"]),
        (
            "events",
            [
                ("session-started", "ann", "stock", None, None),
                ("operation", "ann", "stock", "ok", 1),
                ("operation", "ann", "stock", None, 1),
                ("session-ended", "ann", "stock", None, None),
            ],
        ),
        ("sessions", {"s1": (2, 1, (4, "left", 0, 0))}),
    ]
    # Of an earlier step: an update. The text is known, and so is the session.
    calls = step(rows, OperationFinished(time=5, session="s1", seq=2, outcome="error"), operation(3))
    assert calls == [
        ("events", [("operation", "ann", "stock", None, 1)]),
        ("sessions", {"s1": (1, 0, None)}),
        ("finish", [("s1", 2, "error", None, "", 0)]),
    ]


def test_ids_hold_no_more_after_a_purge_or_a_rollback() -> None:
    rows = Rows(Kept())  # type: ignore[arg-type]
    assert ("texts", ["SELECT 1"]) in step(rows, operation(1))
    assert not [call for call in step(rows, operation(2)) if call[0] == "texts"]
    assert ("texts", ["SELECT 1"]) in step(rows, operation(3), purges=1)
    rows.forget()
    assert ("texts", ["SELECT 1"]) in step(rows, operation(4), purges=1)


def test_what_a_dead_gateway_left_is_written_before_it_is_lost() -> None:
    calls = step(Rows(Kept()), started(), GatewayStarted(time=9, instance="i"))  # type: ignore[arg-type]
    assert [call[0] for call in calls] == ["events", "sessions", "lost", "events"]


def test_bots_and_targets_come_from_the_session_where_the_event_has_none() -> None:
    kept = Kept()
    refused = SessionRefused(time=1, code="c", reason="r", target="nowhere")
    calls = step(
        Rows(kept),  # type: ignore[arg-type]
        SessionEnded(time=1, session="s0", reason="r"),
        SessionEnded(time=1, session="unknown", reason="r"),
        refused,
    )
    assert [each[:3] for each in calls[0][1]] == [
        ("session-ended", "early", "orders"),
        ("session-ended", None, None),
        ("session-refused", None, "nowhere"),
    ]
    assert REFUSED == "refused"


def test_rule_and_approver_stand_in_their_columns() -> None:
    rows = Rows(Kept())  # type: ignore[arg-type]
    rows.begin(0)
    rows.add(
        HoldVoted(
            time=1,
            handle="h",
            digest="d",
            seal="s",
            bot="ann",
            target="t",
            approver="a",
            name="A",
            choice="approve",
            rule="p#2",
        )
    )
    rows.add(operation(1, "with a \0"))
    vote, held = rows._batch.rows
    assert (vote.rule, vote.approver) == ("p#2", "a")
    assert held.rule == "p#1"
    # No store takes the NUL in a text: the event keeps it.
    assert "with a \\u0000" in held.data
