"""The files themselves: written whole or not at all, compared by digest, removed only if they are as we wrote them."""

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Found:
    """What lies at a path."""

    digest: str | None
    """`sha256:…` of a regular file; None for anything else (a folder, a symbolic link, a socket)."""
    mode: str
    """Its permissions in octal, four digits."""


def digest(content: bytes) -> str:
    """The digest by which a file is known again."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def look(path: Path) -> Found | None:
    """What lies at `path`, or None if nothing does. A symbolic link is not followed."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    mode = f"{stat.S_IMODE(status.st_mode):04o}"
    if not stat.S_ISREG(status.st_mode):
        return Found(None, mode)
    return Found(digest(path.read_bytes()), mode)


def write(path: Path, content: bytes, mode: int) -> None:
    """Put `content` at `path` in one step: a reader sees the old file or the new one, also after a power cut.

    Missing parents are made with mode 0700. The file has its mode before it has its name.
    """
    _make_parents(path.parent)
    descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove(path: Path, known: str) -> bool:
    """Remove the file if its digest is `known`, or if it is gone already; False if it was left because it is
    another.
    """
    found = look(path)
    if found is None:
        return True
    if found.digest != known:
        return False
    path.unlink(missing_ok=True)
    return True


def _make_parents(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_parents(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)  # Path.mkdir(parents=True) would give parents the umask's mode
