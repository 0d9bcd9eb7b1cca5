"""What a project says about its Python is read as the real host reads it."""

from pathlib import Path

import pytest
from pulumi.runtime.proto import language_pb2

from wicketgate.provider.values import encode
from wicketgate.testing.language_host.options import OptionsError, read, search_up


def _info(root: Path, **options: object) -> language_pb2.ProgramInfo:
    return language_pb2.ProgramInfo(
        root_directory=str(root), program_directory=str(root / "stacks"), entry_point=".", options=encode(options)
    )


def test_a_plain_project_uses_pip(tmp_path: Path) -> None:
    options = read(_info(tmp_path))
    assert (options.toolchain, options.virtualenv, options.typechecker) == ("pip", None, None)
    assert (options.root, options.program, options.entry_point) == (tmp_path, tmp_path / "stacks", ".")


def test_a_lock_file_above_means_uv(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").touch()
    assert read(_info(tmp_path)).toolchain == "uv"
    assert read(_info(tmp_path, toolchain="pip")).toolchain == "pip"


def test_poetry_is_refused_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "poetry.lock").touch()
    with pytest.raises(OptionsError, match="`uv` or `pip`"):
        read(_info(tmp_path))
    with pytest.raises(OptionsError, match="`poetry`"):
        read(_info(tmp_path, toolchain="poetry"))


@pytest.mark.parametrize("given", ["venv", "stacks/../venv", "./venv/"])
def test_a_relative_environment_is_the_roots(tmp_path: Path, given: str) -> None:
    assert read(_info(tmp_path, virtualenv=given)).virtualenv == tmp_path / "venv"


def test_an_absolute_environment_stays(tmp_path: Path) -> None:
    assert read(_info(tmp_path, virtualenv="/opt/venv")).virtualenv == Path("/opt/venv")


def test_typecheckers(tmp_path: Path) -> None:
    assert read(_info(tmp_path, typechecker="mypy")).typechecker == "mypy"
    assert read(_info(tmp_path, typechecker="none")).typechecker is None
    with pytest.raises(OptionsError, match="typechecker"):
        read(_info(tmp_path, typechecker="spell"))


def test_an_option_must_be_a_text(tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match="must be a text"):
        read(_info(tmp_path, virtualenv=3))


def test_search_up_takes_the_nearest(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "mark").touch()
    assert search_up(inner, "mark") == tmp_path
    (tmp_path / "a" / "mark").touch()
    assert search_up(inner, "mark") == tmp_path / "a"
    assert search_up(inner, "no such file anywhere") is None
