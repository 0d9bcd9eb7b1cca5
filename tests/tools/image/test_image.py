"""The image: what is in it, what is not, and that it starts; by a real engine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tools.engine.cache import ProvideError
from tools.image import context

if TYPE_CHECKING:
    from tools.image.engine import Engine

pytestmark = [pytest.mark.build, pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(600)]
MOST_BYTES = 120_000_000
_IMPORT_ALL = """
import importlib, pkgutil
import wicketgate_gateway as package
wrong = []
for module in pkgutil.walk_packages(package.__path__, "wicketgate_gateway."):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except BaseException as error:
            wrong.append((module.name, repr(error)))
print(wrong)
"""


def run(engine: Engine, image: str, *command: str, entry: str | None = None) -> str:
    entries = ["--entrypoint", entry] if entry else []
    hard = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "none"]
    return engine.docker("run", "--rm", *hard, *entries, image, *command).strip()


def test_it_is_small_beyond_its_base(container_engine: Engine, built_image: str) -> None:
    sizes = [
        int(container_engine.docker("image", "inspect", "-f", "{{.Size}}", name).strip())
        for name in (built_image, "wicketgate-base:debian")
    ]
    assert 50_000_000 < sizes[0] - sizes[1] < MOST_BYTES


def test_it_runs_as_nobody_special(container_engine: Engine, built_image: str) -> None:
    code = "import os; print(os.getuid(), os.getgid(), os.access('/opt/wicketgate', os.W_OK))"
    assert run(container_engine, built_image, "-c", code, entry="python3") == "65532 65532 False"


def test_every_module_can_be_imported(container_engine: Engine, built_image: str) -> None:
    assert run(container_engine, built_image, "-c", _IMPORT_ALL, entry="python3") == "[]"


def test_commands_of_gateway_agent_and_people_start(container_engine: Engine, built_image: str) -> None:
    assert run(container_engine, built_image, "wicketgate_gateway.cli", "--version") == context.version()
    for module in ("server", "agent"):
        assert "--config" in run(container_engine, built_image, f"wicketgate_gateway.{module}", "--help")


@pytest.mark.parametrize("program", ["sh", "bash", "gcc", "cc", "pip", "pulumi", "apt-get", "uv"])
def test_there_is_no_shell_compiler_or_installer(container_engine: Engine, built_image: str, program: str) -> None:
    with pytest.raises(ProvideError, match="not found"):
        run(container_engine, built_image, "--version", entry=program)


def test_there_is_no_toolkit(container_engine: Engine, built_image: str) -> None:
    code = "import importlib.util as u; print([m for m in ('pulumi', 'wicketgate', 'pip', 'msal') if u.find_spec(m)])"
    assert run(container_engine, built_image, "-c", code, entry="python3") == "[]"


def test_time_zones_and_authorities_are_there(container_engine: Engine, built_image: str) -> None:
    code = (
        "import ssl, zoneinfo; "
        "print(zoneinfo.ZoneInfo('Europe/Berlin'), len(ssl.create_default_context().get_ca_certs()) > 100)"
    )
    assert run(container_engine, built_image, "-c", code, entry="python3") == "Europe/Berlin True"


def test_the_bill_of_materials_is_what_is_installed(image_context: Path) -> None:
    folder = image_context / "root" / "opt" / "wicketgate"
    bill = json.loads((folder / "sbom.cdx.json").read_text())
    listed = {(c["name"].replace("-", "_").lower(), c["version"]) for c in bill["components"]}
    installed = {
        tuple(path.name.removesuffix(".dist-info").lower().rsplit("-", 1))
        for path in (folder / "lib").glob("*.dist-info")
    }
    assert installed <= {(name.replace(".", "_"), version) for name, version in listed}
    assert len(installed) > 30
    statement = json.loads((folder / "provenance.json").read_text())
    assert statement["subject"][0]["digest"]["sha256"] == context.tree_digest(folder / "lib")


def test_the_same_lock_gives_the_same_bytes(
    image_context: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.engines import MADE, native_wheel

    built = native_wheel()

    def build(folder: Path, _: object) -> Path:
        """Puts it where the real one does: within the context, of which it is no part."""
        assert built is not None
        folder.mkdir()
        return Path(shutil.copy(built, folder))

    if built is not None:
        monkeypatch.setattr(context, "_build_native", build)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", MADE)
    again = tmp_path / "context"
    context.make(again, lambda _: None)
    assert sorted(path.name for path in again.iterdir()) == ["Dockerfile", "root", "state"]
    first, second = (
        {
            str(p.relative_to(f)): (p.read_bytes(), p.stat().st_mode, p.stat().st_mtime)
            for p in f.rglob("*")
            if p.is_file()
        }
        for f in (image_context, again)
    )
    assert sorted(n for n in first.keys() | second.keys() if first.get(n) != second.get(n)) == []
