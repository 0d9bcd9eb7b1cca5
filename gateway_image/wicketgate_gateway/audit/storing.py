"""Brings closed recordings to the object store, and answers for those that are only there.

How this works: a recording is put there once the journal has its digest and the local copy is what that stands for;
then it is read back and checked in the same way; only then is the local copy marked as stored, or deleted if so set.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from wicketgate_gateway.audit.chain import Finding
from wicketgate_gateway.audit.events import RecordingClosed, SessionStarted
from wicketgate_gateway.audit.evidence import check_recording
from wicketgate_gateway.audit.verify import Report, SessionTrace
from wicketgate_gateway.recording.objects import STORED, ObjectStore, StoreError
from wicketgate_gateway.recording.recorder import session_folder
from wicketgate_gateway.store.base import Connection

_decode_started = msgspec.json.Decoder(SessionStarted).decode


def store_closed(
    recordings: Path,
    connection: Connection,
    store: ObjectStore,
    *,
    keep_local: bool,
    tell: Callable[[str], None] = lambda _: None,
) -> int:
    """Store what was closed since; gives how many recordings that were. One's trouble is told and keeps no other.

    Raises StoreError if the store cannot be reached.
    """
    count = 0
    for folder in sorted(recordings.glob("*/*")):
        if not folder.is_dir() or (folder / STORED).exists():
            continue
        trace = _trace(connection, folder.name)
        if trace is None or trace.closed is None:
            continue
        wrong = check_recording(folder, folder.name, trace)
        if not wrong:
            try:
                store.put(folder, folder.name)
                wrong = check_stored(store, folder.name, trace)
            except StoreError as error:
                if error.code == StoreError.code:
                    raise
                tell(str(error))
                continue
        if wrong is None or wrong:
            tell(f"not stored: {wrong[0] if wrong else 'it cannot be read back'}")
            continue
        (folder / STORED).touch(0o600)
        count += 1
        if not keep_local:
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()
    return count


def _trace(connection: Connection, session: str) -> SessionTrace | None:
    row = connection.execute(
        "SELECT data, recording_digest, recording_files, recording_size FROM sessions WHERE id = ?", (session,)
    ).fetchone()
    if row is None:
        return None
    closed = None
    if row[1] is not None:
        closed = RecordingClosed(time=0, session=session, digest=row[1], files=row[2], size=row[3])
    return SessionTrace(_decode_started(row[0]), closed, ended=True)


def check_stored(store: ObjectStore, session: str, trace: SessionTrace) -> list[Finding] | None:
    """What is wrong with the store's copy; None if there is none."""
    with tempfile.TemporaryDirectory(prefix="wicketgate-") as folder:
        if not store.fetch(session, Path(folder)):
            return None
        return check_recording(session_folder(Path(folder), session), session, trace)


def checker(store: ObjectStore | None, report: Report) -> Callable[[str], list[Finding] | None]:
    """For `evidence.check_recordings`: looks in the store."""
    if store is None:
        return lambda _: None
    return lambda session: check_stored(store, session, report.sessions[session])
