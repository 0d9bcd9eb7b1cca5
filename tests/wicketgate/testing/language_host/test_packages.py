"""Which plugins a program's Python needs."""

import base64
import json
import os
import sys
from pathlib import Path

import pytest

from wicketgate.testing.language_host import packages
from wicketgate.testing.language_host.environment import PythonEnvironment
from wicketgate.testing.language_host.options import OptionsError


@pytest.fixture
def environment(tmp_path: Path) -> PythonEnvironment:
    """This Python; what a test puts into `sdks` is importable in it."""
    (tmp_path / "sdks").mkdir()
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path / "sdks"} exec {sys.executable} "$@"\n')
    wrapper.chmod(0o755)
    return PythonEnvironment(str(wrapper), None, "pip", tmp_path)


def _sdk(environment: PythonEnvironment, name: str, document: object) -> Path:
    folder = environment.program / "sdks" / name
    folder.mkdir()
    path = folder / "pulumi-plugin.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_the_projects_own_sdks(environment: PythonEnvironment) -> None:
    found = {item.name: (item.kind, item.version) for item in packages.required_packages(environment)}
    assert found == {"azuread": ("resource", "v6.11.1"), "kubernetes": ("resource", "v4.25.0")}


def test_only_resource_plugins_count(environment: PythonEnvironment) -> None:
    _sdk(environment, "pulumi_tool", {"resource": False, "name": "tool", "version": "1.0.0"})
    _sdk(environment, "pulumi_mine", {"resource": True, "name": "mine", "version": "v1.0.0", "server": "github://x"})
    found = {item.name: item for item in packages.required_packages(environment)}
    assert "tool" not in found
    assert (found["mine"].version, found["mine"].server) == ("v1.0.0", "github://x")


def test_parameterization(environment: PythonEnvironment) -> None:
    value = base64.b64encode(b"\0parameter").decode()
    parameter = {"name": "sub", "version": "2.0.0", "value": value}
    _sdk(
        environment, "pulumi_sub", {"resource": True, "name": "base", "version": "1.0.0", "parameterization": parameter}
    )
    (found,) = [item for item in packages.required_packages(environment) if item.name == "base"]
    assert (found.parameterization.name, found.parameterization.value) == ("sub", b"\0parameter")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{", "not JSON"),
        ("[]", "object"),
        ({"resource": True}, "names no plugin"),
        ({"resource": True, "name": "x", "parameterization": {"value": "?"}}, "parameterization"),
    ],
)
def test_a_broken_file_is_named(environment: PythonEnvironment, document: object, words: str) -> None:
    path = _sdk(environment, "pulumi_broken", document)
    with pytest.raises(OptionsError, match=words) as caught:
        packages.required_packages(environment)
    assert str(path) in str(caught.value)


def test_distributions(environment: PythonEnvironment) -> None:
    everything = dict(packages.distributions(environment, transitive=True))
    direct = dict(packages.distributions(environment, transitive=False))
    assert {"pulumi", "pulumi-azuread", "protobuf"} <= set(everything)
    assert "protobuf" not in direct
    assert set(direct.items()) <= set(everything.items())


def test_about(environment: PythonEnvironment) -> None:
    executable, version = packages.about(environment)
    assert os.path.realpath(executable) == os.path.realpath(sys.executable)
    assert version == ".".join(map(str, sys.version_info[:3]))


def test_a_python_that_fails_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no module named json >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(OptionsError, match="no module named json"):
        packages.about(PythonEnvironment(str(broken), None, "pip", tmp_path))
