"""Provides Compose where no package of it can be had: built once from its Go module at a pinned version."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from tools.engine import cache, golang
from tools.engine.cache import Progress
from tools.engine.run import run_long

VERSION: Final = "2.40.3"
"""As `compose/go.mod` has it."""
_FOLDER: Final = Path(__file__).with_name("compose")
_PACKAGE: Final = "github.com/docker/compose/v2/cmd"
_FLAGS: Final = ("-trimpath", "-ldflags", f"-s -w -X github.com/docker/compose/v2/internal.Version=v{VERSION}")


def binary(progress: Progress) -> Path:
    """`docker-compose`, which is also the client's plugin. Raises ProvideError."""
    files = {name: (_FOLDER / name).read_bytes() for name in ("go.mod", "go.sum")}

    def make(folder: Path) -> None:
        go = golang.find(progress)
        source = folder / "source"
        source.mkdir()
        for name, content in files.items():
            (source / name).write_bytes(content)
        run_long(
            ["nice", str(go), "build", *_FLAGS, "-o", str(folder / "docker-compose"), _PACKAGE],
            cwd=source,
            env={**golang.environ(go), "CGO_ENABLED": "0"},
            what=f"building Compose {VERSION} from its Go module",
            expected_seconds=100,
            progress=progress,
        )
        shutil.rmtree(source)

    return cache.made("compose", cache.key(files, [*_FLAGS, _PACKAGE]), make, progress, "Compose") / "docker-compose"
