"""Where the paths of SFTP requests really lead, and what is done to each.

How this works: the target is asked for each path (REALPATH) before the decision, and what is decided on is its answer.
Where a request does not follow its path's last part, only the folder is resolved.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from wicketgate_gateway.contract.ssh import FileOperation
from wicketgate_gateway.wire.ssh import sftp
from wicketgate_gateway.wire.ssh.sftp import Request, SftpError, Type

READ, WRITE = FileOperation.READ, FileOperation.WRITE


class SftpDeniedError(Exception):
    """The request is not passed on."""

    def __init__(self, reason: str, code: int = sftp.PERMISSION_DENIED, *, answered: bool = False) -> None:
        super().__init__(reason)
        self.code = code
        self.answered = answered
        """The client has its answer."""


class Paths:
    """Resolves paths by `ask`, which gives type and payload of the answer to a REALPATH request."""

    def __init__(self, ask: Callable[[bytes], Awaitable[tuple[int, bytes]]]) -> None:
        self._ask = ask
        self._home: str | None = None

    async def places(self, request: Request) -> tuple[list[str], list[tuple[FileOperation, str]]]:
        """The request's paths as they are once links are resolved, and what is done to each."""
        kind, extension = request.type, request.extension
        first = request.paths[0]
        match kind:
            case Type.OPEN:
                if request.flags & ~sftp.KNOWN_FLAGS or not request.flags & (sftp.READ_FLAG | sftp.WRITE_FLAG):
                    raise SftpDeniedError("it is opened in a way that is not known", sftp.BAD_MESSAGE)
                path = await self.resolve(first)
                changes = request.flags & ~sftp.READ_FLAG
                reads = request.flags & sftp.READ_FLAG
                special = changes and not sftp.plain_attributes(request.attributes)
                found = [(READ, path)] * bool(reads) + [(WRITE, path)] * bool(changes)
                return [path], found + [(FileOperation.ATTRIBUTES, path)] * bool(special)
            case Type.OPENDIR | Type.STAT | Type.REALPATH:
                path = await self.resolve(first)
                return [path], [(READ, path)]
            case Type.LSTAT | Type.READLINK:
                path = await self.resolve(first, follow=False)
                return [path], [(READ, path)]
            case Type.MKDIR:
                path = await self.resolve(first, follow=False)
                special = not sftp.plain_attributes(request.attributes)
                return [path], [(WRITE, path)] + [(FileOperation.ATTRIBUTES, path)] * special
            case Type.REMOVE | Type.RMDIR:
                path = await self.resolve(first, follow=False)
                return [path], [(FileOperation.REMOVE, path)]
            case Type.SETSTAT:
                path = await self.resolve(first)
                return [path], [(FileOperation.ATTRIBUTES, path)]
            case Type.RENAME:
                return await self._renamed(request)
            case Type.SYMLINK:
                return await self._linked(request)
            case _:
                pass
        match extension:
            case b"posix-rename@openssh.com":
                return await self._renamed(request)
            case b"hardlink@openssh.com":
                # Another name for a file is a way around every rule on the first one.
                old, new = await self.resolve(first, follow=False), await self.resolve(request.paths[1], follow=False)
                link = FileOperation.LINK
                return [old, new], [(link, old), (READ, old), (WRITE, old), (link, new)]
            case b"lsetstat@openssh.com":
                path = await self.resolve(first, follow=False)
                return [path], [(FileOperation.ATTRIBUTES, path)]
            case b"expand-path@openssh.com":
                if first != b"~" and not first.startswith((b"~/", b"/")) and first.startswith(b"~"):
                    raise SftpDeniedError("other accounts' homes are not looked up")
                home = await self.home()
                path = await self.resolve(home.encode() + first[1:] if first.startswith(b"~") else first)
                return [path], [(READ, path)]
            case _:
                path = await self.resolve(first)
                return [path], [(READ, path)]

    async def _renamed(self, request: Request) -> tuple[list[str], list[tuple[FileOperation, str]]]:
        old = await self.resolve(request.paths[0], follow=False)
        new = await self.resolve(request.paths[1], follow=False)
        return [old, new], [(FileOperation.RENAME, old), (WRITE, new)]

    async def _linked(self, request: Request) -> tuple[list[str], list[tuple[FileOperation, str]]]:
        # OpenSSH's server takes the link's target first (its PROTOCOL, 4.1). The target stays as it was given, but
        # what it leads to from the link's folder must be covered, too.
        target, link = request.paths
        path = await self.resolve(link, follow=False)
        folder = path.rpartition("/")[0]
        leads = await self.resolve(target if target.startswith(b"/") else f"{folder}/".encode() + target)
        kind = FileOperation.LINK
        return [_text(target), path], [(kind, path), (kind, leads), (READ, leads)]

    async def resolve(self, raw: bytes, *, follow: bool = True) -> str:
        """The absolute path without links that a path leads to; with `follow=False` its last part is not followed."""
        text = _text(raw)
        last = ""
        if not follow:
            parent, _, last = text.rstrip("/").rpartition("/")
            if last in ("", ".", ".."):
                last = ""
            else:
                absolute = text.startswith("/")
                text = parent or ("/" if absolute else ".")
        code, payload = await self._ask(text.encode())
        if code != Type.NAME:
            # Not there, or not to be seen: the same answer for both.
            raise SftpDeniedError("", sftp.NO_SUCH_FILE)
        found = _text(sftp.read_name(payload))
        parts = found.split("/")
        if not found.startswith("/") or any(part in ("", ".", "..") for part in parts[1:] if found != "/"):
            raise SftpError("the server gave a path that is not resolved")
        if not last:
            return found
        return f"/{last}" if found == "/" else f"{found}/{last}"

    async def home(self) -> str:
        """The account's home."""
        if self._home is None:
            self._home = await self.resolve(b".")
        return self._home


def _text(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise SftpDeniedError("the path is not UTF-8") from None
    if "\0" in text:
        raise SftpDeniedError("the path holds a NUL")
    if not text:
        return "."
    return text
