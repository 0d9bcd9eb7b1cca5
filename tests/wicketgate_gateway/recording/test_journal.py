from __future__ import annotations

import asyncio
import errno
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from wicketgate_gateway.audit.events import (
    AuditEvent,
    GatewayStarted,
    JournalRecovered,
    Operation,
    OperationFinished,
    SessionEnded,
)
from wicketgate_gateway.recording import format as fmt
from wicketgate_gateway.recording.journal import Journal, JournalError, journal_files

Make = Callable[..., Operation]
Until = Callable[..., Awaitable[None]]


def read(folder: Path) -> tuple[list[AuditEvent], list[fmt.FrameReader], list[int]]:
    """All events; the readers of the files; how many events each frame had."""
    events: list[AuditEvent] = []
    readers: list[fmt.FrameReader] = []
    sizes: list[int] = []
    for path in journal_files(folder):
        with path.open("rb") as file:
            reader = fmt.FrameReader(file, fmt.JOURNAL_MAGIC)
            for frame in reader:
                found = msgspec.msgpack.decode(frame.payload, type=list[AuditEvent])
                events += found
                sizes.append(len(found))
        readers.append(reader)
    return events, readers, sizes


def operations(folder: Path) -> list[int]:
    return [event.seq for event in read(folder)[0] if isinstance(event, Operation)]


def test_one_write_a_turn_then_releases_in_order(
    tmp_path: Path, make_operation: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        journal = Journal(tmp_path)
        before = journal.position
        writes: list[int] = []
        real = os.pwrite
        monkeypatch.setattr(os, "pwrite", lambda fd, data, at: writes.append(len(data)) or real(fd, data, at))
        released: list[tuple[int, Exception | None]] = []

        def release(seq: int, error: Exception | None) -> None:
            assert operations(tmp_path)[-1] == 3, "the event must be on file before the release"
            released.append((seq, error))

        for seq in (1, 2, 3):
            journal.submit([make_operation(seq)], lambda error, seq=seq: release(seq, error))
        journal.submit([SessionEnded(time=1, reason="x")])
        assert journal.position == before
        assert not released
        await journal.drain()
        assert released == [(1, None), (2, None), (3, None)]
        assert len(writes) == 1
        assert read(tmp_path)[2] == [1, 4]
        journal.close()

    asyncio.run(run())


def test_a_release_may_submit_and_may_fail(tmp_path: Path, make_operation: Make) -> None:
    async def run() -> None:
        journal = Journal(tmp_path)
        order: list[str] = []

        def broken(error: Exception | None) -> None:
            order.append("broken")
            raise RuntimeError("a session's own trouble")

        def again(error: Exception | None) -> None:
            order.append("first")
            journal.submit([make_operation(3)], lambda error: order.append("nested"))

        journal.submit([make_operation(1)], broken)
        journal.submit([make_operation(2)], again)
        journal.submit([], lambda error: order.append("empty"))
        await journal.drain()
        assert order == ["broken", "first", "empty", "nested"]
        journal.close()
        assert operations(tmp_path) == [1, 2, 3]

    asyncio.run(run())


def test_an_event_that_cannot_be_encoded_is_refused_alone(tmp_path: Path, make_operation: Make) -> None:
    async def run() -> None:
        journal = Journal(tmp_path)
        got: list[Exception | None] = []
        journal.submit([make_operation(1)], got.append)
        journal.submit([make_operation(2, "\udc80")], got.append)
        journal.submit([make_operation(3)], got.append)
        await journal.drain()
        assert [isinstance(error, JournalError) for error in got] == [False, True, False]
        assert journal.failed is None
        journal.close()
        assert operations(tmp_path) == [1, 3]

    asyncio.run(run())


def test_a_full_disk_refuses_then_recovers_by_itself(
    tmp_path: Path, make_operation: Make, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    async def run() -> None:
        journal = Journal(tmp_path, retry_seconds=0.01)
        got: list[Exception | None] = []
        journal.submit([make_operation(1)], got.append)
        await journal.drain()
        real = os.pwrite
        full = True

        def pwrite(fd: int, data: bytes, at: int) -> int:
            if not full:
                return real(fd, data, at)
            if len(data) > 20:
                return real(fd, bytes(data)[:20], at)  # half a frame, then nothing more
            raise OSError(errno.ENOSPC, "No space left on device")

        def limited(fd: int, data: bytes, at: int) -> int:
            nonlocal used
            if full and used:
                raise OSError(errno.ENOSPC, "No space left on device")
            used = True
            return pwrite(fd, data, at)

        used = False
        monkeypatch.setattr(os, "pwrite", limited)
        journal.submit([make_operation(2)], got.append)
        journal.submit([OperationFinished(time=5, session="s", seq=1, outcome="ok")])
        await journal.drain()
        assert isinstance(got[1], JournalError)
        assert "free space" in str(got[1])
        assert journal.failed is not None
        journal.submit([make_operation(3)], got.append)
        await journal.drain()
        assert isinstance(got[2], JournalError)
        full = False
        await until(lambda: journal.failed is None)
        journal.submit([make_operation(4)], got.append)
        await journal.drain()
        assert got[3] is None
        journal.close()
        events, readers, _ = read(tmp_path)
        assert readers[-1].ending is fmt.Ending.CLEAN
        assert operations(tmp_path) == [1, 4]
        assert [e.seq for e in events if isinstance(e, OperationFinished)] == [1]
        recovered = next(e for e in events if isinstance(e, JournalRecovered))
        assert (recovered.refused, recovered.dropped) == (2, 0)
        assert recovered.duration_us > 0

    asyncio.run(run())


def test_notices_are_kept_in_bounded_memory(
    tmp_path: Path, make_operation: Make, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    async def run() -> None:
        journal = Journal(tmp_path, retry_seconds=0.01)
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", _enospc)
            for seq in range(40):
                journal.submit([make_operation(seq, "x" * 1_000_000)])
                await journal.drain()
            assert journal._backlog_bytes < 17 * 1024 * 1024
        await until(lambda: journal.failed is None)
        journal.close()
        events = read(tmp_path)[0]
        recovered = next(e for e in events if isinstance(e, JournalRecovered))
        assert recovered.dropped + len(operations(tmp_path)) == 40
        assert recovered.dropped > 0

    asyncio.run(run())


def _enospc(fd: int, data: bytes, at: int) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_removed_file_is_noticed(
    tmp_path: Path, make_operation: Make, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    async def run() -> None:
        monkeypatch.setattr("wicketgate_gateway.recording.journal._CHECK_SECONDS", 0)
        journal = Journal(tmp_path, retry_seconds=0.01)
        journal_files(tmp_path)[0].unlink()
        got: list[Exception | None] = []
        journal.submit([make_operation(1)], got.append)
        await journal.drain()
        assert "removed" in str(got[0])
        await until(lambda: journal.failed is None)
        journal.submit([make_operation(2)], got.append)
        await journal.drain()
        assert got[1] is None
        journal.close()
        assert operations(tmp_path) == [2]

    asyncio.run(run())


def test_rotation_keeps_the_chain(tmp_path: Path, make_operation: Make) -> None:
    async def run() -> None:
        journal = Journal(tmp_path, rotate_bytes=500)
        for seq in range(1, 20):
            journal.submit([make_operation(seq)], lambda error: None)
            await journal.drain()
        journal.close()
        _, readers, _ = read(tmp_path)
        assert len(readers) > 3
        digest = fmt.GENESIS
        for number, reader in enumerate(readers, 1):
            assert reader.header is not None
            assert (reader.header.previous, reader.header.number) == (digest, number)
            assert reader.ending is fmt.Ending.CLEAN
            assert reader.digest is not None
            digest = reader.digest
        assert operations(tmp_path) == list(range(1, 20))

    asyncio.run(run())


def test_a_huge_turn_is_split_into_frames(tmp_path: Path, make_operation: Make) -> None:
    async def run() -> None:
        journal = Journal(tmp_path)
        got: list[Exception | None] = []
        for seq in range(20):
            journal.submit([make_operation(seq, "x" * 1024 * 1024)], got.append)
        journal.submit([make_operation(99, "x" * 65 * 1024 * 1024)], got.append)
        await journal.drain()
        assert got[:20] == [None] * 20
        assert "too large" in str(got[20])
        journal.close()
        assert read(tmp_path)[2] == [1, 15, 5]

    asyncio.run(run())


def test_two_writers_are_refused_and_reopening_goes_on(tmp_path: Path, make_operation: Make) -> None:
    first = Journal(tmp_path)
    with pytest.raises(JournalError) as caught:
        Journal(tmp_path)
    assert caught.value.code == "journal-locked"
    first.append([make_operation(1)])
    first.close()
    first.close()
    second = Journal(tmp_path)
    second.append([make_operation(2)])
    second.close()
    assert operations(tmp_path) == [1, 2]
    starts = [event for event in read(tmp_path)[0] if isinstance(event, GatewayStarted)]
    assert [event.repaired for event in starts] == ["", ""]
    assert starts[0].instance != starts[1].instance


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError):
        Journal(tmp_path / "file" / "journal")


def test_a_torn_tail_at_every_byte(tmp_path: Path, make_operation: Make) -> None:
    origin = Journal(tmp_path / "origin")
    start = origin.position[1]
    origin.append([make_operation(1)])
    good = origin.position[1]
    origin.append([make_operation(2)])
    origin.close()
    data = journal_files(tmp_path / "origin")[0].read_bytes()
    for cut in range(start, len(data)):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / "journal-00000001.wgj").write_bytes(data[:cut])
        journal = Journal(folder)
        journal.append([make_operation(3)])
        journal.close()
        assert operations(folder) == ([1, 3] if cut >= good else [3])
        events, readers, _ = read(folder)
        assert [reader.ending for reader in readers] == [fmt.Ending.CLEAN]
        repaired = [event.repaired for event in events if isinstance(event, GatewayStarted)][-1]
        if cut in (start, good):
            assert repaired == ""
        else:
            kept = folder / f"journal-00000001.wgj.torn-{good if cut > good else start}"
            assert f"{kept.stat().st_size} bytes cut" in repaired
            assert data[:cut].endswith(kept.read_bytes())


def test_a_damaged_file_is_left_as_evidence(tmp_path: Path, make_operation: Make) -> None:
    journal = Journal(tmp_path)
    start = journal.position[1]
    journal.append([make_operation(1)])
    journal.append([make_operation(2)])
    journal.close()
    path = journal_files(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[start + 60] ^= 1
    path.write_bytes(data)
    journal = Journal(tmp_path)
    journal.append([make_operation(3)])
    journal.close()
    assert path.read_bytes() == bytes(data)
    assert operations(tmp_path) == [3]
    started = [event for event in read(tmp_path)[0] if isinstance(event, GatewayStarted)][-1]
    assert "checksum is wrong; left as it is" in started.repaired


def test_closing_refuses_what_was_not_released(tmp_path: Path, make_operation: Make) -> None:
    async def run() -> None:
        journal = Journal(tmp_path)
        got: list[Exception | None] = []
        journal.submit([make_operation(1)], got.append)
        journal.submit([SessionEnded(time=1, session="s", reason="x")])
        journal.close()
        assert isinstance(got[0], JournalError)
        await asyncio.sleep(0)
        assert operations(tmp_path) == []
        assert isinstance(read(tmp_path)[0][-1], SessionEnded)
        journal.submit([make_operation(2)], got.append)
        await asyncio.sleep(0)
        assert isinstance(got[1], JournalError)

    asyncio.run(run())


def test_sync_releases_after_the_disk_has_it_and_shares_syncs(
    tmp_path: Path, make_operation: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        journal = Journal(tmp_path, sync=True)
        real, syncs = os.fdatasync, 0

        def slow(fd: int) -> None:
            nonlocal syncs
            time.sleep(0.02)
            real(fd)
            syncs += 1

        monkeypatch.setattr(os, "fdatasync", slow)
        got: list[tuple[int, int]] = []
        for seq in range(20):
            journal.submit([make_operation(seq)], lambda error, seq=seq: got.append((seq, syncs)))
            await asyncio.sleep(0.001)
        await journal.drain()
        assert [seq for seq, _ in got] == list(range(20))
        assert got[0][1] == 1
        assert syncs < 10
        journal.close()

    asyncio.run(run())


def test_a_failed_sync_refuses_and_goes_on_in_a_new_file(
    tmp_path: Path, make_operation: Make, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    async def run() -> None:
        journal = Journal(tmp_path, sync=True, retry_seconds=0.01)
        got: list[Exception | None] = []

        def broken(fd: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", broken)
            journal.submit([make_operation(1)], got.append)
            await asyncio.sleep(0)
            journal.submit([make_operation(2)], got.append)
            await journal.drain()
            assert [type(error) for error in got] == [JournalError, JournalError]
        await until(lambda: journal.failed is None)
        assert journal.position[0] == 2
        journal.submit([make_operation(3)], got.append)
        await journal.drain()
        assert got[2] is None
        journal.close()

    asyncio.run(run())


WRITER = """
import asyncio, sys, time
from pathlib import Path
from wicketgate_gateway.audit.events import Operation
from wicketgate_gateway.recording.journal import Journal
async def main():
    journal = Journal(Path(sys.argv[1]))
    seq = 0
    while True:
        for _ in range(5):
            seq += 1
            operation = Operation(time=1, session="s", seq=seq, statement="x" * 5000, effect="allow", rule="r")
            journal.submit([operation], lambda error, seq=seq: error is None and print(seq, flush=True))
        await asyncio.sleep(0)
asyncio.run(main())
"""


@pytest.mark.parametrize("round_", range(4))
def test_kill_minus_9_loses_nothing_that_was_released(tmp_path: Path, make_operation: Make, round_: int) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    last = 0
    stop = random.Random(round_).randint(20, 2000)
    for line in writer.stdout:
        last = int(line)
        if last >= stop:
            break
    writer.send_signal(signal.SIGKILL)
    last = int((writer.stdout.read().splitlines() or [str(last)])[-1].strip() or last)
    writer.wait()
    writer.stdout.close()
    journal = Journal(tmp_path)
    journal.append([make_operation(0)])
    journal.close()
    found = operations(tmp_path)
    assert found == [*range(1, len(found)), 0]
    assert len(found) - 1 >= last


def test_a_real_file_size_limit(tmp_path: Path) -> None:
    program = """
import asyncio, resource, sys
from pathlib import Path
from wicketgate_gateway.audit.events import Operation
from wicketgate_gateway.recording.journal import Journal
async def main():
    journal = Journal(Path(sys.argv[1]), retry_seconds=0.01)
    got = []
    for seq in range(1, 30):
        operation = Operation(time=1, session="s", seq=seq, statement="x" * 500, effect="allow", rule="r")
        journal.submit([operation], got.append)
        await journal.drain()
    refused = sum(error is not None for error in got)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    while journal.failed:
        await asyncio.sleep(0.01)
    journal.submit([operation], got.append)
    await journal.drain()
    print(refused, got[-1])
    journal.close()
asyncio.run(main())
"""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))

    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], preexec_fn=limit, check=True, capture_output=True, text=True
    )
    refused, last = done.stdout.splitlines()[-1].split(maxsplit=1)
    assert last == "None"
    found = operations(tmp_path)
    assert len(found) == 30 - int(refused)
    assert int(refused) > 10
    assert found[-1] == 29


@pytest.mark.root
def test_a_full_tmpfs(tmp_path: Path, make_operation: Make, until: Until) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)], check=True)
    try:

        async def run() -> None:
            journal = Journal(tmp_path / "journal", retry_seconds=0.01)
            got: list[Exception | None] = []
            seq = 0
            while journal.failed is None:
                seq += 1
                journal.submit([make_operation(seq, "x" * 5000)], got.append)
                await journal.drain()
                if seq == 10:
                    (tmp_path / "ballast").write_bytes(bytes(100_000))
            assert isinstance(got[-1], JournalError)
            assert got[:-1] == [None] * (seq - 1)
            (tmp_path / "ballast").unlink()
            await until(lambda: journal.failed is None)
            journal.submit([make_operation(1000)], got.append)
            await journal.drain()
            assert got[-1] is None
            journal.close()
            assert operations(tmp_path / "journal") == [*range(1, seq), 1000]

        asyncio.run(run())
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
