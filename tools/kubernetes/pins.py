"""Which parts of Kubernetes are provided, at which versions, and how each is built.

The versions stand in `current/go.mod` and `older/go.mod`, with the checksums of all they need in `go.sum` beside it:
Kubernetes is published as a Go module that wants its staging modules replaced, which those files do.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent

CURRENT: Final = "1.36.3"
"""The API server, the node and the current kubectl."""
OLDER: Final = "1.30.14"
"""A kubectl from before 1.31: it uses SPDY for exec, attach and port-forward, and knows no WebSocket."""

HELM_VERSION: Final = "3.22.0"
DNS_VERSION: Final = "1.14.7"
"""CoreDNS."""

_MODULE: Final = "k8s.io/kubernetes"
_EXPIRES: Final = "2026-01-01T00:00:00Z"
"""The build date that is told: a constant, so that the same inputs make the same binary."""


@dataclass(frozen=True)
class Part:
    """Some binaries that are built together."""

    name: str
    title: str
    module: str
    """The folder with their go.mod and go.sum, below this one."""
    version: str
    packages: dict[str, str]
    """Each binary's name, and the Go package that it is built from."""
    expected_seconds: int
    """On two cores with empty Go caches."""
    told: tuple[str, ...] = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    """The Go packages whose variables say the version."""

    @property
    def ldflags(self) -> str:
        """What the linker is told: the version, which the source does not carry."""
        major, minor, _ = self.version.split(".")
        values = {
            "gitVersion": f"v{self.version}",
            "gitMajor": major,
            "gitMinor": minor,
            "gitTreeState": "clean",
            "buildDate": _EXPIRES,
        }
        return " ".join(
            ["-s -w", *(f"-X {package}.{key}={value}" for package in self.told for key, value in values.items())]
        )


SERVER: Final = Part(
    name="kubernetes-server",
    title=f"etcd, kube-apiserver and kubectl {CURRENT}",
    module="current",
    version=CURRENT,
    packages={
        "etcd": "go.etcd.io/etcd/server/v3",
        "kube-apiserver": f"{_MODULE}/cmd/kube-apiserver",
        "kubectl": f"{_MODULE}/cmd/kubectl",
    },
    expected_seconds=360,
)
NODE: Final = Part(
    name="kubernetes-node",
    title=f"kube-controller-manager, kube-scheduler and kubelet {CURRENT}",
    module="current",
    version=CURRENT,
    packages={
        "kube-controller-manager": f"{_MODULE}/cmd/kube-controller-manager",
        "kube-scheduler": f"{_MODULE}/cmd/kube-scheduler",
        "kubelet": f"{_MODULE}/cmd/kubelet",
    },
    expected_seconds=180,
)
OLDER_KUBECTL: Final = Part(
    name="kubernetes-kubectl-older",
    title=f"kubectl {OLDER}",
    module="older",
    version=OLDER,
    packages={"kubectl": f"{_MODULE}/cmd/kubectl"},
    expected_seconds=120,
)
HELM: Final = Part(
    name="kubernetes-helm",
    title=f"Helm {HELM_VERSION}",
    module="helm",
    version=HELM_VERSION,
    packages={"helm": "helm.sh/helm/v3/cmd/helm"},
    expected_seconds=150,
    told=(),
)
PROXY: Final = Part(
    name="kubernetes-proxy",
    title=f"kube-proxy {CURRENT}",
    module="proxy",
    version=CURRENT,
    packages={"kube-proxy": f"{_MODULE}/cmd/kube-proxy"},
    expected_seconds=60,
)
DNS: Final = Part(
    name="kubernetes-dns",
    title=f"CoreDNS {DNS_VERSION}",
    module="dns",
    version=DNS_VERSION,
    packages={"coredns": "."},
    expected_seconds=90,
    told=(),
)
