"""Builds the parts of Kubernetes once, into the cache that all checkouts share, keyed by what went in."""

import shutil
from pathlib import Path

from tools.engine import cache, golang
from tools.engine.cache import Progress
from tools.engine.run import run_long
from tools.kubernetes.pins import FOLDER, Part

_SOURCES = ("go.mod", "go.sum")


def build(part: Part, progress: Progress) -> Path:
    """The folder with the part's binaries, built now if no earlier build of the same inputs is there.

    Raises ProvideError if Go or its modules cannot be had, or a build fails.
    """
    files = _files(part)

    def make(folder: Path) -> None:
        go = golang.find(progress)
        env = {**golang.environ(go), "CGO_ENABLED": "0"}
        source = folder / "source"
        source.mkdir()
        for name, content in files.items():
            (source / name).write_bytes(content)
        each = part.expected_seconds // len(part.packages)
        for binary, package in part.packages.items():
            run_long(
                # Niced: it takes minutes, beside whatever else the machine is for.
                ["nice", str(go), "build", *_flags(part), "-o", str(folder / binary), package],
                cwd=source,
                env=env,
                what=f"building {binary} {part.version} from its Go module",
                expected_seconds=each,
                progress=progress,
            )
        shutil.rmtree(source)

    return cache.made(part.name, digest(part), make, progress, part.title)


def digest(part: Part) -> str:
    """The cache key of a part's binaries."""
    packages = [f"{binary}={package}" for binary, package in sorted(part.packages.items())]
    return cache.key(_files(part), [*_flags(part), *packages])


def _files(part: Part) -> dict[str, bytes]:
    folder = FOLDER / part.module
    return {path.name: path.read_bytes() for path in (*(folder / n for n in _SOURCES), *sorted(folder.glob("*.go")))}


def _flags(part: Part) -> list[str]:
    return ["-trimpath", "-ldflags", part.ldflags]
