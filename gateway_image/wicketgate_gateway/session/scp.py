"""`scp -O` through the gateway: its old protocol is spoken here, and what it asks for is SFTP at the target.

How this works: the host's own `scp` never runs, which would follow links and write whole trees by itself. A task plays
the sink (`scp -t`) or the source (`scp -f`) to the client, and makes SFTP requests of it that go through the very
`SftpChannel` that an SFTP client's would go through: each is resolved, decided, held, recorded and digested there. The
protocol's own lines are not on record, the requests are. Data passes in pieces, with a bounded number under way.
"""

from __future__ import annotations

import asyncio
import stat
import struct
from collections import deque
from typing import TYPE_CHECKING

import structlog

from wicketgate_gateway.session.session import SessionOverError
from wicketgate_gateway.wire.ssh import channel as frames
from wicketgate_gateway.wire.ssh import scp, sftp
from wicketgate_gateway.wire.ssh.channel import Kind
from wicketgate_gateway.wire.ssh.scp import Copying, End, Entry, Said, ScpError, Times
from wicketgate_gateway.wire.ssh.sftp import Attributes, PacketDecoder, SftpError, Type

if TYPE_CHECKING:
    from wicketgate_gateway.session.sftp import SftpChannel
    from wicketgate_gateway.session.ssh import SshSession
    from wicketgate_gateway.session.ssh_channel import Channel

PIECE = 32 * 1024
UNDER_WAY = 32
"""Reads or writes at once that the target has not answered."""
MAX_WAITING = 256 * 1024
MAX_DEPTH = 40
MAX_NAMES = 100_000
FAILED, DENIED, PENDING = 1, 126, 75
_OK = b"\0"

log = structlog.get_logger("wicketgate.ssh")


class RequestFailedError(Exception):
    """The target or the policy says no; the text says why."""


class GoneError(Exception):
    """The client has no more to say."""


class ScpChannel:
    """One `scp` command of the client. `sftp_` is the channel's way to the target."""

    def __init__(self, owner: SshSession, channel: Channel, copying: Copying, sftp_: SftpChannel) -> None:
        self._owner = owner
        self._channel = channel
        self._copying = copying
        self._sftp = sftp_
        self._decoder = PacketDecoder()
        self._number = 0
        self._answers: dict[int, asyncio.Future[tuple[int, bytes]]] = {}
        self._greeted = asyncio.Event()
        self._came = bytearray()
        self._ended = False
        self._wake = asyncio.Event()
        self._errors = 0
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """The target's subsystem is open."""
        self._sftp.reply = self._replied
        self._sftp.begin()
        self._channel.take = self.from_client
        self._channel.on_credit = self._wake.set
        self._channel.own_status = True
        self._task = asyncio.get_running_loop().create_task(self._run())

    def close(self) -> None:
        """The channel is over."""
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        for answer in self._answers.values():
            answer.cancel()

    def from_client(self, kind: int, payload: bytes) -> None:
        """A frame of the client."""
        if kind == Kind.STDIN:
            self._came += payload
            self._channel.withhold = len(self._came) > MAX_WAITING
        elif kind == Kind.EOF:
            self._ended = True
        self._wake.set()

    async def _run(self) -> None:
        try:
            self._sftp.from_client(Kind.STDIN, sftp.init())
            await self._greeted.wait()
            if self._copying.sink:
                await self._sink()
            else:
                await self._source()
        except GoneError:
            self._errors += 1
        except (ScpError, SftpError) as error:
            self._errors += 1
            self._channel.say(f"the copy ends: {error}")
        except RequestFailedError:
            self._errors += 1
        except SessionOverError as error:
            self._owner.end(error.sqlstate, error.message, hint=error.remedy, reason=error.code)
            return
        except Exception:
            log.exception("scp failed inside", session=self._owner.session.id)
            self._errors += 1
            self._channel.say("the copy failed inside the gateway")
        self._channel.leave(self._status())

    def _status(self) -> int:
        if not self._errors:
            return 0
        return PENDING if self._sftp.pending else DENIED if self._sftp.denied else FAILED

    # The client.

    def _send(self, data: bytes) -> None:
        self._channel.unrecorded(frames.data_frames(Kind.STDOUT, data))

    async def _more(self) -> None:
        self._wake.clear()
        if self._ended:
            raise GoneError
        await self._wake.wait()

    def _taken(self, count: int) -> bytes:
        data = bytes(self._came[:count])
        del self._came[:count]
        if self._channel.withhold and len(self._came) <= MAX_WAITING:
            self._channel.withhold = False
            self._channel.credit()
        return data

    async def _some(self, most: int) -> bytes:
        """Some bytes of the client. Raises GoneError."""
        while not self._came:
            await self._more()
        return self._taken(most)

    async def _line(self) -> bytes:
        """A line of the client, without its newline. Raises GoneError, ScpError."""
        while (end := self._came.find(b"\n", 0, scp.MAX_LINE)) < 0:
            if len(self._came) >= scp.MAX_LINE:
                raise ScpError("a line that is too long")
            await self._more()
        return self._taken(end + 1)[:-1]

    async def _accepted(self) -> bool:
        """Whether the client takes what it was told last. Raises GoneError, ScpError."""
        answer = await self._some(1)
        if answer == _OK:
            return True
        said = scp.read_line(answer + await self._line())
        if not isinstance(said, Said):
            raise ScpError("an answer that is none")
        self._errors += 1
        if said.fatal:
            raise GoneError
        return False

    def _fails(self, path: str, why: object) -> None:
        self._errors += 1
        self._send(scp.error_line(f"{path}: {why}"))

    async def _room(self) -> None:
        """Until the client takes more."""
        while not self._channel.client_writable or self._owner.backlogged:
            self._wake.clear()
            await self._wake.wait()

    # The target.

    def _replied(self, packet: bytes) -> None:
        for kind, body in self._decoder.feed(packet):
            if kind == Type.VERSION:
                self._greeted.set()
                continue
            answer = self._answers.pop(sftp.read_id(body), None)
            if answer is not None and not answer.done():
                answer.set_result((kind, body))

    def _begin(self, kind: int, rest: bytes) -> asyncio.Future[tuple[int, bytes]]:
        self._number += 1
        answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self._answers[self._number] = answer
        self._sftp.from_client(Kind.STDIN, sftp.packet(kind, self._number, rest))
        return answer

    async def _ask(self, kind: int, *strings: bytes, rest: bytes = b"") -> bytes:
        """The payload of the target's answer. Raises RequestFailedError."""
        return _good(await self._begin(kind, b"".join(sftp.string(each) for each in strings) + rest))

    async def _look(self, path: str) -> Attributes:
        return sftp.read_attributes((await self._ask(Type.STAT, path.encode()))[4:])

    async def _is_folder(self, path: str) -> bool:
        try:
            return stat.S_ISDIR((await self._look(path)).mode)
        except RequestFailedError:
            return False

    # Sink: the client sends files.

    async def _sink(self) -> None:
        copying = self._copying
        path = copying.paths[0]
        folders: list[tuple[str, Times | None, int]] = []
        inside = await self._is_folder(path)
        if copying.folder and not inside:
            self._fails(path, "not a folder")
            return
        self._send(_OK)
        times: Times | None = None
        while True:
            try:
                line = scp.read_line(await self._line())
            except GoneError:
                return
            match line:
                case Times():
                    times = line
                    self._send(_OK)
                case Said(fatal=fatal):
                    self._errors += 1
                    if fatal:
                        return
                case End():
                    if not folders:
                        raise ScpError("the end of a folder that did not begin")
                    done, kept, mode = folders.pop()
                    if kept is not None and not await self._set(done, kept, mode):
                        continue
                    self._send(_OK)
                case Entry():
                    base = folders[-1][0] if folders else path
                    to = f"{base.rstrip('/')}/{line.name}" if folders or inside else base
                    if not line.folder:
                        await self._receive(to, line, times)
                    elif not copying.recursive or len(folders) >= MAX_DEPTH:
                        raise ScpError("a folder that is not expected")
                    elif await self._enter(to, line):
                        folders.append((to, times, line.mode))
                    times = None

    async def _enter(self, path: str, entry: Entry) -> bool:
        if not await self._is_folder(path):
            try:
                await self._ask(Type.MKDIR, path.encode(), rest=_mode(entry.mode & 0o777 | 0o700))
            except RequestFailedError as error:
                self._fails(path, error)
                return False
        self._send(_OK)
        return True

    async def _set(self, path: str, times: Times, mode: int) -> bool:
        try:
            await self._ask(Type.SETSTAT, path.encode(), rest=_kept(times, mode))
        except RequestFailedError as error:
            self._fails(path, error)
            return False
        return True

    async def _receive(self, path: str, entry: Entry, times: Times | None) -> None:
        flags = sftp.WRITE_FLAG | sftp.CREATE_FLAG | sftp.TRUNCATE_FLAG
        mode = entry.mode if self._copying.times else entry.mode & 0o777
        try:
            opened = await self._ask(Type.OPEN, path.encode(), rest=struct.pack(">I", flags) + _mode(mode))
        except RequestFailedError as error:
            self._fails(path, error)  # and then the client sends nothing of it
            return
        handle = sftp.read_handle(opened)
        self._send(_OK)
        failed = ""
        under_way: deque[asyncio.Future[tuple[int, bytes]]] = deque()
        offset = 0
        try:
            while offset < entry.size:
                data = await self._some(min(PIECE, entry.size - offset))
                place = sftp.string(handle) + struct.pack(">Q", offset)
                under_way.append(self._begin(Type.WRITE, place + sftp.string(data)))
                offset += len(data)
                while len(under_way) > UNDER_WAY:
                    failed = _why(await under_way.popleft()) or failed
            await self._accepted()
        finally:
            # Also where the client is gone: what was written is closed, and on record by its digest.
            closing = self._begin(Type.FSETSTAT, sftp.string(handle) + _kept(times, mode)) if times else None
            closed = self._begin(Type.CLOSE, sftp.string(handle))
        for each in (*under_way, closing, closed):
            if each is not None:
                failed = _why(await each) or failed
        if failed:
            self._fails(path, failed)
        else:
            self._send(_OK)  # also where the client could not read it whole: that it knows, and it is counted

    # Source: the client gets files.

    async def _source(self) -> None:
        if not await self._accepted():
            return
        for path in self._copying.paths:
            await self._give(path, path.rstrip("/").rpartition("/")[2] or path, 0)

    async def _give(self, path: str, shown: str, depth: int) -> None:
        try:
            found = await self._look(path)
        except RequestFailedError as error:
            self._fails(path, error)
            return
        if stat.S_ISDIR(found.mode):
            if not self._copying.recursive or depth >= MAX_DEPTH:
                self._fails(path, "not a regular file" if depth < MAX_DEPTH else "too deep")
                return
            await self._give_folder(path, shown, found, depth)
        elif stat.S_ISREG(found.mode):
            await self._give_file(path, shown, found)
        else:
            self._fails(path, "not a regular file")

    async def _told(self, shown: str, found: Attributes, *, folder: bool) -> bool:
        if self._copying.times:
            self._send(scp.times_line(found.modified, found.accessed))
            if not await self._accepted():
                return False
        self._send(scp.entry_line(shown, found.mode & 0o777, found.size, folder=folder))
        return await self._accepted()

    async def _give_folder(self, path: str, shown: str, found: Attributes, depth: int) -> None:
        try:
            handle = sftp.read_handle(await self._ask(Type.OPENDIR, path.encode()))
        except RequestFailedError as error:
            self._fails(path, error)
            return
        names: list[str] = []
        while True:
            kind, body = await self._begin(Type.READDIR, sftp.string(handle))
            if kind != Type.NAME:
                break
            names += [scp.name(raw) for raw in sftp.read_names(body) if raw not in (b".", b"..")]
            if len(names) > MAX_NAMES:
                raise ScpError("a folder with too many names")
        await self._ask(Type.CLOSE, handle)
        if not await self._told(shown, found, folder=True):
            return
        for each in sorted(names):
            await self._give(f"{path.rstrip('/')}/{each}", each, depth + 1)
        self._send(b"E\n")
        await self._accepted()

    async def _give_file(self, path: str, shown: str, found: Attributes) -> None:
        try:
            opened = await self._ask(Type.OPEN, path.encode(), rest=struct.pack(">II", sftp.READ_FLAG, 0))
        except RequestFailedError as error:
            self._fails(path, error)
            return
        handle = sftp.read_handle(opened)
        try:
            if not await self._told(shown, found, folder=False):
                return
            failed = await self._give_data(handle, found.size)
        finally:
            closed = self._begin(Type.CLOSE, sftp.string(handle))
        await closed
        if failed:
            self._fails(path, failed)
        else:
            self._send(_OK)
        await self._accepted()

    async def _give_data(self, handle: bytes, size: int) -> str:
        """Sends exactly `size` bytes; what is wrong with them, if something is."""
        under_way: deque[tuple[int, asyncio.Future[tuple[int, bytes]]]] = deque()
        asked = 0
        failed = ""
        while asked < size or under_way:
            while asked < size and len(under_way) < UNDER_WAY:
                length = min(PIECE, size - asked)
                rest = sftp.string(handle) + struct.pack(">QI", asked, length)
                under_way.append((length, self._begin(Type.READ, rest)))
                asked += length
            await self._room()
            length, answer = under_way.popleft()
            kind, body = await answer
            data = body[8:] if kind == Type.DATA else b""
            if len(data) != length:
                # The client was told how many bytes come; a file that changed is an error behind them.
                failed = failed or "it changed, or could not be read whole"
                data = data[:length].ljust(length, b"\0")
            self._send(data)
        return failed


def _good(answer: tuple[int, bytes]) -> bytes:
    why = _why(answer)
    if why:
        raise RequestFailedError(why)
    return answer[1]


def _why(answer: tuple[int, bytes]) -> str:
    """What a status says that is none of success."""
    kind, body = answer
    if kind != Type.STATUS or sftp.read_status(body) == sftp.OK:
        return ""
    return sftp.read_message(body) or "it failed"


def _mode(mode: int) -> bytes:
    return struct.pack(">II", sftp.ATTR_MODE, mode)


def _kept(times: Times, mode: int) -> bytes:
    flags = sftp.ATTR_MODE | sftp.ATTR_TIMES
    return struct.pack(">IIII", flags, mode, times.accessed & 0xFFFFFFFF, times.modified & 0xFFFFFFFF)
