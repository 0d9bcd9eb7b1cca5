"""What a soak must account for: the server's own log against journal, recordings and control store.

How this works: the target server logs each statement as it begins to execute, and each statement holds a mark of its
own. The journal and the recordings are read as files, one frame at a time: nothing is kept but marks.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import psycopg

from wicketgate_gateway.audit.events import AuditEvent, HoldUsed, Operation
from wicketgate_gateway.audit.ingest import journal_folder
from wicketgate_gateway.recording.blocks import CLIENT
from wicketgate_gateway.recording.format import JOURNAL_MAGIC, Ending, FrameReader
from wicketgate_gateway.recording.journal import journal_files
from wicketgate_gateway.recording.reader import Recording

MARK = re.compile(r"mark-\d+-\d+-[a-z]+")
_MARK_BYTES = re.compile(rb"mark-\d+-\d+-[a-z]+")


def logged(log: Path) -> Counter[str]:
    """How often the server began to execute a statement of each mark for the bot, by its own log."""
    found: Counter[str] = Counter()
    with log.open(errors="replace") as file:
        for line in file:
            # The agent's question to the planner executes nothing.
            if (" LOG:  statement: " in line or " LOG:  execute " in line) and "EXPLAIN (FORMAT JSON)" not in line:
                found.update(set(MARK.findall(line)))
    return found


@dataclass
class Journal:
    """The marks in a journal."""

    allowed: dict[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])
    """Those that were let through, with the session and the time (ns) of the last."""
    refused: set[str] = field(default_factory=set[str])
    approved: Counter[str] = field(default_factory=Counter[str])
    """How often each went out because people said so."""
    used: Counter[str] = field(default_factory=Counter[str])
    """`HoldUsed` by handle."""
    damage: int = 0


def journal(state: Path) -> Journal:
    """Read the journal of a state folder."""
    found = Journal()
    decoder = msgspec.msgpack.Decoder(list[AuditEvent])
    for path in journal_files(journal_folder(state)):
        with path.open("rb") as file:
            reader = FrameReader(file, JOURNAL_MAGIC)
            for frame in reader:
                for event in decoder.decode(frame.payload):
                    _note(found, event)
            found.damage += reader.ending is Ending.DAMAGED
    return found


def _note(found: Journal, event: AuditEvent) -> None:
    if isinstance(event, HoldUsed):
        found.used[event.handle] += 1
    if not isinstance(event, Operation):
        return
    marks = set(MARK.findall(event.statement))
    if event.effect == "allow" or event.code == "hold-approved":
        found.allowed.update(dict.fromkeys(marks, (event.session, event.time)))
        if event.code == "hold-approved":
            found.approved.update(marks)
    elif event.effect == "deny":
        found.refused |= marks


@dataclass
class Recorded:
    """The marks in all recordings of a state folder."""

    marks: set[str] = field(default_factory=set[str])
    whole: set[str] = field(default_factory=set[str])
    """Sessions whose recording has its end."""
    cut: set[str] = field(default_factory=set[str])
    """Sessions whose recording says itself that it was cut off."""
    damaged: list[str] = field(default_factory=list[str])


def recorded(state: Path) -> Recorded:
    """Read all recordings."""
    found = Recorded()
    for folder in sorted((state / "recordings").glob("*/*")):
        recording = Recording(state / "recordings", folder.name)
        client = b"".join(r.data for r in recording.records() if r.direction == CLIENT)
        found.marks.update(m.decode() for m in _MARK_BYTES.findall(client))
        (found.cut if recording.end is None else found.whole).add(folder.name)
        found.damaged += [f"{folder.name}: {p}" for p in recording.problems if p.startswith(Ending.DAMAGED.value)]
    return found


def only_in_the_journal(
    executed: Iterator[str], journal: Journal, recorded: Recorded, kills: list[int]
) -> tuple[int, int, float]:
    """What no recording holds: how many in all, how many without a gateway killed in that moment (none may be), and
    how many seconds before that kill at most. `kills` are times (ns) at which the gateway was killed, in order.
    """
    missing, unexplained, longest = 0, 0, 0.0
    for mark in executed:
        if mark in recorded.marks:
            continue
        missing += 1
        session, time = journal.allowed.get(mark, ("", 0))
        later = bisect_left(kills, time)
        if session not in recorded.cut or later == len(kills):
            unexplained += 1
        else:
            longest = max(longest, (kills[later] - time) / 1e9)
    return missing, unexplained, longest


@dataclass(frozen=True, slots=True)
class Asked:
    """One request in the control store."""

    handle: str
    statement: str
    approvals: int
    uses: int


def asked(dsn: str) -> list[Asked]:
    """All requests in a control store on PostgreSQL."""
    query = """SELECT r.handle, r.operation, r.uses,
                 (SELECT count(*) FROM votes v WHERE v.handle = r.handle AND v.choice = 'approve')
               FROM requests r"""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(query).fetchall()
    return [Asked(handle, json.loads(text)["statement"], approvals, uses) for handle, text, uses, approvals in rows]
