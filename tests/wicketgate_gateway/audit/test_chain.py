from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wicketgate_gateway.audit.chain import file_number, walk

Sealed = Any  # the fixture of conftest.py


def test_events_come_in_order_with_digests_at_the_places_asked_for(sealed: Sealed) -> None:
    times: list[int] = []
    places = [(number, end) for number, path in enumerate(sealed.files(), 1) for _, end in sealed.frames(path)]
    found = walk(sealed.journal, wanted=[*places, (1, 9)], on_event=lambda event: times.append(event.time))
    assert found.findings == []
    assert times == sorted(times)
    assert found.events == len(times)
    assert set(found.digests) == set(places)
    assert (found.first, found.last) == (times[0], times[-1])


def test_a_purged_beginning_goes_on_from_its_tombstone(sealed: Sealed) -> None:
    first, second, *_ = sealed.files()
    end = walk(sealed.journal).ends[1][1]
    first.unlink()
    assert [f.kind for f in walk(sealed.journal).findings] == ["missing"]
    assert walk(sealed.journal, purged={1: end}).findings == []
    assert [f.kind for f in walk(sealed.journal, purged={1: bytes(32)}).findings] == ["cut"]
    second.unlink()
    assert [f.kind for f in walk(sealed.journal, purged={1: end}).findings] == ["missing"]


def test_damage_that_a_gateway_found_and_left_is_named_once(sealed: Sealed) -> None:
    path = sealed.files()[-1]
    start, end = sealed.frames(path)[1]
    data = bytearray(path.read_bytes())
    data[end - 1] ^= 1
    path.write_bytes(bytes(data))
    sealed.run(1)
    found = walk(sealed.journal).findings
    assert [(f.kind, f.where, f.offset) for f in found] == [("edited", path.name, start)]


@pytest.mark.parametrize("keep", [0, 3, 8, 20, 60])
def test_a_last_file_begun_and_not_finished_is_torn(sealed: Sealed, keep: int) -> None:
    path = sealed.files()[-1]
    path.write_bytes(path.read_bytes()[:keep])
    assert [f.kind for f in walk(sealed.journal).findings] == ["torn"]


def test_a_file_that_is_no_journal(sealed: Sealed) -> None:
    path = sealed.files()[1]
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())
    assert walk(sealed.journal).findings[0].kind == "damaged"
    path.write_bytes(b"")
    assert walk(sealed.journal).findings[0].kind == "cut"


def test_zeros_at_the_end_are_a_crash_and_in_the_middle_are_not(sealed: Sealed) -> None:
    last = sealed.files()[-1]
    good = last.read_bytes()
    last.write_bytes(good + bytes(500))
    assert [(f.kind, f.offset) for f in walk(sealed.journal).findings] == [("torn", len(good))]
    last.write_bytes(good)
    first = sealed.files()[0]
    first.write_bytes(first.read_bytes() + bytes(500))
    assert [f.kind for f in walk(sealed.journal).findings] == ["cut"]


def test_numbers_of_files() -> None:
    assert file_number(Path("journal-00000012.wgj")) == 12
    assert file_number(Path("journal-x.wgj")) == 0
