from __future__ import annotations

import asyncio
import errno
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from wicketgate_gateway.audit.events import RecordingClosed, SessionStarted
from wicketgate_gateway.recording.blocks import CLIENT, SERVER
from wicketgate_gateway.recording.format import RECORDING_MAGIC, Frame, FrameReader
from wicketgate_gateway.recording.reader import Recording, check_closed
from wicketgate_gateway.recording.recorder import Recorder, RecordingError, session_folder

Started = Callable[..., SessionStarted]
Until = Callable[..., Awaitable[None]]


def content(recording: Recording) -> tuple[bytes, bytes]:
    found = list(recording.records())
    return tuple(b"".join(r.data for r in found if r.direction == d) for d in (CLIENT, SERVER))  # type: ignore[return-value]


def test_a_session_from_start_to_end(tmp_path: Path, make_started: Started) -> None:
    async def run() -> None:
        recorder = Recorder(tmp_path)
        closed: list[RecordingClosed] = []
        recorder.on_closed = closed.append
        started = make_started()
        session = recorder.start(started)
        before = time.time_ns()
        session.client(b"Qhello")
        changing = bytearray(b"Tworld")
        session.server(changing)  # type: ignore[arg-type]
        changing[:] = b"______"
        session.finish("client left")
        session.client(b"too late")
        session.finish("again")
        await recorder.close()
        recording = Recording(tmp_path, started.session)
        assert recording.started == started
        records = list(recording.records())
        assert [(r.direction, r.data) for r in records] == [(CLIENT, b"Qhello"), (SERVER, b"Tworld")]
        assert before <= records[0].time <= records[1].time <= time.time_ns()
        assert recording.end is not None
        assert (recording.end.reason, recording.end.client_bytes, recording.end.server_bytes) == ("client left", 6, 6)
        assert recording.problems == []
        assert closed[0].digest == recording.digest
        assert closed[0].size == sum(path.stat().st_size for path in recording.folder.iterdir())
        assert check_closed(recording, closed[0]) == []
        for path, mode in ((recording.folder.parent, 0o700), (recording.folder, 0o700)):
            assert stat.S_IMODE(path.stat().st_mode) == mode
        assert [stat.S_IMODE(path.stat().st_mode) for path in recording.folder.iterdir()] == [0o600]

    asyncio.run(run())


def test_a_live_session_can_be_read_within_a_quarter_second(
    tmp_path: Path, make_started: Started, until: Until
) -> None:
    async def run() -> None:
        recorder = Recorder(tmp_path)
        session = recorder.start(make_started())
        session.client(b"Q1")
        begin = time.monotonic()
        await until(lambda: content(Recording(tmp_path, session.session)) == (b"Q1", b""))
        assert time.monotonic() - begin < 3  # 0.2 s on an idle machine
        session.server(b"Z")
        await until(lambda: content(Recording(tmp_path, session.session)) == (b"Q1", b"Z"))
        recording = Recording(tmp_path, session.session)
        list(recording.records())
        assert recording.end is None
        assert recording.problems == ["the recording has no end: it was cut off, or the session is still running"]
        await recorder.close()
        list(recording.records())
        assert recording.end is not None
        assert recording.end.reason == "gateway stopped"

    asyncio.run(run())


def test_rotation(tmp_path: Path, make_started: Started) -> None:
    async def run() -> None:
        recorder = Recorder(tmp_path, rotate_bytes=3000)
        session = recorder.start(make_started())
        sent = b""
        for number in range(50):
            data = os.urandom(200)
            sent += data
            session.server(data)
            session.flush()
            await asyncio.sleep(0.001 if number % 10 else 0.05)
        session.finish("x")
        await recorder.close()
        recording = Recording(tmp_path, session.session)
        assert content(recording) == (b"", sent)
        assert recording.problems == []
        assert len(list(recording.folder.iterdir())) > 2
        index = recording.index()
        assert [entry.file for entry in index] == sorted(entry.file for entry in index)
        later = list(recording.records(since=index[-2].head.first))
        assert b"".join(r.data for r in later) in sent
        assert recording.end is not None

    asyncio.run(run())


def test_a_busy_thread_is_handed_larger_pieces_and_loses_none(
    tmp_path: Path, make_started: Started, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        recorder = Recorder(tmp_path)
        compress, busy, go = recorder.compress, threading.Event(), threading.Event()

        def slow(data: bytes) -> bytes:
            busy.set()
            assert go.wait(30)
            return compress(data)

        monkeypatch.setattr(recorder, "compress", slow)
        session = recorder.start(make_started())
        handed: list[int] = []
        hand = recorder.hand
        monkeypatch.setattr(recorder, "hand", lambda r, item, size: (handed.append(size), hand(r, item, size)))
        pieces = [bytes([n]) * 16384 for n in range(40)]
        for piece in pieces[:4]:
            session.server(piece)
        assert handed == [65536]
        assert await asyncio.to_thread(busy.wait, 30)
        for piece in pieces[4:20]:
            session.server(piece)
        assert handed == [65536, 262144]
        # Another that is too small to be handed over goes with the next tick all the same, though the thread is stuck.
        session.server(pieces[20])
        await until(lambda: len(handed) == 3)
        assert handed[2] == 16384
        go.set()
        await until(lambda: not recorder.under_way)
        for piece in pieces[21:25]:
            session.server(piece)
        assert handed[3:] == [65536]
        session.finish("x")
        await recorder.close()
        assert content(Recording(tmp_path, session.session)) == (b"", b"".join(pieces[:25]))

    asyncio.run(run())


def test_back_pressure(tmp_path: Path, make_started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        gate = threading.Event()
        real = os.pwrite

        def slow(fd: int, data: bytes, at: int) -> int:
            if threading.current_thread().name == "wicketgate-recorder":
                gate.wait(20)
            return real(fd, data, at)

        monkeypatch.setattr(os, "pwrite", slow)
        recorder = Recorder(tmp_path)
        session = recorder.start(make_started())
        drained = asyncio.Event()
        session.on_drained = drained.set
        chunk = bytes(256 * 1024)
        sent = 0
        longest = 0.0
        while not session.backlogged:
            begin = time.perf_counter()
            session.server(chunk)
            longest = max(longest, time.perf_counter() - begin)
            sent += len(chunk)
        assert 1024 * 1024 <= sent <= 1024 * 1024 + 2 * len(chunk)
        assert longest < 5, "the loop must never wait for the disk (the thread does, for 20 s)"
        assert session.failed is None
        gate.set()
        await asyncio.wait_for(drained.wait(), 10)
        assert not session.backlogged
        assert recorder.under_way < 64 * 1024 * 16
        session.finish("x")
        await recorder.close()
        assert recorder.under_way == 0
        assert content(Recording(tmp_path, session.session))[1] == bytes(sent)

    asyncio.run(run())


def test_what_the_thread_is_far_behind_with_is_stored_and_all_else_compressed(
    tmp_path: Path, make_started: Started, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    async def run() -> None:
        gate = threading.Event()
        real = os.pwrite
        nice: list[int] = []

        def slow(fd: int, data: bytes, at: int) -> int:
            if threading.current_thread().name == "wicketgate-recorder":
                nice.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
                gate.wait(20)
            return real(fd, data, at)

        monkeypatch.setattr(os, "pwrite", slow)
        recorder = Recorder(tmp_path)
        session = recorder.start(make_started())
        chunk = b"as like as two peas " * 3200
        session.server(chunk + chunk)
        count = 2
        await until(lambda: nice)
        while not session.backlogged:
            session.server(chunk)
            count += 1
        gate.set()
        await until(lambda: recorder.under_way == 0)
        session.server(chunk)
        count += 1
        session.finish("x")
        await recorder.close()
        recording = Recording(tmp_path, session.session)
        assert content(recording)[1] == chunk * count
        assert recording.problems == []
        sizes = [len(frame.payload) for frame in frames(recording)][:-1]
        assert sum(size > 200_000 for size in sizes) >= 1, "while it was behind, what it wrote was stored"
        assert sizes[0] < 20_000
        assert sizes[-1] < 20_000, "and once it had caught up, compressed"
        here = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        assert set(nice) == {min(19, here + 5)}, "the loop's thread goes first"

    asyncio.run(run())


def frames(recording: Recording) -> list[Frame]:
    with (recording.folder / "000001.wgr").open("rb") as file:
        return list(FrameReader(file, RECORDING_MAGIC))


def test_a_caller_that_does_not_stop_loses_the_session(
    tmp_path: Path, make_started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        gate = threading.Event()
        real = os.pwrite

        def slow(fd: int, data: bytes, at: int) -> int:
            if threading.current_thread().name == "wicketgate-recorder":
                gate.wait(20)
            return real(fd, data, at)

        monkeypatch.setattr(os, "pwrite", slow)
        recorder = Recorder(tmp_path)
        session = recorder.start(make_started())
        for _ in range(100):
            session.server(bytes(1024 * 1024))
        assert session.failed is not None
        assert session.failed.code == "recording-overrun"
        assert recorder.under_way < 20 * 1024 * 1024
        gate.set()
        await recorder.close()
        assert session.failed is not None
        recording = Recording(tmp_path, session.session)
        list(recording.records())
        assert recording.end is not None
        assert recording.end.reason == "overrun"

    asyncio.run(run())


def test_a_full_disk_fails_the_session_and_leaves_no_gap(
    tmp_path: Path, make_started: Started, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    async def run() -> None:
        monkeypatch.setattr("wicketgate_gateway.recording.recorder._RETRY_SECONDS", 0.02)
        recorder = Recorder(tmp_path)
        session, other = recorder.start(make_started()), recorder.start(make_started())
        session.client(b"one ")
        session.flush()
        await until(lambda: recorder.under_way == 0)
        real = os.pwrite
        with monkeypatch.context() as patch:

            def full(fd: int, data: bytes, at: int) -> int:
                real(fd, bytes(data)[:10], at)
                raise OSError(errno.ENOSPC, "No space left on device")

            patch.setattr(os, "pwrite", full)
            session.client(b"two ")
            await until(lambda: session.failed is not None)
            assert "No space" in str(session.failed)
            session.client(b"three ")
            other.finish("left meanwhile")
            with pytest.raises(RecordingError, match="No space"):
                recorder.start(make_started())
        await until(lambda: session.failed is None)
        session.client(b"four")
        session.finish("x")
        await recorder.close()
        recording = Recording(tmp_path, session.session)
        assert content(recording)[0] == b"one two three four"
        assert recording.problems == []
        recording = Recording(tmp_path, other.session)
        list(recording.records())
        assert recording.end is not None

    asyncio.run(run())


def test_a_removed_recording_fails_the_session(tmp_path: Path, make_started: Started, until: Until) -> None:
    async def run() -> None:
        recorder = Recorder(tmp_path)
        session = recorder.start(make_started())
        for path in session_folder(tmp_path, session.session).iterdir():
            path.unlink()
        session.client(b"x")
        await until(lambda: session.failed is not None)
        await recorder.close()

    asyncio.run(run())


def test_one_broken_recording_does_not_end_the_others(
    tmp_path: Path, make_started: Started, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    async def run() -> None:
        recorder = Recorder(tmp_path)
        broken, fine = recorder.start(make_started()), recorder.start(make_started())
        broken._writer._blocks.block = None  # type: ignore[assignment]
        broken.client(b"x")
        fine.client(b"y")
        await until(lambda: broken.failed is not None)
        await until(lambda: content(Recording(tmp_path, fine.session))[0] == b"y")
        assert fine.failed is None
        await recorder.close()

    asyncio.run(run())


def test_a_folder_that_cannot_be_made(tmp_path: Path, make_started: Started) -> None:
    async def run() -> None:
        (tmp_path / "file").touch()
        recorder = Recorder(tmp_path / "file" / "recordings")
        with pytest.raises(RecordingError):
            recorder.start(make_started())
        await recorder.close()

    asyncio.run(run())


WRITER = """
import asyncio, os, sys, time
from pathlib import Path
from wicketgate_gateway.audit.events import SessionStarted
from wicketgate_gateway.recording.recorder import Recorder
async def main():
    recorder = Recorder(Path(sys.argv[1]), rotate_bytes=300_000)
    recording = recorder.start(SessionStarted(time=1, session=sys.argv[2], bot="b", bot_id="b", token_id="t",
        target="t", protocol="postgres", peer="p", agent="a"))
    number = 0
    while True:
        recording.client(b"%08d" % number + os.urandom(100))
        number += 1
        if number % 500 == 0:
            print(number, flush=True)
            await asyncio.sleep(0.001)
asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [3, 20, 41])
def test_kill_minus_9_leaves_a_readable_prefix(tmp_path: Path, make_started: Started, lines: int) -> None:
    session = make_started().session
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), session], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    for _ in range(lines):
        writer.stdout.readline()
    writer.send_signal(signal.SIGKILL)
    writer.stdout.close()
    writer.wait()
    recording = Recording(tmp_path, session)
    found = [int(record.data[:8]) for record in recording.records()]
    assert found == list(range(len(found)))
    assert len(found) > (lines - 3) * 500 - 10_000
    assert recording.end is None
    assert "no end" in recording.problems[-1]


@pytest.mark.root
def test_a_full_tmpfs_leaves_no_gap(tmp_path: Path, make_started: Started, until: Until) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(tmp_path)], check=True)
    try:

        async def run() -> None:
            recorder = Recorder(tmp_path / "recordings")
            session = recorder.start(make_started())
            sent = b""

            def send(size: int) -> None:
                nonlocal sent
                data = os.urandom(size)
                sent += data
                session.server(data)

            send(50_000)
            await until(lambda: recorder.under_way == 0 and not session._records)
            # What is left of the disk takes a part of the next block, and not the whole of it.
            room = os.statvfs(tmp_path)
            (tmp_path / "ballast").write_bytes(bytes(room.f_bavail * room.f_frsize - 8192))
            send(60_000)
            await until(lambda: session.failed is not None)
            send(1_000)
            (tmp_path / "ballast").unlink()
            await until(lambda: session.failed is None)
            send(1_000)
            session.finish("x")
            await recorder.close()
            recording = Recording(tmp_path / "recordings", session.session)
            assert content(recording)[1] == sent
            assert recording.problems == []

        asyncio.run(run())
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
