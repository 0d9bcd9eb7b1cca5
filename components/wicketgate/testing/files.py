"""Files as a careful daemon writes them: atomically, and 0600 when they hold a secret."""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Generator
from pathlib import Path


def write_atomic(path: Path, data: bytes | str, *, mode: int = 0o600) -> Path:
    """Writes `data` to `path` so that a reader sees the old content or the new, never a part.

    The file has `mode` before it holds a byte. Raises OSError as the file system does.
    """
    content = data.encode() if isinstance(data, str) else data
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        os.fchmod(descriptor, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path


def private_folder(path: Path) -> Path:
    """Creates `path` with its parents, readable by its owner alone (0700); an existing folder stays as it is."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def sole_owner(folder: Path) -> Generator[None]:
    """Holds `folder` for this process; the hold ends with the context or the process, however that ends.

    Raises OSError if another one holds it.
    """
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"`{folder}` is in use by another process; stop that one, or choose another folder"
            raise OSError(message) from None
        yield
    finally:
        os.close(descriptor)
