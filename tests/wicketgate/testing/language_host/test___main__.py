"""The host as a process: the engine's flags, the port, and a quiet end with all children."""

import signal
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import language_pb2, language_pb2_grpc

from wicketgate.provider.values import encode


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ends_quietly_and_takes_its_children_along(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "wicketgate.testing.language_host", "--logflow", "-v=9", "-root=/", "127.0.0.1:9"]
    host = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert host.stdout is not None
        assert host.stderr is not None
        port = int(host.stdout.readline())
        (tmp_path / "__main__.py").write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)\n")
        info = language_pb2.ProgramInfo(
            root_directory=str(tmp_path),
            program_directory=str(tmp_path),
            options=encode({"toolchain": "pip", "virtualenv": sys.prefix}),
        )
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = language_pb2_grpc.LanguageRuntimeStub(channel)
            assert stub.GetPluginInfo(empty_pb2.Empty(), timeout=10).version
            request = language_pb2.RunPluginRequest(pwd=str(tmp_path), info=info, kind="resource")
            stream = stub.RunPlugin(request, timeout=60)
            child = int(next(stream).stdout)
            assert Path(f"/proc/{child}").exists()
            host.send_signal(number)
            assert host.wait(20) == 0
            assert not Path(f"/proc/{child}").exists(), "a child outlived the host"
        assert host.stderr.read() == ""
    finally:
        host.kill()
        host.wait(10)
        for stream_ in (host.stdout, host.stderr):
            if stream_ is not None:
                stream_.close()
