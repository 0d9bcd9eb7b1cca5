"""The recorder: both directions of each session, compressed and written by a thread.

How this works: the loop appends `(direction, time, bytes)` to a session's list, without copying. A list of 64 KiB (of
256 KiB while the one writer thread is still at the session's last one), or one that is 200 ms old, is handed to that
thread, which turns all that a session has handed over into a block (`blocks.py`: zstd level 1), frames and chains it
(`format.py`) and writes it at once. Where the thread has fallen behind a session (more than 512 KiB of it wait, as of a
bulk answer on a machine without an idle core), the block is stored instead of compressed, which costs a fraction: the
recording becomes larger, and what a bot waits for is its database. The thread has a lower priority than the loop, so
that other sessions' queries go first. So a live recording can be read up to the last quarter of a second, and after a
kill its files hold everything but that.

Memory is bounded: a session with more than 1 MiB under way (64 KiB when all sessions together exceed 64 MiB) is
`backlogged`; the caller stops reading from both peers and goes on at `on_drained`. A caller that does not, loses the
recording at 16 MiB, and with it the session.

When a write fails, the session is `failed`: it must refuse statements. What it has under way is kept and tried again
each half second; the recording goes on without a gap once the disk takes it.

Layout: `<folder>/<yyyy-mm-dd>/<session>/000001.wgr`, 000002 … after each 64 MiB.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from time import time_ns
from typing import TypeAlias

import structlog

from wicketgate_gateway.audit.events import RecordingClosed, SessionStarted
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording import format as fmt
from wicketgate_gateway.recording.blocks import CLIENT, SERVER, BlockWriter, RecordingEnd, compressor
from wicketgate_gateway.recording.files import AppendFile, make_folder
from wicketgate_gateway.recording.ids import check_session_id, started_at

_CHUNK_BYTES = 64 * 1024
_GATHER_BYTES = 4 * _CHUNK_BYTES
_CALM_BYTES = _CHUNK_BYTES // 2
_FLUSH_SECONDS = 0.2
_HIGH_BYTES = 1024 * 1024
_TOTAL_BYTES = 64 * 1024 * 1024
_LIMIT_BYTES = 16 * 1024 * 1024
_RETRY_SECONDS = 0.5
_CHECK_SECONDS = 1.0
_BLOCK_BYTES = 1024 * 1024
_BEHIND_BYTES = 512 * 1024
_NICE = 5

_Records: TypeAlias = list[tuple[int, int, bytes]]

log = structlog.get_logger("wicketgate.recorder")


class RecordingError(WicketgateError):
    """A session cannot be recorded, so it must not go on."""

    code = "recording-failed"


def session_folder(folder: Path, session: str) -> Path:
    """Where the recording of `session` is. Raises WicketgateError for what is not a session's id."""
    session = check_session_id(session)
    return folder / started_at(session).strftime("%Y-%m-%d") / session


def segment_name(number: int) -> str:
    """The name of a recording's file of this number, from 1."""
    return f"{number:06d}.wgr"


class SessionRecording:
    """One session's recording. Belongs to the loop; never raises once it has started."""

    def __init__(self, recorder: Recorder, started: SessionStarted) -> None:
        self.session = started.session
        self.failed: RecordingError | None = None
        """Why nothing can be recorded at the moment: the session must refuse statements. None while all is well."""
        self.on_drained: Callable[[], None] | None = None
        """Called on the loop when the session is no longer `backlogged`, if it was asked and was."""
        self.answers = started.record == "full"
        """Whether what the client is sent is recorded, too."""
        self.finished = False
        self._recorder = recorder
        self._records: _Records = []
        self._size = 0
        self._marked = False
        self._asked = False
        self._handed_bytes = 0
        self._written_bytes = 0
        self._handed: deque[_Records | RecordingEnd] = deque()
        self._writer = _SessionWriter(recorder.folder, started, recorder.compress)

    def client(self, data: bytes) -> None:
        """Record what the client sent. Never pass a password message."""
        if self._marked and self._size < _CALM_BYTES and type(data) is bytes and not self.finished:
            # As `_add`, which this way is called for one piece in some hundred.
            self._records.append((CLIENT, time_ns(), data))
            self._size += len(data)
        else:
            self._add(CLIENT, data)

    def server(self, data: bytes) -> None:
        """Record what the client is sent, after masking."""
        if not self.answers:
            return
        if self._marked and self._size < _CALM_BYTES and type(data) is bytes and not self.finished:
            self._records.append((SERVER, time_ns(), data))
            self._size += len(data)
        else:
            self._add(SERVER, data)

    def _add(self, direction: int, data: bytes) -> None:
        if self.finished:
            return
        # A bytearray or a view could change before the thread reads it.
        self._records.append((direction, time_ns(), data if type(data) is bytes else bytes(data)))
        self._size = size = self._size + len(data)
        if size >= _CHUNK_BYTES and (size >= _GATHER_BYTES or self._prompt()):
            self.flush()
        elif not self._marked:
            self._marked = True
            self._recorder.mark(self)

    def _prompt(self) -> bool:
        # While the thread is at work on the last chunk, another would not be written sooner, only wake it once more.
        return self._handed_bytes == self._written_bytes or self._recorder.under_way >= _TOTAL_BYTES

    def flush(self) -> None:
        """Hand what there is to the writer thread."""
        if not self._records:
            return
        records, self._records = self._records, []
        size, self._size = self._size, 0
        if self._handed_bytes - self._written_bytes > _LIMIT_BYTES:
            self._overrun()
            return
        self._handed_bytes += size
        self._recorder.hand(self, records, size)

    def _overrun(self) -> None:
        self.finished = True
        self.failed = RecordingError(
            "more was sent than could be recorded", code="recording-overrun", remedy="open a new session"
        )
        log.error("recording overrun", session=self.session)
        self._recorder.hand(self, self._end("overrun"), 0)

    @property
    def backlogged(self) -> bool:
        """True while the writer is behind: read no more from either peer until `on_drained` is called."""
        if self._handed_bytes - self._written_bytes + self._size <= _CHUNK_BYTES or not self._behind():
            return False
        self._asked = True
        # The thread may have caught up in between, and then did not see that we asked.
        return self._behind()

    def _behind(self) -> bool:
        under_way = self._handed_bytes - self._written_bytes + self._size
        return under_way > (_HIGH_BYTES if self._recorder.under_way < _TOTAL_BYTES else _CHUNK_BYTES)

    def finish(self, reason: str) -> None:
        """The session is over; the recording gets its end. Later data is not recorded."""
        if self.finished:
            return
        self.flush()
        self.finished = True
        self._recorder.hand(self, self._end(reason), 0)

    def _end(self, reason: str) -> RecordingEnd:
        return RecordingEnd(time=time.time_ns(), reason=reason)

    def drained(self) -> None:
        """Called on the loop by the recorder."""
        if self._asked and not self._behind():
            self._asked = False
            if self.on_drained is not None:
                self.on_drained()


class Recorder:
    """Records sessions under `folder`, by one thread. Belongs to one loop."""

    def __init__(self, folder: Path, *, rotate_bytes: int = fmt.ROTATE_BYTES) -> None:
        self.folder = folder
        self.on_closed: Callable[[RecordingClosed], None] | None = None
        """Called on the loop when a recording is complete; the journal should have that event."""
        self.under_way = 0
        """Bytes handed over and not yet written, of all sessions."""
        self.compress = compressor()
        """The thread's; one for all sessions, since each has a context of about a megabyte."""
        self._rotate_bytes = rotate_bytes
        self._loop: asyncio.AbstractEventLoop | None = None
        self._marked: list[SessionRecording] = []
        self._together: list[SessionRecording] | None = None
        self._queue: queue.SimpleQueue[list[SessionRecording] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._live: set[SessionRecording] = set()
        self._thread = threading.Thread(target=self._run, name="wicketgate-recorder", daemon=True)
        self._thread.start()

    def start(self, started: SessionStarted) -> SessionRecording:
        """Begin the recording of a session: its folder and first file are there when this returns.

        Raises RecordingError if they cannot be made, and then there must be no session.
        """
        self._loop = asyncio.get_running_loop()
        recording = SessionRecording(self, started)
        try:
            recording._writer.begin()
        except OSError as error:
            raise _failure(recording._writer.folder, error) from error
        self._live.add(recording)
        return recording

    def mark(self, recording: SessionRecording) -> None:
        """A session has something that must be handed over soon."""
        if not self._marked and self._loop is not None:
            self._loop.call_later(_FLUSH_SECONDS, self._flush_marked)
        self._marked.append(recording)

    def _flush_marked(self) -> None:
        marked, self._marked = self._marked, []
        self._together = together = []
        for recording in marked:
            recording._marked = False
            recording.flush()
        self._together = None
        if together:
            self._queue.put(together)

    def hand(self, recording: SessionRecording, item: _Records | RecordingEnd, size: int) -> None:
        """Give the thread something to write."""
        with self._lock:
            self.under_way += size
        recording._handed.append(item)
        if self._together is not None:
            # The thread is woken once for all of them: each wake-up takes the interpreter away from the loop.
            self._together.append(recording)
        else:
            self._queue.put([recording])

    async def close(self) -> None:
        """Finish all recordings and wait until everything is written, as far as the disk takes it."""
        for recording in list(self._live):
            recording.finish("gateway stopped")
        self._queue.put(None)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
        await asyncio.sleep(0)  # so that the last `on_closed` are called

    # -- the writer thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        # Linux: a thread's own. The loop waits for no block of this thread's but when a session is far ahead of it.
        with contextlib.suppress(OSError):
            thread = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICE)
        failing: dict[SessionRecording, None] = {}
        retry_at = 0.0
        while True:
            try:
                handed = self._queue.get(timeout=max(0.0, retry_at - time.monotonic()) if failing else None)
                if handed is None:
                    break
                for recording in handed:
                    if recording not in failing:
                        self._write(recording, failing)
            except queue.Empty:
                pass
            if failing and time.monotonic() >= retry_at:
                for recording in list(failing):
                    self._write(recording, failing)
                retry_at = time.monotonic() + _RETRY_SECONDS
        for recording in list(failing):
            self._write(recording, failing)
            recording._writer.close()

    def _write(self, recording: SessionRecording, failing: dict[SessionRecording, None]) -> None:
        handed, writer = recording._handed, recording._writer
        try:
            while handed or writer.pending:
                closed = self._write_block(recording, handed, writer)
                if closed is not None:
                    self._on_loop(self._closed, recording, closed)
        except OSError as error:
            failure = _failure(writer.folder, error)
            if recording not in failing:
                log.error(
                    "recording failed: the session refuses statements", session=recording.session, error=str(failure)
                )
            failing[recording] = None
            recording.failed = recording.failed or failure
            return
        except Exception as error:  # one recording's trouble must not end the others'
            log.exception("recording broken", session=recording.session)
            recording.failed = RecordingError(f"the recorder failed: {error!r}", code="recording-broken")
            handed.clear()
            writer.abandon()
            return
        if recording in failing:
            del failing[recording]
            log.error("recording recovered", session=recording.session)
            if recording.failed is not None and recording.failed.code == RecordingError.code:
                recording.failed = None

    def _write_block(
        self, recording: SessionRecording, handed: deque[_Records | RecordingEnd], writer: _SessionWriter
    ) -> RecordingClosed | None:
        if writer.pending is None:
            writer.prepare(handed, lambda: recording._handed_bytes - recording._written_bytes > _BEHIND_BYTES)
        closed, size = writer.write(self._rotate_bytes)
        if size:
            recording._written_bytes += size
            with self._lock:
                self.under_way -= size
            if recording._asked:
                self._on_loop(recording.drained)
        return closed

    def _on_loop(self, call: Callable[..., None], *args: object) -> None:
        # The loop may be closed when the process ends.
        with contextlib.suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(call, *args)

    def _closed(self, recording: SessionRecording, event: RecordingClosed) -> None:
        self._live.discard(recording)
        if self.on_closed is not None:
            self.on_closed(event)


class _SessionWriter:
    """The files of one recording: used by `start` once, then by the thread alone."""

    def __init__(self, folder: Path, started: SessionStarted, compress: Callable[[bytes], bytes]) -> None:
        self.folder = session_folder(folder, started.session)
        self.pending: bytes | None = None
        """A block's payload that is not yet written."""
        self._pending_size = 0
        self._end = False
        self._started = started
        self._number = 1
        self._digest = fmt.GENESIS
        self._file: AppendFile | None = None
        self._stored = 0
        self._blocks = BlockWriter(compress)
        self._looked = 0.0
        self._lost = False

    def begin(self) -> None:
        make_folder(self.folder.parent.parent)
        make_folder(self.folder)
        self._open(1, self._started)

    def _open(self, number: int, started: SessionStarted | None) -> None:
        header = fmt.FileHeader(
            version=fmt.VERSION,
            number=number,
            created=time.time_ns(),
            previous=self._digest,
            session=self._started.session,
            started=started,
        )
        start, digest = fmt.file_start(fmt.RECORDING_MAGIC, header)
        path = self.folder / segment_name(number)
        file = AppendFile.create(path)
        try:
            file.append(start)
        except OSError:
            file.close()
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        if self._file is not None:
            self._file.close()
        self._file, self._number, self._digest = file, number, digest
        self._stored += len(start)

    def prepare(self, handed: deque[_Records | RecordingEnd], far_behind: Callable[[], bool]) -> None:
        """Make a block of what was handed over: at most about 1 MiB, or the end. If `far_behind`, it is stored."""
        records: _Records = []
        size = 0
        while handed and size < _BLOCK_BYTES:
            item = handed[0]
            if isinstance(item, RecordingEnd):
                if not records:
                    handed.popleft()
                    self.pending, self._pending_size, self._end = self._blocks.end(item), 0, True
                    return
                break
            handed.popleft()
            records += item
            size = sum(len(data) for _, _, data in records)
        self.pending, self._pending_size = self._blocks.block(records, store=far_behind()), size

    def write(self, rotate_bytes: int) -> tuple[RecordingClosed | None, int]:
        """Write the pending block. Gives the closing event if it was the end, and how many recorded bytes it held."""
        assert self.pending is not None
        if self._file is None or self._is_gone(self._file):
            raise FileNotFoundError(2, "the recording's file was removed or replaced")
        if self._file.end >= rotate_bytes:
            self._open(self._number + 1, None)
        data, digest = fmt.frame(self._digest, self.pending)
        self._file.append(data)
        self._digest = digest
        self._stored += len(data)
        self.pending = None
        if not self._end:
            return None, self._pending_size
        self.close()
        closed = RecordingClosed(
            time=time.time_ns(),
            session=self._started.session,
            digest=digest,
            files=self._number,
            size=self._stored,
        )
        return closed, 0

    def _is_gone(self, file: AppendFile) -> bool:
        # Looked at once a second, and once more at the end: a look costs as much as the write.
        now = time.monotonic()
        if self._lost or self._end or now - self._looked > _CHECK_SECONDS:
            self._looked = now
            self._lost = file.gone()
        return self._lost

    def abandon(self) -> None:
        self.pending = None
        self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _failure(folder: Path, error: OSError) -> RecordingError:
    what = error.strerror or str(error)
    return RecordingError(
        f"the session cannot be recorded in `{folder}`: {what}",
        remedy="free space or give the gateway's user the folder",
    )
