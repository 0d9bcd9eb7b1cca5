"""Deleting in time: what leaves a tombstone verifies, what does not is found."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wicketgate_gateway.approvals.model import Choice, Held, State
from wicketgate_gateway.approvals.place import url_of
from wicketgate_gateway.approvals.service import Approvals, groups_to_check
from wicketgate_gateway.approvals.store import open_store
from wicketgate_gateway.audit import holds, ingest, query
from wicketgate_gateway.audit.events import SessionStarted
from wicketgate_gateway.audit.query import AuditFilter
from wicketgate_gateway.audit.retention import Plan, Rules, carry_out, forget_approvals, make_plan
from wicketgate_gateway.audit.seals import JournalPurged, LegalHold, RecordingPurged, SealError
from wicketgate_gateway.contract.gateway import ControlStore, GatewayTarget, TargetKind
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.contract.keeping import Retention
from wicketgate_gateway.contract.policy import Bundle
from wicketgate_gateway.contract.verdict import HoldTerms
from wicketgate_gateway.store import place
from wicketgate_gateway.store.base import Connection, is_sqlite

Sealed = Any  # the fixture of conftest.py
DAY = 86400 * 1_000_000_000
GROUP, BOT, TENANT = (f"00000000-0000-0000-0000-00000000000{n}" for n in (1, 2, 3))


def rules(*policies: tuple[str, str, dict[str, Any]], **retention: str) -> Rules:
    bundle = Bundle.model_validate(
        {
            "tenant": TENANT,
            "policies": [
                {
                    "policy": name,
                    "targets": ["orders-db"],
                    "rules": [{"allow": {"sql": {"statements": "read"}}}],
                    "record": {"keep": keep},
                    **more,
                }
                for name, keep, more in policies
            ],
        }
    )
    targets = {"orders-db": GatewayTarget(kind=TargetKind.POSTGRES, agent="eu", labels={"env": "prod"})}
    return Rules(Retention(**{"recordings": "10d", "audit": "20d", **retention}), bundle, targets)


def run(sealed: Sealed, database: Connection, days: int, made: Rules | None = None) -> Plan:
    ingest.catch_up(sealed.state, database)
    plan = make_plan(sealed.state, database, made or rules(), now=time.time_ns() + days * DAY)
    carry_out(sealed.state, database, plan)
    return plan


def recordings(sealed: Sealed) -> int:
    return len(list(sealed.state.glob("recordings/*/*")))


def test_nothing_is_old(sealed: Sealed, database: Connection) -> None:
    before = len(sealed.log.read().signed)
    assert run(sealed, database, 9).empty
    assert len(sealed.log.read().signed) == before


def test_recordings_then_events(sealed: Sealed, database: Connection) -> None:
    plan = run(sealed, database, 11)
    assert len(plan.recordings) == 3
    assert plan.journal is None
    assert recordings(sealed) == 0
    assert list((sealed.state / "recordings").iterdir()) == []
    assert sealed.report().findings == []
    tomb = next(s.seal for s in sealed.log.read().signed if isinstance(s.seal, RecordingPurged))
    closed = query.session(database, tomb.session).closed
    assert closed is not None
    assert tomb.digest == closed.digest.hex()
    assert run(sealed, database, 11).empty

    files = len(sealed.files())
    plan = run(sealed, database, 21)
    assert plan.journal is not None
    assert (plan.journal.first, plan.journal.last) == (1, files - 1)
    assert len(sealed.files()) == 1
    sealed.seal()
    report = sealed.report()
    assert report.findings == []
    assert any("were purged" in note for note in report.notes)
    left = query.events(database, AuditFilter(limit=1000))
    assert all(row.time > plan.journal.newest for row in left)
    statements = database.execute("SELECT count(*) FROM statements").fetchone()[0]
    used = database.execute("SELECT count(DISTINCT statement) FROM events").fetchone()[0]
    assert statements == used
    if is_sqlite(database):
        database.execute("INSERT INTO statement_text (statement_text) VALUES ('integrity-check')")


def test_the_gateway_and_later_purges_go_on(sealed: Sealed, database: Connection) -> None:
    run(sealed, database, 21)
    run(sealed, database, 21)
    sealed.run(2)
    assert sealed.report().findings == []
    run(sealed, database, 21)
    second = run(sealed, database, 21)
    assert second.empty
    tombs = [s.seal for s in sealed.log.read().signed if isinstance(s.seal, JournalPurged)]
    assert len(tombs) == 2
    assert tombs[1].first == tombs[0].last + 1
    assert tombs[1].before == tombs[0].after
    sealed.seal()
    assert sealed.report().findings == []


def test_the_store_built_anew_after_a_purge_has_no_damage(sealed: Sealed, database: Connection) -> None:
    run(sealed, database, 21)
    run(sealed, database, 21)
    rows = len(query.events(database, AuditFilter(limit=1000)))
    place.empty(sealed.state)
    anew = place.open_store(sealed.state)
    assert query.events(anew, AuditFilter()) == []
    ingest.catch_up(sealed.state, anew)
    assert query.events(anew, AuditFilter(kinds=[ingest.DAMAGED])) == []
    assert len(query.events(anew, AuditFilter(limit=1000))) == rows
    anew.close()


def test_deleting_without_a_tombstone_is_found(sealed: Sealed, database: Connection) -> None:
    run(sealed, database, 11)
    sealed.files()[0].unlink()
    assert "missing" in sealed.kinds()


def test_deleting_more_than_the_tombstone_says_is_found(sealed: Sealed, database: Connection) -> None:
    run(sealed, database, 21)
    run(sealed, database, 21)
    sealed.run(2)
    sealed.files()[0].unlink()
    assert "missing" in sealed.kinds()


def test_a_tombstone_does_not_hide_what_was_removed_or_changed_before(sealed: Sealed, database: Connection) -> None:
    first, second = (min(sealed.recording(n).glob("*.wgr")) for n in (0, 1))
    for path in sealed.recording(0).iterdir():
        path.unlink()
    sealed.recording(0).rmdir()
    data = bytearray(second.read_bytes())
    data[-1] ^= 1
    second.write_bytes(bytes(data))
    plan = run(sealed, database, 11)
    assert [purge.seal.session for purge in plan.recordings] == [sealed.sessions[2]]
    assert [held.reason.split(":")[0] for held in plan.held] == ["it is evidence"]
    assert {"recording-missing", "recording-damaged"} == set(sealed.kinds())
    assert not first.exists()


def test_a_damaged_journal_is_not_purged(sealed: Sealed, database: Connection) -> None:
    run(sealed, database, 11)
    path = sealed.files()[0]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    plan = run(sealed, database, 21)
    assert plan.journal is None
    assert any("its chain does not hold" in held.reason for held in plan.held)
    assert path.exists()


def test_a_rewritten_first_file_is_not_purged(sealed: Sealed, database: Connection) -> None:
    # Purging it would take away what the seals prove.
    run(sealed, database, 11)
    sealed.files()[1].unlink()
    plan = run(sealed, database, 21)
    assert plan.journal is None or plan.journal.last == 1


def test_the_longest_keep_of_the_policies_counts() -> None:
    started = SessionStarted(
        time=1,
        session="s",
        bot="b",
        bot_id=BOT,
        token_id="u",
        target="orders-db",
        protocol="postgres",
        peer="p",
        agent="a",
        groups=[GROUP],
    )
    made = rules(
        ("short", "1d", {"groups": {GROUP: "g"}}),
        ("long", "30d", {"bots": {BOT: "b"}}),
        ("other", "90d", {"groups": {TENANT: "x"}}),
        ("elsewhere", "90d", {"groups": {GROUP: "g"}, "targets": ["other-db"]}),
        ("labelled", "60d", {"groups": {GROUP: "g"}, "targets": {"labels": {"env": "dev"}}}),
    )
    assert made.keep(started) == (30 * 86400, "policy `long` keeps 30d")
    assert rules().keep(started) == (10 * 86400, "retention keeps 10d")


@pytest.mark.parametrize(
    ("terms", "kept"),
    [
        ({"bot": "bot-1"}, 1),
        ({"bot": "b"}, 3),
        ({"target": "orders-db"}, 3),
        ({"target": "orders-db", "bot": "bot-9"}, 0),
        ({"until": 5}, 0),
        ({"since": 5}, 3),
    ],
)
def test_a_legal_hold_comes_first(sealed: Sealed, database: Connection, terms: dict[str, Any], kept: int) -> None:
    holds.add(sealed.log, LegalHold(hold="case-17", reason="r", by="me", **terms))
    plan = run(sealed, database, 40)
    assert recordings(sealed) == kept
    assert len([held for held in plan.held if "case-17" in held.reason and "recording of" in held.what]) == kept
    if kept:
        again = run(sealed, database, 40)
        assert again.journal is None or kept < 3
        assert sealed.files()[-1].exists()
        holds.lift(sealed.log, "case-17", reason="over", by="me")
        run(sealed, database, 40)
        run(sealed, database, 40)
        assert recordings(sealed) == 0
        assert len(sealed.files()) == 1
    sealed.seal()
    assert sealed.report().findings == []


def test_events_stay_as_long_as_a_recording_of_their_session(sealed: Sealed, database: Connection) -> None:
    plan = run(sealed, database, 21, rules(recordings="100d"))
    assert plan.empty
    assert any("is still there" in held.reason for held in plan.held)


def test_nothing_is_deleted_that_the_store_or_a_stream_has_not_had(sealed: Sealed, database: Connection) -> None:
    run(sealed, database, 11)
    (sealed.state / "streams").mkdir()
    position = sealed.state / "streams" / "syslog.json"
    position.write_text('{"file": 2, "offset": 9}')
    plan = run(sealed, database, 21)
    assert plan.journal is not None
    assert plan.journal.last == 1
    position.write_text("rubbish")
    assert run(sealed, database, 21).journal is None
    position.unlink()
    database.execute("UPDATE journal_position SET file = 2")
    assert make_plan(sealed.state, database, rules(), now=time.time_ns() + 21 * DAY).journal is None


def test_seals_that_do_not_hold_let_nothing_be_deleted(sealed: Sealed, database: Connection) -> None:
    holds.add(sealed.log, LegalHold(hold="h", reason="r", by="me", target="orders-db"))
    lines = sealed.log.path.read_bytes().splitlines(keepends=True)
    sealed.log.path.write_bytes(b"".join([*lines[:-2], lines[-1]]))
    with pytest.raises(SealError, match="legal holds"):
        run(sealed, database, 40)
    assert recordings(sealed) == 3


def test_tombstones_come_first_and_a_run_cut_short_is_finished(
    sealed: Sealed, database: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(folder: Path) -> None:
        raise OSError(5, "power cut")

    plan = make_plan(sealed.state, database, rules(), now=time.time_ns() + 11 * DAY)
    with monkeypatch.context() as patch:
        patch.setattr("wicketgate_gateway.audit.retention._remove_folder", crash)
        with pytest.raises(OSError, match="power cut"):
            carry_out(sealed.state, database, plan)
    report = sealed.report()
    assert report.findings == []
    assert any("its files are still there" in note for note in report.notes)
    again = run(sealed, database, 11)
    assert (len(again.recordings), len(again.leftovers)) == (0, 3)
    assert recordings(sealed) == 0
    assert sealed.report().findings == []


def test_a_tombstone_for_another_digest_is_found(sealed: Sealed) -> None:
    session = sealed.sessions[0]
    sealed.log.append(RecordingPurged(session=session, digest="00", files=1, size=1, started=1, reason="r"))
    for path in sealed.recording(0).iterdir():
        path.unlink()
    assert sealed.kinds() == ["tombstone-wrong"]


def test_a_journal_tombstone_that_does_not_join_is_found(sealed: Sealed) -> None:
    sealed.files()[0].unlink()
    sealed.log.append(
        JournalPurged(
            first=1, last=1, before="0" * 64, after="ab" * 32, events=1, size=1, oldest=1, newest=1, reason="r"
        )
    )
    assert "cut" in sealed.kinds()


# -- approvals -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def control(request: pytest.FixtureRequest) -> ControlStore:
    """A control store of each kind."""
    return (
        ControlStore()
        if request.param == "sqlite"
        else ControlStore(url_file=str(request.getfixturevalue("audit_url")()))
    )


def ask_and_deny(state: Path, control: ControlStore) -> dict[str, str]:
    """One request that was denied, one that lapsed, one that is open: the state of each, by its statement."""
    terms = HoldTerms(rule="orders#2", approver_groups=(GROUP,), approver_names=("dba",))

    def held(text: str) -> Held:
        return Held(
            bot_id=BOT, bot="code-review", owner="group:x", owner_id=TENANT, target="orders-db", protocol="postgres",
            session="s", statement=text, parameters=(), facts={}, policy="sha256:" + "1" * 64, reason="r",
        )  # fmt: skip

    async def run() -> dict[str, str]:
        store = await open_store(url_of(control, state))
        try:
            approvals = Approvals(store, policy=lambda: "sha256:" + "1" * 64)
            denied = await approvals.ask(held("DELETE 1"), terms)
            person = Principal(PrincipalKind.PERSON, TENANT, GROUP, "cli", "Ann", "uti", 0.0, groups=frozenset({GROUP}))
            await approvals.decide(denied.handle, person, Choice.DENY, checked=groups_to_check(denied))
            lapsed = await approvals.ask(held("DELETE 2"), replace(terms, within=0.001))
            open_one = await approvals.ask(held("DELETE 3"), terms)
            return {"denied": denied.handle, "lapsed": lapsed.handle, "open": open_one.handle}
        finally:
            await store.close()

    return asyncio.run(run())


def requests_left(state: Path, control: ControlStore) -> set[str]:
    async def run() -> set[str]:
        store = await open_store(url_of(control, state))
        try:
            return {request.handle for request in await store.list(tuple(State))}
        finally:
            await store.close()

    return asyncio.run(run())


def test_ended_requests_are_forgotten_in_time_and_open_ones_are_not(sealed: Sealed, control: ControlStore) -> None:
    handles = ask_and_deny(sealed.state, control)
    kept = Retention(approvals="10d")
    later = time.time_ns() + 9 * DAY
    assert forget_approvals(sealed.state, control, kept, now=later) == 0
    assert requests_left(sealed.state, control) == set(handles.values())
    # Much later: yet what is still open stays.
    assert forget_approvals(sealed.state, control, kept, now=later + 2 * DAY) == 2
    assert requests_left(sealed.state, control) == {handles["open"]}


def test_no_request_is_forgotten_while_a_legal_hold_stands(sealed: Sealed) -> None:
    control = ControlStore()
    handles = ask_and_deny(sealed.state, control)
    late = time.time_ns() + 1000 * DAY
    holds.add(sealed.log, LegalHold(hold="case", reason="r", by="me", target="another"))
    assert forget_approvals(sealed.state, control, Retention(), now=late) == 0
    assert requests_left(sealed.state, control) == set(handles.values())
    holds.lift(sealed.log, "case", reason="r", by="me")
    assert forget_approvals(sealed.state, control, Retention(), now=late) == 2
    seals = sealed.state / "seals.ndjson"
    assert seals.exists()
    seals.write_bytes(seals.read_bytes().replace(b"case", b"cast"))
    with pytest.raises(SealError):
        forget_approvals(sealed.state, control, Retention(), now=late)


def test_a_control_store_that_was_never_made_is_not_made_for_this(sealed: Sealed) -> None:
    assert forget_approvals(sealed.state, ControlStore(), Retention()) == 0
    assert not list(sealed.state.glob("control*"))
