from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wicketgate_gateway.audit.events import RecordingClosed, SessionStarted
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording.reader import Recording, check_closed
from wicketgate_gateway.recording.recorder import Recorder, session_folder

Started = Callable[..., SessionStarted]


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


def record(folder: Path, started: SessionStarted, parts: list[bytes], rotate_bytes: int = 10**6) -> RecordingClosed:
    async def run() -> RecordingClosed:
        recorder = Recorder(folder, rotate_bytes=rotate_bytes)
        closed: list[RecordingClosed] = []
        recorder.on_closed = closed.append
        session = recorder.start(started)
        for part in parts:
            session.client(part)
            session.flush()
            await until(lambda: not recorder.under_way)
        session.finish("x")
        await recorder.close()
        return closed[0]

    return asyncio.run(run())


def read(recording: Recording) -> list[bytes]:
    return [found.data for found in recording.records()]


def test_cut_at_every_byte_leaves_a_prefix_and_says_so(tmp_path: Path, make_started: Started) -> None:
    parts = [b"one", b"two", b"three"]
    closed = record(tmp_path, started := make_started(), parts)
    path = session_folder(tmp_path, started.session) / "000001.wgr"
    data = path.read_bytes()
    lengths: set[int] = set()
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        recording = Recording(tmp_path, started.session)
        found = read(recording)
        assert found == parts[: len(found)]
        lengths.add(len(found))
        assert recording.end is None
        assert "no end" in recording.problems[-1]
        assert check_closed(recording, closed)
    assert lengths == {0, 1, 2, 3}


def test_every_edit_is_found(tmp_path: Path, make_started: Started) -> None:
    parts = [b"one", b"two"]
    record(tmp_path, started := make_started(), parts)
    path = session_folder(tmp_path, started.session) / "000001.wgr"
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        recording = Recording(tmp_path, started.session)
        found = read(recording)
        assert found == parts[: len(found)]
        assert recording.problems


def test_a_missing_file_and_a_foreign_one_are_named(tmp_path: Path, make_started: Started) -> None:
    parts = [random.Random(number).randbytes(500) for number in range(9)]
    closed = record(tmp_path, started := make_started(), parts, rotate_bytes=800)
    folder = session_folder(tmp_path, started.session)
    assert len(list(folder.iterdir())) > 3
    assert read(Recording(tmp_path, started.session)) == parts
    shutil.copy(folder / "000003.wgr", folder / "000002.wgr")
    recording = Recording(tmp_path, started.session)
    read(recording)
    assert "damaged: `000002.wgr` does not go on from the file before it" in recording.problems
    (folder / "000002.wgr").unlink()
    recording = Recording(tmp_path, started.session)
    assert read(recording) == parts[: len(read(recording))]
    assert check_closed(recording, closed) == [
        "damaged: the journal says that the recording was complete, but its end is missing"
    ]
    other = make_started()
    record(tmp_path, other, [b"else"])
    shutil.rmtree(folder)
    shutil.copytree(session_folder(tmp_path, other.session), folder)
    recording = Recording(tmp_path, started.session)
    assert read(recording) == [b"else"]
    assert "belongs to session" in recording.problems[0]
    assert check_closed(recording, closed) == [
        "damaged: the recording is not the one that the journal's digest stands for"
    ]
    assert check_closed(recording, None) == []


def test_seeking(tmp_path: Path, make_started: Started) -> None:
    record(tmp_path, started := make_started(), [b"one", b"two", b"three"], rotate_bytes=300)
    recording = Recording(tmp_path, started.session)
    index = recording.index()
    assert [entry.head.client_bytes for entry in index] == [0, 3, 6]
    assert [r.data for r in recording.records(since=index[1].head.first)] == [b"two", b"three"]
    assert recording.problems == []
    assert [r.data for r in recording.records(since=time.time_ns() + 10**9)] == [b"one", b"two", b"three"]


def test_following_a_live_session(tmp_path: Path, make_started: Started) -> None:
    async def run() -> list[bytes]:
        recorder = Recorder(tmp_path, rotate_bytes=400)
        session = recorder.start(make_started())

        def follow() -> list[bytes]:
            return [found.data for found in Recording(tmp_path, session.session).records(follow=True)]

        reading = asyncio.get_running_loop().run_in_executor(None, follow)
        for part in (b"one", b"two", b"three", b"four", b"five"):
            session.client(part)
            session.flush()
            await until(lambda: not recorder.under_way)
        session.finish("x")
        await recorder.close()
        return await asyncio.wait_for(reading, 10)

    assert asyncio.run(run()) == [b"one", b"two", b"three", b"four", b"five"]


def test_following_ends_when_nothing_can_come(tmp_path: Path, make_started: Started) -> None:
    record(tmp_path, started := make_started(), [b"one"])
    path = session_folder(tmp_path, started.session) / "000001.wgr"
    path.write_bytes(path.read_bytes()[:-1])
    waits: list[float] = []
    recording = Recording(tmp_path, started.session)
    found = list(recording.records(follow=True, wait=waits.append, alive=lambda: len(waits) < 3))
    assert [r.data for r in found] == [b"one"]
    assert len(waits) == 3


def test_no_recording(tmp_path: Path, make_started: Started) -> None:
    with pytest.raises(WicketgateError) as caught:
        Recording(tmp_path, make_started().session)
    assert caught.value.code == "recording-missing"
    with pytest.raises(WicketgateError) as caught:
        Recording(tmp_path, "../../etc")
    assert caught.value.code == "session-id-invalid"
