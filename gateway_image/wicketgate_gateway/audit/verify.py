"""Does the state folder hold what happened, all of it, as it was? Answered offline.

How this works: the journal's chain is walked (`chain.py`); each recording is walked and compared with the digest that
the journal has of it; the seals (`seals.py`) are checked one by one, and each head among them must be found in the
journal at its place. Seals from outside (an anchor's copy) are compared with the state folder's own: what the outside
has and the folder has not, or has otherwise, was rolled back, removed or rewritten.

What no seal covers yet (the last `every` seconds before a cut) cannot be told from what never was: the report says
how far the seals reach.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wicketgate_gateway.audit.chain import Finding, Walk, walk
from wicketgate_gateway.audit.events import (
    AuditEvent,
    GatewayStarted,
    JournalRecovered,
    RecordingClosed,
    SessionEnded,
    SessionStarted,
)
from wicketgate_gateway.audit.ingest import journal_folder
from wicketgate_gateway.audit.seals import (
    SEALS,
    Breach,
    Head,
    JournalPurged,
    RecordingPurged,
    SealLog,
    Seals,
    Signed,
    read_seals,
)
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording import format as fmt
from wicketgate_gateway.recording.journal import journal_files

_NAMED = 20


@dataclass(slots=True)
class SessionTrace:
    """What the journal says of one session's recording."""

    started: SessionStarted
    closed: RecordingClosed | None = None
    ended: bool = False


@dataclass(slots=True)
class Report:
    """What was found; `findings` empty means that everything is whole."""

    findings: list[Finding] = field(default_factory=list[Finding])
    notes: list[str] = field(default_factory=list[str])
    """What is worth knowing, and not wrong."""
    journal: Walk = field(default_factory=Walk)
    files: int = 0
    sessions: dict[str, SessionTrace] = field(default_factory=dict[str, SessionTrace])
    key: str = ""
    """The public key of the seals."""
    seals: int = 0
    anchored: int = 0
    """The number of the last seal that the outside has."""
    head: Head | None = None
    """The last head that was found in the journal."""
    recordings: int = 0
    """How many recordings were checked and are whole."""

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


def verify(
    state: Path,
    *,
    anchors: Sequence[Path] = (),
    key: str | None = None,
    running: bool = False,
    on_file: Callable[[int, int], None] = lambda _number, _of: None,
) -> Report:
    """Check the journal and the seals in `state`. `anchors` are files of seals from outside; `key` the public key that
    the caller trusts. With a gateway `running`, the last frame may be under way.

    Raises WicketgateError (`journal-missing`, `key-invalid`, `seals-unusable`).
    """
    folder = journal_folder(state)
    report = Report()
    outside = [_outside(path) for path in anchors]
    if not journal_files(folder) and not (state / SEALS).exists() and not any(data.strip() for data in outside):
        raise WicketgateError(
            f"there is no journal in `{folder}`",
            code="journal-missing",
            remedy="is this the gateway's state folder? where it has several workers, each has one: `workers/0` in it",
        )
    # Read before the journal: what was sealed must be in it, while what is written meanwhile need not be sealed.
    own = SealLog(state).read()
    _key(report, own, key)
    anchored = [read_seals(data, report.key or None, whole=False) for data in outside]
    _own_seals(report, own, running)
    for path, seals in zip(anchors, anchored, strict=True):
        _compare(report, own, path, seals)
    if not anchors:
        report.notes.append("no anchor was given: a state folder rolled back as a whole would not be noticed")
    every = {signed.line: signed for seals in (own, *anchored) for signed in seals.signed}
    sealed = sorted(every.values(), key=lambda signed: signed.seal.number)
    heads = [signed for signed in sealed if isinstance(signed.seal, Head)]
    purged = _purged(report, [signed.seal for signed in own.signed if isinstance(signed.seal, JournalPurged)])
    try:
        report.journal = walk(
            folder,
            wanted=[(seal.file, seal.offset) for signed in heads if isinstance(seal := signed.seal, Head)],
            purged=purged,
            on_event=lambda event: _trace(report, event),
            on_file=on_file,
        )
    except OSError as error:
        raise WicketgateError(
            f"the journal in `{folder}` cannot be read: {error.strerror}",
            code="journal-unreadable",
            remedy="run this as the gateway's user",
        ) from error
    report.files = len(report.journal.sizes)
    last = max(report.journal.sizes, default=0)
    for finding in report.journal.findings:
        if running and finding.kind == "torn" and finding.where.endswith(f"-{last:08d}.wgj"):
            report.notes.append("a frame was being written while this looked")
        else:
            report.findings.append(finding)
    _heads(report, heads, purged)
    for signed in sealed:
        if isinstance(signed.seal, Breach):
            where = f"seal {signed.seal.number}"
            message = f"the gateway found that the journal did not go on from what was sealed: {signed.seal.reason}"
            report.findings.append(Finding("breach", where, message))
    return report


def _outside(path: Path) -> bytes:
    try:
        if path.is_dir():
            # A copy of an object store: an object a seal.
            return b"".join(each.read_bytes().strip() + b"\n" for each in sorted(path.rglob("seal-*.json")))
        return path.read_bytes()
    except OSError as error:
        raise WicketgateError(
            f"`{path}`: {(error.strerror or 'cannot be read').lower()}",
            code="anchor-unreadable",
            remedy="give a copy of the anchor's file, or of the folder with its objects",
        ) from None


def _key(report: Report, own: Seals, key: str | None) -> None:
    if key is not None:
        report.key = key
    elif own.signed:
        report.key = own.signed[0].key
        report.notes.append(
            f"the seals are taken to be the gateway's, by {report.key}: compare it with what "
            "`wicketgate audit key` printed when the gateway was set up, or give it with --key"
        )


def _own_seals(report: Report, own: Seals, running: bool) -> None:
    for problem in own.problems:
        if running and problem.kind == "torn":
            continue
        report.findings.append(Finding(f"seal-{problem.kind}", f"`{SEALS}` line {problem.line}", problem.message))
    strangers = [signed for signed in own.signed if signed.key != report.key]
    if strangers:
        first = strangers[0]
        message = f"{len(strangers)} seals are signed by another key, {first.key}"
        report.findings.append(Finding("seal-forged", f"seal {first.seal.number}", message))
        own.signed = [signed for signed in own.signed if signed.key == report.key]
    report.seals = len(own.signed)
    if not own.signed and not strangers:
        message = "there is no seal: a tail that was cut, or a chain that was made anew, would not be noticed"
        report.findings.append(Finding("unsealed", f"`{SEALS}`", message))


def _compare(report: Report, own: Seals, path: Path, outside: Seals) -> None:
    """The outside's seals must be in the state folder, the same."""
    for problem in outside.problems:
        if problem.kind in ("forged", "damaged"):
            report.findings.append(Finding(f"anchor-{problem.kind}", f"`{path}` line {problem.line}", problem.message))
    for key, count in outside.others.items():
        report.notes.append(f"`{path}` has {count} seals by another gateway's key, {key}")
    there = {signed.seal.number: signed for signed in outside.signed}
    here = {signed.seal.number: signed for signed in own.signed}
    gone = [number for number in there if number not in here]
    forked = [number for number, signed in sorted(there.items()) if number in here and here[number].line != signed.line]
    if len(there) < len(outside.signed):
        doubled = len(outside.signed) - len(there)
        message = (
            f"{doubled} numbers stand there for two seals: the state folder was rolled back, or copied and run twice"
        )
        report.findings.append(Finding("rolled-back", f"`{path}`", message))
    if gone:
        message = (
            f"it has {len(gone)} seals that the state folder has not, up to seal {max(gone)}, while the state folder "
            f"ends with seal {max(here, default=0)}: it was rolled back, or seals were removed"
        )
        report.findings.append(Finding("rolled-back", f"`{path}`", message))
    if forked:
        message = f"seal {forked[0]} is another one than in the state folder ({len(forked)} differ): it was rolled back"
        report.findings.append(Finding("rolled-back", f"`{path}`", message))
    if there:
        holes = max(there) - min(there) + 1 - len(there)
        if holes:
            report.findings.append(Finding("anchor-removed", f"`{path}`", f"{holes} seals are missing in between"))
        report.anchored = max(report.anchored, max(there))
        behind = max(here, default=0) - max(there)
        if behind > 0:
            report.notes.append(f"`{path}` does not have the last {behind} seals")
    elif own.signed:
        report.findings.append(Finding("anchor-removed", f"`{path}`", "it has no seal by this key"))


def _purged(report: Report, tombstones: Sequence[JournalPurged]) -> dict[int, bytes]:
    """For each purged file the digest at its end, as far as it is known; tombstones must join up."""
    ends: dict[int, bytes] = {}
    before, number = fmt.GENESIS.hex(), 0
    for tomb in tombstones:
        if tomb.first != number + 1 or tomb.before != before:
            message = f"it does not go on from the purge before it (file {number})"
            report.findings.append(Finding("tombstone-wrong", f"seal {tomb.number}", message))
        ends |= dict.fromkeys(range(tomb.first, tomb.last), b"")
        ends[tomb.last] = bytes.fromhex(tomb.after)
        number, before = tomb.last, tomb.after
        report.notes.append(
            f"files {tomb.first} to {tomb.last} of the journal ({tomb.events} events) were purged: {tomb.reason}"
        )
    return ends


def _heads(report: Report, heads: Sequence[Signed], purged: dict[int, bytes]) -> None:
    journal, wrong = report.journal, 0
    last = max(journal.ends, default=0)
    good: Head | None = None
    for signed in heads:
        seal = signed.seal
        assert isinstance(seal, Head)
        if seal.file in purged and seal.file not in journal.sizes:
            continue
        found = journal.digests.get((seal.file, seal.offset))
        if found is not None and found.hex() == seal.digest:
            good = seal
            continue
        wrong += 1
        if wrong > _NAMED:
            continue
        end, _ = journal.ends.get(seal.file, (0, b""))
        where = f"file {seal.file} of the journal"
        if seal.file > last or (seal.file == last and seal.offset > end):
            stops = f"it ends at byte {end}" if seal.file == last else f"the journal ends with file {last}"
            message = f"the tail was cut: seal {seal.number} says that byte {seal.offset} was reached, and {stops}"
            report.findings.append(Finding("cut", where, message, seal.offset))
        else:
            since = f" after seal {good.number}" if good else ""
            what = "no frame ends there" if found is None else "the chain has another digest there"
            message = f"it was rewritten{since}: seal {seal.number} does not match, {what}"
            report.findings.append(Finding("rewritten", where, message, seal.offset))
    if wrong > _NAMED:
        report.findings.append(Finding("rewritten", "the journal", f"{wrong - _NAMED} more seals do not match"))
    report.head = good
    if good is not None and last:
        end, _ = journal.ends.get(last, (0, b""))
        if (good.file, good.offset) != (last, end):
            report.notes.append(
                f"seals reach up to byte {good.offset} of file {good.file}; what follows is not sealed yet"
            )


def _trace(report: Report, event: AuditEvent) -> None:
    match event:
        case SessionStarted():
            report.sessions[event.session] = SessionTrace(event)
        case RecordingClosed():
            if event.session in report.sessions:
                report.sessions[event.session].closed = event
        case SessionEnded():
            if event.session in report.sessions:
                report.sessions[event.session].ended = True
        case GatewayStarted() if event.repaired:
            report.notes.append(f"after a crash or damage, a gateway found: {event.repaired}")
        case JournalRecovered():
            report.notes.append(f"the journal could not be written for a while, nothing went out: {event.reason}")
        case _:
            pass


def purged_recordings(state: Path) -> dict[str, RecordingPurged]:
    """The tombstones of recordings, by session."""
    return {
        signed.seal.session: signed.seal
        for signed in SealLog(state).read().signed
        if isinstance(signed.seal, RecordingPurged)
    }
