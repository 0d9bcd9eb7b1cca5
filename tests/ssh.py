"""A real sshd (Debian's openssh-server) on a loopback port, in a folder of its own, and what stock clients need.

A plugin (see `tests/conftest.py`). Run by root, it logs in to an account of its own (`wicketgate-ssh`, made by
`useradd` as PostgreSQL's test server makes one): sshd delivers no signals to root's commands. Run by anyone else it can
only serve their own account.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.running import Cloud, Running

ACCOUNT = "wicketgate-ssh"
SSHD = "/usr/sbin/sshd"
MISSING = "there is no sshd: install Debian's openssh-server (apt-get install openssh-server); it need not run"


@dataclass
class Sshd:
    """A server that runs. `credential` is the agent's folder with the key that opens it."""

    folder: Path
    port: int
    user: str
    process: subprocess.Popen[bytes]
    credential: Path
    host_key: str
    public: Path

    def log(self) -> str:
        """What it said."""
        return (self.folder / "log").read_text()

    def target(self) -> dict[str, object]:
        """The agent's configuration for it."""
        return {
            "kind": "ssh",
            "address": f"127.0.0.1:{self.port}",
            "hostKeys": [self.host_key],
            "user": self.user,
            "credential": str(self.credential),
        }


def account() -> str:
    """Who the agent logs in as."""
    if os.geteuid() != 0:
        return getpass.getuser()
    try:
        pwd.getpwnam(ACCOUNT)
    except KeyError:
        # Another run beside this one may make it at the same moment.
        subprocess.run(["useradd", "--create-home", "--shell", "/bin/bash", "-p", "*", ACCOUNT], capture_output=True)
        end = time.monotonic() + 30
        while not os.path.isdir(f"/home/{ACCOUNT}"):
            assert time.monotonic() < end, f"the account `{ACCOUNT}` cannot be made"
            time.sleep(0.05)
        pwd.getpwnam(ACCOUNT)
    return ACCOUNT


def owned(path: Path) -> None:
    """Gives a tree to the account that the agent logs in as."""
    found = pwd.getpwnam(account())
    for each in (path, *path.rglob("*")):
        os.chown(each, found.pw_uid, found.pw_gid, follow_symlinks=False)


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def keygen(path: Path) -> str:
    """A key pair; the public line."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)], check=True)
    return path.with_suffix(".pub").read_text().strip()


def start_sshd(folder: Path, *options: str) -> Sshd:
    """Starts one. `options` are lines of sshd_config that come before the others."""
    if not os.path.exists(SSHD):
        pytest.fail(MISSING)
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    public_folder = Path(tempfile.mkdtemp(prefix="wicketgate-sshd-"))
    public_folder.chmod(0o755)  # sshd reads it as the account that logs in
    host_key = keygen(folder / "host_key")
    authority = keygen(folder / "user_ca")
    credential = folder / "credential"
    credential.mkdir(mode=0o700)
    public = keygen(folder / "bot_key")
    shutil.move(folder / "bot_key", credential / "key")
    keys = public_folder / "authorized_keys"
    keys.write_text(public + "\n")
    keys.chmod(0o644)
    (public_folder / "ca_keys").write_text(authority + "\n")
    port = free_port()
    lines = [
        *options,
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {folder / 'host_key'}",
        f"AuthorizedKeysFile {keys}",
        f"TrustedUserCAKeys {public_folder / 'ca_keys'}",
        f"PidFile {folder / 'pid'}",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
        "PermitRootLogin yes",
        "AcceptEnv LANG LC_* MODE LD_PRELOAD BASH_ENV PATH GIT_PROTOCOL",
        "AllowTcpForwarding yes",
        "MaxSessions 100",
        "MaxStartups 200",
        "Subsystem sftp internal-sftp",
        "PrintMotd no",
        "LogLevel VERBOSE",
    ]
    (folder / "sshd_config").write_text("\n".join(lines) + "\n")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stdout=log, stderr=log)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.02)
    else:
        process.kill()
    if process.poll() is not None:
        raise AssertionError(f"sshd does not run:\n{(folder / 'log').read_text()}")
    return Sshd(folder, port, account(), process, credential, host_key, public_folder)


def stop_sshd(server: Sshd) -> None:
    """Ends it."""
    server.process.terminate()
    server.process.wait(60)
    shutil.rmtree(server.public)


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A server for the whole run."""
    server = start_sshd(tmp_path_factory.mktemp("sshd"))
    yield server
    stop_sshd(server)


POLICY: dict[str, Any] = {
    "policy": "hosts",
    "targets": ["web-1", "down-1"],
    "rules": [
        {"allow": {"ssh": {"commands": ["uname *", "echo **", "cat", "printf **", "sleep *", "false", "head **"]}}},
        {"allow": {"ssh": {"commands": ["uname -a", "env", "id -u", "stty size", "wc -c", "yes"]}}},
        {"allow": {"ssh": {"env": ["LANG", "LC_*", "MODE"], "pty": True}}},
        {"deny": {"ssh": {"commands": ["rm **"]}, "because": "files are not removed by hand"}},
    ],
}


@dataclass
class SshRunning(Running):
    """A gateway with an SSH address, and an agent whose targets are of kind `ssh`."""

    sshd: Sshd | None = None
    targets: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    """More of the agent's targets, by name."""

    def write_gateway(self, **limits: Any) -> None:
        """See `Running`."""
        super().write_gateway(**limits)
        path = self.folder / "gateway.yaml"
        config = json.loads(path.read_text())
        config["listen"]["ssh"] = {"port": 0}
        names = ["web-1", "down-1", "hidden-1", *self.targets]
        config["targets"] = {name: {"kind": "ssh", "agent": "eu", "labels": {"env": "test"}} for name in names}
        path.write_text(json.dumps(config))

    def _write_agent(self) -> None:
        super()._write_agent()
        path = self.folder / "agent.yaml"
        config = json.loads(path.read_text())
        assert self.sshd is not None
        target = self.sshd.target()
        config["targets"] = {
            "web-1": target,
            "hidden-1": target,
            "down-1": {**target, "address": "127.0.0.1:1"},
            **self.targets,
        }
        path.write_text(json.dumps(config))

    def wait_for_agent(self) -> None:
        """Until a command works."""
        end = time.monotonic() + 60
        while (run := self.ssh("uname", "-a")).returncode != 0:
            if time.monotonic() > end:
                raise AssertionError(
                    f"the agent is not ready: {run.stderr}\n{self.log('gateway')}\n{self.log('agent')}"
                )

    def client_yaml(self, name: str = "bot") -> Path:
        """A bot's client.yaml."""
        path = self.folder / f"client-{name}.yaml"
        where = {"host": "localhost", "caFile": str(self.ca_file)}
        config = {
            "bot": "code-review",
            "entra": self._entra(),
            "audience": self.cloud.audience,
            "workload": {"clientId": self.cloud.client(name), "tokenFile": self.cloud.token_file(name)},
            "gateway": {**where, "port": self.ports["postgres"]},
            "ssh": {**where, "port": self.ports["ssh"]},
            "targets": dict.fromkeys(("web-1", "down-1", "hidden-1", *self.targets), "ssh"),
        }
        path.write_text(json.dumps(config))
        return path

    def known_hosts(self) -> str:
        """The line of known_hosts that `wicketgate ssh-config` wrote."""
        return (self.ssh_folder() / "known_hosts").read_text()

    def ssh_folder(self, name: str = "bot") -> Path:
        """What `wicketgate ssh-config` wrote for a bot."""
        folder = self.folder / f"ssh-{name}"
        if not folder.exists():
            done = self.wicketgate("ssh-config", "--config", self.client_yaml(name), "--folder", folder, "--no-sharing")
            assert done.returncode == 0, done.stderr
        return folder

    def wicketgate(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """The command line."""
        return subprocess.run(
            [sys.executable, "-m", "wicketgate_gateway.cli", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
        )

    def options(self, name: str = "bot") -> list[str]:
        """Of every OpenSSH client: the file that `wicketgate ssh-config` wrote."""
        return ["-F", str(self.ssh_folder(name) / "config"), "-o", "LogLevel=ERROR"]

    def environment(self) -> dict[str, str]:
        """Of every OpenSSH client."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder)}

    def ssh(
        self,
        *command: str,
        target: str = "web-1",
        name: str = "bot",
        options: Sequence[str] = (),
        stdin: bytes = b"",
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[bytes]:
        """Stock ssh."""
        return subprocess.run(
            ["ssh", *self.options(name), *options, target, *command],
            input=stdin,
            capture_output=True,
            timeout=timeout,
            env=self.environment(),
        )


@contextlib.contextmanager
def ssh_gateways_in(cloud: Cloud, folders: pytest.TempPathFactory, server: Sshd) -> Iterator[Callable[..., SshRunning]]:
    """What makes SSH gateways in this cloud; they end with the context."""
    started: list[SshRunning] = []

    def make(
        *,
        policies: list[dict[str, Any]] | None = None,
        control: Path | None = None,
        targets: dict[str, dict[str, Any]] | None = None,
        **limits: Any,
    ) -> SshRunning:
        running = SshRunning(
            folders.mktemp("ssh-gateway"), cloud, cloud.ca.cert_file, control, sshd=server, targets=targets or {}
        )
        started.append(running)
        running.write_policies(*(policies or [POLICY]))
        running.write_gateway(**limits)
        running.start_gateway()
        running.start_agent()
        running.wait_for_agent()
        return running

    yield make
    for running in started:
        for name in list(running.processes):
            running.stop(name)


@pytest.fixture(scope="session")
def make_ssh_gateway(
    running_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory, sshd: Sshd
) -> Iterator[Callable[..., SshRunning]]:
    """`make_ssh_gateway(policies=[…])`: a gateway of one's own in front of the real sshd."""
    with ssh_gateways_in(running_cloud, tmp_path_factory, sshd) as make:
        yield make


@pytest.fixture(scope="session")
def ssh_gateway(make_ssh_gateway: Callable[..., SshRunning]) -> SshRunning:
    """The gateway that most tests share: change nothing of it."""
    return make_ssh_gateway()
