"""Starts a real Kubernetes control plane on free loopback ports, for tests, measurements and the quickstart.

How this works: etcd and kube-apiserver run as children with a folder of their own; people are told apart by a file of
static tokens. Certificates are from a CA made for this cluster. What needs a node is `node.py`.
"""

import contextlib
import ctypes
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tools.engine.cache import ProvideError
from tools.kubernetes.provide import Binaries
from wicketgate.testing.certs import CertificateAuthority

START_SECONDS: Final = 90.0
ADMIN, AGENT = "admin", "wicketgate-agent"
LOOPBACK: Final = "127.0.0.1"
_CONTROLLERS: Final = ("*", "-nodeipam", "-route", "-service-lb-controller", "-cloud-node-lifecycle")


@dataclass
class Cluster:
    """A control plane. `stop` ends it."""

    folder: Path
    binaries: Binaries
    port: int = 0
    """The API server's; 0 until it starts: then a free one."""
    tokens: dict[str, str] = field(default_factory=dict[str, str])
    """By user: `admin` may do everything, `wicketgate-agent` too, and impersonate."""
    address: str = LOOPBACK
    """Where the API server listens: another one than the loopback's lets pods with a network of their own reach it."""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list["subprocess.Popen[bytes]"])

    @property
    def url(self) -> str:
        """The API server's address."""
        return f"https://{'localhost' if self.address == LOOPBACK else self.address}:{self.port}"

    @property
    def issuer(self) -> str:
        """Who issues the tokens of service accounts: the API server itself where others than pods can reach it."""
        return "https://kubernetes.default.svc" if self.address == LOOPBACK else self.url

    @property
    def ca_file(self) -> Path:
        """The CA of its certificate."""
        return self.folder / "ca" / "ca.pem"

    def kubeconfig(self, user: str = ADMIN) -> Path:
        """A kubeconfig for a user straight to the API server."""
        path = self.folder / f"{user}.kubeconfig"
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [
                        {"name": "c", "cluster": {"server": self.url, "certificate-authority": str(self.ca_file)}}
                    ],
                    "users": [{"name": "u", "user": {"token": self.tokens[user]}}],
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                    "current-context": "c",
                }
            )
        )
        path.chmod(0o600)
        return path

    def kubectl(self, *arguments: str, stdin: str = "", user: str = ADMIN) -> str:
        """What kubectl prints, straight to the API server. Raises ProvideError if it fails."""
        done = subprocess.run(
            [str(self.binaries.kubectl), "--kubeconfig", str(self.kubeconfig(user)), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder)},
        )
        if done.returncode:
            raise ProvideError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def request(self, path: str, user: str = ADMIN) -> Any:
        """The JSON at a path. Raises OSError."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {self.tokens[user]}"})
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            body = answer.read()
        return json.loads(body) if body[:1] in b"{[" else body.decode()

    def start(self, *, controllers: bool = False) -> None:
        """Start etcd and the API server, and wait until they serve. Raises ProvideError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        authority = CertificateAuthority.open(self.folder / "ca", name="A test cluster")
        names = ["localhost", LOOPBACK, "kubernetes.default.svc", "10.71.0.1", self.address]
        authority.issue_files(self.folder, "server", dict.fromkeys(names))
        self._write("accounts.key", _rsa_key())
        authority.issue_files(self.folder, "kubelet-client", ["kube-apiserver"], client=True)
        self.tokens = self.tokens or {name: secrets.token_urlsafe(24) for name in (ADMIN, AGENT)}
        groups = '"system:masters"'
        lines = [f"{token},{user},{user},{groups}" for user, token in self.tokens.items()]
        self._write("tokens.csv", "\n".join(lines).encode())
        etcd, peer, free = free_ports(3)
        self.port = self.port or free
        where = f"http://127.0.0.1:{etcd}"
        self._run(
            "etcd",
            [
                str(self.binaries.etcd),
                "--data-dir", str(self.folder / "etcd"),
                "--listen-client-urls", where,
                "--advertise-client-urls", where,
                "--listen-peer-urls", f"http://127.0.0.1:{peer}",
                "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
                "--initial-cluster", f"default=http://127.0.0.1:{peer}",
                "--unsafe-no-fsync",
                "--log-level", "warn",
            ],
        )  # fmt: skip
        self._run("kube-apiserver", self._api_server(where))
        self.wait(lambda: self.request("/readyz") == "ok", "the API server to be ready")
        self.wait(lambda: bool(self.request("/api/v1/namespaces/default")), "the namespace `default`")
        if controllers:
            self.start_controllers()

    def _api_server(self, etcd: str) -> list[str]:
        folder = self.folder
        return [
            str(self.binaries.apiserver),
            "--etcd-servers", etcd,
            "--bind-address", self.address,
            "--external-hostname", "localhost" if self.address == LOOPBACK else self.address,
            "--secure-port", str(self.port),
            "--tls-cert-file", str(folder / "server.pem"),
            "--tls-private-key-file", str(folder / "server.key"),
            "--token-auth-file", str(folder / "tokens.csv"),
            "--authorization-mode", "Node,RBAC",
            "--service-cluster-ip-range", "10.71.0.0/24",
            "--service-account-issuer", self.issuer,
            "--service-account-jwks-uri", f"{self.url}/openid/v1/jwks",
            "--service-account-key-file", str(folder / "accounts.key"),
            "--service-account-signing-key-file", str(folder / "accounts.key"),
            "--kubelet-client-certificate", str(folder / "kubelet-client.pem"),
            "--kubelet-client-key", str(folder / "kubelet-client.key"),
            "--kubelet-preferred-address-types", "InternalIP",
            "--endpoint-reconciler-type", "none",
            "--disable-admission-plugins", "ServiceAccount",
            "--allow-privileged=true",
            "--cert-dir", str(folder / "certs"),
        ]  # fmt: skip

    def start_controllers(self) -> None:
        """Start the controllers, so that what is asked for comes about."""
        assert self.binaries.controller_manager is not None
        self._run(
            "kube-controller-manager",
            [
                str(self.binaries.controller_manager),
                "--kubeconfig", str(self.kubeconfig()),
                "--authentication-kubeconfig", str(self.kubeconfig()),
                "--authorization-kubeconfig", str(self.kubeconfig()),
                "--bind-address", "127.0.0.1",
                "--secure-port", str(free_ports(1)[0]),
                "--service-account-private-key-file", str(self.folder / "accounts.key"),
                "--root-ca-file", str(self.ca_file),
                "--leader-elect=false",
                "--controllers", ",".join(_CONTROLLERS),
                "--cert-dir", str(self.folder / "certs"),
            ],
        )  # fmt: skip

    def start_scheduler(self) -> None:
        """Start the scheduler, so that pods come to a node."""
        assert self.binaries.scheduler is not None
        self._run(
            "kube-scheduler",
            [
                str(self.binaries.scheduler),
                "--kubeconfig", str(self.kubeconfig()),
                "--authentication-kubeconfig", str(self.kubeconfig()),
                "--authorization-kubeconfig", str(self.kubeconfig()),
                "--bind-address", LOOPBACK,
                "--secure-port", str(free_ports(1)[0]),
                "--leader-elect=false",
            ],
        )  # fmt: skip

    def publish_issuer(self) -> None:
        """Let anybody read who issues tokens here and with which keys, as Entra must. Raises ProvideError."""
        role = "system:service-account-issuer-discovery"
        self.kubectl(
            "create", "clusterrolebinding", "issuer", f"--clusterrole={role}", "--group=system:unauthenticated"
        )

    def wait(self, condition: Any, what: str, seconds: float = START_SECONDS) -> None:
        """Until the condition holds; raises ProvideError if it does not in time, or a process ended."""
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError, urllib.error.URLError, ValueError, ProvideError):
                if condition():
                    return
            for process in self.processes:
                if process.poll() is not None:
                    raise ProvideError(f"`{process.args}` ended:\n{self._tail()}")  # pyright: ignore[reportUnknownMemberType]
            if time.monotonic() > end:
                raise ProvideError(f"waited {seconds:.0f} s for {what}:\n{self._tail()}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End all processes, the last first."""
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in reversed(self.processes):
            try:
                process.wait(8)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()

    def _run(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes.append(
                subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=die_with_parent,
                )
            )

    def _write(self, name: str, content: bytes) -> None:
        path = self.folder / name
        path.touch(0o600)
        path.write_bytes(content)

    def _tail(self) -> str:
        lines: list[str] = []
        for path in sorted(self.folder.glob("*.log")):
            lines += [f"{path.name}: {line}" for line in path.read_text(errors="replace").splitlines()[-8:]]
        return "\n".join(lines)


@contextlib.contextmanager
def cluster(folder: Path, binaries: Binaries, *, controllers: bool = False) -> Generator[Cluster]:
    """A running cluster, stopped at the end."""
    made = Cluster(folder, binaries)
    try:
        made.start(controllers=controllers)
        yield made
    finally:
        made.stop()


def _rsa_key() -> bytes:
    """What tokens of service accounts are signed with: Entra takes RS256 and nothing else."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def die_with_parent() -> None:
    """For a child before it runs: it is ended when we are, however we end (prctl(2), PR_SET_PDEATHSIG)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def free_ports(count: int) -> list[int]:
    """So many ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
