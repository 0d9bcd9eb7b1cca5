"""Held file operations: what people see of them, and files that are gathered until they are approved.

How this works: people see the request in words, each path as it is once links are resolved, and what is there now. A
file whose writing is held gets a handle of the gateway's; what is written to it stays here, up to `MAX_CONTENT` and in
the file's order alone, and is shown whole when the client closes it, as part of what is approved. The same file sent
again after the approval is the same operation.
"""

from __future__ import annotations

import json
import stat
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from wicketgate_gateway.contract.verdict import Verdict
from wicketgate_gateway.policy.ssh import File
from wicketgate_gateway.session.sftp_files import Counted
from wicketgate_gateway.wire.ssh import sftp
from wicketgate_gateway.wire.ssh.sftp import Attributes, Request, Type

MAX_CONTENT = 64 * 1024
PIECE = 32 * 1024
CONTENT = "content"
"""What the file's content is called where people look at it."""
_FLAGS = {
    sftp.READ_FLAG: "read",
    sftp.WRITE_FLAG: "write",
    sftp.APPEND_FLAG: "append",
    sftp.CREATE_FLAG: "create",
    sftp.TRUNCATE_FLAG: "truncate",
    sftp.EXCLUSIVE_FLAG: "only if new",
}


@dataclass(frozen=True, slots=True)
class Asking:
    """What people are asked."""

    files: list[File]
    text: str
    facts: dict[str, str]
    verdict: Verdict
    content: bytes = b""
    content_follows: bool = False
    """The operation is not over once the approval is used."""


@dataclass(slots=True)
class HeldFile:
    """A file that is opened for nobody but the gateway. `path` has no link in it."""

    opening: Request
    path: str
    files: list[File]
    text: str
    verdict: Verdict
    content: bytearray = field(default_factory=bytearray)
    attributes: list[bytes] = field(default_factory=list[bytes])
    refused: str = ""
    """Why it cannot be shown whole."""
    remedy: str = ""

    def take(self, request: Request) -> bytes:
        """The answer to a request on the handle, other than CLOSE."""
        match request.type:
            case Type.WRITE:
                if request.offset != len(self.content):
                    self._refuse("it is not written in its order, and cannot be shown whole", "write it from the start")
                elif request.offset + len(request.data) > MAX_CONTENT:
                    self._refuse(
                        f"it is longer than {MAX_CONTENT} bytes, and cannot be shown whole",
                        "ask the policy's owner to allow or deny writing here",
                    )
                if self.refused:
                    return sftp.status(request.id, sftp.FAILURE, self.refused)
                self.content += request.data
            case Type.FSETSTAT:
                if not sftp.plain_attributes(request.attributes):
                    return sftp.status(request.id, sftp.PERMISSION_DENIED, "owners and special bits are not held")
                if len(self.attributes) >= 8:
                    return sftp.status(request.id, sftp.FAILURE, "too many attributes")
                self.attributes.append(request.attributes)
            case Type.FSTAT:
                rest = struct.pack(">IQ", sftp.ATTR_SIZE, len(self.content))
                return sftp.packet(Type.ATTRS, request.id, rest)
            case Type.EXTENDED if request.extension == b"fsync@openssh.com":
                pass
            case _:
                return sftp.status(request.id, sftp.PERMISSION_DENIED, "the file waits for approval")
        return sftp.status(request.id, sftp.OK)

    def _refuse(self, why: str, remedy: str) -> None:
        self.refused, self.remedy = self.refused or why, self.remedy or remedy

    def facts(self) -> dict[str, str]:
        """What changes the meaning, beside the content."""
        found = facts(self.opening, [self.path])
        found["size"] = f"{len(self.content)} bytes"
        if self.attributes:
            found["then"] = "; ".join(attributes_said(each) for each in self.attributes)
        return found

    def packets(self, handle: bytes, number: Callable[[], int], written: Counted) -> Iterator[bytes]:
        """The requests that write it, each to be answered before the next."""
        for at in range(0, len(self.content), PIECE):
            data = bytes(self.content[at : at + PIECE])
            written.add(at, data)
            place = sftp.string(handle) + struct.pack(">Q", at)
            yield sftp.packet(Type.WRITE, number(), place + sftp.string(data))
        for each in self.attributes:
            yield sftp.packet(Type.FSETSTAT, number(), sftp.string(handle) + each)


def facts(request: Request, paths: list[str]) -> dict[str, str]:
    """The request in words: all that it says is in them."""
    found = {
        "kind": "sftp",
        "request": request.extension.decode("ascii", "replace") or Type(request.type).name.lower(),
        "paths": json.dumps(paths, ensure_ascii=False),
        "attributes": attributes_said(request.attributes),
    }
    if request.type == Type.OPEN:
        found["flags"] = ", ".join(name for flag, name in _FLAGS.items() if request.flags & flag)
    return found


def attributes_said(raw: bytes) -> str:
    """Attributes in words, each with its value."""
    if len(raw) < 4:
        return "none"
    (flags,) = struct.unpack_from(">I", raw)
    if flags & sftp.ATTR_EXTENDED:
        return f"extended: {raw.hex()}"
    at = 4
    parts: list[str] = []
    if flags & sftp.ATTR_SIZE:
        parts.append(f"size {struct.unpack_from('>Q', raw, at)[0]}")
        at += 8
    if flags & sftp.ATTR_IDS:
        user, group = struct.unpack_from(">II", raw, at)
        parts.append(f"owner {user}, group {group}")
        at += 8
    if flags & sftp.ATTR_MODE:
        parts.append(f"mode {struct.unpack_from('>I', raw, at)[0] & 0o7777:04o}")
        at += 4
    if flags & sftp.ATTR_TIMES:
        accessed, modified = struct.unpack_from(">II", raw, at)
        parts.append(f"read {_moment(accessed)}, changed {_moment(modified)}")
    return ", ".join(parts) or "none"


def described(found: Attributes) -> str:
    """What is at a path."""
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISLNK, "a link"), (stat.S_ISREG, "a file"))
    kind = next((name for is_it, name in kinds if is_it(found.mode)), "neither file nor folder")
    size = f" of {found.size} bytes" if kind == "a file" else ""
    return f"{kind}{size}, mode {found.mode & 0o7777:04o}, changed {_moment(found.modified)}"


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
