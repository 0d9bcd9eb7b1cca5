"""What people said to a session's held statements, as notes between the steps of its replay.

How this works: the journal has each answer (`hold-voted`), the end of a request that was not approved (`hold-decided`),
and that an approved statement went out (`hold-used`). Those of this session, and the answers to requests that another
session of the bot had made and this one used, become notes; `merged` puts each where it belongs in time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from wicketgate_gateway.audit import query
from wicketgate_gateway.audit.events import AuditEvent, HoldDecided, HoldUsed, HoldVoted
from wicketgate_gateway.cli import output
from wicketgate_gateway.recording.replay import Note, Step

KINDS = ("hold-voted", "hold-decided", "hold-used")
_MANY = 1000
_ENDS = ("expired", "void")
"""Ends that no answer tells of."""


def notes(found: Sequence[AuditEvent]) -> list[Note]:
    """Notes of these events, in the order of time."""
    names = {e.approver: e.name for e in found if isinstance(e, HoldVoted)}
    made: list[Note] = []
    for event in found:
        match event:
            case HoldVoted():
                said = "approves" if event.choice == "approve" else "denies"
                comment = f": {event.comment}" if event.comment else ""
                text = f"{event.handle}: {event.name or event.approver} {said}{comment}"
            case HoldDecided(state=state) if state in _ENDS:
                text = f"{event.handle}: {state}" + (f", {event.reason}" if event.reason else "")
            case HoldUsed():
                by = ", ".join(names.get(approver, approver) for approver in event.approvers)
                text = f"{event.handle}: goes out, as approved by {by}"
            case _:
                continue
        made.append(Note(event.time, output.clean(text, line=True)))
    return sorted(made, key=lambda note: note.time)


def look(connection: query.Connection, session: str) -> list[Note]:
    """The notes of a session as the store has them now."""

    def events(wanted: query.AuditFilter) -> list[AuditEvent]:
        return [row.event for row in query.events(connection, wanted) if row.event is not None]

    found = events(query.AuditFilter(session=session, kinds=KINDS, limit=_MANY))
    known = {e.handle for e in found if isinstance(e, HoldVoted)}
    for used in [e for e in found if isinstance(e, HoldUsed) and e.handle not in known]:
        for approver in used.approvers:
            votes = events(query.AuditFilter(approver=approver, kinds=("hold-voted",), limit=_MANY))
            found += [v for v in votes if isinstance(v, HoldVoted) and v.handle == used.handle]
        known.add(used.handle)
    return notes(found)


def merged(steps: Iterator[Step], look: Callable[[], list[Note]], *, again: bool = False) -> Iterator[Step]:
    """The steps with the notes between them; with `again` it is looked anew before each step."""
    told: set[tuple[int, str]] = set()
    found = look()
    for step in steps:
        if again:
            found = look()
        for note in found:
            if note.time <= step.time and (note.time, note.text) not in told:
                told.add((note.time, note.text))
                yield note
        yield step
    yield from (note for note in (look() if again else found) if (note.time, note.text) not in told)
