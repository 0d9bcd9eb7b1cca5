"""Stock OpenSSH clients, rsync and git through the gateway to a real sshd."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ssh import POLICY, SshRunning, owned

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ground() -> Iterator[Path]:
    """A folder at the target (which is this machine)."""
    folder = Path(f"/tmp/wicketgate-ssh-e2e-{os.getpid()}")  # another run beside this one has its own
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "secret").mkdir(parents=True)
    (folder / "secret" / "key").write_text("canary")
    (folder / "a.txt").write_text("hello\n" * 1000)
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "deep").mkdir()
    (folder / "deep" / "b.txt").write_text("b\n")
    owned(folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def files(make_ssh_gateway: Callable[..., SshRunning], ground: Path) -> SshRunning:
    """A gateway whose policy is about files, too."""
    every = ["read", "write", "remove", "rename", "attributes", "link"]
    rules: list[Any] = [
        {"allow": {"ssh": {"paths": [f"{ground}/**"], "operations": every}}},
        {"deny": {"ssh": {"paths": [f"{ground}/secret/**"]}}},
        {"allow": {"ssh": {"commands": ["rsync --server **"]}}},
        {"allow": {"ssh": {"commands": [f"git-upload-pack {ground}/*", f"git-receive-pack {ground}/*"]}}},
    ]
    return make_ssh_gateway(policies=[{**POLICY, "rules": [*POLICY["rules"], *rules]}])


def client(
    running: SshRunning, *words: object, cwd: Path, stdin: bytes = b"", **env: str
) -> subprocess.CompletedProcess[bytes]:
    """A client of the OpenSSH family."""
    program, *rest = map(str, words)
    options = running.options() if program in ("ssh", "scp", "sftp") else []
    return subprocess.run(
        [program, *options, *rest],
        input=stdin,
        capture_output=True,
        timeout=60,
        cwd=cwd,
        env={**running.environment(), **env},
    )


def last(running: SshRunning) -> Any:
    """The last operation."""
    return running.operations()[-1]


# ssh


def test_a_command_that_is_allowed_runs(ssh_gateway: SshRunning) -> None:
    run = ssh_gateway.ssh("uname", "-a")
    assert (run.returncode, run.stderr) == (0, b"")
    assert run.stdout.startswith(b"Linux ")


def test_a_command_that_is_denied_does_not(ssh_gateway: SshRunning) -> None:
    run = ssh_gateway.ssh("rm -rf /tmp/wicketgate-never")
    assert run.returncode == 126
    assert run.stdout == b""
    assert b"files are not removed by hand" in run.stderr
    denied = last(ssh_gateway)
    assert (denied.statement, denied.effect, denied.rule) == ("rm -rf /tmp/wicketgate-never", "deny", "hosts#4")


def test_input_output_and_status_pass_whole(ssh_gateway: SshRunning) -> None:
    data = os.urandom(3_000_000)
    run = ssh_gateway.ssh("cat", stdin=data)
    assert (run.returncode, run.stdout == data) == (0, True)
    assert ssh_gateway.ssh("false").returncode == 1
    assert ssh_gateway.ssh("wc", "-c", stdin=b"x" * 12345).stdout.strip() == b"12345"
    assert ssh_gateway.ssh("head", "-c", "5", "/dev/zero").stdout == bytes(5)


def test_a_terminal(ssh_gateway: SshRunning) -> None:
    run = ssh_gateway.ssh("stty size", options=["-tt"])
    assert run.returncode == 0
    assert run.stdout.endswith(b"\r\n")


def test_variables_that_a_rule_names_pass_and_no_others(ssh_gateway: SshRunning) -> None:
    run = ssh_gateway.ssh("env", options=["-o", "SetEnv=MODE=one LD_PRELOAD=/tmp/x.so BASH_ENV=/tmp/x PATH=/tmp"])
    lines = run.stdout.decode().splitlines()
    assert "MODE=one" in lines
    assert not [line for line in lines if line.startswith(("LD_PRELOAD", "BASH_ENV")) or line == "PATH=/tmp"]
    assert "env MODE=one" in last(ssh_gateway).relations


def test_who_is_not_let_in_reads_why(ssh_gateway: SshRunning) -> None:
    run = ssh_gateway.ssh("uname", "-a", name="stranger")
    assert run.returncode == 255
    assert b"no policy lets this bot use" in run.stderr


def test_a_target_that_is_away_is_told(ssh_gateway: SshRunning) -> None:
    run = ssh_gateway.ssh("uname", "-a", target="down-1")
    assert run.returncode == 69
    assert b"cannot be reached" in run.stderr


def test_a_wrong_host_key_authority_is_refused_by_the_client(ssh_gateway: SshRunning, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "ca"], check=True)
    hosts = tmp_path / "hosts"
    hosts.write_text(f"@cert-authority localhost {(tmp_path / 'ca.pub').read_text()}")
    run = ssh_gateway.ssh("uname", "-a", options=["-o", f"UserKnownHostsFile={hosts}"])
    assert run.returncode == 255
    assert b"Host key verification failed" in run.stderr


def test_one_connection_serves_many_commands(ssh_gateway: SshRunning, tmp_path: Path) -> None:
    options = ["-o", "ControlMaster=auto", "-o", f"ControlPath={tmp_path}/c", "-o", "ControlPersist=20"]
    try:
        sessions = set()
        for number in range(5):
            run = ssh_gateway.ssh("echo", str(number), options=options)
            assert run.stdout == f"{number}\n".encode()
            sessions.add(last(ssh_gateway).session)
        assert len(sessions) == 1
    finally:
        ssh_gateway.ssh(options=[*options, "-O", "exit"])


# scp, sftp, rsync, git


def test_scp(files: SshRunning, ground: Path, tmp_path: Path) -> None:
    assert client(files, "scp", f"web-1:{ground}/a.txt", "a.txt", cwd=tmp_path).returncode == 0
    assert (tmp_path / "a.txt").read_text() == "hello\n" * 1000
    big = os.urandom(5_000_000)
    (tmp_path / "big").write_bytes(big)
    assert client(files, "scp", "big", f"web-1:{ground}/big", cwd=tmp_path).returncode == 0
    assert (ground / "big").read_bytes() == big
    assert client(files, "scp", "-r", f"web-1:{ground}/deep", "deep", cwd=tmp_path).returncode == 0
    assert (tmp_path / "deep" / "b.txt").read_text() == "b\n"
    assert {"read", "write"} <= {kind for operation in files.operations() for kind in operation.kinds}


@pytest.mark.parametrize("path", ["link", "secret/key", "deep/../secret/key", "../../etc/passwd"])
def test_scp_of_what_is_not_allowed(files: SshRunning, ground: Path, tmp_path: Path, path: str) -> None:
    run = client(files, "scp", f"web-1:{ground}/{path}", "got", cwd=tmp_path)
    assert run.returncode != 0
    assert not (tmp_path / "got").exists()
    assert b"wicketgate: denied" in run.stderr
    assert last(files).effect == "deny"


def test_sftp(files: SshRunning, ground: Path, tmp_path: Path) -> None:
    (tmp_path / "up").write_text("up\n")
    batch = f"cd {ground}\nls -l\nput up c.txt\nrename c.txt d.txt\nchmod 600 d.txt\n"
    batch += "mkdir x\nrmdir x\nget d.txt\nrm d.txt\n"
    run = client(files, "sftp", "-b", "-", "web-1", cwd=tmp_path, stdin=batch.encode())
    assert (run.returncode, run.stderr) == (0, b"")
    assert (tmp_path / "d.txt").read_text() == "up\n"
    assert not (ground / "d.txt").exists()
    kinds = [kind for operation in files.operations() for kind in operation.kinds]
    assert {"rename", "attributes", "remove"} <= set(kinds)


def test_files_are_on_record_by_digest(files: SshRunning, ground: Path, tmp_path: Path) -> None:
    import hashlib

    client(files, "scp", f"web-1:{ground}/a.txt", "a.txt", cwd=tmp_path)
    recorded = files.recorded(last(files).session)
    digest = hashlib.sha256(("hello\n" * 1000).encode()).hexdigest()
    assert digest.encode() in recorded
    assert b"hello\nhello" not in recorded


def test_rsync(files: SshRunning, ground: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(20):
        (tree / f"f{number}").write_text(f"{number}\n" * 500)
    ssh = " ".join(["ssh", *files.options()])
    assert client(files, "rsync", "-a", "-e", ssh, f"{tree}/", f"web-1:{ground}/synced/", cwd=tmp_path).returncode == 0
    assert (ground / "synced" / "f7").read_text() == "7\n" * 500
    back = client(files, "rsync", "-a", "-e", ssh, f"web-1:{ground}/synced/", "back", cwd=tmp_path)
    assert back.returncode == 0
    assert (tmp_path / "back" / "f19").exists()


def test_git(files: SshRunning, ground: Path, tmp_path: Path) -> None:
    env = {"GIT_SSH_COMMAND": " ".join(["ssh", *files.options()])}
    for name in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{name}_NAME": "x", f"GIT_{name}_EMAIL": "x@example.com"}

    def git(*words: str, cwd: Path = tmp_path) -> bytes:
        run = client(files, "git", *words, cwd=cwd, **env)
        assert run.returncode == 0, run.stderr
        return run.stdout

    git("init", "-q", "--bare", "-b", "main", str(ground / "repo.git"))
    owned(ground / "repo.git")
    git("init", "-q", "-b", "main", "work")
    git("commit", "-q", "--allow-empty", "-m", "first", cwd=tmp_path / "work")
    git("push", "-q", f"ssh://web-1{ground}/repo.git", "main", cwd=tmp_path / "work")
    git("clone", "-q", f"ssh://web-1{ground}/repo.git", "copy")
    assert b"first" in git("log", "--oneline", cwd=tmp_path / "copy")


# Ends


def test_who_leaves_leaves_nothing_running(ssh_gateway: SshRunning) -> None:
    process = subprocess.Popen(
        ["ssh", *ssh_gateway.options(), "web-1", f"sleep 98.{os.getpid()}"],
        env=ssh_gateway.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    ssh_gateway.wait(lambda: running(f"sleep 98.{os.getpid()}"), 30)
    process.terminate()
    process.wait(10)
    ssh_gateway.wait(lambda: not running(f"sleep 98.{os.getpid()}"))


def test_the_gateways_end_is_told_and_kills(make_ssh_gateway: Callable[..., SshRunning]) -> None:
    gateway = make_ssh_gateway()
    process = subprocess.Popen(
        ["ssh", *gateway.options(), "web-1", f"sleep 97.{os.getpid()}"],
        env=gateway.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    gateway.wait(lambda: running(f"sleep 97.{os.getpid()}"), 30)
    gateway.stop("gateway")
    _, said = process.communicate(timeout=20)
    assert process.returncode == 255
    assert b"the gateway stops" in said
    gateway.wait(lambda: not running(f"sleep 97.{os.getpid()}"))


def test_a_policy_that_goes_takes_the_session_with_it(make_ssh_gateway: Callable[..., SshRunning]) -> None:
    gateway = make_ssh_gateway(groupsCache="2s")
    process = subprocess.Popen(
        ["ssh", *gateway.options(), "web-1", f"sleep 96.{os.getpid()}"],
        env=gateway.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    gateway.wait(lambda: running(f"sleep 96.{os.getpid()}"), 30)
    gateway.write_policies({**POLICY, "targets": ["down-1"]})
    gateway.wait(lambda: gateway.ssh("uname", "-a").returncode == 255, 20)
    gateway.stop("agent")
    _, said = process.communicate(timeout=30)
    assert process.returncode == 255
    assert said
    gateway.wait(lambda: not running(f"sleep 96.{os.getpid()}"))


def running(command: str) -> bool:
    """Whether a process with this command line runs on this machine (the target)."""
    wanted = command.replace(" ", "\0").encode() + b"\0"
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes() == wanted:
                return True
        except OSError:
            continue
    return False


def test_ssh_config_says_what_it_wrote(ssh_gateway: SshRunning, tmp_path: Path) -> None:
    done = ssh_gateway.wicketgate(
        "ssh-config", "--config", ssh_gateway.client_yaml(), "--folder", tmp_path / "ssh", "--json"
    )
    found = json.loads(done.stdout)
    assert found["targets"] == ["down-1", "hidden-1", "web-1"]
    text = Path(found["config"]).read_text()
    assert "ControlPersist" in text
    assert oct(Path(found["config"]).stat().st_mode & 0o777) == "0o600"
    assert Path(found["known_hosts"]).read_text().startswith("@cert-authority localhost ssh-ed25519 ")
    assert time.time() - Path(found["config"]).stat().st_mtime < 60
