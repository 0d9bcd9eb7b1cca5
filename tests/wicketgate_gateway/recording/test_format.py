from __future__ import annotations

import io
import itertools
import struct

from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.recording import format as fmt

PAYLOADS = st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=6)


def build(payloads: list[bytes], previous: bytes = fmt.GENESIS, number: int = 1) -> tuple[bytes, list[int], bytes]:
    header = fmt.FileHeader(version=1, number=number, created=1, previous=previous)
    data, digest = fmt.file_start(fmt.JOURNAL_MAGIC, header)
    ends = [len(data)]
    for payload in payloads:
        part, digest = fmt.frame(digest, payload)
        data += part
        ends.append(len(data))
    return data, ends, digest


def read(data: bytes) -> tuple[list[bytes], fmt.FrameReader]:
    reader = fmt.FrameReader(io.BytesIO(data), fmt.JOURNAL_MAGIC)
    return [found.payload for found in reader], reader


@given(PAYLOADS)
def test_round_trip(payloads: list[bytes]) -> None:
    data, _, digest = build(payloads)
    found, reader = read(data)
    assert found == payloads
    assert (reader.ending, reader.digest, reader.offset) == (fmt.Ending.CLEAN, digest, len(data))
    assert reader.header is not None
    assert reader.header.number == 1


def test_cut_at_every_byte_is_a_torn_tail_and_keeps_all_before() -> None:
    payloads = [b"one", b"the second", b"3" * 100]
    data, ends, _ = build(payloads)
    for cut in range(len(data)):
        found, reader = read(data[:cut])
        whole = [end for end in ends if end <= cut]
        assert found == payloads[: max(0, len(whole) - 1)]
        clean = cut in ends or cut == 0
        if cut == 0 or cut == fmt.MAGIC_BYTES:
            assert reader.ending is fmt.Ending.TORN
        else:
            assert reader.ending is (fmt.Ending.CLEAN if clean else fmt.Ending.TORN), cut
        assert reader.offset == (whole[-1] if whole else 0)


@given(PAYLOADS, st.data())
def test_every_edit_is_found(payloads: list[bytes], draw: st.DataObject) -> None:
    data, ends, _ = build(payloads)
    at = draw.draw(st.integers(0, len(data) - 1))
    flip = draw.draw(st.integers(1, 255))
    changed = data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
    found, reader = read(changed)
    assert reader.ending is not fmt.Ending.CLEAN
    assert found == payloads[: len(found)]
    assert reader.offset <= at
    # An edit that is not in the last frame may look torn only if it made a frame reach beyond the end.
    if reader.ending is fmt.Ending.TORN and at < ends[-2]:
        assert "of a frame's" in reader.reason


@given(PAYLOADS, st.data())
def test_an_edit_with_a_corrected_checksum_is_found_by_the_chain(payloads: list[bytes], draw: st.DataObject) -> None:
    _, _, digest = build([])
    forged = draw.draw(st.integers(0, len(payloads) - 1))
    data, _, _ = build([])
    for number, payload in enumerate(payloads):
        part, digest = fmt.frame(digest, payload)
        if number == forged:
            # The attacker recomputes length, digest and checksum of the frame, not of those after it.
            part, _ = fmt.frame(digest, payload + b"x")
        data += part
    found, reader = read(data)
    assert reader.ending is fmt.Ending.DAMAGED
    assert found == payloads[:forged]


@given(st.lists(st.binary(min_size=1, max_size=10), min_size=2, max_size=5, unique=True), st.data())
def test_removal_and_reordering_are_found(payloads: list[bytes], draw: st.DataObject) -> None:
    data, ends, _ = build(payloads)
    frames = [data[start:end] for start, end in itertools.pairwise(ends)]
    gone = draw.draw(st.integers(0, len(frames) - 2))
    found, reader = read(data[: ends[0]] + b"".join(frames[:gone] + frames[gone + 1 :]))
    assert (reader.ending, found) == (fmt.Ending.DAMAGED, payloads[:gone])
    order = draw.draw(st.permutations(range(len(frames))).filter(lambda p: list(p) != sorted(p)))
    found, reader = read(data[: ends[0]] + b"".join(frames[i] for i in order))
    assert reader.ending is fmt.Ending.DAMAGED


@given(st.binary(max_size=300))
def test_rubbish_never_raises(data: bytes) -> None:
    for start in (b"", fmt.JOURNAL_MAGIC, build([b"x"])[0]):
        read(start + data)


def test_zeros_after_a_power_cut_are_torn_but_not_in_the_middle() -> None:
    data, _, _ = build([b"one"])
    assert read(data + bytes(5000))[1].ending is fmt.Ending.TORN
    assert read(data + bytes(5000) + b"x")[1].ending is fmt.Ending.DAMAGED


def test_a_huge_length_costs_no_memory() -> None:
    data, _, _ = build([b"one"])
    found, reader = read(data + struct.pack(">II32s", 0xFFFFFFFF, 0, bytes(32)) + b"x")
    assert found == [b"one"]
    assert reader.ending is fmt.Ending.DAMAGED


def test_going_on_in_a_growing_file() -> None:
    data, ends, _ = build([b"one", b"two"])
    first = fmt.FrameReader(io.BytesIO(data[: ends[1] + 7]), fmt.JOURNAL_MAGIC)
    assert [f.payload for f in first] == [b"one"]
    later = fmt.FrameReader(io.BytesIO(data), fmt.JOURNAL_MAGIC, offset=first.offset, digest=first.digest)
    assert [f.payload for f in later] == [b"two"]
    assert later.ending is fmt.Ending.CLEAN


def test_an_unknown_version_is_refused() -> None:
    header = fmt.FileHeader(version=2, number=1, created=1, previous=fmt.GENESIS)
    reader = read(fmt.file_start(fmt.JOURNAL_MAGIC, header)[0])[1]
    assert reader.ending is fmt.Ending.DAMAGED
    assert "version 2" in reader.reason


def test_places_hop_over_the_frames() -> None:
    payloads = [b"one", b"a longer one"]
    data, ends, _ = build(payloads)
    found = list(fmt.places(io.BytesIO(data + b"torn"), 4))
    assert [p.head for p in found] == [b"one", b"a lo"]
    assert [p.offset for p in found] == ends[:2]
    again = fmt.FrameReader(io.BytesIO(data), fmt.JOURNAL_MAGIC, offset=found[1].offset, digest=found[1].previous)
    assert [f.payload for f in again] == payloads[1:]
