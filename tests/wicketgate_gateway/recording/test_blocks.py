from __future__ import annotations

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.recording.blocks import (
    CLIENT,
    SERVER,
    BlockHead,
    BlockWriter,
    RecordingEnd,
    compressor,
    read_payload,
    records,
    stored,
)

compress = compressor()
RECORDS = st.lists(
    st.tuples(st.sampled_from([CLIENT, SERVER]), st.integers(0, 2**62), st.binary(max_size=50)), min_size=1, max_size=8
)


@given(RECORDS)
def test_round_trip(given_records: list[tuple[int, int, bytes]]) -> None:
    payload = BlockWriter(compress).block(given_records)
    found = list(records(payload))
    assert [(r.direction, r.data) for r in found] == [(d, data) for d, _, data in given_records]
    times = [r.time for r in found]
    assert times == sorted(times)
    assert times[0] == given_records[0][1]
    head = read_payload(payload)
    assert isinstance(head, BlockHead)
    assert (head.first, head.last) == (times[0], times[-1])


@pytest.mark.parametrize("size", [0, 1, 255, 128 * 1024 - 1, 128 * 1024, 128 * 1024 + 1, 1_200_000])
def test_what_is_stored_is_a_frame_of_zstd(size: int) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    frame = b"".join(stored(data))
    assert zstandard.frame_content_size(frame) == size
    assert zstandard.ZstdDecompressor().decompress(frame) == data
    assert len(frame) <= size + 9 + 3 * (1 + size // (128 * 1024))


@given(RECORDS, st.booleans())
def test_stored_blocks_read_the_same(given_records: list[tuple[int, int, bytes]], store: bool) -> None:
    payload = BlockWriter(compress).block(given_records, store=store)
    assert [(r.direction, r.data) for r in records(payload)] == [(d, data) for d, _, data in given_records]


def test_a_stored_block_that_was_changed_is_found_out() -> None:
    payload = bytearray(BlockWriter(compress).block([(CLIENT, 1, b"x" * 1000)], store=True))
    payload[37] ^= 1  # within zstd's head, behind ours
    with pytest.raises(ValueError, match="block"):
        list(records(bytes(payload)))


def test_heads_count_the_bytes_before() -> None:
    writer = BlockWriter(compress)
    writer.block([(CLIENT, 1, b"123"), (SERVER, 2, b"45")])
    head = read_payload(writer.block([(SERVER, 3, b"6")]))
    assert isinstance(head, BlockHead)
    assert (head.client_bytes, head.server_bytes) == (3, 2)
    end = read_payload(writer.end(RecordingEnd(time=5, reason="client left")))
    assert end == RecordingEnd(time=5, reason="client left", client_bytes=3, server_bytes=3, blocks=2)


def test_a_block_is_compressed() -> None:
    payload = BlockWriter(compress).block([(SERVER, 1, b"row" * 10000)])
    assert len(payload) < 1000


@given(st.binary(max_size=100))
def test_rubbish_is_a_value_error(data: bytes) -> None:
    for payload in (data, b"\1" + data, b"\2" + data, BlockWriter(compress).block([(CLIENT, 1, b"x")])[:37] + data):
        try:
            found = read_payload(payload)
            if isinstance(found, BlockHead):
                list(records(payload))
        except ValueError:
            pass


def test_a_bomb_is_not_unpacked() -> None:
    payload = BlockWriter(compress).block([(CLIENT, 1, b"x")])
    bomb = payload[:37] + compress(bytes(10_000_000))
    with pytest.raises(ValueError, match="size is wrong"):
        list(records(bomb))
