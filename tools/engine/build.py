"""Builds a binary from its published Go module, at the versions that the committed go.mod and go.sum pin."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tools.engine import cache, golang, pins
from tools.engine.cache import Progress, ProvideError
from tools.engine.pins import Family
from tools.engine.run import run_long

_LIST_SECONDS: Final = 300


def build(family: Family, progress: Progress) -> Path:
    """The path of the family's binary, built now if no earlier build of the same inputs is in the cache."""
    files = {name: (family.folder / name).read_bytes() for name in family.sources}

    def make(folder: Path) -> None:
        go = golang.find(progress)
        env = {**golang.environ(go), **family.environ}
        source = folder / "source"
        source.mkdir()
        for name, content in files.items():
            (source / name).write_bytes(content)
        if (prepare := _PREPARE.get(family.name)) is not None:
            prepare(source, str(go), env)
        binary = folder / family.binary
        run_long(
            [str(go), "build", *family.flags, "-o", str(binary), family.target],
            cwd=source,
            env=env,
            what=f"building {family.title} from its Go module",
            expected_seconds=family.expected_seconds,
            progress=progress,
        )
        shutil.rmtree(source)

    folder = cache.made(family.name, digest(family), make, progress, family.title)
    return folder / family.binary


def digest(family: Family) -> str:
    """The cache key of a family's binary."""
    files = {name: (family.folder / name).read_bytes() for name in family.sources}
    environ = [f"{key}={value}" for key, value in sorted(family.environ.items())]
    return cache.key(files, [family.target, *family.flags, *environ])


def _prepare_kubernetes(source: Path, go: str, env: dict[str, str]) -> None:
    """What the plugin's own generator does at release time: its schema with the version in it, and both files
    compact.
    """
    module = _module_folder(pins.KUBERNETES_MODULE, source, go, env)
    raw = module / "cmd/pulumi-resource-kubernetes"
    schema: dict[str, Any] = json.loads((raw / "schema.json").read_bytes())
    schema["version"] = pins.KUBERNETES
    mapping = json.loads((raw / "terraform-mapping.json").read_bytes())
    for name, document in (("schema-embed.json", schema), ("terraform-mapping-embed.json", mapping)):
        (source / name).write_text(json.dumps(document, separators=(",", ":")))


def _module_folder(module: str, source: Path, go: str, env: dict[str, str]) -> Path:
    done = subprocess.run(
        [go, "mod", "download", "-json", module],
        cwd=source,
        env=env,
        capture_output=True,
        text=True,
        timeout=_LIST_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise ProvideError(f"the Go module `{module}` could not be fetched:\n{(done.stderr or done.stdout).strip()}")
    return Path(json.loads(done.stdout)["Dir"])


_PREPARE: Final[dict[str, Callable[[Path, str, dict[str, str]], None]]] = {"kubernetes": _prepare_kubernetes}
