"""A real container engine for tests: dockerd from Debian's packages, unpacked, not installed, in a network of its own.

How this works: dockerd, containerd and iptables run in one private network and mount namespace, so that bridges, rules
and mounts go away with it. A pair of virtual links joins it with the machine: containers reach the machine at `HOST`,
and what they publish answers at `ENGINE`. Cgroups are below the calling process's own. Needs root.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.engine import cache
from tools.engine.cache import Progress, ProvideError

PACKAGES: Final = (
    "docker.io", "containerd", "runc", "iptables", "tini", "libxtables12", "libnftnl11", "libmnl0",
    "libnetfilter-conntrack3", "libnfnetlink0", "libip4tc2", "libip6tc2", "libdevmapper1.02.1", "libsystemd0",
    "libselinux1", "libudev1", "libpcre2-8-0", "libcap2", "libgcrypt20", "liblz4-1", "libgpg-error0", "libseccomp2",
)  # fmt: skip
START_SECONDS: Final = 60.0
_SUBNETS: Final = "10.199.128.0/17"


def unpack(folder: Path, packages: tuple[str, ...]) -> None:
    """Fetch Debian packages and unpack them into a folder. Raises ProvideError."""
    if not shutil.which("apt-get"):
        raise ProvideError("this comes from Debian's packages: there is no `apt-get`")
    debs = folder / ".debs"
    debs.mkdir()
    done = subprocess.run(
        ["apt-get", "download", "-o", "APT::Sandbox::User=root", *packages],
        cwd=debs,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        raise ProvideError(f"packages could not be fetched: {done.stderr.strip()[-500:]}; run `apt-get update`")
    for deb in sorted(debs.glob("*.deb")):
        subprocess.run(["dpkg", "-x", str(deb), str(folder)], check=True, timeout=120)
    shutil.rmtree(debs)


def packages(progress: Progress) -> Path:
    """The engine's files."""
    progress("unpacking docker.io")
    return cache.made(
        "docker", cache.key({}, list(PACKAGES)), lambda f: unpack(f, PACKAGES), progress, "a container engine"
    )


@dataclass
class Engine:
    """A running dockerd. `docker` runs its client."""

    folder: Path
    files: Path
    number: int
    """Chooses its addresses, so that several can run beside each other."""
    process: subprocess.Popen[bytes] | None = None
    _parent: str = ""

    @property
    def host(self) -> str:
        """The machine, as containers reach it."""
        return f"10.198.{self.number}.1"

    @property
    def address(self) -> str:
        """Where published ports answer."""
        return f"10.198.{self.number}.2"

    @property
    def socket(self) -> str:
        """What DOCKER_HOST is set to."""
        return f"unix://{self.folder}/d.sock"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its client."""
        lib = f"{self.files}/lib/x86_64-linux-gnu:{self.files}/usr/lib/x86_64-linux-gnu"
        path = f"{self.files}/usr/sbin:{self.files}/usr/bin:{self.folder}/bin:{os.environ.get('PATH', os.defpath)}"
        return {
            "PATH": path,
            "LD_LIBRARY_PATH": lib,
            "XTABLES_LIBDIR": f"{self.files}/usr/lib/x86_64-linux-gnu/xtables",
            "HOME": str(self.folder),
            "DOCKER_HOST": self.socket,
            "DOCKER_BUILDKIT": "1",
        }

    def docker(self, *arguments: str, stdin: bytes | None = None, timeout: float = 300) -> str:
        """What the client prints. Raises ProvideError if it fails."""
        return self.run([str(self.files / "usr/bin/docker"), *arguments], stdin=stdin, timeout=timeout)

    def run(
        self, command: list[str], *, stdin: bytes | None = None, timeout: float = 300, cwd: Path | None = None
    ) -> str:
        """Run a command with the client's environment. Raises ProvideError with what it wrote if it fails."""
        done = subprocess.run(
            command, input=stdin, capture_output=True, timeout=timeout, check=False, env=self.environment, cwd=cwd
        )
        if done.returncode:
            said = (done.stderr + done.stdout).decode(errors="replace").strip()[-3000:]
            raise ProvideError(f"{' '.join(command[:6])}: exit {done.returncode}: {said}")
        return done.stdout.decode(errors="replace")

    def start(self) -> None:
        """Start it, and wait until it answers. Raises ProvideError."""
        if os.geteuid() != 0:
            raise ProvideError("a container engine needs root")
        self.folder.mkdir(parents=True, exist_ok=True)
        # Its own: the system's iptables, where there is one, must not be asked for rules in another format.
        (self.folder / "bin").mkdir(exist_ok=True)
        for name in ("iptables", "ip6tables", "iptables-save", "iptables-restore"):
            (self.folder / "bin" / name).unlink(missing_ok=True)
            target = "xtables-nft-multi"
            (self.folder / "bin" / name).symlink_to(self.files / "usr/sbin" / target)
        self._parent = parent = f"{_own_cgroup('memory')}/wicketgate-docker-{os.getpid()}-{self.number}"
        folder = self.folder
        (folder / "run.sh").write_text(f"""
ip link set lo up
: > "{folder}/ready"
for _ in $(seq 200); do ip link show wge{self.number} >/dev/null 2>&1 && break; sleep 0.05; done
ip addr add {self.address}/24 dev wge{self.number}
ip link set wge{self.number} up
ip route add default via {self.host}
exec dockerd -H unix://{folder}/d.sock --data-root {folder}/data --exec-root {folder}/exec --pidfile {folder}/pid \\
  --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent {parent} --bip 10.199.{self.number}.1/24 \\
  --default-address-pool base={_SUBNETS},size=26 --log-level warn
""")
        with (folder / "engine.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "-n", "-m", "--propagation", "private", "sh", "-eu", str(folder / "run.sh")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
            )
        self._wait((folder / "ready").is_file, "its namespace")
        near, far = f"wgm{self.number}", f"wge{self.number}"
        self._ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", str(self.process.pid))
        self._ip("addr", "add", f"{self.host}/24", "dev", near)
        self._ip("link", "set", near, "up")
        self._wait(self._answers, "dockerd")

    def _answers(self) -> bool:
        with contextlib.suppress(ProvideError):
            return bool(self.docker("version", "--format", "{{.Server.Version}}", timeout=20))
        return False

    def _ip(self, *arguments: str) -> None:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=20, check=False)
        if done.returncode:
            raise ProvideError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")

    def _wait(self, condition: object, what: str) -> None:
        assert callable(condition)
        end = time.monotonic() + START_SECONDS
        while not condition():
            if (self.process and self.process.poll() is not None) or time.monotonic() > end:
                tail = (self.folder / "engine.log").read_text(errors="replace")[-2000:]
                raise ProvideError(f"{what} did not start:\n{tail}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End all containers and the engine; its namespaces go with it."""
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(ProvideError, subprocess.TimeoutExpired):
            left = self.docker("ps", "-aq", timeout=30).split()
            if left:
                self.docker("rm", "-f", *left, timeout=60)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        # It goes with the namespace, but only after a while.
        subprocess.run(["ip", "link", "del", f"wgm{self.number}"], capture_output=True, timeout=20, check=False)
        for line in Path("/proc/mounts").read_text().splitlines():
            _, where, kind = line.split()[:3]
            if kind.startswith("cgroup"):
                for base, _, _ in os.walk(where + self._parent, topdown=False):
                    with contextlib.suppress(OSError):
                        os.rmdir(base)


def _own_cgroup(controller: str) -> str:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return path.rstrip("/")
    return ""


@contextlib.contextmanager
def engine(folder: Path, progress: Progress = lambda _: None) -> Generator[Engine]:
    """A running engine, stopped at the end. Raises ProvideError."""
    made = Engine(folder, packages(progress), os.getpid() % 254 + 1)
    try:
        made.start()
        yield made
    finally:
        made.stop()
