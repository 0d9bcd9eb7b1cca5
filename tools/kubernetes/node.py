"""Starts a node for a test cluster: containerd and kubelet, as root, in a mount namespace of their own.

How this works: containerd, runc and the network plugins come from the system's packages, unpacked into the cache and
not installed. Everything runs in one private mount namespace, so that all mounts go away with the processes; what
kubelet would write to the kernel's settings goes into files bound over them. Its cgroups are below our own.
Pods get the image `busybox`, made here from the static binary, and a network of their own.
"""

import contextlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Final

from tools.engine import cache
from tools.engine.cache import Progress, ProvideError
from tools.kubernetes.cluster import Cluster, die_with_parent, free_ports
from tools.kubernetes.images import archive
from tools.kubernetes.network import DOMAIN, Network, pod_subnet

PACKAGES: Final = ("containerd", "runc", "containernetworking-plugins", "busybox-static")
IMAGE: Final = "docker.io/library/busybox:test"
NODE: Final = "node1"
_SHARES: Final = "16384"
_SYSCTLS: Final = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops")


def packages(progress: Progress) -> Path:
    """The packages' files, unpacked. Raises ProvideError where there is no `apt-get`."""

    def make(folder: Path) -> None:
        if not shutil.which("apt-get"):
            raise ProvideError("a node needs Debian's packages of containerd and runc: there is no `apt-get`")
        debs = folder / "debs"
        debs.mkdir()
        done = subprocess.run(
            ["apt-get", "download", *PACKAGES], cwd=debs, capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode:
            raise ProvideError(f"the packages of a node could not be fetched: {done.stderr.strip()[-500:]}")
        for deb in debs.glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(deb), str(folder)], check=True, timeout=60)
        shutil.rmtree(debs)

    progress("unpacking containerd")
    return cache.made("kubernetes-containerd", cache.key({}, list(PACKAGES)), make, progress, "containerd and runc")


def _network(subnet: str, state: Path) -> dict[str, object]:
    routes = [{"dst": "0.0.0.0/0"}]
    ipam = {"type": "host-local", "subnet": subnet, "routes": routes, "dataDir": str(state)}
    return {"cniVersion": "0.4.0", "name": "test", "plugins": [{"type": "ptp", "ipMasq": False, "ipam": ipam}]}


class Node:
    """A node of a cluster. `start`, then `stop` before the cluster's."""

    def __init__(self, cluster: Cluster, progress: Progress = lambda _: None, network: Network | None = None) -> None:
        """With a `network`, which has started, the node and its pods are in that one and not in the machine's."""
        self.cluster = cluster
        self.network = network
        self.folder = cluster.folder / "node"
        self._progress = progress
        self._process: subprocess.Popen[bytes] | None = None
        self._name = f"/wicketgate-{os.getpid()}-{time.monotonic_ns()}"
        self._made: list[Path] = []

    def start(self) -> None:
        """Start, and wait until pods can run. Raises ProvideError."""
        if os.geteuid() != 0:
            raise ProvideError("a node needs root")
        files = packages(self._progress)
        self.folder.mkdir(exist_ok=True)
        self._make_cgroups()
        self._configure(files)
        with (self.folder / "node.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(self.network.enter if self.network else ()),
                    *("unshare", "-m", "--propagation", "private", "sh", "-eu", str(self.folder / "run.sh")),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        self.cluster.wait(self._ready, "the node to be ready", 60)

    def _ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            tail = (self.folder / "node.log").read_text(errors="replace")[-3000:]
            raise RuntimeError(f"the node ended:\n{tail}")
        found = self.cluster.request(f"/api/v1/nodes/{NODE}")
        return any(c["type"] == "Ready" and c["status"] == "True" for c in found["status"]["conditions"])

    def run(self, name: str, command: list[str], *, namespace: str = "default", **spec: Any) -> None:
        """Run a pod of `busybox`, and wait until it runs."""
        document = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "nodeName": NODE,
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 0,
                "containers": [
                    {"name": "main", "image": IMAGE, "imagePullPolicy": "Never", "command": command},
                ],
                **spec,
            },
        }
        self.cluster.kubectl("create", "-f", "-", stdin=json.dumps(document))
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        self.cluster.wait(lambda: self.cluster.request(path)["status"].get("phase") == "Running", f"the pod {name}", 60)

    def load(self, archive: Path) -> None:
        """Give the node an image, from an archive as `docker save` writes it. Raises ProvideError."""
        ctr = str(packages(self._progress) / "usr/bin/ctr")
        socket = str(self.folder / "containerd.sock")
        command = [ctr, "-a", socket, "-n", "k8s.io", "images", "import", str(archive)]
        assert self._process is not None
        done = subprocess.run(
            # Its mounts are the node's own.
            ["nsenter", f"--mount=/proc/{self._process.pid}/ns/mnt", *command],
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        if done.returncode:
            raise ProvideError(f"the node takes no image: {done.stderr.strip()[-1000:]}")

    def stop(self) -> None:
        """End all that runs on the node; its mounts go with it."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._remove_cgroups()

    def _configure(self, files: Path) -> None:
        folder, cluster = self.folder, self.cluster
        # Pods of nodes that run side by side must not have the same addresses: routes to them are the machine's.
        subnet = self.network.pods if self.network else pod_subnet(os.getpid())
        address = self.network.address if self.network else own_address()
        for name in ("logs", "state", "root", "cni", "kubelet", "pki"):
            (folder / name).mkdir(exist_ok=True)
        (folder / "cni" / "10-test.conflist").write_text(json.dumps(_network(subnet, folder / "addresses")))
        socket = folder / "containerd.sock"
        (folder / "containerd.toml").write_text(f"""
version = 2
root = "{folder}/root"
state = "{folder}/state"
oom_score = 0
[grpc]
  address = "{socket}"
[ttrpc]
  address = "{socket}.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{IMAGE}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{files}/usr/lib/cni"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = "{files}/usr/sbin/runc"
""")
        kubelet = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": "0.0.0.0",
            "port": free_ports(1)[0],
            "healthzPort": 0,
            "readOnlyPort": 0,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": False},
                "x509": {"clientCAFile": str(cluster.ca_file)},
            },
            # Whoever has a certificate of the cluster's own CA: that is the API server.
            "authorization": {"mode": "AlwaysAllow"},
            "failCgroupV1": False,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": _own_cgroup("memory") + self._name,
            "enforceNodeAllocatable": [],
            "oomScoreAdj": 0,
            "makeIPTablesUtilChains": False,
            "failSwapOn": False,
            "containerRuntimeEndpoint": f"unix://{socket}",
            "serverTLSBootstrap": False,
            "registerNode": True,
            "streamingConnectionIdleTimeout": "4h",
            "evictionHard": {"memory.available": "1Mi"},
            # Volumes show a changed ConfigMap at the next sync, which is a minute off otherwise.
            "syncFrequency": "2s",
            "clusterDomain": DOMAIN,
            "clusterDNS": [address] if self.network else [],
            "staticPodPath": "",
            # Another node's kubelet would sweep up the logs of pods that it does not know.
            "podLogsDir": str(folder / "logs"),
        }
        (folder / "kubelet.json").write_text(json.dumps(kubelet))
        (folder / "image.tar").write_bytes(archive(IMAGE, files / "bin" / "busybox"))
        binds = "\n".join(
            f'cat /proc/sys/{name} > "{folder}/{name.replace("/", "_")}"; '
            f'mount --bind "{folder}/{name.replace("/", "_")}" /proc/sys/{name}'
            for name in _SYSCTLS
        )
        (folder / "run.sh").write_text(f"""
export PATH="{files}/usr/bin:{files}/usr/sbin:$PATH"
{binds}
containerd --config "{folder}/containerd.toml" & containerd=$!
for _ in $(seq 100); do ctr -a "{socket}" version >/dev/null 2>&1 && break; sleep 0.1; done
ctr -a "{socket}" -n k8s.io images import "{folder}/image.tar"
"{cluster.binaries.kubelet}" --config "{folder}/kubelet.json" --kubeconfig "{cluster.kubeconfig()}" \\
  --root-dir "{folder}/kubelet" --cert-dir "{folder}/pki" --hostname-override {NODE} --node-ip {address} \\
  & kubelet=$!
trap 'kill $kubelet 2>/dev/null; wait $kubelet 2>/dev/null
  for task in $(ctr -a "{socket}" -n k8s.io tasks ls -q); do
    ctr -a "{socket}" -n k8s.io tasks kill -s KILL "$task"; done
  sleep 0.5; kill $containerd; wait $containerd; exit 0' TERM
wait $kubelet
""")

    def _make_cgroups(self) -> None:
        """Kubelet wants one path in every hierarchy: ours is below our own in that of memory."""
        path = _own_cgroup("memory") + self._name
        for line in Path("/proc/mounts").read_text().splitlines():
            _, where, kind = line.split()[:3]
            if kind != "cgroup":
                continue
            folder = Path(where)
            for part in path.strip("/").split("/"):
                folder = folder / part
                if not folder.exists():
                    folder.mkdir()
                    self._made.append(folder)
                    # A cpuset is empty until it is told.
                    for name in ("cpuset.cpus", "cpuset.mems"):
                        if (folder / name).exists():
                            (folder / name).write_text((folder.parent / name).read_text())

        self._weigh(path)

    @staticmethod
    def _weigh(path: str) -> None:
        """Give all pods together more than the share of one process, so that they do not starve beside many."""
        own = _own_cgroup("cpu")
        for line in Path("/proc/mounts").read_text().splitlines():
            _, where, kind, options = line.split()[:4]
            if kind != "cgroup" or "cpu" not in options.split(","):
                continue
            parts = path.strip("/").split("/")
            for i in range(1, len(parts) + 1):
                below = "/" + "/".join(parts[:i])
                # Not what this process is in itself: that is not the node's to weigh.
                if not f"{own}/".startswith(f"{below}/"):
                    with contextlib.suppress(OSError):
                        Path(where + below, "cpu.shares").write_text(_SHARES)

    def _remove_cgroups(self) -> None:
        made, self._made = self._made, []
        path = _own_cgroup("memory") + self._name
        # containerd makes its own in the second version's hierarchy, where there is one.
        mounts = [line.split()[:3] for line in Path("/proc/mounts").read_text().splitlines()]
        left = [Path(where + path) for _, where, kind in mounts if kind == "cgroup2"]
        for folder in [*left, *reversed(made)]:
            for below, _, _ in os.walk(folder, topdown=False):
                for _ in range(20):
                    try:
                        os.rmdir(below)
                    except FileNotFoundError:
                        break
                    except OSError:
                        time.sleep(0.05)
                    else:
                        break


def own_address() -> str:
    """An address of this machine that is not its loopback's. Raises ProvideError."""
    done = subprocess.run(["ip", "-j", "-4", "addr"], capture_output=True, text=True, timeout=10, check=False)
    for link in json.loads(done.stdout or "[]"):
        for address in link.get("addr_info") or ():
            if address.get("scope") == "global":
                return str(address["local"])
    raise ProvideError("a node needs an address that is not the loopback's")


def _own_cgroup(controller: str) -> str:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return path.rstrip("/")
    return ""
