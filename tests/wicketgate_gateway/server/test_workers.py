"""The process above several gateways: what it passes on, binds and starts. (That they run, tests/e2e shows.)"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import GatewayConfig
from wicketgate_gateway.server import workers

pytestmark = pytest.mark.anyio
ID = "00000000-0000-4000-8000-000000000001"
Eventually = Callable[[Callable[[], object]], Awaitable[None]]

# Stands in for a worker: says where it listens, and sends a cancel key to the others.
MODULE = """
import json, os, socket, sys
config = json.loads(sys.stdin.readline())
number, count = sys.argv[sys.argv.index("--worker") + 1].split("/")
link = socket.socket(fileno=int(sys.argv[sys.argv.index("--socket") + 1]))
folder = os.path.join(config["state"], "workers", number)
os.makedirs(folder, exist_ok=True)
if os.path.exists(os.path.join(config["state"], "broken")):
    sys.exit(2)
with socket.create_server(("127.0.0.1", config["listen"]["postgres"]["port"]), reuse_port=True):
    with open(os.path.join(folder, "new"), "w") as file:
        json.dump({"pid": os.getpid(), "postgres": config["listen"]["postgres"]["port"]}, file)
    os.rename(os.path.join(folder, "new"), os.path.join(folder, "ports.json"))
    if number == "0":
        while not os.path.exists(os.path.join(config["state"], "go")):
            import time
            time.sleep(0.01)
        link.send((77).to_bytes(4, "big") + b"abcd")
    else:
        got = link.recv(100)
        with open(os.path.join(folder, "got"), "wb") as file:
            file.write(got)
    sys.stdin.read()
"""


def config(folder: Path, count: int = 2, **listen: Any) -> GatewayConfig:
    return GatewayConfig.model_validate(
        {
            "name": "gate",
            "entra": {"tenant": ID},
            "audience": ID,
            "workload": {"clientId": ID, "tokenFile": "x"},
            "agents": {},
            "listen": {"postgres": {"port": 0}, "agents": {"port": 0}, **listen},
            "tls": {"certificateFile": "x", "keyFile": "x"},
            "state": str(folder),
            "policies": "x",
            "targets": {},
            "limits": {"workers": count},
            "audit": {"store": {"urlFile": str(folder / "url")}},
        }
    )


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_worker.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(workers, "MODULE", "a_worker")


def said(state: Path, number: int) -> dict[str, int]:
    return json.loads((workers.folder(state, number) / workers.PORTS).read_text())


@pytest.mark.usefixtures("stand_in")
async def test_started_together_on_one_port_and_again_after_a_death(tmp_path: Path, eventually: Eventually) -> None:
    state = tmp_path / "state"
    above = workers.Workers(config(state, 3))
    await above.start()
    try:
        ports = json.loads((state / workers.PORTS).read_text())
        assert ports["pid"] == os.getpid()
        assert ports["postgres"] > 0
        assert len({said(state, number)["pid"] for number in range(3)}) == 3
        assert {said(state, number)["postgres"] for number in range(3)} == {ports["postgres"]}
        assert (state / "mask.key").stat().st_size == 32, "made before any worker could"
        (state / "go").touch()
        for number in (1, 2):
            got = workers.folder(state, number) / "got"
            await eventually(lambda got=got: got.exists() and got.read_bytes() == b"\0\0\0\x4dabcd")
        first = above.pids[1]
        assert first is not None
        os.kill(first, 9)
        await eventually(lambda: above.pids[1] not in (None, first) and said(state, 1)["pid"] == above.pids[1])
        assert above.pids[0] == said(state, 0)["pid"], "the others go on"
        # Nobody else gets the port, not even while no worker listens.
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", ports["postgres"]))
    finally:
        pids = above.pids
        await above.stop()
    assert not (state / workers.PORTS).exists()
    for pid in pids:
        assert pid is not None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.usefixtures("stand_in")
async def test_workers_that_cannot_run_end_the_start(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    above = workers.Workers(config(tmp_path))
    with pytest.raises(WicketgateError, match="ended at its start"):
        await above.start()
    assert above.pids == [None, None]


async def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        above = workers.Workers(config(tmp_path, postgres={"port": taken.getsockname()[1]}))
        with pytest.raises(WicketgateError, match="cannot listen"):
            await above.start()


async def test_cancel_keys_cross_and_broken_ones_are_left_out(eventually: Eventually) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    one, other = workers.Cancels(ours), workers.Cancels(theirs)
    got: list[tuple[int, bytes]] = []
    other.receive(lambda pid, secret: got.append((pid, secret)))
    theirs_raw = ours.dup()
    theirs_raw.send(b"xy")
    one.send(2**31 - 1, b"secret")
    one.send(1, b"x" * 1000)
    await eventually(lambda: len(got) == 2)
    assert got == [(2**31 - 1, b"secret"), (1, b"x" * 256)]
    theirs_raw.close()
    one.close()
    await asyncio.sleep(0)
    other.close()
    one.send(1, b"late")  # nobody is there; a client's request is never an error


def test_how_many() -> None:
    assert workers.Part.of("2/4", socket.socket()).number == 2
    counted = workers.count_of(config(Path("/nowhere"), 0))
    assert counted == len(os.sched_getaffinity(0))
    assert workers.count_of(config(Path("/nowhere"), 5)) == 5
