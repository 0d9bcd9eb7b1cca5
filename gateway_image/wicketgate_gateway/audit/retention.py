"""What is too old is deleted, and leaves a signed tombstone.

How this works: `make_plan` looks, `carry_out` does. A recording is kept for the longest `record.keep` of the policies
that are about its bot and target now, or for `retention.recordings` where there is none; the journal's files for
`retention.audit`, from the oldest on, and only once no recording of a session in them is left, all of it is in the
audit store, and the streams have had it. Legal holds come first. Requests for approval that have ended are forgotten
after `retention.approvals`; what was asked and answered stands in the events, so they leave no tombstone.

The tombstone is sealed before anything is deleted: a crash in between leaves what a later run deletes. Only what is
whole is deleted with a tombstone: otherwise one could hide behind it what was removed or changed by hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from wicketgate_gateway.audit import holds as legal
from wicketgate_gateway.audit.chain import file_number, walk
from wicketgate_gateway.audit.events import AuditEvent, RecordingClosed, SessionStarted
from wicketgate_gateway.audit.evidence import check_recording, last_digest
from wicketgate_gateway.audit.ingest import journal_folder
from wicketgate_gateway.audit.seals import JournalPurged, LegalHold, RecordingPurged, SealLog
from wicketgate_gateway.audit.verify import SessionTrace
from wicketgate_gateway.contract.gateway import ControlStore, GatewayTarget
from wicketgate_gateway.contract.keeping import Retention
from wicketgate_gateway.contract.policy import Bundle
from wicketgate_gateway.contract.values import seconds
from wicketgate_gateway.recording import format as fmt
from wicketgate_gateway.recording.files import FILE_MODE
from wicketgate_gateway.recording.journal import journal_files
from wicketgate_gateway.recording.recorder import session_folder
from wicketgate_gateway.store.base import FAILURES, Connection, is_sqlite
from wicketgate_gateway.store.place import own, purge_statements

STREAMS = "streams"
_NS = 1_000_000_000
_decode_started = msgspec.json.Decoder(SessionStarted).decode


@dataclass(frozen=True, slots=True)
class RecordingPurge:
    """One recording that is too old."""

    seal: RecordingPurged
    folder: Path


@dataclass(frozen=True, slots=True)
class Held:
    """Something that is old enough and stays, and why."""

    what: str
    reason: str


@dataclass(slots=True)
class Plan:
    """What a run would do."""

    recordings: list[RecordingPurge] = field(default_factory=list[RecordingPurge])
    leftovers: list[Path] = field(default_factory=list[Path])
    """Folders and files of the journal that have a tombstone and are still there: a run was cut short."""
    journal: JournalPurged | None = None
    forget: int = 0
    """Up to when (ns since 1970) the store may still have events whose files such a run deleted."""
    held: list[Held] = field(default_factory=list[Held])

    @property
    def empty(self) -> bool:
        """Whether there is nothing to delete."""
        return not (self.recordings or self.leftovers or self.journal)


@dataclass(frozen=True, slots=True)
class Rules:
    """What says how long things are kept."""

    retention: Retention
    bundle: Bundle
    targets: Mapping[str, GatewayTarget]

    def keep(self, started: SessionStarted) -> tuple[float, str]:
        """For how many seconds a session's recording is kept, and by what."""
        found: list[tuple[float, str]] = []
        target = self.targets.get(started.target)
        for policy in self.bundle.policies:
            if not (set(started.groups) & policy.groups.keys() or started.bot_id in policy.bots):
                continue
            kind, labels = (target.kind.value, target.labels) if target else (started.protocol, {})
            if policy.covers(started.target, kind, labels):
                found.append((seconds(policy.record.keep), f"policy `{policy.policy}` keeps {policy.record.keep}"))
        default = (seconds(self.retention.recordings), f"retention keeps {self.retention.recordings}")
        return max(found, default=default)


def make_plan(
    state: Path,
    connection: Connection,
    rules: Rules,
    *,
    now: int | None = None,
    stored: Callable[[str], bool] = lambda _: False,
) -> Plan:
    """What is too old. The store must have caught up. `stored` says whether the object store has a recording.

    Raises SealError where nothing can be known of legal holds, and OSError.
    """
    now = time.time_ns() if now is None else now
    seals = SealLog(state).read()
    holds = legal.standing(seals)
    plan = Plan()
    tombs = {signed.seal.session for signed in seals.signed if isinstance(signed.seal, RecordingPurged)}
    remaining = _plan_recordings(plan, state, connection, rules, holds, tombs, now, stored)
    files = journal_files(journal_folder(state))
    purged = [signed.seal for signed in seals.signed if isinstance(signed.seal, JournalPurged)]
    last = purged[-1] if purged else None
    if last is not None:
        left = [path for path in files if file_number(path) <= last.last]
        plan.leftovers += left
        plan.forget = last.newest if left else 0
    _plan_journal(plan, state, connection, rules, holds, remaining, last, now)
    return plan


def _plan_recordings(
    plan: Plan,
    state: Path,
    connection: Connection,
    rules: Rules,
    holds: Sequence[LegalHold],
    tombs: set[str],
    now: int,
    stored: Callable[[str], bool],
) -> dict[str, str]:
    """Recordings that are too old; gives for each that stays the reason."""
    remaining: dict[str, str] = {}
    # Another gateway's sessions may be in the same store: their recordings are for that one to delete.
    ours, values = own(state, connection)
    columns = "id, state, ended, data, recording_digest, recording_files, recording_size"
    query = f"SELECT {columns} FROM sessions WHERE {ours}"  # noqa: S608 - built of constants
    for session, status, ended, data, digest, files, size in connection.execute(query, values):
        started = _decode_started(data)
        folder = session_folder(state / "recordings", session)
        there = folder.is_dir()
        if session in tombs:
            if there:
                plan.leftovers.append(folder)
            continue
        if not there and not stored(session):
            continue
        if status == "live" or ended is None:
            remaining[session] = "the session runs, or its gateway died and no other has started since"
            continue
        keep, why = rules.keep(started)
        if ended + keep * _NS > now:
            remaining[session] = why
            continue
        hold = legal.holding(holds, started, ended)
        if hold is not None:
            remaining[session] = f"legal hold `{hold.hold}`"
            plan.held.append(Held(f"recording of {session}", remaining[session]))
            continue
        closed = None
        if digest is not None:
            closed = RecordingClosed(time=ended, session=session, digest=digest, files=files, size=size)
        if there:
            wrong = check_recording(folder, session, SessionTrace(started, closed, ended=True))
            if wrong:
                remaining[session] = f"it is evidence: {wrong[0]}"
                plan.held.append(Held(f"recording of {session}", remaining[session]))
                continue
        if closed is None:
            digest, files, size = last_digest(folder)
        assert digest is not None
        purged = RecordingPurged(
            session=session, digest=digest.hex(), files=files, size=size, started=started.time, reason=why
        )
        plan.recordings.append(RecordingPurge(purged, folder))
    return remaining


def _plan_journal(
    plan: Plan,
    state: Path,
    connection: Connection,
    rules: Rules,
    holds: Sequence[LegalHold],
    remaining: Mapping[str, str],
    last: JournalPurged | None,
    now: int,
) -> None:
    keep = seconds(rules.retention.audit) * _NS
    folder = journal_folder(state)
    files = [path for path in journal_files(folder) if last is None or file_number(path) > last.last]
    ours, values = own(state, connection)
    read = connection.execute(f"SELECT file FROM journal_position WHERE {ours}", values).fetchone()  # noqa: S608 - built of constants
    limit = min([int(read[0]) if read else 0, *(_position(path) for path in (state / STREAMS).glob("*.json"))])
    sessions = {
        row[0]: (_decode_started(row[1]), row[2] or now)
        for row in connection.execute(f"SELECT id, data, ended FROM sessions WHERE {ours}", values)  # noqa: S608 - built of constants
    }
    after = bytes.fromhex(last.after) if last is not None else fmt.GENESIS
    before, chosen = after, last.last if last is not None else 0
    first, events, size, oldest, newest = chosen + 1, 0, 0, 0, 0
    for path in files[:-1]:
        number = file_number(path)
        if number >= limit or path.stat().st_mtime_ns + keep > now:
            break
        seen: set[str] = set()
        found = walk_one(path, seen)
        if found is None:
            plan.held.append(Held(path.name, "it is evidence: its chain does not hold"))
            break
        if found.newest + keep > now:
            break
        why = _stays(seen, found, holds, sessions, remaining)
        if why:
            plan.held.append(Held(path.name, why))
            break
        if found.before != after or number != chosen + 1:
            plan.held.append(Held(path.name, "it is evidence: it does not go on from the file before it"))
            break
        chosen, after = number, found.after
        oldest, newest = oldest or found.oldest, max(newest, found.newest)
        events, size = events + found.events, size + path.stat().st_size
    if chosen >= first:
        plan.journal = JournalPurged(
            first=first,
            last=chosen,
            before=before.hex(),
            after=after.hex(),
            events=events,
            size=size,
            oldest=oldest,
            newest=newest,
            reason=f"retention keeps events {rules.retention.audit}",
        )


def _position(path: Path) -> int:
    try:
        return int(json.loads(path.read_bytes())["file"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


@dataclass(frozen=True, slots=True)
class _File:
    before: bytes
    after: bytes
    events: int
    oldest: int
    newest: int


def walk_one(path: Path, sessions: set[str]) -> _File | None:
    """Read one journal file, adding the sessions in it; None if its chain does not hold."""
    number = file_number(path)
    times: list[int] = []

    def event(found: AuditEvent) -> None:
        times.append(found.time)
        if found.session:
            sessions.add(found.session)

    found = walk(path.parent, only=number, on_event=event)
    if found.findings or number not in found.ends:
        return None
    return _File(
        found.starts[number], found.ends[number][1], found.events, min(times, default=0), max(times, default=0)
    )


def _stays(
    seen: set[str],
    found: _File,
    holds: Sequence[LegalHold],
    sessions: Mapping[str, tuple[SessionStarted, int]],
    remaining: Mapping[str, str],
) -> str:
    hold = legal.holding_time(holds, found.oldest, found.newest)
    if hold is not None:
        return f"legal hold `{hold.hold}`"
    for session in sorted(seen):
        if session in remaining:
            return f"the recording of {session} is still there: {remaining[session]}"
        if session in sessions:
            hold = legal.holding(holds, *sessions[session])
            if hold is not None:
                return f"legal hold `{hold.hold}`"
    return ""


@contextlib.contextmanager
def only_run(state: Path) -> Generator[None]:
    """One retention run at a time; a second one waits."""
    fd = os.open(state / "retention.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def carry_out(
    state: Path, connection: Connection, plan: Plan, *, unstore: Callable[[str], None] = lambda _: None
) -> None:
    """Seal the tombstones, then delete. `unstore` deletes a recording from the object store.

    Raises SealError (and then nothing was deleted), OSError and the store's `FAILURES`.
    """
    tombs = [purge.seal for purge in plan.recordings] + ([plan.journal] if plan.journal else [])
    if tombs:
        SealLog(state).change(lambda _: tombs)
    for purge in plan.recordings:
        unstore(purge.seal.session)
        _remove_folder(purge.folder)
    for path in plan.leftovers:
        if path.is_dir():
            unstore(path.name)
            _remove_folder(path)
        else:
            path.unlink()
    if plan.journal is not None:
        for path in journal_files(journal_folder(state)):
            if file_number(path) <= plan.journal.last:
                for aside in path.parent.glob(f"{path.name}.torn-*"):
                    aside.unlink()
                path.unlink()
    until = max(plan.forget, plan.journal.newest if plan.journal is not None else 0)
    if until:
        forget(state, connection, until)


def _remove_folder(folder: Path) -> None:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    with contextlib.suppress(OSError):
        folder.parent.rmdir()  # the day's, if that was its last


def forget_approvals(state: Path, control: ControlStore, retention: Retention, *, now: int | None = None) -> int:
    """Delete requests for approval that ended long enough ago; gives how many. None while a legal hold stands: a
    request is about a bot and a target, and nobody can ask for it back.

    Raises SealError where nothing can be known of legal holds, and WicketgateError (`approvals-unavailable`,
    `store-url-unreadable`).
    """
    if legal.standing(SealLog(state).read()):
        return 0
    before = (time.time_ns() if now is None else now) - round(seconds(retention.approvals) * _NS)
    # Only here: SQLAlchemy costs a quarter second to import.
    from wicketgate_gateway.approvals.database import FILE_NAME
    from wicketgate_gateway.approvals.place import url_of
    from wicketgate_gateway.approvals.store import open_store

    if control.url_file is None and not (state / FILE_NAME).exists():
        # Made here it might belong to another user than the gateway's.
        return 0

    async def run() -> int:
        store = await open_store(url_of(control, state))
        try:
            # What lapsed without anybody looking has ended, too.
            await store.sweep()
            return await store.forget(before)
        finally:
            await store.close()

    return asyncio.run(run())


def forget(state: Path, connection: Connection, until: int) -> None:
    """Delete the rows of this journal's events up to `until` (ns since 1970), and what only they had use for."""
    ours, values = own(state, connection)
    connection.execute("BEGIN IMMEDIATE" if is_sqlite(connection) else "BEGIN")
    try:
        connection.execute(f"DELETE FROM events WHERE time <= ? AND {ours}", (until, *values))  # noqa: S608 - built of constants
        connection.execute(
            f"DELETE FROM sessions WHERE ended <= ? AND state <> 'live' AND {ours}"  # noqa: S608 - built of constants
            " AND NOT EXISTS (SELECT 1 FROM events WHERE session = sessions.id)",
            (until, *values),
        )
        purge_statements(connection)
    except BaseException:
        with contextlib.suppress(*FAILURES):
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
