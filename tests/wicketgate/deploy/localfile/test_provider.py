"""The provider as a conversation: what the engine asks, what it is answered, and what becomes of the file."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from wicketgate.deploy.localfile import files
from wicketgate.deploy.localfile.provider import FILE, LocalFileProvider
from wicketgate.provider.server import start_provider
from wicketgate.provider.values import UNKNOWN, Secret, decode, encode

SECONDS = 10
URN = f"urn:pulumi:test::project::wicketgate:index:Local${FILE}::one"
Stub = provider_pb2_grpc.ResourceProviderStub


@pytest.fixture
def provider() -> LocalFileProvider:
    return LocalFileProvider()


@pytest.fixture
def warnings(provider: LocalFileProvider, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    written: list[str] = []
    monkeypatch.setattr(
        provider.log, "warn", lambda urn, message: written.append(f"{urn.rpartition('::')[2]}: {message}")
    )
    return written


@pytest.fixture
def stub(provider: LocalFileProvider) -> Iterator[Stub]:
    server, port = start_provider(provider)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield provider_pb2_grpc.ResourceProviderStub(channel)
    server.stop(0).wait()


def _check(stub: Stub, **properties: Any) -> tuple[dict[str, Any], dict[str, str]]:
    answer = stub.Check(provider_pb2.CheckRequest(urn=URN, news=encode(properties)), timeout=SECONDS)
    return decode(answer.inputs), {failure.property: failure.reason for failure in answer.failures}


def _create(stub: Stub, path: Path, content: str, mode: str = "0600") -> dict[str, Any]:
    inputs = {"path": str(path), "content": content, "mode": mode}
    answer = stub.Create(provider_pb2.CreateRequest(urn=URN, properties=encode(inputs)), timeout=SECONDS)
    assert answer.id == str(path)
    return decode(answer.properties)


def _read(stub: Stub, state: dict[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    inputs = {key: state[key] for key in ("path", "content", "mode")}
    request = provider_pb2.ReadRequest(id=state["path"], urn=URN, properties=encode(state), inputs=encode(inputs))
    answer = stub.Read(request, timeout=SECONDS)
    return answer.id, decode(answer.properties), decode(answer.inputs)


def _diff(stub: Stub, olds: dict[str, Any], news: dict[str, Any], *ignore: str) -> provider_pb2.DiffResponse:
    request = provider_pb2.DiffRequest(
        id=str(olds["path"]), urn=URN, olds=encode(olds), news=encode(news), ignoreChanges=ignore
    )
    return stub.Diff(request, timeout=SECONDS)


def _update(stub: Stub, olds: dict[str, Any], **changes: Any) -> dict[str, Any]:
    news = {key: olds[key] for key in ("path", "content", "mode")} | changes
    request = provider_pb2.UpdateRequest(id=olds["path"], urn=URN, olds=encode(olds), news=encode(news))
    return decode(stub.Update(request, timeout=SECONDS).properties)


def _delete(stub: Stub, state: dict[str, Any]) -> None:
    request = provider_pb2.DeleteRequest(id=state["path"], urn=URN, properties=encode(state))
    stub.Delete(request, timeout=SECONDS)


def test_check_fills_in_the_mode(stub: Stub) -> None:
    assert _check(stub, path="/a/b", content="x") == ({"path": "/a/b", "content": "x", "mode": "0600"}, {})
    assert _check(stub, path="/a/b", content="x", mode=None)[0]["mode"] == "0600"
    assert _check(stub, path="/a/b", content="x", mode="640")[0]["mode"] == "0640"


def test_check_lets_unknowns_through(stub: Stub) -> None:
    assert _check(stub, path=UNKNOWN, content=UNKNOWN)[1] == {}


@pytest.mark.parametrize(
    ("properties", "failing", "words"),
    [
        ({"content": "x"}, "path", "missing"),
        ({"path": "/a"}, "content", "missing"),
        ({"path": "/a", "content": Secret("x")}, "content", "secret"),
        ({"path": "/a", "content": Secret(UNKNOWN)}, "content", "secret"),
        ({"path": Secret("/a"), "content": "x"}, "path", "secret"),
        ({"path": "/a", "content": 5}, "content", "text"),
        ({"path": "/a", "content": "x", "owner": "me"}, "owner", "no property"),
        ({"path": "a/b", "content": "x"}, "path", "absolute"),
        ({"path": "/a/../etc/passwd", "content": "x"}, "path", "`/etc/passwd`"),
        ({"path": "/", "content": "x"}, "path", "no file"),
        ({"path": "/a\0b", "content": "x"}, "path", "NUL"),
        ({"path": "/a", "content": "x", "mode": "rw-------"}, "mode", "octal"),
        ({"path": "/a", "content": "x", "mode": "0666"}, "mode", "others write"),
        ({"path": "/a", "content": "x", "mode": "0620"}, "mode", "others write"),
        ({"path": "/a", "content": "x", "mode": "4755"}, "mode", "octal"),
        ({"path": "/a", "content": "x", "mode": "0200"}, "mode", "read"),
    ],
)
def test_check_refuses(stub: Stub, properties: dict[str, Any], failing: str, words: str) -> None:
    failures = _check(stub, **properties)[1]
    assert set(failures) == {failing}
    assert words in failures[failing]


def test_a_refusal_does_not_show_the_secret(stub: Stub) -> None:
    answer = stub.Check(
        provider_pb2.CheckRequest(urn=URN, news=encode({"path": "/a", "content": Secret("hunter2")})), timeout=SECONDS
    )
    assert "hunter2" not in str(answer.failures)


def test_another_resource_is_refused(stub: Stub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(provider_pb2.CheckRequest(urn="urn:pulumi:t::p::wicketgate-local:index:Dir::x"), timeout=SECONDS)
    assert "wicketgate-local:index:Dir" in (caught.value.details() or "")


def test_create_writes(stub: Stub, tmp_path: Path) -> None:
    path = tmp_path / "new" / "c.txt"
    state = _create(stub, path, "grüße\n", "0640")
    assert path.read_bytes() == "grüße\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert state == {
        "path": str(path),
        "content": "grüße\n",
        "mode": "0640",
        "digest": files.digest("grüße\n".encode()),
    }


@pytest.mark.parametrize(("content", "digest"), [("x", files.digest(b"x")), (UNKNOWN, UNKNOWN)])
def test_a_preview_writes_nothing(stub: Stub, tmp_path: Path, content: object, digest: object) -> None:
    inputs = {"path": str(tmp_path / "c"), "content": content, "mode": "0600"}
    request = provider_pb2.CreateRequest(urn=URN, properties=encode(inputs), preview=True)
    assert decode(stub.Create(request, timeout=SECONDS).properties)["digest"] == digest
    update = provider_pb2.UpdateRequest(id=inputs["path"], urn=URN, news=encode(inputs), preview=True)
    assert decode(stub.Update(update, timeout=SECONDS).properties)["digest"] == digest
    assert os.listdir(tmp_path) == []


def test_create_takes_no_file_of_others(stub: Stub, tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    path.write_text("theirs")
    with pytest.raises(grpc.RpcError) as caught:
        _create(stub, path, "ours")
    assert "exists already" in (caught.value.details() or "")
    assert path.read_text() == "theirs"
    _create(stub, path, "theirs")
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(grpc.RpcError):
        _create(stub, link, "theirs")


def test_create_refuses_what_check_should_have(stub: Stub, tmp_path: Path) -> None:
    inputs = {"path": str(tmp_path / "c"), "content": Secret("hunter2"), "mode": "0600"}
    with pytest.raises(grpc.RpcError) as caught:
        stub.Create(provider_pb2.CreateRequest(urn=URN, properties=encode(inputs)), timeout=SECONDS)
    assert "hunter2" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_what_differs(stub: Stub) -> None:
    state = {"path": "/a", "content": "x", "mode": "0600", "digest": "d"}
    inputs = {"path": "/a", "content": "x", "mode": "0600"}
    assert _diff(stub, state, inputs).changes == provider_pb2.DiffResponse.DIFF_NONE
    changed = _diff(stub, state, {**inputs, "content": UNKNOWN, "mode": "0640"})
    assert (list(changed.diffs), list(changed.replaces)) == (["content", "mode"], [])
    assert changed.detailedDiff["content"].kind == provider_pb2.PropertyDiff.Kind.UPDATE
    moved = _diff(stub, state, {**inputs, "path": "/b"})
    assert list(moved.replaces) == ["path"]
    assert moved.detailedDiff["path"].kind == provider_pb2.PropertyDiff.Kind.UPDATE_REPLACE
    assert _diff(stub, state, {**inputs, "content": "y"}, "content").changes == provider_pb2.DiffResponse.DIFF_NONE


def test_read_finds_no_change(stub: Stub, tmp_path: Path) -> None:
    state = _create(stub, tmp_path / "c.txt", "x")
    assert _read(stub, state) == (state["path"], state, {key: state[key] for key in ("path", "content", "mode")})


def test_read_sees_drift_and_keeps_its_content_out(stub: Stub, tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    state = _create(stub, path, "x")
    path.write_text("hunter2")
    path.chmod(0o644)
    identifier, found, inputs = _read(stub, state)
    assert identifier == str(path)
    assert found["digest"] == files.digest(b"hunter2")
    assert found["mode"] == inputs["mode"] == "0644"
    assert "hunter2" not in str(found) + str(inputs)
    wanted = {"path": str(path), "content": "x", "mode": "0600"}
    assert list(_diff(stub, found, wanted).diffs) == ["content", "mode"]


def test_read_of_a_missing_file_has_no_id(stub: Stub, tmp_path: Path) -> None:
    state = _create(stub, tmp_path / "c.txt", "x")
    (tmp_path / "c.txt").unlink()
    assert _read(stub, state)[0] == ""


def test_import(stub: Stub, tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    path.write_text("theirs")
    path.chmod(0o600)
    answer = stub.Read(provider_pb2.ReadRequest(id=str(path), urn=URN), timeout=SECONDS)
    assert decode(answer.inputs) == {"path": str(path), "content": "theirs", "mode": "0600"}
    assert decode(answer.properties)["digest"] == files.digest(b"theirs")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_bytes(b"\xff\xfe"), "UTF-8"),
        (lambda path: path.mkdir(), "regular"),
    ],
)
def test_import_of_something_else(stub: Stub, tmp_path: Path, make: Any, words: str) -> None:
    path = tmp_path / "c"
    make(path)
    with pytest.raises(grpc.RpcError) as caught:
        stub.Read(provider_pb2.ReadRequest(id=str(path), urn=URN), timeout=SECONDS)
    assert words in (caught.value.details() or "")


def test_update_writes_anew(stub: Stub, tmp_path: Path, warnings: list[str]) -> None:
    path = tmp_path / "c.txt"
    state = _create(stub, path, "x")
    assert _update(stub, state, content="y")["digest"] == files.digest(b"y")
    assert path.read_text() == "y"
    assert warnings == []


def test_update_over_a_change_says_so(stub: Stub, tmp_path: Path, warnings: list[str]) -> None:
    path = tmp_path / "c.txt"
    state = _create(stub, path, "x")
    path.write_text("theirs")
    _update(stub, state, content="y")
    assert path.read_text() == "y"
    assert warnings == [f"one: `{path}` had been changed by someone else; it is written anew"]


def test_update_over_a_folder_is_refused(stub: Stub, tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    state = _create(stub, path, "x")
    path.unlink()
    path.mkdir()
    with pytest.raises(grpc.RpcError) as caught:
        _update(stub, state, content="y")
    assert "regular file" in (caught.value.details() or "")


def test_delete(stub: Stub, tmp_path: Path, warnings: list[str]) -> None:
    path = tmp_path / "c.txt"
    state = _create(stub, path, "x")
    _delete(stub, state)
    assert not path.exists()
    _delete(stub, state)
    assert warnings == []


def test_delete_leaves_a_changed_file(stub: Stub, tmp_path: Path, warnings: list[str]) -> None:
    path = tmp_path / "c.txt"
    state = _create(stub, path, "x")
    path.write_text("theirs")
    _delete(stub, state)
    _delete(stub, _read(stub, state)[1])  # also after a refresh, whose digest is the changed file's
    assert path.read_text() == "theirs"
    assert warnings == [f"one: `{path}` was changed by someone else, and is left as it is"] * 2


def test_errors_of_the_system_name_the_file(stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(grpc.RpcError) as caught:
        _create(stub, tmp_path / "file" / "c.txt", "x")
    assert str(tmp_path / "file") in (caught.value.details() or "")


def test_the_schema_has_the_resource(stub: Stub) -> None:
    schema = json.loads(stub.GetSchema(provider_pb2.GetSchemaRequest(), timeout=SECONDS).schema)
    resource = schema["resources"][FILE]
    assert resource["requiredInputs"] == ["path", "content"]
    assert set(resource["properties"]) == {"path", "content", "mode", "digest"}
