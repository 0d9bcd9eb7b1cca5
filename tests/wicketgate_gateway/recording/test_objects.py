"""The object store: a folder, memory, and a server that speaks S3."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from wicketgate_gateway.recording.ids import new_session_id
from wicketgate_gateway.recording.objects import ObjectStore, StoreError, at_hand, remember, remembered
from wicketgate_gateway.recording.recorder import segment_name, session_folder


def make(recordings: Path, *contents: bytes) -> tuple[str, Path]:
    session = new_session_id()
    folder = session_folder(recordings, session)
    folder.mkdir(parents=True)
    for number, content in enumerate(contents, 1):
        (folder / segment_name(number)).write_bytes(content)
    return session, folder


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT", f"http://{host}:{port}"),
        ("AWS_ALLOW_HTTP", "true"),
    ):
        monkeypatch.setenv(name, value)
    boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1").create_bucket(Bucket="recordings")
    yield "s3://recordings/gate"
    server.stop()


@pytest.fixture(params=["folder", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "memory":
        return ObjectStore("memory:", MemoryStore())
    url = request.getfixturevalue("s3") if request.param == "s3" else (tmp_path / "objects").as_uri()
    return ObjectStore(url)


def test_there_and_back(store: ObjectStore, tmp_path: Path) -> None:
    session, folder = make(tmp_path / "recordings", b"one", b"two" * 1000)
    assert not store.has(session)
    assert not store.fetch(session, tmp_path / "copy")
    store.put(folder, session)
    assert store.has(session)
    store.put(folder, session)  # an answer that was lost
    assert store.fetch(session, tmp_path / "copy")
    copy = session_folder(tmp_path / "copy", session)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }


def test_what_is_there_is_never_written_over(store: ObjectStore, tmp_path: Path) -> None:
    session, folder = make(tmp_path / "recordings", b"one")
    store.put(folder, session)
    (folder / segment_name(1)).write_bytes(b"another")
    with pytest.raises(StoreError) as caught:
        store.put(folder, session)
    assert caught.value.code == "object-differs"
    store.fetch(session, tmp_path / "copy")
    assert (session_folder(tmp_path / "copy", session) / segment_name(1)).read_bytes() == b"one"


def test_removed_is_one_recording_alone(store: ObjectStore, tmp_path: Path) -> None:
    first, folder = make(tmp_path / "recordings", b"one", b"two")
    second, other = make(tmp_path / "recordings", b"three")
    store.put(folder, first)
    store.put(other, second)
    store.remove(first)
    assert (store.has(first), store.has(second)) == (False, True)
    store.remove(first)


def test_no_path_but_a_session_of_its_own(store: ObjectStore, tmp_path: Path) -> None:
    for name in ("../../etc", "x", "", "0" * 25 + "/"):
        with pytest.raises(Exception, match="not a session id"):
            store.has(name)
        with pytest.raises(Exception, match="not a session id"):
            store.fetch(name, tmp_path)


def test_a_store_that_is_not_there_says_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "topsecret")
    for url in ("nonsense", "s3:", "xx://bucket"):
        with pytest.raises(StoreError) as caught:
            ObjectStore(url)
        assert "topsecret" not in str(caught.value)


def test_at_hand(tmp_path: Path) -> None:
    recordings = tmp_path / "recordings"
    session, folder = make(recordings, b"one")
    with at_hand(recordings, session) as place:
        assert place == recordings
    url = (tmp_path / "objects").as_uri()
    assert remembered(recordings) is None
    remember(recordings, url)
    assert json.loads((recordings / "store.json").read_text()) == {"url": url}
    ObjectStore(url).put(folder, session)
    (folder / segment_name(1)).unlink()
    with at_hand(recordings, session) as place:
        assert place != recordings
        assert (session_folder(place, session) / segment_name(1)).read_bytes() == b"one"
    assert not place.exists()
    with at_hand(recordings, new_session_id()) as place:
        assert place == recordings


def test_at_hand_of_a_worker(tmp_path: Path) -> None:
    recordings, one = tmp_path / "recordings", tmp_path / "workers" / "1" / "recordings"
    session, folder = make(one, b"one")
    with at_hand(recordings, session) as place:
        assert place == one
    remember(one, (tmp_path / "objects").as_uri())
    ObjectStore((tmp_path / "objects").as_uri()).put(folder, session)
    (folder / segment_name(1)).unlink()
    with at_hand(recordings, session) as place:
        assert (session_folder(place, session) / segment_name(1)).read_bytes() == b"one"


def test_a_note_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text("{}")
    with pytest.raises(StoreError):
        remembered(tmp_path)
