"""`scp -O` played to a client: what it sends and asks for becomes SFTP requests, and errors come back."""

from __future__ import annotations

import asyncio
import posixpath
import struct
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from wicketgate_gateway.session.scp import DENIED, FAILED, ScpChannel
from wicketgate_gateway.wire.ssh import scp, sftp
from wicketgate_gateway.wire.ssh.channel import FrameDecoder, Kind
from wicketgate_gateway.wire.ssh.sftp import PacketDecoder, Type

pytestmark = pytest.mark.anyio
Eventually = Callable[[Callable[[], object]], Awaitable[None]]


class Files:
    """Stands for `SftpChannel` and a target: what is below `/no` is denied."""

    def __init__(self, files: dict[str, bytes | None]) -> None:
        self.files = files
        """Content by path; None: a folder."""
        self.requests: list[tuple[int, str]] = []
        self.times: dict[str, tuple[int, int, int]] = {}
        self.reply: Callable[[bytes], None] = lambda _: None
        self.denied = self.pending = False
        self.listed: list[bytes] | None = None
        self.shorter = 0
        self._decoder = PacketDecoder()
        self._open: dict[bytes, str] = {}
        self._given: set[bytes] = set()

    def begin(self) -> None: ...

    def from_client(self, kind: int, payload: bytes) -> None:
        assert kind == Kind.STDIN
        for found, body in self._decoder.feed(payload):
            asyncio.get_running_loop().call_soon(self._answer, found, body)

    def _answer(self, kind: int, body: bytes) -> None:
        if kind == Type.INIT:
            self.reply(struct.pack(">IBI", 5, Type.VERSION, 3))
            return
        request = sftp.read_request(kind, body)
        path = request.paths[0].decode() if request.paths else self._open.get(request.handle, "")
        self.requests.append((kind, path))
        self.reply(self._made(request, path))

    def _made(self, request: sftp.Request, path: str) -> bytes:
        ok = sftp.status(request.id, sftp.OK)
        if path.startswith("/no"):
            self.denied = True
            return sftp.status(request.id, sftp.PERMISSION_DENIED, "not for you")
        match request.type:
            case Type.STAT:
                if path not in self.files:
                    return sftp.status(request.id, sftp.NO_SUCH_FILE, "No such file")
                found = self.files[path]
                mode = 0o040755 if found is None else 0o100640
                flags = sftp.ATTR_SIZE | sftp.ATTR_MODE | sftp.ATTR_TIMES
                rest = struct.pack(">IQIII", flags, len(found or b""), mode, 5, 6)
                return sftp.packet(Type.ATTRS, request.id, rest)
            case Type.OPEN | Type.OPENDIR:
                if request.flags & sftp.WRITE_FLAG:
                    self.files[path] = b""
                handle = str(len(self._open)).encode()
                self._open[handle] = path
                return sftp.packet(Type.HANDLE, request.id, sftp.string(handle))
            case Type.WRITE:
                content = self.files[path] or b""
                assert request.offset == len(content)
                self.files[path] = content + request.data
            case Type.READ:
                content = (self.files[path] or b"")[: len(self.files[path] or b"") - self.shorter]
                data = content[request.offset : request.offset + request.length]
                if not data:
                    return sftp.status(request.id, sftp.EOF, "end")
                return sftp.packet(Type.DATA, request.id, sftp.string(data))
            case Type.READDIR:
                if request.handle in self._given:
                    return sftp.status(request.id, sftp.EOF, "end")
                self._given.add(request.handle)
                names = self.listed
                if names is None:
                    names = [b".", b".."]
                    names += [p.rpartition("/")[2].encode() for p in self.files if posixpath.dirname(p) == path]
                each = b"".join(sftp.string(n) + sftp.string(b"") + bytes(4) for n in names)
                return sftp.packet(Type.NAME, request.id, struct.pack(">I", len(names)) + each)
            case Type.MKDIR:
                self.files[path] = None
            case Type.SETSTAT | Type.FSETSTAT:
                _, mode, accessed, modified = struct.unpack(">IIII", request.attributes)
                self.times[path] = (mode, modified, accessed)
            case _:
                assert request.type == Type.CLOSE
        return ok


class Side:
    """The channel of one `scp`, and its client."""

    def __init__(self, command: str, files: dict[str, bytes | None]) -> None:
        copying = scp.copying(command)
        assert copying is not None
        self.files = Files(files)
        self.out = b""
        self.said: list[str] = []
        self.status: int | None = None
        self.withhold = False
        self.own_status = False
        self.client_writable = True
        self.take: Any = None
        self.on_credit: Callable[[], None] = lambda: None
        self._frames = FrameDecoder()
        owner = SimpleNamespace(backlogged=False, session=SimpleNamespace(id="s"), end=None)
        self.scp = ScpChannel(owner, self, copying, self.files)  # type: ignore[arg-type]
        self.scp.begin()

    def unrecorded(self, frame: bytes) -> None:
        for kind, payload in self._frames.feed(frame):
            assert kind == Kind.STDOUT
            self.out += payload

    def say(self, text: str) -> None:
        self.said.append(text)

    def leave(self, status: int) -> None:
        self.status = status

    def credit(self) -> None: ...

    def send(self, data: bytes, *, end: bool = False) -> None:
        self.take(Kind.STDIN, data)
        if end:
            self.take(Kind.EOF, b"")


async def test_a_file_comes_to_the_target(eventually: Eventually) -> None:
    data = bytes(range(256)) * 400
    side = Side("scp -t /in", {"/in": None})
    # All at once, as a client that does not wait: pieces and answers still come in order.
    side.send(b"C0644 %d a.txt\n" % len(data) + data + b"\0", end=True)
    await eventually(lambda: side.status is not None)
    assert (side.status, side.out) == (0, b"\0\0\0")
    assert side.files.files["/in/a.txt"] == data
    assert [kind for kind, _ in side.files.requests][-1] == Type.CLOSE


@pytest.mark.parametrize("at", [1, 3, 14, 15, 17, 18])
async def test_pieces_of_any_size(eventually: Eventually, at: int) -> None:
    side = Side("scp -t /x", {})
    whole = b"C0600 3 a.txt\nabc\0"
    side.send(whole[:at])
    await asyncio.sleep(0)
    side.send(whole[at:], end=True)
    await eventually(lambda: side.status is not None)
    assert (side.status, side.files.files) == (0, {"/x": b"abc"})


async def test_a_tree_with_times(eventually: Eventually) -> None:
    side = Side("scp -r -p -t /in", {"/in": None})
    side.send(
        b"T11 0 12 0\nD0750 0 tree\nT21 0 22 0\nC0640 2 f\nhi\0D0755 0 sub\nE\nE\n", end=True
    )  # fmt: skip
    await eventually(lambda: side.status is not None)
    assert side.status == 0
    assert side.files.files == {"/in": None, "/in/tree": None, "/in/tree/f": b"hi", "/in/tree/sub": None}
    assert side.files.times == {"/in/tree/f": (0o640, 21, 22), "/in/tree": (0o750, 11, 12)}


async def test_what_is_denied_is_told_and_the_rest_goes_on(eventually: Eventually) -> None:
    side = Side("scp -t /in", {"/in": None, "/in/x": b""})
    side.files.files["/in"] = None
    side.send(b"C0644 1 ok\nx\0")
    await eventually(lambda: side.out == b"\0\0\0")
    denied = Side("scp -t /no/where", {})
    denied.send(b"C0644 3 a\n", end=True)
    await eventually(lambda: denied.status is not None)
    assert (denied.status, denied.out) == (DENIED, b"\0\x01scp: /no/where: not for you\n")


@pytest.mark.parametrize(
    "lines",
    [
        b"C0644 1 ../x\nx\0", b"C0644 1 a/b\nx\0", b"D0755 0 d\n", b"E\n", b"nonsense\n", b"C0644 1 ..\nx\0",
        b"x" * 9000, b"C0644 5 a\nab",
    ],
)  # fmt: skip
async def test_attack_a_client_that_breaks_the_protocol(eventually: Eventually, lines: bytes) -> None:
    side = Side("scp -t /in", {"/in": None})
    side.send(lines, end=True)
    await eventually(lambda: side.status is not None)
    assert side.status == FAILED
    assert set(side.files.files) <= {"/in", "/in/a"}


async def test_a_folder_that_must_be_one(eventually: Eventually) -> None:
    side = Side("scp -d -t /file", {"/file": b""})
    await eventually(lambda: side.status is not None)
    assert (side.status, side.out) == (FAILED, b"\x01scp: /file: not a folder\n")


async def test_a_file_goes_to_the_client(eventually: Eventually) -> None:
    data = bytes(range(256)) * 1000
    side = Side("scp -p -f /out/a.txt", {"/out/a.txt": data})
    side.send(b"\0" * 5)
    await eventually(lambda: side.status is not None)
    assert side.status == 0
    assert side.out == b"T6 0 5 0\nC0640 %d a.txt\n" % len(data) + data + b"\0"


async def test_a_tree_goes_to_the_client(eventually: Eventually) -> None:
    side = Side("scp -r -f /out", {"/out": None, "/out/a": b"1", "/out/sub": None, "/out/sub/b": b"22"})
    side.send(b"\0" * 20)
    await eventually(lambda: side.status is not None)
    assert side.status == 0
    assert side.out == b"D0755 0 out\nC0640 1 a\n1\0D0755 0 sub\nC0640 2 b\n22\0E\nE\n"


async def test_errors_at_the_source_are_told(eventually: Eventually) -> None:
    side = Side("scp -f /gone /dir /no/x /a", {"/dir": None, "/a": b"1"})
    side.send(b"\0" * 10)
    await eventually(lambda: side.status is not None)
    assert side.status == DENIED
    assert side.out == (
        b"\x01scp: /gone: No such file\n\x01scp: /dir: not a regular file\n\x01scp: /no/x: not for you\nC0640 1 a\n1\0"
    )


async def test_a_file_that_shrinks_is_an_error_of_the_same_length(eventually: Eventually) -> None:
    side = Side("scp -f /a", {"/a": b"12345"})
    side.files.shorter = 2
    side.send(b"\0" * 10)
    await eventually(lambda: side.status is not None)
    assert side.status == FAILED
    assert side.out.startswith(b"C0640 5 a\n123\0\0\x01scp: /a: it changed")


@pytest.mark.parametrize("name", [b"../x", b"a/b", b"/etc/passwd", b"", b"a\nC0644 1 b"])
async def test_attack_a_target_whose_names_lead_elsewhere(eventually: Eventually, name: bytes) -> None:
    side = Side("scp -r -f /out", {"/out": None})
    side.files.listed = [name]
    side.send(b"\0" * 10)
    await eventually(lambda: side.status is not None)
    assert side.status == FAILED
    assert side.out == b""


async def test_a_client_that_does_not_read_stops_it(eventually: Eventually) -> None:
    side = Side("scp -f /a", {"/a": bytes(4_000_000)})
    side.client_writable = False
    side.send(b"\0" * 10)
    await eventually(lambda: len([1 for kind, _ in side.files.requests if kind == Type.READ]) >= 32)
    await asyncio.sleep(0.01)
    assert len([1 for kind, _ in side.files.requests if kind == Type.READ]) <= 33
    assert len(side.out) < 100
    side.client_writable = True
    side.on_credit()
    await eventually(lambda: side.status is not None)
    assert side.status == 0
    assert len(side.out) > 4_000_000


async def test_cut_off_it_ends(eventually: Eventually) -> None:
    side = Side("scp -t /x", {})
    side.send(b"C0600 10 a\nab")
    await eventually(lambda: any(kind == Type.WRITE for kind, _ in side.files.requests))
    side.scp.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert side.status is None
