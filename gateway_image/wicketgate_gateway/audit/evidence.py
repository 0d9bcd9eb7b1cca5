"""Checks recordings against what the journal says of them.

How this works: the journal has the digest of each closed recording's last frame, which stands for every byte of it.
So a recording is walked, its chain checked, and its last digest compared; its files must name the session whose folder
they are in. A recording that is not there must have a tombstone, or be in the object store.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from wicketgate_gateway.audit.chain import Finding
from wicketgate_gateway.audit.seals import RecordingPurged
from wicketgate_gateway.audit.verify import Report, SessionTrace
from wicketgate_gateway.recording import format as fmt
from wicketgate_gateway.recording.blocks import RecordingEnd, read_payload
from wicketgate_gateway.recording.recorder import segment_name, session_folder


def check_recordings(
    report: Report,
    recordings: Path,
    purged: Mapping[str, RecordingPurged],
    *,
    running: bool = False,
    stored: Callable[[str], list[Finding] | None] = lambda _: None,
) -> None:
    """Check all that the journal (as `report` has it) knows, and look for what it does not know.

    `stored` checks a recording in the object store; None if it is not there either.
    """
    for session, trace in report.sessions.items():
        tomb = purged.get(session)
        folder = session_folder(recordings, session)
        there = (folder / segment_name(1)).exists()
        if tomb is not None:
            if trace.closed is not None and trace.closed.digest.hex() != tomb.digest:
                message = "its tombstone has another digest than the journal"
                report.findings.append(Finding("tombstone-wrong", f"recording of {session}", message))
            if there:
                report.notes.append(f"the recording of {session} was purged, and its files are still there")
            continue
        if there:
            found = check_recording(folder, session, trace, running=running)
        else:
            found = stored(session)
            if found is None:
                message = "it is not there, and no seal says that it was purged"
                found = [Finding("recording-missing", f"recording of {session}", message)]
        report.findings += found
        if not found:
            report.recordings += 1
            if trace.closed is None and not running:
                report.notes.append(f"the recording of {session} has no end: the gateway died in mid-session")
    known = report.sessions.keys() | purged.keys()
    report.findings += unknown_recordings(recordings, known)


def unknown_recordings(recordings: Path, known: Collection[str]) -> list[Finding]:
    """Recordings that no session in the journal has."""
    message = "the journal knows no such session"
    return [
        Finding("recording-unknown", f"recording of {folder.name}", message)
        for folder in sorted(recordings.glob("*/*"))
        if folder.is_dir() and folder.name not in known
    ]


def check_recording(folder: Path, session: str, trace: SessionTrace, *, running: bool = False) -> list[Finding]:
    """Walk one recording and compare it with the journal."""
    where = f"recording of {session}"
    previous, number, ended = fmt.GENESIS, 0, False
    while (path := folder / segment_name(number + 1)).exists():
        number += 1
        place = f"{where}, `{path.name}`"
        with path.open("rb") as file:
            reader = fmt.FrameReader(file, fmt.RECORDING_MAGIC)
            last = b""
            for frame in reader:
                last = frame.payload
        later = (folder / segment_name(number + 1)).exists()
        header = reader.header
        if header is not None:
            if (header.session, header.number) != (session, number):
                message = f"it belongs to session `{header.session}`, as its file {header.number}"
                return [Finding("recording-swapped", place, message)]
            if header.previous != previous:
                return [Finding("recording-damaged", place, "it does not go on from the file before it")]
        if reader.ending is fmt.Ending.DAMAGED or (reader.ending is fmt.Ending.TORN and (later or trace.closed)):
            return [Finding("recording-damaged", place, reader.reason, reader.offset)]
        previous = reader.digest or previous
        ended = _is_end(last)
    extra = [path.name for path in folder.glob("*.wgr") if not _in_sequence(path.name, number)]
    if extra:
        return [Finding("recording-damaged", where, f"files before `{extra[0]}` are missing")]
    closed = trace.closed
    if closed is None:
        # Lost with its gateway, or still running: nothing stands for its last digest.
        return []
    if not ended:
        return [Finding("recording-cut", where, "the journal says that it was complete, and its end is missing")]
    if previous != closed.digest or number != closed.files:
        return [Finding("recording-swapped", where, "it is not the one that the journal's digest stands for")]
    return []


def last_digest(folder: Path) -> tuple[bytes, int, int]:
    """Of a recording that nothing stands for: the digest of its last good frame, how many files it has, their size."""
    digest, number, size = fmt.GENESIS, 0, 0
    while (path := folder / segment_name(number + 1)).exists():
        number += 1
        size += path.stat().st_size
        with path.open("rb") as file:
            reader = fmt.FrameReader(file, fmt.RECORDING_MAGIC)
            for _ in reader:
                pass
        digest = reader.digest or digest
    return digest, number, size


def _in_sequence(name: str, count: int) -> bool:
    digits = name.removesuffix(".wgr")
    return digits.isdecimal() and 1 <= int(digits) <= count


def _is_end(payload: bytes) -> bool:
    try:
        return isinstance(read_payload(payload), RecordingEnd)
    except ValueError:
        return False
