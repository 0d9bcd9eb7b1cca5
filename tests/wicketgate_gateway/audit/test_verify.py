"""Attacks on the state folder: each must be found and named."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wicketgate_gateway.audit.heads import Sealer
from wicketgate_gateway.audit.seals import Head, key_text, sign
from wicketgate_gateway.audit.verify import verify
from wicketgate_gateway.contract.errors import WicketgateError

Sealed = Any  # the fixture of conftest.py


def test_what_nobody_touched_is_whole(sealed: Sealed) -> None:
    report = sealed.report()
    assert report.findings == []
    assert report.whole
    assert report.files >= 3
    assert report.recordings == 3
    assert report.seals == report.anchored >= 4
    assert report.head is not None
    assert report.head.offset == sealed.files()[-1].stat().st_size
    assert [note for note in report.notes if "not sealed" in note] == []


def test_a_second_run_goes_on(sealed: Sealed) -> None:
    sealed.run(2)
    report = sealed.report()
    assert report.findings == []
    assert report.recordings == 5


def test_each_frame_edited(sealed: Sealed) -> None:
    for path in sealed.files():
        good = path.read_bytes()
        for start, end in sealed.frames(path):
            data = bytearray(good)
            data[end - 1] ^= 1
            path.write_bytes(bytes(data))
            kinds = sealed.kinds(anchored=False)
            assert kinds, (path, start)
            assert set(kinds) <= {"edited", "cut", "damaged", "recording-unknown"}
        path.write_bytes(good)
    assert sealed.kinds() == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_byte_of_any_file_edited_is_found(sealed: Sealed, data: st.DataObject) -> None:
    paths = [*sealed.files(), *sorted(sealed.state.glob("recordings/*/*/*.wgr")), sealed.state / "seals.ndjson"]
    path = data.draw(st.sampled_from(paths))
    good = path.read_bytes()
    at = data.draw(st.integers(0, len(good) - 1))
    bit = data.draw(st.integers(1, 255))
    changed = bytearray(good)
    changed[at] ^= bit
    try:
        path.write_bytes(bytes(changed))
        assert sealed.kinds(), (path.name, at, bit)
    finally:
        path.write_bytes(good)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_stretch_removed_is_found(sealed: Sealed, data: st.DataObject) -> None:
    paths = [*sealed.files(), *sorted(sealed.state.glob("recordings/*/*/*.wgr")), sealed.state / "seals.ndjson"]
    path = data.draw(st.sampled_from(paths))
    good = path.read_bytes()
    start = data.draw(st.integers(0, len(good) - 1))
    end = data.draw(st.integers(start + 1, len(good)))
    try:
        path.write_bytes(good[:start] + good[end:])
        assert sealed.kinds(), (path.name, start, end)
    finally:
        path.write_bytes(good)


def test_frames_swapped_are_named_with_their_place(sealed: Sealed) -> None:
    path = sealed.files()[0]
    data, frames = path.read_bytes(), sealed.frames(path)
    (a, b), (c, d) = frames[1], frames[2]
    path.write_bytes(data[:a] + data[c:d] + data[a:b] + data[d:])
    found = [f for f in sealed.report(anchored=False).findings if f.kind == "moved"]
    assert found
    assert "belongs after byte" in found[0].message
    assert found[0].where == path.name


def test_a_frame_removed_with_all_checksums_right(sealed: Sealed) -> None:
    path = sealed.files()[0]
    data, frames = path.read_bytes(), sealed.frames(path)
    start, end = frames[2]
    path.write_bytes(data[:start] + data[end:])
    found = sealed.report(anchored=False).findings
    assert found[0].kind == "removed"
    assert found[0].offset == start


def test_a_file_removed(sealed: Sealed) -> None:
    sealed.files()[1].unlink()
    found = sealed.report(anchored=False).findings
    assert (found[0].kind, found[0].where) == ("missing", "file 2 of the journal")


def test_files_swapped(sealed: Sealed) -> None:
    first, second, *_ = sealed.files()
    aside = first.with_name("aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)
    assert sealed.kinds(anchored=False).count("swapped") >= 2


def test_a_tail_cut_at_a_frame_is_found_by_the_seals_alone(sealed: Sealed) -> None:
    path = sealed.files()[-1]
    start, _ = sealed.frames(path)[-1]
    with path.open("r+b") as file:
        file.truncate(start)
    [found] = sealed.report(anchored=False).findings
    assert found.kind == "cut"
    assert f"it ends at byte {start}" in found.message


def test_the_last_file_removed_is_a_cut(sealed: Sealed) -> None:
    sealed.files()[-1].unlink()
    assert set(sealed.kinds(anchored=False)) == {"cut", "recording-unknown"} or "cut" in sealed.kinds(anchored=False)


def test_a_torn_tail_is_named(sealed: Sealed) -> None:
    path = sealed.files()[-1]
    with path.open("ab") as file:
        file.write(b"\0\0\1\0half")
    [found] = sealed.report().findings
    assert (found.kind, found.where) == ("torn", path.name)
    running = verify(sealed.state, anchors=[sealed.anchor], running=True)
    assert running.findings == []
    assert any("being written" in note for note in running.notes)


def test_a_chain_made_anew_is_found_by_the_seals_alone(sealed: Sealed) -> None:
    path = sealed.files()[0]
    sealed.remake(path, 2, lambda payload: payload.replace(b"SELECT 1", b"SELECT 9"))
    found = sealed.report(anchored=False).findings
    assert {f.kind for f in found} == {"rewritten"}
    assert "the chain has another digest there" in found[0].message


def test_seals_removed_with_the_tail_are_found_by_the_anchor(sealed: Sealed) -> None:
    path = sealed.files()[-1]
    start, _ = sealed.frames(path)[-1]
    with path.open("r+b") as file:
        file.truncate(start)
    seals = sealed.state / "seals.ndjson"
    seals.write_bytes(b"".join(seals.read_bytes().splitlines(keepends=True)[:-1]))
    assert "cut" not in sealed.kinds(anchored=False)
    kinds = sealed.kinds()
    assert "rolled-back" in kinds
    assert "cut" in kinds


def test_the_whole_state_folder_rolled_back(sealed: Sealed, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    shutil.copytree(sealed.state, backup)
    sealed.run(1)
    assert sealed.kinds() == []
    shutil.rmtree(sealed.state)
    shutil.copytree(backup, sealed.state)
    assert sealed.kinds(anchored=False) == []
    assert "rolled-back" in sealed.kinds()
    # The gateway goes on from the backup, and seals as if nothing had been.
    sealed.run(1)
    assert sealed.kinds(anchored=False) == []
    assert "rolled-back" in sealed.kinds()


def test_a_journal_made_anew_with_seals_by_another_key(sealed: Sealed) -> None:
    path = sealed.files()[0]
    sealed.remake(path, 2, lambda payload: payload.replace(b"bot-0", b"bot-9"))
    (sealed.state / "seals.ndjson").unlink()
    Sealer(sealed.journal, sealed.log, Ed25519PrivateKey.generate()).seal()
    assert "seal-forged" in sealed.kinds(anchored=False)
    without_pin = verify(sealed.state)
    assert any("compare it with" in note for note in without_pin.notes)
    # Whoever knows neither key nor anchor has nothing to compare; the anchor alone finds it.
    assert "anchor-removed" in [f.kind for f in verify(sealed.state, anchors=[sealed.anchor]).findings]


def test_a_journal_made_anew_and_sealed_with_the_stolen_key(sealed: Sealed) -> None:
    sealed.remake(sealed.files()[0], 2, lambda payload: payload.replace(b"bot-0", b"bot-9"))
    (sealed.state / "seals.ndjson").unlink()
    Sealer(sealed.journal, sealed.log, sealed.key).seal()
    assert sealed.kinds(anchored=False) == []
    kinds = sealed.kinds()
    assert "rolled-back" in kinds
    assert "rewritten" in kinds


def test_a_forged_head(sealed: Sealed) -> None:
    seals = sealed.state / "seals.ndjson"
    lines = seals.read_bytes().splitlines()
    forged = sign(Ed25519PrivateKey.generate(), Head(number=len(lines) + 1, file=1, offset=9, digest="00"))
    text = key_text(sealed.key.public_key()).encode()
    forged = forged[: forged.index(b'"key":"') + 7] + text + forged[forged.index(b'","signature') :]
    seals.write_bytes(b"\n".join([*lines, forged]) + b"\n")
    [found] = sealed.report().findings
    assert found.kind == "seal-forged"
    sealed.anchor.write_bytes(forged + b"\n" + sealed.anchor.read_bytes())
    assert "anchor-forged" in sealed.kinds()


def test_seals_swapped_and_removed(sealed: Sealed) -> None:
    seals = sealed.state / "seals.ndjson"
    lines = seals.read_bytes().splitlines(keepends=True)
    for wrong in ([lines[1], lines[0], *lines[2:]], [lines[0], *lines[2:]], lines[1:], [*lines, lines[-1]]):
        seals.write_bytes(b"".join(wrong))
        assert "seal-removed" in sealed.kinds(anchored=False)
    seals.write_bytes(b"")
    assert "unsealed" in sealed.kinds(anchored=False)


def test_an_anchor_that_lost_a_seal(sealed: Sealed) -> None:
    lines = sealed.anchor.read_bytes().splitlines(keepends=True)
    sealed.anchor.write_bytes(b"".join([lines[0], *lines[2:]]))
    assert sealed.kinds() == ["anchor-removed"]
    sealed.anchor.write_bytes(b"".join(lines[:-1]))
    report = sealed.report()
    assert report.whole
    assert any("does not have the last 1 seals" in note for note in report.notes)


def test_another_gateways_seals_in_the_same_anchor(sealed: Sealed) -> None:
    other = sign(Ed25519PrivateKey.generate(), Head(number=1, previous="0" * 64, file=1, offset=9, digest="00"))
    sealed.anchor.write_bytes(other + b"\n" + sealed.anchor.read_bytes())
    report = sealed.report()
    assert report.whole
    assert any("another gateway's key" in note for note in report.notes)


def test_what_is_not_sealed_yet_is_said(sealed: Sealed, tmp_path: Path) -> None:
    seals = sealed.state / "seals.ndjson"
    lines = seals.read_bytes().splitlines(keepends=True)
    seals.write_bytes(b"".join(lines[:-1]))
    report = sealed.report(anchored=False)
    assert report.whole
    assert any("what follows is not sealed yet" in note for note in report.notes)


def test_a_breach_stays_in_the_report(sealed: Sealed) -> None:
    path = sealed.files()[-1]
    with path.open("r+b") as file:
        file.truncate(sealed.frames(path)[-1][0])
    sealed.run(1)
    kinds = sealed.kinds(anchored=False)
    assert "breach" in kinds
    assert {"cut", "rewritten"} & set(kinds)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(WicketgateError) as caught:
        verify(tmp_path)
    assert caught.value.code == "journal-missing"
    with pytest.raises(WicketgateError) as caught:
        verify(tmp_path, anchors=[tmp_path / "no"])
    assert caught.value.code == "anchor-unreadable"


def test_everything_removed_is_found_by_the_anchor(sealed: Sealed) -> None:
    shutil.rmtree(sealed.state)
    report = verify(sealed.state, anchors=[sealed.anchor], key=key_text(sealed.key.public_key()))
    assert {"rolled-back", "cut", "unsealed"} <= {found.kind for found in report.findings}
