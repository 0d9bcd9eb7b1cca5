"""The pins agree with each other: with the modules, with the SDKs in the lock, and with what is built."""

import re
import tomllib

from tools.engine import pins


def _module(family: pins.Family) -> str:
    return (family.folder / "go.mod").read_text()


def _locked(name: str) -> str:
    lock = tomllib.loads((pins.ROOT / "uv.lock").read_text())
    (found,) = [package["version"] for package in lock["package"] if package["name"] == name]
    return found


def test_the_cli_is_the_modules_version() -> None:
    assert f"github.com/pulumi/pulumi/pkg/v3 v{pins.PULUMI}" in _module(pins.CLI)
    assert f"tool {pins.CLI.target}" in _module(pins.CLI)
    assert f"Version=v{pins.PULUMI}" in pins.CLI.ldflags


def test_plugins_have_their_sdks_versions() -> None:
    assert _locked("pulumi-azuread") == pins.AZUREAD
    assert _locked("pulumi-kubernetes") == pins.KUBERNETES


def test_the_cli_is_no_older_than_the_sdk() -> None:
    locked = tuple(int(part) for part in _locked("pulumi").split("."))
    assert locked <= tuple(int(part) for part in pins.PULUMI.split("."))
    assert locked >= pins.OLDEST_PULUMI, "a newer SDK may ask more of the CLI than OLDEST_PULUMI"


def test_go_is_new_enough_for_every_module() -> None:
    for family in (pins.CLI, pins.KUBERNETES_PLUGIN):
        found = re.search(r"^go (\d+)\.(\d+)\.(\d+)$", _module(family), re.MULTILINE)
        assert found is not None
        assert tuple(int(part) for part in found.groups()) <= pins.OLDEST_GO


def test_sources_are_all_there() -> None:
    for family in (pins.CLI, pins.KUBERNETES_PLUGIN):
        assert all((family.folder / name).stat().st_size for name in family.sources)
        assert "-trimpath" in family.flags


def test_the_kubernetes_module_is_the_pinned_one() -> None:
    assert pins.KUBERNETES_MODULE in _module(pins.KUBERNETES_PLUGIN)
    assert f"Version={pins.KUBERNETES}" in pins.KUBERNETES_PLUGIN.ldflags
