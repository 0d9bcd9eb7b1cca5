"""A file that grows by whole writes only, whatever the disk does in between.

How this works: each append is written at the known good end. When a write fails half-way (ENOSPC after half a frame),
the good end stays where it was, and the half is cut off: at once if the disk lets us, else before the next append.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

FILE_MODE = 0o600
FOLDER_MODE = 0o700
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


def make_folder(path: Path) -> None:
    """Make `path` and its missing parents, for our user alone. Raises OSError."""
    if path.is_dir():
        return
    path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    path.mkdir(mode=FOLDER_MODE, exist_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Whoever finds the file finds all of it. Raises OSError."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


class AppendFile:
    """A file open for appending; `end` is the offset after the last whole append."""

    def __init__(self, path: Path, fd: int, end: int) -> None:
        self.path = path
        self.fd = fd
        self.end = end
        self._dirty = False

    @classmethod
    def create(cls, path: Path) -> AppendFile:
        """A new file; one that is there already is an error (FileExistsError)."""
        return cls(path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, FILE_MODE), 0)

    @classmethod
    def open(cls, path: Path, end: int) -> AppendFile:
        """An existing file whose good part ends at `end`; whatever follows is cut off by the first append."""
        file = cls(path, os.open(path, os.O_WRONLY | _FLAGS), end)
        file._dirty = True
        return file

    def append(self, data: bytes) -> None:
        """Write all of `data`, or raise OSError and leave the file as it was."""
        if self._dirty:
            os.ftruncate(self.fd, self.end)
            self._dirty = False
        done = 0
        try:
            while done < len(data):
                written = os.pwrite(self.fd, memoryview(data)[done:] if done else data, self.end + done)
                if not written:
                    raise OSError(errno.EIO, "nothing was written")
                done += written
        except OSError:
            self._dirty = True
            with contextlib.suppress(OSError):
                os.ftruncate(self.fd, self.end)
                self._dirty = False
            raise
        self.end += done

    def gone(self) -> bool:
        """True if the path no longer leads to this file: writes would go to a file that nobody will ever find."""
        try:
            there, ours = os.stat(self.path), os.fstat(self.fd)
        except OSError:
            return True
        return (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)

    def close(self) -> None:
        """Close it; safe to call twice."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
