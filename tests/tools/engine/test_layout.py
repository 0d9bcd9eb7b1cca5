"""The layout of one checkout's engine: complete, stable, and readable by its owner alone where it matters."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.engine import layout
from tools.engine.official import OURS

Script = Callable[[Path, str], Path]


def test_the_cli_is_linked_and_replaced_by_a_newer_one(tmp_path: Path, script: Script) -> None:
    old, new = script(tmp_path / "cache/1/pulumi", "echo old"), script(tmp_path / "cache/2/pulumi", "echo newer")
    place = layout.link_cli(tmp_path / "engine", old)
    assert place == tmp_path / "engine" / "bin" / "pulumi"
    assert place.samefile(old)
    assert layout.link_cli(tmp_path / "engine", old) == place
    assert layout.link_cli(tmp_path / "engine", new).samefile(new)
    assert (place.parent / OURS).exists()
    assert sorted(os.listdir(place.parent)) == [OURS, "pulumi"]


def test_the_cli_is_copied_across_file_systems(tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    binary = script(tmp_path / "cache/pulumi", "echo it")
    monkeypatch.setattr(os, "link", refuse)
    place = layout.link_cli(tmp_path / "engine", binary)
    assert not place.samefile(binary)
    assert subprocess.run([place], capture_output=True, text=True, check=True).stdout == "it\n"
    inode = place.stat().st_ino
    assert layout.link_cli(tmp_path / "engine", binary).stat().st_ino == inode


def test_a_wrapper_runs_our_module_in_any_folder(tmp_path: Path) -> None:
    (tmp_path / "wicketgate.py").write_text("raise SystemExit('shadowed')")
    layout.write_language_host(tmp_path / "an engine", Path(sys.executable))
    wrapper = tmp_path / "an engine" / "bin" / "pulumi-language-python"
    done = subprocess.run([wrapper, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "pulumi-language-python" in done.stdout


def test_a_stand_in_has_the_exact_version(tmp_path: Path) -> None:
    layout.write_stand_in(tmp_path, "azuread", "6.11.1", Path("/venv with space/bin/python"))
    folder = tmp_path / "home/plugins/resource-azuread-v6.11.1"
    text = (folder / "pulumi-resource-azuread").read_text()
    assert "exec '/venv with space/bin/python' -P -m wicketgate.testing.azuread" in text
    assert os.access(folder / "pulumi-resource-azuread", os.X_OK)
    assert not layout.has_plugin(tmp_path, "azuread", "6.11.1"), "a stand-in is not the real one"


def test_a_real_plugin_is_linked_and_may_take_turns_with_a_stand_in(tmp_path: Path, script: Script) -> None:
    real = script(tmp_path / "theirs/resource-x-v1/pulumi-resource-x", "echo real")
    (real.parent / "PulumiPlugin.yaml").touch()
    layout.write_stand_in(tmp_path, "x", "1", Path("/python"))
    layout.link_plugin(tmp_path, "x", "1", real.parent)
    place = tmp_path / "home/plugins/resource-x-v1"
    assert sorted(os.listdir(place)) == ["PulumiPlugin.yaml", "pulumi-resource-x"]
    assert not place.is_symlink()
    assert (place / "pulumi-resource-x").resolve() == real
    assert layout.has_plugin(tmp_path, "x", "1")
    layout.link_plugin(tmp_path, "x", "1", real.parent)
    layout.write_stand_in(tmp_path, "x", "1", Path("/python"))
    assert real.read_text().endswith("echo real\n"), "the real plugin was written through its link"
    assert not layout.has_plugin(tmp_path, "x", "1")


def test_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin:/usr/bin")
    env = layout.environ(tmp_path / "engine", closed=True, path=["/engine/bin", "/opt/uv"])
    assert env["PATH"] == "/engine/bin:/opt/uv:/usr/bin:/bin"
    assert env["PULUMI_BACKEND_URL"] == (tmp_path / "engine/stacks").as_uri()
    assert Path(env["PULUMI_HOME"]).is_dir()
    assert env["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] == "true"
    again = layout.environ(tmp_path / "engine", closed=False, path=[])
    assert "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION" not in again


def test_the_passphrase_is_made_once_and_is_the_owners(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        env = layout.environ(tmp_path, closed=True, path=[])
    finally:
        os.umask(previous)
    path = Path(env["PULUMI_CONFIG_PASSPHRASE_FILE"])
    first = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(first.strip()) >= 40
    assert first.strip() not in str(env)
    layout.environ(tmp_path, closed=True, path=[])
    assert path.read_text() == first
