"""Which plugins a program needs, and which distributions it has: asked of the program's own Python.

A Python SDK of a provider carries a `pulumi-plugin.json` (`{resource, name, version, server?,
parameterization?}`) in its import package; its version is the plugin version that the engine then loads.
"""

import base64
import binascii
import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any, Final, cast

from pulumi.runtime.proto import plugin_pb2

from wicketgate.testing.language_host.environment import PythonEnvironment
from wicketgate.testing.language_host.options import OptionsError

_TIMEOUT_SECONDS: Final = 60

# These run in the program's Python, which may be older than ours and has nothing of ours: plain and self-contained.
_LIST_PLUGINS: Final = """
import json, os, sys
found = []
for entry in dict.fromkeys(sys.path):
    if not os.path.isdir(entry):
        continue
    for name in sorted(os.listdir(entry)):
        path = os.path.join(entry, name, "pulumi-plugin.json")
        if os.path.isfile(path):
            with open(path, encoding="utf-8") as file:
                found.append([path, file.read()])
json.dump(found, sys.stdout)
"""

_LIST_DISTRIBUTIONS: Final = """
import importlib.metadata, json, re, sys
found, required = {}, set()
for dist in importlib.metadata.distributions():
    name = re.sub(r"[-_.]+", "-", dist.metadata["Name"]).lower()
    found.setdefault(name, dist.version)
    for line in dist.requires or []:
        if "extra ==" not in line:
            required.add(re.sub(r"[-_.]+", "-", re.match(r"[A-Za-z0-9._-]+", line).group()).lower())
json.dump([[name, version, name in required] for name, version in sorted(found.items())], sys.stdout)
"""

_ABOUT: Final = 'import json, sys; json.dump([sys.executable, "%d.%d.%d" % sys.version_info[:3]], sys.stdout)'


def required_packages(environment: PythonEnvironment) -> list[plugin_pb2.PackageDependency]:
    """The resource plugins that the environment's provider SDKs name. Raises OptionsError on a broken one."""
    found: dict[tuple[str, str, str], plugin_pb2.PackageDependency] = {}
    for path, text in _ask(environment, _LIST_PLUGINS):
        package = _package(path, text)
        if package is not None:
            parameter = package.parameterization
            found.setdefault((package.name, package.version, parameter.name), package)
    return [found[key] for key in sorted(found)]


def distributions(environment: PythonEnvironment, *, transitive: bool) -> list[tuple[str, str]]:
    """(name, version) of each installed distribution; without `transitive`, those that no other one
    requires.
    """
    listed = cast(list[tuple[str, str, bool]], _ask(environment, _LIST_DISTRIBUTIONS))
    return [(name, version) for name, version, required in listed if transitive or not required]


def about(environment: PythonEnvironment) -> tuple[str, str]:
    """The executable and the version of the environment's Python."""
    executable, version = _ask(environment, _ABOUT)
    return executable, version


def _package(path: str, text: str) -> plugin_pb2.PackageDependency | None:
    try:
        document: Any = json.loads(text)
    except ValueError as cause:
        raise OptionsError(f"`{path}` is not JSON: {cause}") from cause
    if not isinstance(document, Mapping):
        raise OptionsError(f"`{path}` must hold an object")
    plugin = cast(Mapping[str, Any], document)
    if plugin.get("resource") is not True:
        return None
    name, version = plugin.get("name"), plugin.get("version")
    if not isinstance(name, str) or not name:
        raise OptionsError(f"`{path}` names no plugin")
    package = plugin_pb2.PackageDependency(
        name=name,
        kind="resource",
        version=f"v{str(version).removeprefix('v')}" if version else "",
        server=plugin.get("server") or "",
    )
    parameter = plugin.get("parameterization")
    if parameter:
        try:
            value = base64.b64decode(parameter["value"], validate=True)
            package.parameterization.CopyFrom(
                plugin_pb2.PackageParameterization(name=parameter["name"], version=parameter["version"], value=value)
            )
        except (KeyError, TypeError, binascii.Error) as cause:
            raise OptionsError(f"`{path}` has a broken `parameterization`") from cause
    return package


def _ask(environment: PythonEnvironment, script: str) -> Any:
    done = subprocess.run(
        [environment.python, "-c", script],
        cwd=environment.program,
        env=environment.environ(os.environ),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise OptionsError(f"`{environment.python}` could not list its packages:\n{done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout)
