"""A network for a node of its own, with the cluster's Services and names: kube-proxy and CoreDNS, as root.

How this works: a network namespace that a pair of virtual links joins with the machine. Pods reach the machine at
`host`; the machine reaches the node at `address` and pods by a route. kube-proxy writes its nftables rules there and
nowhere else, CoreDNS answers at `address`; `enforce` puts NetworkPolicies into force there (see `policies.py`). All of
it goes away with the namespace.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

from tools.engine import cache
from tools.engine.cache import Progress, ProvideError
from tools.image.engine import unpack
from tools.kubernetes import build, pins, policies
from tools.kubernetes.cluster import Cluster, die_with_parent

DOMAIN: Final = "cluster.local"
PACKAGES: Final = ("nftables", "libnftables1", "libnftnl11", "libmnl0", "libedit2", "libjansson4", "libgmp10",
                   "libbsd0", "libmd0", "libtinfo6", "libxtables12")  # fmt: skip
_START_SECONDS: Final = 60.0


def packages(progress: Progress) -> Path:
    """The files of `nft`. Raises ProvideError."""
    key = cache.key({}, list(PACKAGES))
    return cache.made("kubernetes-nftables", key, lambda f: unpack(f, PACKAGES), progress, "nftables")


def pod_subnet(number: int) -> str:
    """The addresses of a node's pods; by its number, so that nodes side by side have others."""
    second, third = divmod(number % (32 * 256), 256)
    return f"10.{96 + second}.{third}.0/24"


class Network:
    """The namespace. `start` before the cluster, `serve` when its node is ready, `stop` after all of them."""

    def __init__(self, folder: Path, progress: Progress = lambda _: None) -> None:
        """Builds what it needs, if need be. Raises ProvideError."""
        self.folder = folder
        self.number = os.getpid()
        self._nft = packages(progress)
        self._proxy = build.build(pins.PROXY, progress) / "kube-proxy"
        self._dns = build.build(pins.DNS, progress) / "coredns"
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def host(self) -> str:
        """The machine, as pods reach it."""
        return f"10.197.{self.number % 254 + 1}.1"

    @property
    def address(self) -> str:
        """The node."""
        return f"10.197.{self.number % 254 + 1}.2"

    @property
    def pods(self) -> str:
        """The subnet of its pods."""
        return pod_subnet(self.number)

    @property
    def enter(self) -> list[str]:
        """What a command begins with that runs within."""
        return ["nsenter", f"--net=/proc/{self._processes[0].pid}/ns/net"]

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which `nft` runs."""
        lib = f"{self._nft}/lib/x86_64-linux-gnu:{self._nft}/usr/lib/x86_64-linux-gnu"
        return {"PATH": f"{self._nft}/usr/sbin:{os.environ.get('PATH', os.defpath)}", "LD_LIBRARY_PATH": lib}

    def start(self) -> None:
        """Make the namespace and join it with the machine. Raises ProvideError."""
        if os.geteuid() != 0:
            raise ProvideError("a network of its own needs root")
        self.folder.mkdir(parents=True, exist_ok=True)
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        script = f'ip link set lo up; : > "{ready}"; exec sleep 1000000'
        self._processes.append(
            subprocess.Popen(
                ["unshare", "-n", "sh", "-euc", script],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        )
        self._wait(ready.is_file, "its namespace")
        near, far, holder = f"wgn{self.number}", f"wgk{self.number}", str(self._processes[0].pid)
        self._ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", holder)
        self._ip("addr", "add", f"{self.host}/24", "dev", near)
        self._ip("link", "set", near, "up")
        for command in (
            ("addr", "add", f"{self.address}/24", "dev", far),
            ("link", "set", far, "up"),
            ("route", "add", "default", "via", self.host),
        ):
            self._ip(*command, within=True)
        self._ip("route", "add", self.pods, "via", self.address)

    def serve(self, cluster: Cluster) -> None:
        """Start kube-proxy and CoreDNS for this cluster, and wait until names are answered. Raises ProvideError."""
        kubeconfig = str(cluster.kubeconfig())
        settings = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": {"kubeconfig": kubeconfig},
            "hostnameOverride": "node1",
            "clusterCIDR": self.pods,
            # The machine's limits are not this namespace's to change.
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "nftables": {"minSyncPeriod": "100ms", "syncPeriod": "10s"},
        }
        (self.folder / "proxy.json").write_text(json.dumps(settings))
        (self.folder / "Corefile").write_text(
            f".:53 {{\n  errors\n  kubernetes {DOMAIN} {{\n    kubeconfig {kubeconfig} c\n    ttl 1\n  }}\n}}\n"
        )
        self._run("kube-proxy", [str(self._proxy), "--config", str(self.folder / "proxy.json")])
        self._run("coredns", [str(self._dns), "-conf", str(self.folder / "Corefile")])
        self._wait(lambda: self._listens(53), "CoreDNS")

    def enforce(self, cluster: Cluster) -> str:
        """Put the cluster's NetworkPolicies into force for the pods that run now; gives the rules.

        Raises ProvideError if nftables takes them not.
        """
        rules = policies.ruleset(*(cluster.request(path)["items"] for path in policies.PATHS))
        done = subprocess.run(
            [*self.enter, "nft", "-f", "-"],
            input=rules, capture_output=True, text=True, timeout=30, check=False,
            env={**os.environ, **self.environment},
        )  # fmt: skip
        if done.returncode:
            raise ProvideError(f"nft: {done.stderr.strip()[-2000:]}")
        return rules

    def stop(self) -> None:
        """End what runs within; the namespace goes with the last of it."""
        processes, self._processes = self._processes, []
        for process in reversed(processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(8)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        # It goes with the namespace, but only after a while.
        subprocess.run(["ip", "link", "del", f"wgn{self.number}"], capture_output=True, timeout=20, check=False)

    def _listens(self, port: int) -> bool:
        done = subprocess.run(
            [*self.enter, "ss", "-Hltn", f"sport = :{port}"], capture_output=True, text=True, timeout=20, check=False
        )
        return str(port) in done.stdout

    def _ip(self, *arguments: str, within: bool = False) -> None:
        command = [*(self.enter if within else ()), "ip", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        if done.returncode:
            raise ProvideError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")

    def _run(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(
                    [*self.enter, *command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **self.environment},
                    start_new_session=True,
                    preexec_fn=die_with_parent,
                )
            )

    def _wait(self, condition: object, what: str) -> None:
        assert callable(condition)
        end = time.monotonic() + _START_SECONDS
        while not condition():
            if any(process.poll() is not None for process in self._processes) or time.monotonic() > end:
                raise ProvideError(f"{what} did not start:\n{self.tail()}")
            time.sleep(0.05)

    def tail(self) -> str:
        """The ends of the logs."""
        lines: list[str] = []
        for path in sorted(self.folder.glob("*.log")):
            with contextlib.suppress(OSError):
                lines += [f"{path.name}: {line}" for line in path.read_text(errors="replace").splitlines()[-8:]]
        return "\n".join(lines)
