"""SFTP request by request: resolved, decided on what was resolved, and on what a link became meanwhile."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.policy.ssh import File
from wicketgate_gateway.session.sftp import SftpChannel
from wicketgate_gateway.wire.ssh import sftp
from wicketgate_gateway.wire.ssh.channel import FrameDecoder, Kind
from wicketgate_gateway.wire.ssh.sftp import PacketDecoder, Type

pytestmark = pytest.mark.anyio
Eventually = Callable[[Callable[[], object]], Awaitable[None]]


class Side:
    """The channel, the owner and the target of a guard. `links` are the target's; `become` are those after an open."""

    def __init__(self, links: dict[str, str] | None = None, become: dict[str, str] | None = None) -> None:
        self.links, self.become = links or {}, become or {}
        self.came: list[tuple[int, bytes]] = []
        self.requests: list[tuple[int, bytes]] = []
        self.decided: list[str] = []
        self.said: list[str] = []
        self.failed = False
        self.over = self.withhold = False
        self.take: Any = None
        self.answers: Any = None
        self._decoder, self._out, self._frames = PacketDecoder(), PacketDecoder(), FrameDecoder()
        policy = SimpleNamespace(data_masks=(), record=SimpleNamespace(files_up_to=0))
        self.session = SimpleNamespace(policy=policy, recording_trouble=lambda: None, recording=None, id="s")
        self.guard = SftpChannel(self, self)  # type: ignore[arg-type]
        self.guard.begin()

    # The owner.

    def decide(self, files: list[File], text: str) -> Verdict:
        self.decided.append(text)
        fine = all(file.path.startswith("/open") for file in files)
        return Verdict(Effect.ALLOW if fine else Effect.DENY, "p#1", "" if fine else "not there")

    def operation(self, verdict: Verdict, text: str, files: Any) -> Any:
        return SimpleNamespace(seq=len(self.decided))

    async def journalled(self, events: Any) -> None: ...

    def finished(self, *_: Any, **__: Any) -> None: ...

    # The channel.

    def to_target(self, data: bytes) -> None:
        for kind, body in self._decoder.feed(data):
            self.requests.append((kind, body))
            asyncio.get_running_loop().call_soon(self._answer, kind, body)

    def unrecorded(self, frame: bytes) -> None:
        for _, payload in self._frames.feed(frame):
            self.came += self._out.feed(payload)

    def record(self, frame: bytes, *, client: bool) -> None: ...

    def say(self, text: str) -> None:
        self.said.append(text)

    def fail(self) -> None:
        self.failed = True

    def credit(self) -> None: ...

    def end_of_input(self) -> None: ...

    # The target.

    def _answer(self, kind: int, body: bytes) -> None:
        number = sftp.read_id(body)
        if kind == Type.INIT:
            out = struct.pack(">IBI", 5, Type.VERSION, 3)
        elif kind == Type.REALPATH:
            path = sftp.read_request(kind, body).paths[0].decode()
            found = "/home/bot" if path == "." else self.links.get(path, path)
            out = sftp.packet(
                Type.NAME, number, struct.pack(">I", 1) + sftp.string(found.encode()) + sftp.string(b"") + bytes(4)
            )
        elif kind in (Type.OPEN, Type.OPENDIR):
            self.links |= self.become
            out = sftp.packet(Type.HANDLE, number, sftp.string(b"h"))
        else:
            out = sftp.status(number, sftp.OK)
        self.guard.from_target(Kind.STDOUT, out)

    def ask(self, kind: int, number: int, *paths: str, rest: bytes = b"") -> None:
        body = b"".join(sftp.string(path.encode()) for path in paths) + rest
        self.guard.from_client(Kind.STDIN, sftp.packet(kind, number, body))

    def begin(self) -> None:
        self.guard.from_client(Kind.STDIN, sftp.init())

    def status(self, number: int) -> int | None:
        for kind, body in self.came:
            if kind == Type.STATUS and sftp.read_id(body) == number:
                return sftp.read_status(body)
        return None


OPEN_READ = struct.pack(">II", sftp.READ_FLAG, 0)


async def test_the_decision_is_on_where_a_path_leads(eventually: Eventually) -> None:
    side = Side(links={"/open/link": "/vault/key"})
    side.begin()
    side.ask(Type.STAT, 1, "/open/link")
    await eventually(lambda: side.status(1) is not None)
    assert side.status(1) == sftp.PERMISSION_DENIED
    assert side.decided == ["sftp read /vault/key"]
    assert Type.STAT not in [kind for kind, _ in side.requests]


async def test_what_goes_out_is_the_resolved_path(eventually: Eventually) -> None:
    side = Side(links={"/a/../open/x": "/open/x"})
    side.begin()
    side.ask(Type.STAT, 1, "/a/../open/x")
    await eventually(lambda: side.status(1) is not None)
    (asked,) = [body for kind, body in side.requests if kind == Type.STAT]
    assert sftp.read_request(Type.STAT, asked).paths == (b"/open/x",)


async def test_a_file_that_became_a_link_is_not_given_out(eventually: Eventually) -> None:
    side = Side(become={"/open/x": "/vault/key"})
    side.begin()
    side.ask(Type.OPEN, 1, "/open/x", rest=OPEN_READ)
    await eventually(lambda: side.status(1) is not None)
    assert side.status(1) == sftp.PERMISSION_DENIED
    assert Type.HANDLE not in [kind for kind, _ in side.came]
    assert side.requests[-1][0] == Type.CLOSE


async def test_handles_are_those_given_and_for_what_they_are(eventually: Eventually) -> None:
    side = Side()
    side.begin()
    side.ask(Type.READ, 1, "h", rest=struct.pack(">QI", 0, 10))
    assert side.status(1) == sftp.FAILURE
    side.ask(Type.OPEN, 2, "/open/x", rest=OPEN_READ)
    await eventually(lambda: any(kind == Type.HANDLE for kind, _ in side.came))
    side.ask(Type.WRITE, 3, "h", rest=struct.pack(">Q", 0) + sftp.string(b"x"))
    await eventually(lambda: side.status(3) is not None)
    assert side.status(3) == sftp.PERMISSION_DENIED
    assert Type.WRITE not in [kind for kind, _ in side.requests]


async def test_a_rename_and_links_touch_two_paths(eventually: Eventually) -> None:
    side = Side()
    side.begin()
    side.ask(Type.RENAME, 1, "/open/a", "/vault/b")
    side.ask(Type.SYMLINK, 2, "/vault/key", "/open/mine")
    await eventually(lambda: side.status(2) is not None)
    assert (side.status(1), side.status(2)) == (sftp.PERMISSION_DENIED, sftp.PERMISSION_DENIED)
    assert side.decided[0] == "sftp rename /open/a; sftp write /vault/b"
    assert "sftp link /vault/key" in side.decided[1]


async def test_what_is_not_known_is_not_passed_on(eventually: Eventually) -> None:
    side = Side()
    side.begin()
    side.guard.from_client(Kind.STDIN, sftp.packet(Type.EXTENDED, 1, sftp.string(b"copy-data") + b"x"))
    side.guard.from_client(Kind.STDIN, sftp.packet(99, 2))
    await eventually(lambda: side.status(2) is not None)
    assert (side.status(1), side.status(2)) == (sftp.OP_UNSUPPORTED, sftp.OP_UNSUPPORTED)


async def test_broken_packets_end_it() -> None:
    for raw in (sftp.packet(Type.STAT, 1), b"\xff\xff\xff\xff\x01"):
        side = Side()
        side.guard.from_client(Kind.STDIN, raw)
        assert side.failed


async def test_an_answer_to_nothing_ends_it() -> None:
    side = Side()
    side.begin()
    side.guard.from_target(Kind.STDOUT, sftp.status(77, sftp.OK))
    assert side.failed


async def test_special_bits_need_attributes(eventually: Eventually) -> None:
    side = Side()
    side.begin()
    flags = sftp.WRITE_FLAG | sftp.CREATE_FLAG
    side.ask(Type.OPEN, 1, "/open/x", rest=struct.pack(">III", flags, sftp.ATTR_MODE, 0o4755))
    await eventually(lambda: any(kind == Type.HANDLE for kind, _ in side.came))
    assert side.decided == ["sftp write /open/x; sftp attributes /open/x"]
    side.ask(Type.FSETSTAT, 2, "h", rest=struct.pack(">II", sftp.ATTR_MODE, 0o644))
    side.ask(Type.FSETSTAT, 3, "h", rest=struct.pack(">II", sftp.ATTR_MODE, 0o6755))
    await eventually(lambda: side.status(3) is not None)
    assert side.decided[1:] == ["sftp attributes /open/x"]
