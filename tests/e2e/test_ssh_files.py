"""Files over SSH: `scp -O`, held writes, and their content on record, with stock OpenSSH clients and a real sshd."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ssh import POLICY, SshRunning, owned

pytestmark = pytest.mark.slow
GROUND = Path(f"/tmp/wicketgate-ssh-files-{os.getpid()}")  # another run beside this one has its own


@pytest.fixture(scope="module")
def ground() -> Iterator[Path]:
    """A folder at the target (which is this machine)."""
    shutil.rmtree(GROUND, ignore_errors=True)
    for name in ("in", "private", "tree/sub"):
        (GROUND / name).mkdir(parents=True)
    (GROUND / "a.txt").write_text("hello\n" * 1000)
    (GROUND / "tree" / "one").write_text("1\n")
    (GROUND / "tree" / "sub" / "two words").write_text("2\n")
    (GROUND / "private" / "key").write_text("canary-scp")
    (GROUND / "link").symlink_to(GROUND / "private" / "key")
    owned(GROUND)
    yield GROUND
    shutil.rmtree(GROUND, ignore_errors=True)


@pytest.fixture(scope="module")
def gateway(make_ssh_gateway: Callable[..., SshRunning], ground: Path) -> SshRunning:
    """A gateway that keeps 20,000 bytes of each file."""
    rules: list[Any] = [
        {"allow": {"ssh": {"paths": [f"{ground}/**"], "operations": ["read", "write", "attributes"]}}},
        {"deny": {"ssh": {"paths": [f"{ground}/private/**"]}}},
        {"allow": {"ssh": {"shell": True, "forward": ["127.0.0.1:*"]}}},
    ]
    record = {"files": "content", "filesUpTo": 20_000}
    return make_ssh_gateway(policies=[{**POLICY, "rules": [*POLICY["rules"], *rules], "record": record}])


def scp(gateway: SshRunning, *words: object, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """The old protocol."""
    return subprocess.run(
        ["scp", "-O", *gateway.options(), *map(str, words)],
        capture_output=True,
        timeout=60,
        cwd=cwd,
        env=gateway.environment(),
    )


def replayed(gateway: SshRunning, session: str) -> list[dict[str, Any]]:
    """The session's steps, once its recording is closed."""
    gateway.recorded(session)
    done = gateway.wicketgate("replay", session, "--config", gateway.folder / "gateway.yaml", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_old_scp_to_the_host(gateway: SshRunning, ground: Path, tmp_path: Path) -> None:
    big = os.urandom(3_000_000)
    (tmp_path / "big").write_bytes(big)
    (tmp_path / "big").chmod(0o640)
    os.utime(tmp_path / "big", (1_600_000_000, 1_500_000_000))
    run = scp(gateway, "-p", "big", f"web-1:{ground}/in/", cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, b"")
    made = ground / "in" / "big"
    assert made.read_bytes() == big
    assert (made.stat().st_mode & 0o777, made.stat().st_mtime) == (0o640, 1_500_000_000)
    operations = gateway.operations()
    session = operations[-1].session
    said = [operation.statement for operation in operations if operation.session == session]
    assert said[0] == f"scp -p -t {ground}/in/"
    assert f"sftp write {ground}/in/big" in said
    recorded = gateway.recorded(session)
    assert hashlib.sha256(big).hexdigest().encode() in recorded


def test_old_scp_of_trees_both_ways(gateway: SshRunning, ground: Path, tmp_path: Path) -> None:
    run = scp(gateway, "-r", f"web-1:{ground}/tree", "got", cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, b"")
    assert (tmp_path / "got" / "one").read_text() == "1\n"
    assert (tmp_path / "got" / "sub" / "two words").read_text() == "2\n"
    run = scp(gateway, "-r", "got", f"web-1:{ground}/in/back", cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, b""), run.stderr
    # The first stat of a folder that is not there yet makes no difference to what is copied.
    assert (ground / "in" / "back" / "sub" / "two words").read_text() == "2\n"


@pytest.mark.parametrize("path", ["private/key", "link", "in/../private/key"])
def test_attack_old_scp_of_what_is_not_allowed(gateway: SshRunning, ground: Path, tmp_path: Path, path: str) -> None:
    run = scp(gateway, f"web-1:{ground}/{path}", "got", cwd=tmp_path)
    assert run.returncode != 0
    assert not (tmp_path / "got").exists()
    assert b"wicketgate: denied" in run.stderr
    assert gateway.operations()[-1].effect == "deny"
    (tmp_path / "mine").write_text("x")
    run = scp(gateway, "mine", f"web-1:{ground}/{path}", cwd=tmp_path)
    assert run.returncode != 0
    assert (ground / "private" / "key").read_text() == "canary-scp"


def test_content_is_on_record_and_in_the_replay(gateway: SshRunning, ground: Path, tmp_path: Path) -> None:
    (tmp_path / "up").write_text("what came up\n")
    (tmp_path / "long").write_bytes(b"0123456789" * 3000)
    batch = f"put up {ground}/in/up\nput long {ground}/in/long\nget {ground}/a.txt\n"
    run = subprocess.run(
        ["sftp", *gateway.options(), "-b", "-", "web-1"],
        input=batch.encode(), capture_output=True, timeout=60, cwd=tmp_path, env=gateway.environment(),
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    steps = replayed(gateway, gateway.operations()[-1].session)
    found: dict[tuple[int, str], bytes] = {}
    for step in steps:
        if step["step"] == "output":
            key = (step["number"], step["stream"])
            found[key] = found.get(key, b"") + base64.b64decode(step["base64"])
    names = {step["number"]: step["text"] for step in steps if step["step"] == "statement"}
    by_name = {(names[number], stream): data for (number, stream), data in found.items()}
    assert by_name == {
        (f"sftp write {ground}/in/up", "file written"): b"what came up\n",
        (f"sftp write {ground}/in/long", "file written"): b"0123456789" * 2000,
        (f"sftp read {ground}/a.txt", "file read"): b"hello\n" * 1000,
    }
    notes = [step["text"] for step in steps if step["step"] == "note"]
    assert any("long" in note and "the first 20000 bytes alone" in note for note in notes)
    assert not any("a.txt" in note and "in part" in note for note in notes)


def test_the_replay_of_each_kind(gateway: SshRunning, ground: Path, tmp_path: Path) -> None:
    """A shell, a forwarded connection and a copy by the old protocol: on a page, as JSON, and for asciinema."""
    shell = gateway.ssh(options=["-tt"], stdin=b"echo in-the-$((40 + 2))-shell\nexit 3\n")
    assert shell.returncode == 3, shell.stderr
    kinds = {"shell": gateway.operations()[-1].session}
    assert gateway.sshd is not None
    where = f"127.0.0.1:{gateway.sshd.port}"
    with subprocess.Popen(
        ["ssh", *gateway.options(), "-W", where, "web-1"],
        env=gateway.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"SSH-2.0-OpenSSH")
        process.terminate()
    kinds["forward"] = gateway.operations()[-1].session
    assert scp(gateway, f"web-1:{ground}/tree/one", "one", cwd=tmp_path).returncode == 0
    kinds["scp"] = gateway.operations()[-1].session
    steps = {kind: replayed(gateway, session) for kind, session in kinds.items()}
    assert all(found[-1]["whole"] and not found[-1]["missing"] for found in steps.values())

    def asked(kind: str) -> list[tuple[str, str]]:
        return [(step["text"], step["verdict"]) for step in steps[kind] if step["step"] == "statement"]

    def shown(kind: str, stream: str) -> str:
        return "".join(s["text"] for s in steps[kind] if s["step"] == "output" and s["stream"] == stream)

    assert asked("shell") == [("shell", "allow")]
    assert "in-the-42-shell" in shown("shell", "stdout")
    assert "echo in-the-$((40 + 2))-shell" in shown("shell", "stdin")
    assert [step["tag"] for step in steps["shell"] if step["step"] == "result"] == ["exit 3"]
    assert asked("forward") == [(where, "allow")]
    assert shown("forward", "stdout").startswith("SSH-2.0-OpenSSH")
    assert asked("scp") == [
        (f"scp -f {ground}/tree/one", "allow"),
        (f"sftp read {ground}/tree/one", "allow"),
        (f"sftp read {ground}/tree/one", "allow"),
    ]
    assert shown("scp", "file read") == "1\n"
    config = ("--config", gateway.folder / "gateway.yaml")
    page = gateway.wicketgate("replay", kinds["scp"], *config)
    assert (page.returncode, "file> 1" in page.stdout) == (0, True), page.stdout
    cast = tmp_path / "shell.cast"
    done = gateway.wicketgate("replay", kinds["shell"], *config, "--export", "asciicast", "--to", cast)
    assert done.returncode == 0, done.stderr
    assert any("in-the-42-shell" in json.loads(line)[2] for line in cast.read_text().splitlines()[1:])
