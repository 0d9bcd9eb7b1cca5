"""The chain verified from a page: what is found, and one walk at a time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from wicketgate_gateway.audit.events import PolicyLoaded
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording.journal import Journal
from wicketgate_gateway.ui.verifier import Verifier

pytestmark = pytest.mark.anyio


async def journal(state: Path) -> Path:
    written = Journal(state / "journal")
    for number in range(3):
        written.submit([PolicyLoaded(time=number + 1, policy="d" * 50)])
        await written.drain()
    written.close()
    return next(path for path in (state / "journal").iterdir() if path.stat().st_size > 100)


async def test_whole_and_changed(tmp_path: Path) -> None:
    file = await journal(tmp_path)
    verifier = Verifier(tmp_path)
    assert verifier.last is None
    found = await verifier.walk()
    # Nothing sealed it: nobody could tell a tail that was cut.
    assert [finding.partition(":")[0] for finding in found.findings] == ["`seals.ndjson`"]
    assert found.until is None
    assert found.events >= 3
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert any("journal" in finding for finding in (await verifier.walk()).findings)
    assert verifier.last is not None
    assert len(verifier.last.findings) > 1


async def test_one_walk_at_a_time(tmp_path: Path) -> None:
    await journal(tmp_path)
    verifier = Verifier(tmp_path)
    first = asyncio.create_task(verifier.walk())
    await asyncio.sleep(0)
    assert verifier.busy
    with pytest.raises(WicketgateError) as error:
        await verifier.walk()
    assert error.value.code == "verify-busy"
    await first
    assert not verifier.busy
