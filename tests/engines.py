"""A container engine with the gateway's image, for the whole run. A plugin."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tools.image.engine import Engine

IMAGE, BASE = "wicketgate:test", "wicketgate-base:debian"
MADE = "1700000000"
"""The time of all files; otherwise that of the last commit, which may be made while tests run."""
NATIVE = Path(__file__).parent.parent / "gateway_image" / "native"


def native_wheel() -> Path | None:
    """The wheel of the last build, if no source is newer; None lets the tool build one."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    wheels = sorted(Path(cache, "wicketgate", "cargo-target", "wheels").glob("*.whl"), key=lambda p: p.stat().st_mtime)
    newest = max(p.stat().st_mtime for p in (*NATIVE.glob("src/**/*.rs"), NATIVE / "Cargo.lock"))
    return wheels[-1] if wheels and wheels[-1].stat().st_mtime >= newest else None


@pytest.fixture(scope="session")
def container_engine() -> Iterator[Engine]:
    """A running dockerd."""
    from tools.image.engine import engine

    # Paths of sockets are short.
    with tempfile.TemporaryDirectory(prefix="wg-", ignore_cleanup_errors=True) as folder, engine(Path(folder)) as made:
        yield made


def make_context(folder: Path) -> Path:
    """The build context of the image, by the command that people use."""
    wheel = native_wheel()
    given = ["--native-wheel", str(wheel)] if wheel else []
    command = [sys.executable, "-m", "tools.image", "context", str(folder), *given]
    env = {**os.environ, "SOURCE_DATE_EPOCH": MADE}
    root = NATIVE.parent.parent
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def image_context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build context of the image."""
    return make_context(tmp_path_factory.mktemp("image") / "context")


@pytest.fixture(scope="session")
def built_image(container_engine: Engine, image_context: Path) -> str:
    """The image's name, built by its Dockerfile on a base of Debian's packages."""
    from tools.image import base
    from tools.image.__main__ import build_arguments

    archive = base.archive(base.files(lambda _: None))
    container_engine.docker("import", "-c", "ENV PATH=/usr/bin", "-", BASE, stdin=archive)
    container_engine.docker(*build_arguments(image_context, BASE, IMAGE))
    return IMAGE


class Relay:
    """Takes connections at an address of this machine and carries them to the database on its loopback."""

    def __init__(self, host: str, port: int) -> None:
        self.listener = socket.create_server((host, 0))
        self.port: int = self.listener.getsockname()[1]
        self._target = port
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    @staticmethod
    def _carry(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)
