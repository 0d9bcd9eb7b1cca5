"""The process around a provider: says its port, answers, and ends when it should."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2_grpc

from wicketgate.provider.server import start_provider

_PLUGIN = """
from pulumi.runtime.proto import plugin_pb2, provider_pb2_grpc
from wicketgate.provider.server import serve

class Plugin(provider_pb2_grpc.ResourceProviderServicer):
    def GetPluginInfo(self, request, context):
        return plugin_pb2.PluginInfo(version="1.2.3")

serve(Plugin())
"""


class _Plugin(provider_pb2_grpc.ResourceProviderServicer):
    def GetPluginInfo(self, request: object, context: object) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version="1.2.3")


def _version(port: int) -> str:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = provider_pb2_grpc.ResourceProviderStub(channel)
        return stub.GetPluginInfo(empty_pb2.Empty(), timeout=10).version


@contextmanager
def _running(command: list[str]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def _gone(pid: int, deadline: float = 15.0) -> bool:
    until = time.monotonic() + deadline
    while time.monotonic() < until:
        with suppress(ProcessLookupError):
            os.kill(pid, 0)
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rpartition(")")[2].split()[0] == "Z":
                    return True
            time.sleep(0.05)
            continue
        return True
    return False


def test_in_process() -> None:
    server, port = start_provider(_Plugin())
    try:
        assert _version(port) == "1.2.3"
    finally:
        server.stop(0).wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ends_quietly_on_a_signal(number: signal.Signals) -> None:
    with _running([sys.executable, "-c", _PLUGIN]) as (process, port):
        assert _version(port) == "1.2.3"
        process.send_signal(number)
        assert process.wait(10) == 0


def test_ends_with_its_parent() -> None:
    middle = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {_PLUGIN!r}], stdout=subprocess.PIPE, text=True)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with _running([sys.executable, "-c", middle]) as (process, plugin):
        process.kill()
        process.wait(10)
        assert _gone(plugin), "the plugin outlived the engine"
