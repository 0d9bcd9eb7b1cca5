from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from wicketgate_gateway.audit.evidence import check_recordings
from wicketgate_gateway.audit.retention import Rules, carry_out, make_plan
from wicketgate_gateway.audit.storing import checker, store_closed
from wicketgate_gateway.audit.verify import purged_recordings, verify
from wicketgate_gateway.contract.keeping import Retention
from wicketgate_gateway.contract.policy import Bundle
from wicketgate_gateway.recording.objects import STORED, ObjectStore
from wicketgate_gateway.store.base import Connection

Sealed = Any  # the fixture of conftest.py


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore((tmp_path / "objects").as_uri())


def kinds(sealed: Sealed, store: ObjectStore | None) -> list[str]:
    report = verify(sealed.state, anchors=[sealed.anchor])
    check_recordings(
        report, sealed.state / "recordings", purged_recordings(sealed.state), stored=checker(store, report)
    )
    return [found.kind for found in report.findings]


def test_stored_and_kept(sealed: Sealed, database: Connection, objects: ObjectStore) -> None:
    recordings = sealed.state / "recordings"
    assert store_closed(recordings, database, objects, keep_local=True) == 3
    assert store_closed(recordings, database, objects, keep_local=True) == 0
    assert all((sealed.recording(n) / STORED).exists() for n in range(3))
    assert kinds(sealed, objects) == []


def test_stored_and_dropped(sealed: Sealed, database: Connection, objects: ObjectStore, tmp_path: Path) -> None:
    assert store_closed(sealed.state / "recordings", database, objects, keep_local=False) == 3
    assert not any(sealed.recording(n).exists() for n in range(3))
    assert kinds(sealed, objects) == []
    assert kinds(sealed, None) == ["recording-missing"] * 3
    # Swapped, cut or edited in the store: found as at home.
    first, second = (sorted((tmp_path / "objects").glob(f"*/{sealed.sessions[n]}/*.wgr")) for n in (0, 1))
    good = first[0].read_bytes()
    first[0].write_bytes(second[0].read_bytes())
    assert kinds(sealed, objects) == ["recording-swapped"]
    first[0].write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert kinds(sealed, objects) == ["recording-damaged"]
    first[0].write_bytes(good)
    first[-1].unlink()
    assert kinds(sealed, objects) == ["recording-cut"]
    first[0].unlink()
    assert kinds(sealed, objects) == ["recording-missing"]


def test_what_is_not_what_the_journal_says_is_not_stored(
    sealed: Sealed, database: Connection, objects: ObjectStore
) -> None:
    path = min(sealed.recording(0).glob("*.wgr"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    told: list[str] = []
    assert store_closed(sealed.state / "recordings", database, objects, keep_local=False, tell=told.append) == 2
    assert len(told) == 1
    assert path.exists()
    assert not objects.has(sealed.sessions[0])


def test_a_name_that_is_taken_by_something_else_is_told_and_nothing_is_dropped(
    sealed: Sealed, database: Connection, objects: ObjectStore, tmp_path: Path
) -> None:
    store_closed(sealed.state / "recordings", database, objects, keep_local=True)
    stored = min((tmp_path / "objects").glob(f"*/{sealed.sessions[0]}/*.wgr"))
    stored.write_bytes(b"planted")
    (sealed.recording(0) / STORED).unlink()
    told: list[str] = []
    assert store_closed(sealed.state / "recordings", database, objects, keep_local=False, tell=told.append) == 0
    assert "another" in told[0]
    assert stored.read_bytes() == b"planted"
    assert min(sealed.recording(0).glob("*.wgr")).exists()


def test_retention_deletes_from_the_store_too(sealed: Sealed, database: Connection, objects: ObjectStore) -> None:
    store_closed(sealed.state / "recordings", database, objects, keep_local=False)
    bundle = Bundle.model_validate({"tenant": "00000000-0000-0000-0000-000000000001", "policies": []})
    rules = Rules(Retention(recordings="1d"), bundle, {})
    plan = make_plan(sealed.state, database, rules, now=time.time_ns() + 2 * 86400 * 10**9, stored=objects.has)
    assert len(plan.recordings) == 3
    carry_out(sealed.state, database, plan, unstore=objects.remove)
    assert not any(objects.has(session) for session in sealed.sessions)
    assert kinds(sealed, objects) == []
