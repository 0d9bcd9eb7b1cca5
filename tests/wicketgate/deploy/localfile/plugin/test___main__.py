"""The plugin as a process, started as the language host starts it; and where Pulumi.yaml says it is."""

import subprocess
import sys
from pathlib import Path

import grpc
import pytest
import yaml
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2_grpc

from wicketgate.deploy import localfile

PLUGIN = Path(localfile.__file__).with_name("plugin")
ROOT = Path(__file__).resolve().parents[5]


@pytest.mark.parametrize("arguments", [[], ["--logflow", "-v=9", "127.0.0.1:1"]])
def test_it_serves(tmp_path: Path, arguments: list[str]) -> None:
    command = [sys.executable, "-u", str(PLUGIN), *arguments]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as plugin:
        try:
            assert plugin.stdout is not None
            with grpc.insecure_channel(f"127.0.0.1:{int(plugin.stdout.readline())}") as channel:
                stub = provider_pb2_grpc.ResourceProviderStub(channel)
                assert stub.GetPluginInfo(empty_pb2.Empty(), timeout=10).version
        finally:
            plugin.terminate()
        assert plugin.wait(10) == 0


def test_the_project_names_it() -> None:
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
    (entry,) = project["plugins"]["providers"]
    assert (entry["name"], ROOT / entry["path"]) == ("wicketgate-local", PLUGIN)
    assert yaml.safe_load((PLUGIN / "PulumiPlugin.yaml").read_text())["runtime"] == "python"
