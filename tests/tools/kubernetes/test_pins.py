"""Each part is built at the version that is told of it."""

import re

import pytest

from tools.kubernetes import build, pins

PARTS = (pins.SERVER, pins.NODE, pins.OLDER_KUBECTL, pins.HELM, pins.PROXY, pins.DNS)
MODULES = {pins.HELM.name: "helm.sh/helm/v3", pins.DNS.name: "github.com/coredns/coredns"}


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_the_version_is_the_modules(part: pins.Part) -> None:
    """What `go.mod` asks for, with a checksum for it."""
    module = MODULES.get(part.name, "k8s.io/kubernetes")
    text = (pins.FOLDER / part.module / "go.mod").read_text()
    assert re.search(rf"{re.escape(module)} v{re.escape(part.version)}\b", text)
    assert f"{module} v{part.version} h1:" in (pins.FOLDER / part.module / "go.sum").read_text()
    told = part.ldflags
    assert (f"gitVersion=v{part.version}" in told) is (part.name not in MODULES)


def test_what_is_built_alike_has_one_key_and_nothing_else_has() -> None:
    """The cache tells parts apart."""
    keys = [build.digest(part) for part in PARTS]
    assert len(set(keys)) == len(PARTS)
    assert keys == [build.digest(part) for part in PARTS]
