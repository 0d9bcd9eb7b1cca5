"""Children are started with the configuration, started again, and never left behind."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from wicketgate_gateway.contract.gateway import GatewayConfig
from wicketgate_gateway.server.children import Child

pytestmark = pytest.mark.anyio
ID = "00000000-0000-4000-8000-000000000001"
Eventually = Callable[[Callable[[], object]], Awaitable[None]]

MODULE = """
import os, sys
given = sys.stdin.readline()
with open(os.environ["CHILD_SEEN"] + str(os.getpid()), "w") as file:
    file.write(given)
if os.environ.get("CHILD_DEAF"):
    import time
    while True:
        time.sleep(60)
sys.stdin.read()
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "a_child.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("CHILD_SEEN", str(tmp_path / "seen-"))
    return "a_child"


def config(folder: Path) -> GatewayConfig:
    return GatewayConfig.model_validate(document(folder))


def document(folder: Path) -> dict[str, Any]:
    return {
        "name": "gate",
        "entra": {"tenant": ID},
        "audience": ID,
        "workload": {"clientId": ID, "tokenFile": "x"},
        "agents": {},
        "listen": {"postgres": {"port": 0}, "agents": {"port": 0}, "api": {"port": 0}},
        "people": {"url": "https://x", "client": ID, "webhooks": {"ops": {"format": "slack", "urlFile": "y"}}},
        "tls": {"certificateFile": "x", "keyFile": "x"},
        "state": str(folder),
        "policies": "x",
        "targets": {"db": {"kind": "postgres", "agent": "a"}},
    }


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_started_with_the_configuration_and_again_after_a_crash(
    module: str, tmp_path: Path, eventually: Eventually
) -> None:
    child = Child(module, config(tmp_path))
    child.start()
    try:
        await eventually(lambda: child.pid is not None and (tmp_path / f"seen-{child.pid}").exists())
        first = child.pid
        assert first is not None
        await eventually(lambda: (tmp_path / f"seen-{first}").read_text().endswith("\n"))
        given = (tmp_path / f"seen-{first}").read_text()
        assert GatewayConfig.model_validate_json(given) == config(tmp_path)
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: child.starts == 2 and child.pid not in (None, first))
    finally:
        await child.stop()
    assert child.pid is None


async def test_stopped_by_the_end_of_its_input(module: str, tmp_path: Path, eventually: Eventually) -> None:
    child = Child(module, config(tmp_path))
    child.start()
    await eventually(lambda: child.pid is not None and (tmp_path / f"seen-{child.pid}").exists())
    pid = child.pid
    assert pid is not None
    await child.stop()
    assert not alive(pid)


async def test_one_that_does_not_listen_is_killed(
    module: str, tmp_path: Path, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHILD_DEAF", "1")
    monkeypatch.setattr("wicketgate_gateway.server.children.STOP_SECONDS", 0.2)
    child = Child(module, config(tmp_path))
    child.start()
    await eventually(lambda: child.pid is not None and (tmp_path / f"seen-{child.pid}").exists())
    pid = child.pid
    assert pid is not None
    await child.stop()
    assert not alive(pid)


def pid_in(folder: Path) -> int | None:
    """The child that has read its configuration."""
    found = [file for file in folder.glob("seen-*") if file.read_text()]
    return int(found[0].name.removeprefix("seen-")) if found else None


async def test_a_gateway_that_is_killed_leaves_none_behind(module: str, tmp_path: Path, eventually: Eventually) -> None:
    program = f"""
import asyncio, json, sys
from wicketgate_gateway.contract.gateway import GatewayConfig
from wicketgate_gateway.server.children import Child
async def main():
    Child({module!r}, GatewayConfig.model_validate(json.loads(sys.argv[1]))).start()
    await asyncio.sleep(60)
asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, json.dumps(document(tmp_path)))
    try:
        await eventually(lambda: pid_in(tmp_path))
        pid = pid_in(tmp_path)
        assert pid is not None
        assert alive(pid)
    finally:
        parent.kill()
        await parent.wait()
    await eventually(lambda: not alive(pid))
