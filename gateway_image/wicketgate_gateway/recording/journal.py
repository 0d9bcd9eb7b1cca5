"""The journal: each event is on file before what it tells of may happen.

How this works: `submit` encodes events into a buffer and asks the loop for a flush in its next turn. The flush writes
everything buffered as one frame (`format.py`) by one write, then calls the `release` of each submission, in order: that
is what lets an operation out. With `sync=True` a thread calls fdatasync in between, and what arrives meanwhile shares
the next one (group commit).

When the write fails, each release gets the error and nothing goes out. The journal then stays failed, and refuses,
until a probe succeeds: each half second it tries to write a `JournalRecovered` event, together with the notices
(submissions without a release: the end of something that already happened), which are kept in bounded memory meanwhile.
What was refused is not written: it did not happen. (Only where fdatasync itself failed may it stand in the file.)

A file's start, on opening: a torn tail (a crash in mid-write) is copied aside and cut; a damaged file is left untouched
as evidence, and a new one is begun. Either is told in the `GatewayStarted` event and in the log.
Source for the order of things: "no record, no execution" (DESIGN, law 1).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import msgspec
import structlog

from wicketgate_gateway.audit.events import AuditEvent, GatewayStarted, JournalRecovered
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording import format as fmt
from wicketgate_gateway.recording.files import FILE_MODE, AppendFile, make_folder
from wicketgate_gateway.recording.ids import new_session_id

Release: TypeAlias = Callable[[Exception | None], None]
_Submission: TypeAlias = tuple[Release | None, list[bytes], int]

PATTERN = "journal-*.wgj"
MAX_EVENT = 64 * 1024 * 1024
_FRAME_BYTES = 16 * 1024 * 1024
_BACKLOG_BYTES = 16 * 1024 * 1024
_RETRY_SECONDS = 0.5
_CHECK_SECONDS = 1.0
_LOCK_SECONDS = 1.0

log = structlog.get_logger("wicketgate.journal")


class JournalError(WicketgateError):
    """The journal cannot be written, so nothing may happen."""

    code = "journal-failed"


def file_name(number: int) -> str:
    """The name of the journal's file of this number."""
    return f"journal-{number:08d}.wgj"


def journal_files(folder: Path) -> list[Path]:
    """The journal's files, oldest first."""
    return sorted(folder.glob(PATTERN))


class Journal:
    """The journal in `folder`, with this process as its only writer. Belongs to one event loop, but for `append`.

    Raises JournalError (`journal-locked` when another process writes it, `journal-failed` when the folder cannot be
    written).
    """

    def __init__(
        self,
        folder: Path,
        *,
        sync: bool = False,
        rotate_bytes: int = fmt.ROTATE_BYTES,
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        self.folder = folder
        self.instance = new_session_id()
        self.failed: JournalError | None = None
        """Why nothing can be written at the moment; None while all is well."""
        self._rotate_bytes = rotate_bytes
        self._retry_seconds = retry_seconds
        self._encode = msgspec.msgpack.Encoder().encode
        self._waiting: list[_Submission] = []
        self._scheduled = False
        self._backlog: list[bytes] = []
        self._backlog_bytes = 0
        self._failed_since = 0
        self._refused = 0
        self._dropped = 0
        self._fresh = False
        self._checked = time.monotonic()
        self._outbox: list[tuple[Release, Exception | None]] = []
        self._syncing: asyncio.Future[None] | None = None
        self._executor = ThreadPoolExecutor(1, "wicketgate-journal-sync") if sync else None
        try:
            make_folder(folder)
            self._lock = _lock(folder)
            self._number, self._digest, self._file, repaired = _recover(folder)
        except OSError as error:
            raise _failure(folder, error) from error
        if repaired:
            log.error("journal repaired", repaired=repaired)
        self.append([GatewayStarted(time=time.time_ns(), instance=self.instance, repaired=repaired)])

    # -- writing ---------------------------------------------------------------------------------------------------

    def submit(self, events: Sequence[AuditEvent | msgspec.Raw], release: Release | None = None) -> None:
        """Write `events` at the end of this loop turn, then call `release(None)`; or `release(error)` if they could not
        be written, and then what they tell of must not happen. Releases are called in the order of submission, and
        always later than this call returns. Without `release`, `events` are notices of what has happened.
        """
        try:
            encoded = [self._encode(events[0])] if len(events) == 1 else [self._encode(event) for event in events]
        except Exception as error:  # whatever it is, the operation must be refused, in its place in the order
            encoded = []
            release = _always(release, JournalError(f"the event cannot be written: {error}")) if release else None
        size = len(encoded[0]) if len(encoded) == 1 else sum(map(len, encoded))
        if size > MAX_EVENT:
            encoded, size = [], 0
            release = _always(release, JournalError("the event is too large")) if release else None
        self._waiting.append((release, encoded, size))
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def append(self, events: Sequence[AuditEvent]) -> None:
        """Write `events` now, without a loop. Raises JournalError."""
        try:
            self._write([self._encode(event) for event in events])
            if self._executor:
                os.fdatasync(self._file.fd)
        except OSError as error:
            raise _failure(self.folder, error) from error

    @property
    def position(self) -> tuple[int, int]:
        """Number of the current file, and the offset after the last frame in it."""
        return self._number, self._file.end

    def _flush(self) -> None:
        self._scheduled = False
        waiting, self._waiting = self._waiting, []
        total = 0
        for _, _, size in waiting:
            total += size
        for batch in _batches(waiting) if total > _FRAME_BYTES else (waiting,):
            self._flush_batch(batch)

    def _flush_batch(self, batch: list[_Submission]) -> None:
        if self.failed is None:
            encoded = [event for _, events, _ in batch for event in events]
            try:
                if encoded:
                    self._write(encoded)
            except OSError as error:
                self._fail(error)
        if self.failed is not None:
            self._keep_notices(batch)
        self._release(batch, self.failed)

    def _write(self, encoded: list[bytes]) -> None:
        now = time.monotonic()
        if now - self._checked > _CHECK_SECONDS:
            self._checked = now
            if self._file.gone():
                raise OSError(errno.ENOENT, "the journal's file was removed or replaced", str(self._file.path))
        if self._file.end >= self._rotate_bytes:
            self._rotate()
        # A MessagePack array (array 32) of the events.
        payload = b"".join([b"\xdd", len(encoded).to_bytes(4, "big"), *encoded])
        data, digest = fmt.frame(self._digest, payload)
        self._file.append(data)
        self._digest = digest

    def _rotate(self) -> None:
        file, digest = _begin(self.folder, self._number + 1, self._digest)
        self._file.close()
        self._number, self._digest, self._file = self._number + 1, digest, file

    # -- releasing -------------------------------------------------------------------------------------------------

    def _release(self, batch: list[_Submission], error: Exception | None) -> None:
        if self._executor is None:
            for release, _, _ in batch:
                if release is not None:
                    try:
                        release(error)
                    except Exception:  # see `_call`
                        log.exception("a release failed")
            return
        self._outbox += [(release, error) for release, _, _ in batch if release is not None]
        if self._syncing is None and self._outbox:
            self._sync()

    def _sync(self) -> None:
        outbox, self._outbox = self._outbox, []
        loop = asyncio.get_running_loop()
        # A descriptor of its own: rotation may close the file while the thread still waits for the disk.
        fd = os.dup(self._file.fd)
        syncing = loop.run_in_executor(self._executor, _fdatasync, fd)
        self._syncing = syncing
        syncing.add_done_callback(lambda done: self._synced(done, outbox))

    def _synced(self, done: asyncio.Future[None], outbox: list[tuple[Release, Exception | None]]) -> None:
        self._syncing = None
        failure = asyncio.CancelledError() if done.cancelled() else done.exception()
        if failure is not None:
            # What the kernel could not write it may have dropped: go on in a new file, once one can be written.
            self._fresh = True
            self._fail(failure if isinstance(failure, OSError) else OSError(errno.EIO, f"syncing failed: {failure!r}"))
            self._refused += len(outbox)
        for release, error in outbox:
            _call(release, error or (self.failed if failure else None))
        if self._outbox:
            self._sync()

    # -- failing and recovering ------------------------------------------------------------------------------------

    def _fail(self, error: OSError) -> None:
        if self.failed is not None:
            return
        self.failed = _failure(self.folder, error)
        self._failed_since = time.time_ns()
        self._refused = self._dropped = 0
        log.error("journal failed: nothing is let through until it can be written", error=str(self.failed))
        asyncio.get_running_loop().call_later(self._retry_seconds, self._probe)

    def _keep_notices(self, batch: list[_Submission]) -> None:
        for release, encoded, size in batch:
            if release is not None:
                self._refused += 1
                continue
            if self._backlog_bytes + size > _BACKLOG_BYTES:
                self._dropped += len(encoded)
            else:
                self._backlog += encoded
                self._backlog_bytes += size

    def _probe(self) -> None:
        if self.failed is None or self._file.fd < 0:
            return
        now = time.time_ns()
        recovered = JournalRecovered(
            time=now,
            reason=self.failed.message,
            duration_us=(now - self._failed_since) // 1000,
            refused=self._refused,
            dropped=self._dropped,
        )
        try:
            if self._fresh or self._file.gone():
                make_folder(self.folder)
                self._rotate()
                self._fresh = False
            self._write([*self._backlog, self._encode(recovered)])
            if self._executor:
                os.fdatasync(self._file.fd)
        except OSError as error:
            self.failed = _failure(self.folder, error)
            asyncio.get_running_loop().call_later(self._retry_seconds, self._probe)
            return
        log.error("journal recovered", duration_us=recovered.duration_us, refused=self._refused, dropped=self._dropped)
        self.failed = None
        self._backlog.clear()
        self._backlog_bytes = 0

    # -- ending ----------------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Wait until all that was submitted is released."""
        while self._scheduled or self._syncing is not None:
            if self._syncing is not None:
                with contextlib.suppress(OSError):
                    await asyncio.shield(self._syncing)
            await asyncio.sleep(0)

    def close(self) -> None:
        """Write the notices that are buffered, refuse the rest, and close. Raises JournalError if writing fails."""
        if self._file.fd < 0:
            return
        waiting, self._waiting = self._waiting, []
        notices = [event for release, events, _ in waiting if release is None for event in events]
        try:
            if self._backlog or notices:
                self._write([*self._backlog, *notices])
            os.fdatasync(self._file.fd)
        except OSError as error:
            raise _failure(self.folder, error) from error
        finally:
            self._file.close()
            os.close(self._lock)
            if self._executor:
                self._executor.shutdown()
            self.failed = JournalError(f"the journal in `{self.folder}` is closed")
            for release, _, _ in waiting:
                if release is not None:
                    _call(release, self.failed)


def _batches(waiting: list[_Submission]) -> Iterator[list[_Submission]]:
    batch: list[_Submission] = []
    total = 0
    for submission in waiting:
        if batch and total + submission[2] > _FRAME_BYTES:
            yield batch
            batch, total = [], 0
        batch.append(submission)
        total += submission[2]
    yield batch


def _always(release: Release, error: Exception) -> Release:
    return lambda _: release(error)


def _call(release: Release, error: Exception | None) -> None:
    # One session's trouble with its release must not keep the others' from being called.
    try:
        release(error)
    except Exception:
        log.exception("a release failed")


def _fdatasync(fd: int) -> None:
    try:
        os.fdatasync(fd)
    finally:
        os.close(fd)


def _failure(folder: Path, error: OSError) -> JournalError:
    what = error.strerror or str(error)
    remedy = {
        errno.ENOSPC: "free space on its file system; it recovers by itself",
        errno.EDQUOT: "raise the quota; it recovers by itself",
        errno.EACCES: "give the gateway's user the folder (mode 0700)",
        errno.EROFS: "mount it writable; it recovers by itself",
    }.get(error.errno or 0, "look at the disk; it recovers by itself")
    return JournalError(f"the journal in `{folder}` cannot be written: {what}", remedy=remedy)


def _lock(folder: Path) -> int:
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # The command line takes it for microseconds to see whether a gateway runs, and an old one may be ending.
            if time.monotonic() < deadline:
                time.sleep(0.02)
                continue
            os.close(fd)
            raise JournalError(
                f"another process writes the journal in `{folder}`",
                code="journal-locked",
                remedy="end it, or give this gateway a state folder of its own",
            ) from None
        return fd


def _begin(folder: Path, number: int, previous: bytes) -> tuple[AppendFile, bytes]:
    start, digest = fmt.file_start(
        fmt.JOURNAL_MAGIC,
        fmt.FileHeader(version=fmt.VERSION, number=number, created=time.time_ns(), previous=previous),
    )
    path = folder / file_name(number)
    file = AppendFile.create(path)
    try:
        file.append(start)
    except OSError:
        file.close()
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    return file, digest


def _recover(folder: Path) -> tuple[int, bytes, AppendFile, str]:
    """Open the newest file at its good end: its number, last digest, the file, and what had to be repaired."""
    files = journal_files(folder)
    if not files:
        file, digest = _begin(folder, 1, fmt.GENESIS)
        return 1, digest, file, ""
    path = files[-1]
    number = int(path.stem.partition("-")[2])
    size = path.stat().st_size
    with path.open("rb") as content:
        reader = fmt.FrameReader(content, fmt.JOURNAL_MAGIC)
        for _ in reader:
            pass
        if reader.ending is fmt.Ending.CLEAN and reader.digest is not None:
            return number, reader.digest, AppendFile.open(path, reader.offset), ""
        found = f"`{path.name}` at byte {reader.offset} of {size}: {reader.reason or 'it is empty'}"
        if reader.ending is fmt.Ending.DAMAGED or reader.digest is None:
            # Evidence is not for us to change. The new file goes on from the last digest that held.
            digest = reader.digest or _last_digest(files[:-1])
            file, digest = _begin(folder, number + 1, digest)
            return number + 1, digest, file, f"{found}; left as it is, and a new file begun"
        content.seek(reader.offset)
        tail = content.read()
    aside = path.with_name(f"{path.name}.torn-{reader.offset}")
    with contextlib.suppress(FileExistsError):
        kept = AppendFile.create(aside)
        try:
            kept.append(tail)
        except OSError:
            aside.unlink()
            raise
        finally:
            kept.close()
    file = AppendFile.open(path, reader.offset)
    os.ftruncate(file.fd, reader.offset)
    return number, reader.digest, file, f"{found}; {len(tail)} bytes cut and kept in `{aside.name}`"


def _last_digest(files: list[Path]) -> bytes:
    for path in reversed(files):
        with path.open("rb") as content:
            reader = fmt.FrameReader(content, fmt.JOURNAL_MAGIC)
            for _ in reader:
                pass
            if reader.digest is not None:
                return reader.digest
    return fmt.GENESIS
