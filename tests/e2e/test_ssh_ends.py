"""How SSH sessions end when something breaks: the SSH process, the disk, the bot's membership."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from tests.running import BOT, GROUP
from tests.ssh import POLICY, SshRunning
from wicketgate_gateway.audit.events import RecordingClosed, SessionEnded

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def gateway(make_ssh_gateway: Callable[..., SshRunning]) -> SshRunning:
    """A gateway of this module's own, which its tests break and let mend."""
    return make_ssh_gateway(groupsCache="1s")


def started(gateway: SshRunning, command: str) -> subprocess.Popen[bytes]:
    """A command through the gateway that runs at the target by now."""
    process = subprocess.Popen(
        ["ssh", *gateway.options(), "web-1", command],
        env=gateway.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    gateway.wait(lambda: runs(command), 60)
    return process


def runs(command: str) -> bool:
    """Whether a process with this command line runs on this machine (the target)."""
    wanted = command.replace(" ", "\0").encode() + b"\0"
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes() == wanted:
                return True
        except OSError:
            continue
    return False


def ssh_process(gateway: SshRunning) -> int | None:
    """The gateway's SSH process."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(") ")[2].split()[1])
            if parent == gateway.processes["gateway"].pid and b"wicketgate_gateway.server.ssh" in (
                path / "cmdline"
            ).read_bytes().split(b"\0"):
                return int(path.name)
        except OSError:
            continue
    return None


def ended(gateway: SshRunning, session: str) -> list[Any]:
    """Events of the session's end."""
    return [e for e in gateway.events() if isinstance(e, SessionEnded | RecordingClosed) and e.session == session]


def test_the_ssh_process_is_killed(gateway: SshRunning) -> None:
    """The client gets an end, what runs is killed, the recording is closed, and another process takes over."""
    process = started(gateway, f"sleep 94.{os.getpid()}")
    session = gateway.operations()[-1].session
    pid = ssh_process(gateway)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == 255
    gateway.wait(lambda: not runs(f"sleep 94.{os.getpid()}"), 60)
    gateway.wait(lambda: len(ended(gateway, session)) == 2, 60)
    assert next(e for e in ended(gateway, session) if isinstance(e, SessionEnded)).reason == "the client hung up"
    shown = gateway.wicketgate("replay", session, "--config", gateway.folder / "gateway.yaml")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "the recording is whole" in shown.stdout
    gateway.wait(lambda: gateway.ssh("uname", "-a").returncode == 0, 60)
    assert ssh_process(gateway) not in (None, pid)


def test_the_disk_is_full(gateway: SshRunning, tmp_path: Path) -> None:
    """What cannot be put on record does not run, in a session that runs as in a new one."""
    policy = {"allow": {"ssh": {"commands": [f"touch {tmp_path}/*"]}}}
    gateway.write_policies({**POLICY, "rules": [*POLICY["rules"], policy]})
    tmp_path.chmod(0o777)
    pid = gateway.processes["gateway"].pid

    async def run() -> tuple[Any, Any]:
        async with await asyncssh.connect(
            "localhost", gateway.ports["ssh"], config=None, username="web-1", password=gateway.cloud.bot_token(),
            known_hosts=asyncssh.import_known_hosts(gateway.known_hosts()), client_keys=None, agent_path=None,
        ) as connection:  # fmt: skip
            assert (await connection.run("uname -a")).exit_status == 0
            # No file of the gateway's can grow: as on a full disk, every write of the journal fails.
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
            first = await connection.run(f"touch {tmp_path}/never", timeout=60)
            return first, gateway.ssh(f"touch {tmp_path}/never")

    gateway.ssh_folder()
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    try:
        first, second = asyncio.run(run())
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
    assert first.exit_status == 69
    assert "what is not recorded is not executed" in first.stderr
    assert second.returncode == 255
    assert list(tmp_path.iterdir()) == []
    gateway.wait(lambda: gateway.ssh("uname", "-a").returncode == 0, 60)


def test_a_bot_that_leaves_its_group_is_cut_off(gateway: SshRunning) -> None:
    """Graph says so while something runs: it is killed, and nothing more begins."""
    gateway.write_policies(POLICY)
    store = gateway.cloud.entra.store
    process = started(gateway, f"sleep 93.{os.getpid()}")
    session = gateway.operations()[-1].session
    assert store.unlink("members", GROUP, BOT)
    try:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 255
        assert b"no policy lets this bot use `web-1`" in said
        gateway.wait(lambda: not runs(f"sleep 93.{os.getpid()}"), 60)
        assert gateway.ssh("uname", "-a").returncode == 255
        gateway.wait(lambda: len(ended(gateway, session)) == 2, 60)
    finally:
        store.link("members", GROUP, BOT)
    gateway.wait(lambda: gateway.ssh("uname", "-a").returncode == 0, 60)
