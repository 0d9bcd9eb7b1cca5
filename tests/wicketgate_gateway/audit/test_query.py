from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wicketgate_gateway.audit import ingest, query
from wicketgate_gateway.audit.events import (
    AuditEvent,
    HoldVoted,
    Operation,
    PolicyLoaded,
    SessionRefused,
    SessionStarted,
)
from wicketgate_gateway.audit.query import AuditFilter
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.store import place
from wicketgate_gateway.store.base import Connection, EventRow, SessionChange

Session = Callable[..., list[AuditEvent]]
BOTS, TARGETS, RULES = ("ann", "ben"), ("orders", "stock"), ("p#1",)
STATEMENTS = (
    "SELECT * FROM Orders",
    "select 1",
    "DELETE FROM orders -- 100%",
    "SELECT 'a_b'",
    "SELECT " + "1+" * 20000 + "9",
)


@pytest.fixture
def filled(tmp_path: Path, store: Connection, write: Callable[..., None], make_session: Session) -> Connection:
    frames = [
        make_session(bot=bot, target=target, effect=effect, statements=STATEMENTS, start=1000 * n)
        for n, (bot, target, effect) in enumerate(itertools.product(BOTS, TARGETS, ("allow", "deny")), 1)
    ]
    refused = SessionRefused(
        time=500, code="token-expired", reason="the token ended", peer="1.2.3.4:5", target="orders"
    )
    write(*frames, [refused, PolicyLoaded(time=9_000_000_000, policy="d")])
    ingest.catch_up(tmp_path, store)
    return store


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(
    st.sampled_from(["", *BOTS, "nobody"]),
    st.sampled_from(["", *TARGETS]),
    st.sampled_from(["", "allow", "deny", "hold", "refused"]),
    st.sampled_from(["", *RULES, "nothing#1"]),
    st.sampled_from(["", "orders", "ORDERS", "100%", "%", "_", "a_b", "a%b", "se", "'", "1+1+1+9", "nothing"]),
    st.none() | st.integers(0, 12_000_000),
    st.none() | st.integers(0, 12_000_000),
    st.sampled_from([(), ("operation",), ("session-refused", "policy-loaded")]),
    st.integers(1, 60),
    st.sampled_from([3, 20_000]),
    st.sampled_from([1, 30_000]),
)
def test_every_filter_agrees_with_filtering_by_hand(
    filled: Connection,
    bot: str,
    target: str,
    verdict: str,
    rule: str,
    text: str,
    since: int | None,
    until: int | None,
    kinds: tuple[str, ...],
    limit: int,
    scan: int,
    few: int,
) -> None:
    wanted = AuditFilter(
        bot=bot,
        target=target,
        verdict=verdict,
        rule=rule,
        text=text,
        since=since,
        until=until,
        kinds=kinds,
        limit=limit,
    )
    before = query._SCAN_ROWS, query._FEW_TEXTS
    # Small stores must go the ways of large ones, too.
    query._SCAN_ROWS, query._FEW_TEXTS = scan, few
    try:
        found = query.events(filled, wanted)
    finally:
        query._SCAN_ROWS, query._FEW_TEXTS = before
    everything = query.events(filled, AuditFilter(limit=10_000))
    expected = [
        row
        for row in everything
        if (not bot or row.bot == bot)
        and (not target or row.target == target)
        and (not verdict or row.verdict == verdict)
        and (not rule or getattr(row.event, "rule", "") == rule)
        and (not text or (isinstance(row.event, Operation) and text.lower() in row.event.statement.lower()))
        and (since is None or row.time >= since)
        and (until is None or row.time < until)
        and (not kinds or row.kind in kinds)
    ]
    assert found == expected[-limit:]


def test_what_one_person_answered(tmp_path: Path, store: Connection, write: Callable[..., None]) -> None:
    def voted(number: int, approver: str) -> HoldVoted:
        return HoldVoted(
            time=number, handle=f"hold-{number}", digest="d", seal="s", bot="ann", target="orders", approver=approver,
            name="Ann", choice="approve", rule="orders#2",
        )  # fmt: skip

    write([voted(1, "a"), voted(2, "b"), voted(3, "a")])
    ingest.catch_up(tmp_path, store)
    assert [row.time for row in query.events(store, AuditFilter(approver="a"))] == [1, 3]
    assert [row.time for row in query.events(store, AuditFilter(approver="a", rule="orders#2", since=2))] == [3]
    assert query.events(store, AuditFilter(approver="c")) == []


def test_by_session(filled: Connection) -> None:
    session = query.sessions(filled)[0].started.session
    found = query.events(filled, AuditFilter(session=session))
    assert [row.kind for row in found] == ["session-started", *["operation"] * 5, "session-ended"]
    assert {row.bot for row in found} == {"ann"}
    assert {row.target for row in found} == {"orders"}


def test_sessions(filled: Connection) -> None:
    everything = query.sessions(filled)
    assert len(everything) == 8
    assert query.sessions(filled, limit=2) == everything[-2:]
    assert {row.started.bot for row in query.sessions(filled, bot="ann")} == {"ann"}
    assert len(query.sessions(filled, bot="ann", target="stock")) == 2
    # Those that were still running at the time, whenever they began.
    ended = sorted(row.ended or 0 for row in everything)
    assert [row.ended for row in query.sessions(filled, since=ended[-1])] == ended[-1:]
    assert query.sessions(filled, since=2000) == everything
    assert query.sessions(filled, live=True) == []


def test_a_session_by_its_end_and_the_last(tmp_path: Path, filled: Connection) -> None:
    rows = query.sessions(filled)
    name = rows[3].started.session
    assert query.session(filled, name) == query.session(filled, name[-10:].upper()) == rows[3]
    assert query.session(filled, "last") == rows[-1]
    for bad, code in (("zzzzzz", "session-unknown"), ("01", "session-unknown"), ("'; DROP TABLE", "session-unknown")):
        with pytest.raises(WicketgateError) as caught:
            query.session(filled, bad)
        assert caught.value.code == code
    # Another session whose id has the same end.
    other = SessionChange((1, "", "", "{}"))
    writer = place.writer(tmp_path, filled)
    writer.change_sessions({"x" + name[1:]: other})
    with pytest.raises(WicketgateError) as caught:
        query.session(filled, name[-10:])
    assert caught.value.code == "session-ambiguous"


def test_an_empty_store(store: Connection) -> None:
    assert query.events(store, AuditFilter(bot="x", text="y")) == []
    assert query.sessions(store) == []
    with pytest.raises(WicketgateError, match="no session yet"):
        query.session(store, "last")


def test_an_event_of_a_later_version_is_shown_by_its_kind(tmp_path: Path, store: Connection) -> None:
    place.writer(tmp_path, store).add_events([EventRow(1, "new-kind", '{"event": "new-kind"}')], {})
    found = query.events(store, AuditFilter())
    assert [(row.kind, row.event) for row in found] == [("new-kind", None)]


def test_started_is_decoded(filled: Connection) -> None:
    assert all(isinstance(row.started, SessionStarted) for row in query.sessions(filled))


def test_sessions_that_were_running_agree_with_looking_at_all(
    tmp_path: Path, store: Connection, write: Callable[..., None], make_session: Session
) -> None:
    frames = [make_session(start=n * 10_000_000, ended=n % 3 != 0, bot=f"b{n % 2}") for n in range(1, 15)]
    # One that ran all the time.
    frames.append(make_session(start=5, statements=tuple("SELECT 1" for _ in range(200))))
    write(*frames)
    ingest.catch_up(tmp_path, store)
    everything = query.sessions(store, limit=1000)
    for since in (0, 6, 10_000_001, 55_000_000, 142_000_000, 300_000_000, 10**18):
        for bot in ("", "b0"):
            for limit in (1, 3, 1000):
                found = query.sessions(store, since=since, bot=bot, limit=limit)
                ran = [
                    row
                    for row in everything
                    if (not bot or row.started.bot == bot)
                    and (row.started.time >= since or row.ended is None or row.ended >= since)
                ]
                assert found == ran[-limit:], (since, bot, limit)


def test_a_timeline_counts_what_matches(filled: Connection) -> None:
    wanted = AuditFilter(bot="ann", limit=1)
    found = query.timeline(filled, wanted, 12_000_000_000, 10)
    everything = query.events(filled, AuditFilter(bot="ann", limit=1000))
    assert found is not None
    assert not found.cut
    assert found.begin == everything[0].time
    assert sum(all_ for all_, _ in found.counts) == len(everything)
    assert sum(bad for _, bad in found.counts) == sum(row.verdict in ("deny", "refused") for row in everything) > 0
    for row in everything:
        assert found.counts[(row.time - found.begin) // found.width][0] > 0
    cut = query.timeline(filled, AuditFilter(), 12_000_000_000, 4, most=7)
    assert cut is not None
    assert (cut.cut, sum(all_ for all_, _ in cut.counts)) == (True, 7)
    assert query.timeline(filled, AuditFilter(bot="nobody"), 1, 10) is None
    one = query.timeline(filled, AuditFilter(kinds=("policy-loaded",)), 0, 10)
    assert one is not None
    assert one.counts[0] == (1, 0)
