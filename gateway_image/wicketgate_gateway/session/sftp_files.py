"""What passes of a file over SFTP: counted, digested, and in the recording where the policy asks for it.

How this works: each direction of an open file is counted and digested in the order of the requests. With
`record: {files: content}` the bytes themselves go into the recording as well (`wire.ssh.channel`, FILE), as masked by
the policy's detectors, up to a limit; what is beyond it, and what does not come in the file's order, is by digest
alone, and the note at the file's end says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from wicketgate_gateway.masking.redactor import Redactor
from wicketgate_gateway.wire.ssh import channel as frames


class Content:
    """The content of one direction, on its way into the recording. `record` takes frames; `limit` is in bytes."""

    def __init__(
        self, seq: int, *, written: bool, limit: int, mask: Redactor | None, record: Callable[[bytes], None]
    ) -> None:
        self._seq = seq
        self._written = written
        self._limit = limit
        self._mask = mask
        self._record: Callable[[bytes], None] | None = record
        self._taken = 0
        self.kept = 0
        """Bytes in the recording."""
        self.why = ""
        """Why not all of it is."""

    def add(self, data: bytes | memoryview) -> None:
        """The next piece in the file's order."""
        if self._record is None:
            return
        room = self._limit - self._taken
        piece = bytes(data[:room])
        self._taken += len(piece)
        self._put(piece if self._mask is None else self._mask.feed(piece))
        if len(data) > room:
            self.stop(f"the first {self._limit} bytes alone, the policy's limit")

    def stop(self, why: str = "") -> None:
        """There is no more, or no more of it is kept."""
        if self._record is None:
            return
        if self._mask is not None:
            self._put(self._mask.flush())
        self._record = None
        self.why = why

    def _put(self, data: bytes) -> None:
        assert self._record is not None
        for at in range(0, len(data), frames.MAX_DATA):
            piece = data[at : at + frames.MAX_DATA]
            self.kept += len(piece)
            self._record(frames.file_frame(self._seq, piece, written=self._written))


@dataclass(slots=True)
class Counted:
    """What passed of a file in one direction, and its digest in the order of the requests."""

    size: int = 0
    ordered: bool = True
    digest: Any = field(default_factory=hashlib.sha256)
    content: Content | None = None

    def add(self, offset: int, data: bytes | memoryview) -> None:
        """The next piece."""
        if offset != self.size:
            self.ordered = False
        self.size += len(data)
        self.digest.update(data)
        if self.content is not None:
            if self.ordered:
                self.content.add(data)
            else:
                self.content.stop("what came in the file's order alone")

    def document(self) -> dict[str, Any]:
        """For the recording, at the file's end."""
        found: dict[str, Any] = {"bytes": self.size, "sha256": self.digest.hexdigest(), "inOrder": self.ordered}
        if self.content is not None:
            self.content.stop(self.content.why)
            found["content"] = {"bytes": self.content.kept, "left": self.content.why}
        return found


@dataclass(slots=True)
class Handle:
    """An open file or folder."""

    path: str
    seq: int
    started: int
    reads: bool
    writes: bool
    read: Counted = field(default_factory=Counted)
    written: Counted = field(default_factory=Counted)
