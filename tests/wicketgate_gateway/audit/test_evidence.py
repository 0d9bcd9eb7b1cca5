from __future__ import annotations

import shutil
from typing import Any

Sealed = Any  # the fixture of conftest.py


def test_a_recording_removed(sealed: Sealed) -> None:
    shutil.rmtree(sealed.recording(1))
    [found] = sealed.report().findings
    assert (found.kind, found.where) == ("recording-missing", f"recording of {sealed.sessions[1]}")


def test_recordings_swapped(sealed: Sealed) -> None:
    a, b = sealed.recording(0), sealed.recording(1)
    aside = a.with_name("aside")
    a.rename(aside)
    b.rename(a)
    aside.rename(b)
    found = sealed.report().findings
    assert [f.kind for f in found] == ["recording-swapped"] * 2
    assert sealed.sessions[1] in found[0].message


def test_a_file_of_a_recording_removed_or_swapped(sealed: Sealed) -> None:
    files = sorted(sealed.recording(0).glob("*.wgr"))
    assert len(files) >= 2
    last = files[-1].read_bytes()
    files[-1].unlink()
    assert sealed.kinds() == ["recording-cut"]
    files[-1].write_bytes(last)
    first = files[0].read_bytes()
    files[0].write_bytes(last)
    files[-1].write_bytes(first)
    assert sealed.kinds() == ["recording-swapped"]
    files[-1].write_bytes(last)
    files[0].unlink()
    assert sealed.kinds() == ["recording-missing"]
    files[0].write_bytes(first)
    assert sealed.kinds() == []


def test_a_frame_of_a_recording_edited(sealed: Sealed) -> None:
    path = min(sealed.recording(2).glob("*.wgr"))
    data = bytearray(path.read_bytes())
    data[sealed.frames(path)[1][1] - 1] ^= 1
    path.write_bytes(bytes(data))
    [found] = sealed.report().findings
    assert found.kind == "recording-damaged"
    assert found.offset == sealed.frames(path)[1][0]


def test_an_end_cut_off(sealed: Sealed) -> None:
    path = max(sealed.recording(2).glob("*.wgr"))
    with path.open("r+b") as file:
        file.truncate(sealed.frames(path)[-1][0])
    assert sealed.kinds() == ["recording-cut"]


def test_a_recording_that_the_journal_does_not_know(sealed: Sealed) -> None:
    folder = sealed.recording(0)
    shutil.copytree(folder, folder.with_name("0" * 26))
    assert sealed.kinds() == ["recording-unknown"]


def test_an_older_whole_recording_of_the_same_session_put_back(sealed: Sealed) -> None:
    # Whole, of the right session, but not what the journal's digest stands for.
    path = sorted(sealed.recording(0).glob("*.wgr"))
    for other in path[1:]:
        other.unlink()
    data = path[0].read_bytes()
    start, end = sealed.frames(path[0])[0]
    path[0].write_bytes(data[:end])
    assert sealed.kinds() == ["recording-cut"]
    assert start
