"""Held commands over SSH: the wait, the handle, the exit codes, and one run for one approval; masks; the replay."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncssh
import paramiko
import pytest

from tests.running import DBA
from tests.ssh import POLICY, SshRunning, owned
from wicketgate_gateway.approvals.model import Choice, Request, Scope, State
from wicketgate_gateway.approvals.service import Approvals, groups_to_check
from wicketgate_gateway.approvals.store import open_store
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.policy.load import PolicyStore

pytestmark = pytest.mark.slow
GROUND = Path(f"/tmp/wicketgate-ssh-holds-{os.getpid()}")  # another run beside this one has its own
DANA = "60000000-0000-4000-8000-00000000000d"
SLEEP = f"sleep 95.{os.getpid()}"
SECRET = "AKIA" + "IOSFODNN7EXAMPLE"


@pytest.fixture(scope="module")
def gateway(
    make_ssh_gateway: Callable[..., SshRunning], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SshRunning]:
    """A gateway that holds."""
    shutil.rmtree(GROUND, ignore_errors=True)
    GROUND.mkdir()
    (GROUND / "old").write_text("old\n")
    (GROUND / "waits").write_text("kept\n")
    owned(GROUND)
    approvers = {"groups": ["dba"]}
    rules: list[Any] = [
        {"hold": {"ssh": {"commands": [f"touch {GROUND}/*"]}, "approvers": approvers, "wait": "20s"}},
        {"hold": {"ssh": {"commands": [f"tee {GROUND}/*"]}, "approvers": approvers, "wait": "0s"}},
        {"hold": {"ssh": {"scripts": ["echo a && echo b"]}, "approvers": approvers, "wait": "20s"}},
        {
            "hold": {
                "ssh": {"paths": [f"{GROUND}/waits"], "operations": ["write", "remove"]},
                "approvers": approvers,
                "wait": "0s",
            }
        },
        {
            "hold": {
                "ssh": {"paths": [f"{GROUND}/**"], "operations": ["write", "remove"]},
                "approvers": approvers,
                "wait": "20s",
            }
        },
        {"allow": {"ssh": {"paths": [f"{GROUND}/**"], "operations": "read"}}},
    ]
    control = tmp_path_factory.mktemp("control")
    (control / "url").write_text(f"sqlite+aiosqlite:///{control}/control.db")
    policy = {**POLICY, "rules": [*POLICY["rules"], *rules]}
    yield make_ssh_gateway(policies=[policy], control=control / "url")
    shutil.rmtree(GROUND, ignore_errors=True)


def answering(gateway: SshRunning, choice: Choice, seen: list[Request], comment: str = "") -> threading.Thread:
    """Someone who answers the next request."""

    async def answer() -> None:
        assert gateway.control is not None
        store = await open_store(gateway.control.read_text())
        digest = PolicyStore(str(gateway.folder / "policies.json")).current.digest
        dana = Principal(
            PrincipalKind.PERSON, "t", DANA, "cli", "Dana", "uti", time.time() + 60, groups=frozenset([DBA])
        )
        try:
            end = time.monotonic() + 40
            while time.monotonic() < end:
                pending = await store.list((State.PENDING,))
                if pending:
                    request = pending[0]
                    seen.append(request)
                    approvals = Approvals(store, policy=lambda: digest)
                    checked = groups_to_check(request)
                    await approvals.decide(
                        request.handle, dana, choice, checked=checked, comment=comment, seal=request.seal
                    )
                    return
                await asyncio.sleep(0.05)
        finally:
            await store.close()

    thread = threading.Thread(target=lambda: asyncio.run(answer()))
    thread.start()
    return thread


def test_approved_it_runs_once(gateway: SshRunning) -> None:
    seen: list[Request] = []
    someone = answering(gateway, Choice.APPROVE, seen)
    run = gateway.ssh(f"touch {GROUND}/made")
    someone.join(40)
    assert run.returncode == 0, run.stderr
    assert b"held for approval as `hold-" in run.stderr
    assert (GROUND / "made").exists()
    assert seen[0].statement == f"touch {GROUND}/made"
    assert json.loads(seen[0].facts["argv"]) == ["touch", f"{GROUND}/made"]
    assert DBA in seen[0].approver_groups
    operation = [o for o in gateway.operations() if o.statement == f"touch {GROUND}/made"][-1]
    assert (operation.effect, operation.code) == ("hold", "hold-approved")
    (GROUND / "made").unlink()
    denier = answering(gateway, Choice.DENY, seen, "once is enough")
    again = gateway.ssh(f"touch {GROUND}/made")
    denier.join(40)
    assert again.returncode == 126
    assert b"once is enough" in again.stderr
    assert not (GROUND / "made").exists()


def test_unanswered_it_ends_with_75_and_the_handle(gateway: SshRunning) -> None:
    run = gateway.ssh(f"tee {GROUND}/pending", stdin=b"content\n")
    assert run.returncode == 75
    assert b"waits for approval" in run.stderr
    assert not (GROUND / "pending").exists()


def test_the_input_is_part_of_what_is_approved(gateway: SshRunning) -> None:
    seen: list[Request] = []
    answering(gateway, Choice.DENY, seen).join(40)  # what the test before left open
    seen.clear()
    gateway.ssh(f"tee {GROUND}/bound", stdin=b"what was shown\n")
    answering(gateway, Choice.APPROVE, seen).join(40)
    assert seen[0].statement == f"tee {GROUND}/bound"
    assert [p.value for p in seen[0].parameters] == [b"what was shown\n"]
    other = gateway.ssh(f"tee {GROUND}/bound", stdin=b"something else\n")
    assert other.returncode == 75
    answering(gateway, Choice.DENY, seen).join(40)
    assert not (GROUND / "bound").exists()
    run = gateway.ssh(f"tee {GROUND}/bound", stdin=b"what was shown\n")
    assert run.returncode == 0, run.stderr
    assert (GROUND / "bound").read_text() == "what was shown\n"


def test_input_without_an_end_is_not_held(gateway: SshRunning) -> None:
    process = subprocess.Popen(
        ["ssh", *gateway.options(), "web-1", f"tee {GROUND}/endless"],
        env=gateway.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(b"begun")
    process.stdin.flush()
    assert process.wait(30) == 126
    assert not (GROUND / "endless").exists()
    process.communicate()


def sftp(gateway: SshRunning, batch: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """Stock sftp."""
    return subprocess.run(
        ["sftp", *gateway.options(), "-b", "-", "web-1"],
        input=batch.encode(),
        capture_output=True,
        env=gateway.environment(),
        timeout=60,
        cwd=cwd,
    )


def test_a_file_whose_writing_is_held(gateway: SshRunning, tmp_path: Path) -> None:
    """People see all of it; the bot reads the handle; approved, it is written once."""
    (tmp_path / "new").write_text("what people see\n")
    seen: list[Request] = []
    someone = answering(gateway, Choice.APPROVE, seen)
    run = sftp(gateway, f"put new {GROUND}/new\n", tmp_path)
    someone.join(40)
    assert run.returncode == 0, run.stderr
    assert b"held for approval as `hold-" in run.stderr
    assert (GROUND / "new").read_text() == "what people see\n"
    assert seen[0].statement == f"sftp write {GROUND}/new"
    assert [p.value for p in seen[0].parameters] == [b"what people see\n"]
    assert (seen[0].facts["flags"], seen[0].facts["size"]) == ("write, create, truncate", "16 bytes")
    assert json.loads(seen[0].facts["paths"]) == [f"{GROUND}/new"]
    assert seen[0].facts["attributes"].startswith("mode 0")
    (GROUND / "new").unlink()
    denier = answering(gateway, Choice.DENY, seen, "once is enough")
    again = sftp(gateway, f"put new {GROUND}/new\n", tmp_path)
    denier.join(40)
    assert again.returncode != 0
    assert b"once is enough" in again.stderr
    assert not (GROUND / "new").exists()


def test_attack_a_file_that_is_another_than_the_one_approved(gateway: SshRunning, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("harmless\n")
    (tmp_path / "two").write_text("harmful!\n")
    seen: list[Request] = []
    someone = answering(gateway, Choice.APPROVE, seen)
    assert sftp(gateway, f"put one {GROUND}/swap\n", tmp_path).returncode == 0
    someone.join(40)
    assert (GROUND / "swap").read_text() == "harmless\n"
    denier = answering(gateway, Choice.DENY, seen)
    assert sftp(gateway, f"put two {GROUND}/swap\n", tmp_path).returncode != 0
    denier.join(40)
    assert seen[1].digest != seen[0].digest
    assert (GROUND / "swap").read_text() == "harmless\n"


def test_the_handle_is_in_the_status_of_sftp(gateway: SshRunning) -> None:
    """For libraries, which do not show standard error."""
    transport = paramiko.Transport(("127.0.0.1", gateway.ports["ssh"]))
    transport.banner_timeout = transport.auth_timeout = 30
    seen: list[Request] = []
    try:
        transport.start_client(timeout=30)
        transport.auth_password("web-1", gateway.cloud.bot_token())
        client = paramiko.SFTPClient.from_transport(transport)
        assert client is not None
        for _ in range(2):  # asked again, it is the same request
            with pytest.raises(OSError, match="hold-") as caught:
                client.remove(f"{GROUND}/waits")
        with pytest.raises(OSError, match="cannot be shown whole"), client.open(f"{GROUND}/long", "w") as file:
            file.write(b"x" * 70_000)
        with pytest.raises(OSError, match="within a file"):
            client.open(f"{GROUND}/waits", "r+")
        assert (GROUND / "waits").read_text() == "kept\n"
        assert not (GROUND / "long").exists()
        answering(gateway, Choice.APPROVE, seen).join(40)
        assert seen[0].handle in str(caught.value)
        assert seen[0].facts["is"].startswith("a file of 5 bytes, mode 0644, changed 20")
        client.remove(f"{GROUND}/waits")
        assert not (GROUND / "waits").exists()
    finally:
        transport.close()


def test_a_removal_that_is_held(gateway: SshRunning, tmp_path: Path) -> None:
    seen: list[Request] = []
    someone = answering(gateway, Choice.APPROVE, seen)
    removed = sftp(gateway, f"rm {GROUND}/old\n", tmp_path)
    someone.join(40)
    assert removed.returncode == 0, removed.stderr
    assert not (GROUND / "old").exists()
    assert seen[0].statement == f"sftp remove {GROUND}/old"
    assert seen[0].facts["is"].startswith("a file of 4 bytes")


def test_detectors_mask_what_is_shown_and_recorded(make_ssh_gateway: Callable[..., SshRunning]) -> None:
    gateway = make_ssh_gateway(policies=[{**POLICY, "mask": [{"detect": ["api-key"], "with": "redact"}]}])
    half = len(SECRET) // 2
    run = gateway.ssh(f"echo key {SECRET} end", options=["-tt"])
    assert run.returncode == 0
    assert SECRET.encode() not in run.stdout
    assert b"key " in run.stdout
    assert b"end" in run.stdout
    whole = gateway.ssh("cat", stdin=b"x" * (32768 - half) + b" " + SECRET.encode() + b" " + b"y" * 50000)
    assert SECRET.encode() not in whole.stdout
    assert whole.stdout.endswith(b"y" * 50000)
    operation = gateway.operations()[-1]
    assert operation.masked
    assert SECRET.encode() not in gateway.recorded(operation.session, 2)


def test_the_replay(gateway: SshRunning, tmp_path: Path) -> None:
    run = gateway.ssh("printf 'one\\ntwo\\n'")
    assert run.stdout == b"one\ntwo\n"
    assert gateway.ssh("echo", "shown-in-the-replay").returncode == 0
    session = gateway.operations()[-1].session
    gateway.recorded(session)
    shown = gateway.wicketgate("replay", session, "--config", gateway.folder / "gateway.yaml")
    assert shown.returncode == 0, shown.stderr
    assert "shown-in-the-replay" in shown.stdout
    assert "exit 0" in shown.stdout
    cast = tmp_path / "x.cast"
    done = gateway.wicketgate(
        "replay", session, "--config", gateway.folder / "gateway.yaml", "--export", "asciicast", "--to", cast
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in cast.read_text().splitlines()]
    assert lines[0]["version"] == 3
    assert any(line[1] == "o" and "shown-in-the-replay" in line[2] for line in lines[1:])


def test_a_kill_ends_the_session_and_what_runs(make_ssh_gateway: Callable[..., SshRunning], tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"sqlite+aiosqlite:///{tmp_path}/control.db")
    gateway = make_ssh_gateway(policies=[POLICY], control=tmp_path / "url")
    process = subprocess.Popen(
        ["ssh", *gateway.options(), "web-1", SLEEP],
        env=gateway.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    gateway.wait(lambda: runs(SLEEP), 30)

    async def kill() -> None:
        store = await open_store((tmp_path / "url").read_text())
        await store.kill(Scope.ALL, "", by="Dana", by_id=DANA, reason="enough")
        await store.close()

    asyncio.run(kill())
    _, said = process.communicate(timeout=20)
    assert process.returncode == 255
    assert b"Dana" in said
    assert b"enough" in said
    gateway.wait(lambda: not runs(SLEEP))
    again = gateway.ssh("uname", "-a")
    assert again.returncode == 255
    assert b"cut off by Dana" in again.stderr


def test_forwarding_that_a_rule_names(make_ssh_gateway: Callable[..., SshRunning]) -> None:
    gateway = make_ssh_gateway(policies=[POLICY])
    assert gateway.sshd is not None
    port = gateway.sshd.port
    rule = {"allow": {"ssh": {"forward": [f"127.0.0.1:{port}"]}}}
    gateway.write_policies({**POLICY, "rules": [*POLICY["rules"], rule]})

    def banner(where: int) -> bytes:
        with subprocess.Popen(
            ["ssh", *gateway.options(), "-W", f"127.0.0.1:{where}", "web-1"],
            env=gateway.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            assert process.stdout is not None
            said = process.stdout.readline()
            process.terminate()
            return said

    gateway.wait(lambda: banner(port).startswith(b"SSH-2.0-OpenSSH"), 30)
    assert banner(1) == b""
    assert gateway.operations()[-1].effect == "deny"


def test_asyncssh_as_a_client(gateway: SshRunning) -> None:
    async def run() -> Any:
        known = asyncssh.import_known_hosts(gateway.known_hosts())
        async with await asyncssh.connect(
            "localhost",
            gateway.ports["ssh"],
            config=None,
            username="web-1",
            password=gateway.cloud.bot_token(),
            known_hosts=known,
            client_keys=None,
            agent_path=None,
        ) as connection:
            return await connection.run("echo hello", check=True)

    assert asyncio.run(run()).stdout == "hello\n"


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
