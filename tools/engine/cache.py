"""The cache of what is costly to make: outside the checkout, keyed by what went in, shared by all checkouts.

<cache>/<name>-<key>/<binary>      made in a temporary folder beside it and renamed when complete
<cache>/<name>-<key>.lock          held while it is made, so that it is made once
<cache>/decision.json              which engine was chosen, and why
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path

Progress = Callable[[str], None]
"""Takes one line for the person who waits."""


class ProvideError(Exception):
    """Something cannot be provided; the text says what was attempted and what to do next."""


def root() -> Path:
    """`$XDG_CACHE_HOME/wicketgate/engine`, else below `~/.cache`, else below the temporary folder where there is no
    home.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # the specification: a relative one is ignored
        home = os.environ.get("HOME", "")
        base = os.path.join(home, ".cache") if os.path.isabs(home) else ""
    if not base:
        base = os.path.join(tempfile.gettempdir(), f"wicketgate-cache-{os.getuid()}")
    return Path(base) / "wicketgate" / "engine"


def key(files: dict[str, bytes], flags: list[str]) -> str:
    """A short digest of everything that shapes a binary: file contents, build flags, platform."""
    digest = hashlib.sha256()
    for part in (platform.system().lower(), platform.machine(), *flags):
        digest.update(part.encode() + b"\0")
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
    return digest.hexdigest()[:20]


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Generator[None]:
    """Hold `path` as a lock file; `waiting` is called once if another process holds it. Freed if we die."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def made(name: str, digest: str, make: Callable[[Path], None], progress: Progress, title: str) -> Path:
    """The folder `<name>-<digest>`, made by `make(folder)` if it is not there yet. A failed attempt leaves nothing."""
    final = root() / f"{name}-{digest}"
    if final.is_dir():
        return final

    def waiting() -> None:
        progress(f"another process is making {title}; waiting for it")

    with locked(final.with_name(final.name + ".lock"), waiting):
        if final.is_dir():
            return final
        for left in final.parent.glob(f".{final.name}.*"):  # of an attempt that was killed: we hold the lock
            shutil.rmtree(left, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
        try:
            make(scratch)
            scratch.chmod(0o755)
            scratch.rename(final)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return final
