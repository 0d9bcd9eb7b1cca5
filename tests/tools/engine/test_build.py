"""Building from Go modules: what is asked of Go, and the real thing."""

import dataclasses
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from tools.engine import build, golang, pins
from tools.engine.cache import ProvideError

Said = tuple[list[str], Callable[[str], None]]
Script = Callable[[Path, str], Path]


@pytest.fixture
def family(tmp_path: Path) -> pins.Family:
    """A module of our own that builds in a second."""
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "go.mod").write_text("module tiny.invalid/tiny\n\ngo 1.26\n")
    (folder / "main.go").write_text('package main\n\nvar word = "unset"\n\nfunc main() { print(word) }\n')
    return pins.Family(
        name="tiny",
        title="a tiny program",
        folder=folder,
        sources=("go.mod", "main.go"),
        target=".",
        binary="tiny",
        ldflags="-s -w -X main.word=hello",
        expected_seconds=1,
    )


def test_the_key_follows_the_sources_and_flags(family: pins.Family) -> None:
    first = build.digest(family)
    assert build.digest(dataclasses.replace(family, ldflags="-s")) != first
    assert build.digest(dataclasses.replace(family, tags="x")) != first
    assert build.digest(dataclasses.replace(family, environ={"CGO_ENABLED": "1"})) != first
    (family.folder / "main.go").write_text("package main\n")
    assert build.digest(family) != first


@pytest.mark.usefixtures("cache_home")
def test_what_go_is_asked(
    family: pins.Family, tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    go = script(
        tmp_path / "go",
        f'printf "%s\\n" "$@" > {tmp_path}/args; env > {tmp_path}/env; ls > {tmp_path}/files\n'
        'while [ "$1" != -o ]; do shift; done; touch "$2"',
    )
    monkeypatch.setattr(golang, "find", lambda progress: go)
    binary = build.build(family, said[1])
    assert binary.name == "tiny"
    arguments = (tmp_path / "args").read_text().splitlines()
    assert arguments[:4] == ["build", "-trimpath", "-ldflags", "-s -w -X main.word=hello"]
    assert arguments[-1] == "."
    assert {"CGO_ENABLED=0", "GOTOOLCHAIN=local"} <= set((tmp_path / "env").read_text().splitlines())
    assert (tmp_path / "files").read_text().split() == ["go.mod", "main.go"]
    assert [entry.name for entry in binary.parent.iterdir()] == ["tiny"]
    go.unlink()
    assert build.build(family, said[1]) == binary, "it is in the cache"


@pytest.mark.usefixtures("cache_home")
def test_a_failed_build_says_why(
    family: pins.Family, tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    go = script(tmp_path / "go", "echo verifying module: checksum mismatch; exit 1")
    monkeypatch.setattr(golang, "find", lambda progress: go)
    with pytest.raises(ProvideError, match="checksum mismatch"):
        build.build(family, said[1])


@pytest.mark.build
@pytest.mark.slow
@pytest.mark.usefixtures("cache_home")
def test_a_real_build(family: pins.Family, said: Said) -> None:
    binary = build.build(family, said[1])
    assert subprocess.run([binary], capture_output=True, text=True, check=True).stderr == "hello"


@pytest.mark.build
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_cli_says_its_version(said: Said) -> None:
    binary = build.build(pins.CLI, said[1])
    done = subprocess.run([binary, "version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"v{pins.PULUMI}"


@pytest.mark.build
@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_kubernetes_plugin_serves_the_released_schema(said: Said) -> None:
    binary = build.build(pins.KUBERNETES_PLUGIN, said[1])
    with subprocess.Popen([binary, "127.0.0.1:1"], stdout=subprocess.PIPE, text=True) as plugin:
        try:
            assert plugin.stdout is not None
            port = int(plugin.stdout.readline())
            options = [("grpc.max_receive_message_length", 1 << 28)]
            with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
                stub = provider_pb2_grpc.ResourceProviderStub(channel)
                assert stub.GetPluginInfo(empty_pb2.Empty(), timeout=30).version == pins.KUBERNETES
                answer = stub.GetSchema(provider_pb2.GetSchemaRequest(), timeout=60)
        finally:
            plugin.kill()
    schema = json.loads(answer.schema)
    assert (schema["name"], schema["version"]) == ("kubernetes", pins.KUBERNETES)
    assert len(schema["resources"]) > 400
    assert "kubernetes:apps/v1:Deployment" in schema["resources"]
