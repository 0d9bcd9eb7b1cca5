"""Which engine is chosen, that the choice is remembered, and what the command prints."""

import json
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tools import provide as module
from tools.engine import build, official, pins
from tools.engine.cache import ProvideError
from tools.provide import Engine, main, provide

Said = tuple[list[str], Callable[[str], None]]
Script = Callable[[Path, str], Path]


class World:
    """What is installed, what can be downloaded, and what was asked for."""

    def __init__(self, tmp_path: Path, script: Script) -> None:
        self.installed: official.Installed | None = None
        self.open = False
        self.plugins_open = True
        self.calls: list[str] = []
        self.folder = tmp_path / "engine"
        self._built = script(tmp_path / "built/pulumi", "echo built")
        self._downloaded = script(tmp_path / "downloaded/pulumi", "echo downloaded")
        self._plugin = script(tmp_path / "plugin/pulumi-resource-kubernetes", "echo kubernetes").parent

    def on_path(self) -> tuple[official.Installed | None, str]:
        self.calls.append("look")
        return self.installed, "`pulumi` is installed" if self.installed else "no `pulumi` on PATH"

    def published_digest(self) -> str:
        self.calls.append("probe")
        if not self.open:
            raise ProvideError("the site is not reachable")
        return "0" * 64

    def download(self, digest: str, progress: Callable[[str], None]) -> Path:
        self.calls.append("download")
        return self._downloaded

    def build(self, family: pins.Family, progress: Callable[[str], None]) -> Path:
        self.calls.append(f"build {family.name}")
        return self._plugin / family.binary if family is pins.KUBERNETES_PLUGIN else self._built

    def install_plugin(self, command: Path, home: Path, name: str, version: str, progress: object) -> bool:
        self.calls.append(f"plugin {name}")
        folder = home / "plugins" / f"resource-{name}-v{version}"
        assert not folder.exists(), "the real CLI would take it for the plugin"
        if self.plugins_open:
            folder.mkdir(parents=True)
            (folder / f"pulumi-resource-{name}").touch()
        return self.plugins_open

    def provide(self, **arguments: object) -> Engine:
        self.calls.clear()
        return provide(folder=self.folder, python=Path("/venv/bin/python"), progress=lambda line: None, **arguments)


@pytest.fixture
def world(tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch, cache_home: Path) -> World:
    made = World(tmp_path, script)
    for name in ("on_path", "published_digest", "download", "install_plugin"):
        monkeypatch.setattr(official, name, getattr(made, name))
    monkeypatch.setattr(build, "build", made.build)
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "no-such-home"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.delenv("WICKETGATE_ENGINE", raising=False)
    return made


def test_closed_downloads_mean_a_build_and_stand_ins(world: World) -> None:
    engine = world.provide()
    assert world.calls == ["look", "probe", "build pulumi"]
    assert engine.source == "built"
    assert engine.plugins == {"language-python": "stand-in", "azuread": "stand-in"}
    assert engine.command == world.folder / "bin" / "pulumi"
    assert (world.folder / "bin" / "pulumi-language-python").is_file()
    assert (world.folder / "home/plugins" / f"resource-azuread-v{pins.AZUREAD}" / "pulumi-resource-azuread").is_file()
    assert engine.env["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] == "true"
    assert "the site is not reachable" in engine.story
    assert engine.environ()["PULUMI_HOME"] == engine.env["PULUMI_HOME"]
    assert not set(os.environ) - set(engine.environ())


def test_an_installed_cli_comes_first(world: World, tmp_path: Path, script: Script) -> None:
    command = script(tmp_path / "theirs/pulumi", "")
    world.installed = official.Installed(command, "3.274.1")
    engine = world.provide()
    assert world.calls == ["look", "plugin azuread"]
    assert (engine.source, engine.command) == ("installed", command)
    assert engine.plugins == {"language-python": "official", "azuread": "official"}
    assert engine.env["PATH"].startswith(f"{command.parent}:")
    assert not (world.folder / "bin").exists()
    assert "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION" not in engine.env


def test_a_download_comes_before_a_build(world: World) -> None:
    world.open = True
    engine = world.provide()
    assert world.calls == ["look", "probe", "download", "plugin azuread"]
    assert engine.source == "downloaded"


def test_an_installed_cli_may_need_a_stand_in_plugin(world: World, tmp_path: Path, script: Script) -> None:
    world.installed = official.Installed(script(tmp_path / "theirs/pulumi", ""), "3.274.1")
    world.plugins_open = False
    engine = world.provide(kubernetes=True)
    assert engine.plugins == {"language-python": "official", "azuread": "stand-in", "kubernetes": "built"}


def test_a_plugin_of_the_users_is_linked(
    world: World, tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = script(tmp_path / f"user/plugins/resource-azuread-v{pins.AZUREAD}/pulumi-resource-azuread", "real")
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "user"))
    engine = world.provide()
    assert engine.plugins["azuread"] == "official"
    place = world.folder / "home/plugins" / f"resource-azuread-v{pins.AZUREAD}" / "pulumi-resource-azuread"
    assert place.resolve() == theirs
    monkeypatch.setenv("WICKETGATE_ENGINE", "build")
    assert world.provide().plugins["azuread"] == "stand-in", "asked for, so that tests mean the same everywhere"


def test_the_choice_is_remembered(world: World) -> None:
    world.provide()
    assert world.provide().source == "built"
    assert world.calls == []
    world.open = True
    assert world.provide().source == "built"
    assert world.provide(again=True).source == "downloaded"
    assert world.calls == ["look", "probe", "download", "plugin azuread"]


def test_a_changed_world_is_looked_at_anew(
    world: World, tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.provide()
    command = script(tmp_path / "theirs/pulumi", "")
    monkeypatch.setenv("PATH", f"{tmp_path / 'theirs'}:/usr/bin:/bin")
    world.installed = official.Installed(command, "3.274.1")
    assert world.provide().source == "installed"
    command.unlink()
    world.installed = None
    assert world.provide().source == "built"


def test_a_broken_memory_is_no_obstacle(world: World, cache_home: Path) -> None:
    world.provide()
    (cache_home / "decision.json").write_text("{")
    assert world.provide().source == "built"
    assert world.calls == ["look", "probe", "build pulumi"]


def test_the_choice_can_be_forced(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WICKETGATE_ENGINE", "build")
    world.open = True
    assert world.provide().source == "built"
    assert world.calls == ["build pulumi"]
    monkeypatch.setenv("WICKETGATE_ENGINE", "official")
    assert world.provide().source == "downloaded"
    world.open = False
    with pytest.raises(ProvideError, match="unset WICKETGATE_ENGINE"):
        world.provide(again=True)
    monkeypatch.setenv("WICKETGATE_ENGINE", "best")
    with pytest.raises(ProvideError, match="`best`"):
        world.provide()


def test_kubernetes_is_built_on_request(world: World) -> None:
    engine = world.provide(kubernetes=True)
    assert world.calls == ["look", "probe", "build pulumi", "build kubernetes"]
    assert engine.plugins["kubernetes"] == "built"
    place = world.folder / "home/plugins" / f"resource-kubernetes-v{pins.KUBERNETES}"
    assert os.access(place / "pulumi-resource-kubernetes", os.X_OK)


def test_the_command_prints_json_or_shell(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    folder = world.folder.with_name("an engine")
    assert main(["--json", "--folder", str(folder)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["command"] == str(folder / "bin/pulumi")
    assert main(["--folder", str(folder)]) == 0
    printed = capsys.readouterr()
    script = f"{printed.out}\necho $PULUMI_CONFIG_PASSPHRASE_FILE"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == document["env"]["PULUMI_CONFIG_PASSPHRASE_FILE"]
    assert "pulumi built" in printed.err
    assert shlex.quote(str(folder / "home")) in printed.out


def test_the_command_says_what_is_wrong(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WICKETGATE_ENGINE", "best")
    assert main(["--folder", str(world.folder)]) == 1
    assert capsys.readouterr().err.startswith("error: WICKETGATE_ENGINE is `best`")


def test_the_default_folder_is_ignored_by_git() -> None:
    ignored = subprocess.run(["git", "check-ignore", "-q", str(module.FOLDER)], cwd=pins.ROOT, check=False)
    assert ignored.returncode == 0
