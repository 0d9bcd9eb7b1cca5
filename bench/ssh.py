"""`python -m bench.ssh`: commands and copies through the gateway, paired with the same done directly.

Each pair is a command (or copy) directly and one through the gateway, in turn, over connections that stay; what is
printed are medians of the pairs, and per second what eight commands at once come to. Copies are stock scp with
`wicketgate ssh-proxy`. Everything runs on this machine: client, gateway, agent and sshd share its cores.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import asyncssh

from tests.running import cloud_in
from tests.ssh import POLICY, Sshd, SshRunning, owned, ssh_gateways_in, start_sshd, stop_sshd
from wicketgate.testing.postgres import PostgresServer

COMMAND = "uname -a"
AT_ONCE = 8
GROUND = Path("/tmp/wicketgate-ssh-bench")


class _Folders:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0

    def mktemp(self, name: str) -> Path:
        """As pytest's factory has it."""
        self._number += 1
        made = self._folder / f"{name}{self._number}"
        made.mkdir()
        return made


async def _direct(server: Sshd) -> Any:
    return await asyncssh.connect(
        "127.0.0.1", server.port, config=None, username=server.user, known_hosts=None, agent_path=None,
        client_keys=[str(server.credential / "key")],
    )  # fmt: skip


async def _through(gateway: SshRunning) -> Any:
    return await asyncssh.connect(
        "127.0.0.1", gateway.ports["ssh"], config=None, username="web-1", password=gateway.cloud.bot_token(),
        known_hosts=None, agent_path=None, client_keys=None,
    )  # fmt: skip


async def _timed(connection: Any) -> float:
    begun = time.perf_counter()
    done = await connection.run(COMMAND, check=True)
    assert done.stdout
    return (time.perf_counter() - begun) * 1000


async def _rate(connection: Any, seconds: float) -> float:
    end = time.perf_counter() + seconds
    count = 0

    async def work() -> None:
        nonlocal count
        while time.perf_counter() < end:
            await connection.run(COMMAND, check=True)
            count += 1

    begun = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return count / (time.perf_counter() - begun)


async def _commands(server: Sshd, gateway: SshRunning, pairs: int) -> dict[str, float]:
    async with await _direct(server) as direct, await _through(gateway) as through:
        for connection in (direct, through):
            await _timed(connection)
        found = [(await _timed(direct), await _timed(through)) for _ in range(pairs)]
        rates = [(await _rate(direct, 2.0), await _rate(through, 2.0)) for _ in range(3)]
    logins: list[tuple[float, float]] = []
    for _ in range(5):
        pair: list[float] = []
        for connect in (lambda: _direct(server), lambda: _through(gateway)):
            begun = time.perf_counter()
            async with await connect() as connection:
                await connection.run(COMMAND, check=True)
            pair.append((time.perf_counter() - begun) * 1000)
        logins.append((pair[0], pair[1]))
    return {
        "exec direct ms": statistics.median(a for a, _ in found),
        "exec through ms": statistics.median(b for _, b in found),
        "exec added ms": statistics.median(b - a for a, b in found),
        "exec/s direct": statistics.median(a for a, _ in rates),
        "exec/s through": statistics.median(b for _, b in rates),
        "new connection direct ms": statistics.median(a for a, _ in logins),
        "new connection through ms": statistics.median(b for _, b in logins),
    }


def _copy(options: list[str], host: str, source: str, env: dict[str, str]) -> float:
    begun = time.perf_counter()
    subprocess.run(["scp", "-q", *options, source, f"{host}:{GROUND}/copy"], check=True, env=env)
    return time.perf_counter() - begun


def _copies(server: Sshd, gateway: SshRunning, size: int, pairs: int, folder: Path) -> dict[str, float]:
    source = folder / "source"
    source.write_bytes(os.urandom(1 << 20) * size)
    direct = ["-F", "none", "-P", str(server.port), "-i", str(server.credential / "key")]
    direct += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    found = [
        (
            _copy(direct, f"{server.user}@127.0.0.1", str(source), gateway.environment()),
            _copy(gateway.options(), "web-1", str(source), gateway.environment()),
        )
        for _ in range(pairs)
    ]
    return {
        "scp direct MB/s": statistics.median(size / a for a, _ in found),
        "scp through MB/s": statistics.median(size / b for _, b in found),
        "scp ratio": statistics.median(a / b for a, b in found),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.ssh")
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--size", type=int, default=64, help="MiB of a copy")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rule = {"allow": {"ssh": {"paths": [f"{GROUND}/**"], "operations": ["read", "write"]}}}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wicketgate-bench-")))
        folders: Any = _Folders(folder)
        GROUND.mkdir(exist_ok=True)
        owned(GROUND)
        postgres = stack.enter_context(PostgresServer(folders.mktemp("postgres")))
        cloud = stack.enter_context(cloud_in(folders.mktemp("cloud"), postgres))
        server = start_sshd(folder / "sshd")
        stack.callback(stop_sshd, server)
        make = stack.enter_context(ssh_gateways_in(cloud, folders, server))
        gateway = make(policies=[{**POLICY, "rules": [*POLICY["rules"], rule]}])
        figures = asyncio.run(_commands(server, gateway, options.pairs))
        figures |= _copies(server, gateway, options.size, 5, folder)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:28}{value:10.2f}")


if __name__ == "__main__":
    main()
