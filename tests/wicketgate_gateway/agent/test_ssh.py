"""The agent at a real sshd: a connection, its channels, and what becomes of them when the gateway ends them."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from tests.ssh import Sshd
from wicketgate_gateway.agent.ssh_target import SshTarget
from wicketgate_gateway.contract.targets import SshTarget as Config
from wicketgate_gateway.tunnel.messages import Control, Failed, Open, Opened, SshChannel
from wicketgate_gateway.wire.ssh import channel as frames
from wicketgate_gateway.wire.ssh.channel import FrameDecoder, Kind

pytestmark = pytest.mark.anyio
Eventually = Callable[[Callable[[], object]], Awaitable[None]]


class Tunnelled:
    """A stream as the agent has it; what was sent on it, in order."""

    def __init__(self) -> None:
        self.controls: list[Control] = []
        self.came: list[tuple[int, bytes]] = []
        self.reason: str | None = None
        self.returned = 0
        self.writable = True
        self.on_close: Callable[[str], None] = lambda _: None
        self.on_data: Callable[[bytes], None] | None = None
        self.on_writable: Callable[[], None] = lambda: None
        self._decoder = FrameDecoder()

    def send_control(self, message: Control) -> None:
        self.controls.append(message)

    def send(self, data: bytes) -> None:
        assert self.controls, "data before the answer"
        self.came += self._decoder.feed(data)

    def consumed(self, count: int) -> None:
        self.returned += count

    def close(self, reason: str) -> None:
        self.reason = self.reason or reason

    def of(self, kind: int) -> bytes:
        return b"".join(payload for found, payload in self.came if found == kind)


class Ends:
    """A target, and the streams that were opened at it."""

    def __init__(self, sshd: Sshd) -> None:
        self.target = SshTarget("web-1", Config.model_validate(sshd.target()))
        self.done: list[Any] = []

    def open(self, kind: str, command: str = "", session: str = "s1", **more: Any) -> Tunnelled:
        stream: Any = Tunnelled()
        wanted = SshChannel(session=session, kind=kind, command=command, **more)
        parameters = {"ssh": msgspec.json.encode(wanted).decode()}
        opening = Open(target="web-1", bot="some-bot", session=session, parameters=parameters)
        self.target.serve(stream, opening, self.done.append)
        return stream


@pytest.fixture
async def ends(sshd: Sshd) -> AsyncIterator[Ends]:
    made = Ends(sshd)
    yield made
    for link in list(made.target.links.values()):
        link.close()
        await link.wait_closed()
    made.target.close()


async def connected(ends: Ends, eventually: Eventually) -> Tunnelled:
    link = ends.open("connection")
    await eventually(lambda: link.controls)
    assert link.controls == [Opened(parameters={})]
    return link


async def test_a_command_its_input_output_and_status(ends: Ends, eventually: Eventually) -> None:
    await connected(ends, eventually)
    channel = ends.open("exec", "cat; echo $MODE >&2; exit 3", env={"MODE": "one"})
    await eventually(lambda: channel.on_data)
    given = frames.data_frames(Kind.STDIN, b"hello") + frames.frame(Kind.EOF)
    assert channel.on_data is not None
    channel.on_data(given)
    await eventually(lambda: channel.reason)
    assert (channel.of(Kind.STDOUT), channel.of(Kind.STDERR)) == (b"hello", b"one\n")
    assert channel.came[-1] == (Kind.EXIT, b"\0\0\0\3")
    assert channel.returned == len(given)
    assert len(ends.done) == 1


async def test_what_ends_by_a_signal_says_which(ends: Ends, eventually: Eventually) -> None:
    await connected(ends, eventually)
    channel = ends.open("exec", "kill -TERM $$")
    await eventually(lambda: channel.reason)
    assert channel.came[-1] == (Kind.EXIT_SIGNAL, b"TERM")


async def test_what_the_gateway_ends_is_killed(ends: Ends, eventually: Eventually) -> None:
    await connected(ends, eventually)
    channel = ends.open("exec", "exec sleep 71.5309")
    running = ["pgrep", "-f", "^sleep 71.5309$"]

    def runs() -> bool:
        return subprocess.run(running, capture_output=True, check=False).returncode == 0

    await eventually(runs)
    channel.on_close("cut off")
    await eventually(lambda: not runs())
    assert channel.of(Kind.EXIT) == b""


async def test_the_sessions_stream_is_the_connection(ends: Ends, eventually: Eventually) -> None:
    link = await connected(ends, eventually)
    connection = ends.target.links["s1"]
    link.on_close("the session ended")
    assert "s1" not in ends.target.links
    await asyncio.wait_for(connection.wait_closed(), 10)
    late = ends.open("exec", "uname")
    await eventually(lambda: late.controls)
    (told,) = late.controls
    assert isinstance(told, Failed)
    assert told.code == "target-lost"


async def test_a_channel_runs_on_no_other_sessions_connection(ends: Ends, eventually: Eventually) -> None:
    await connected(ends, eventually)
    other = ends.open("exec", "uname", session="s2")
    await eventually(lambda: other.controls)
    assert isinstance(other.controls[0], Failed)
    assert other.reason


async def test_a_forwarded_connection(ends: Ends, eventually: Eventually) -> None:
    await connected(ends, eventually)
    channel = ends.open("forward", f"127.0.0.1:{ends.target.port}")
    await eventually(lambda: channel.of(Kind.STDOUT))
    assert channel.of(Kind.STDOUT).startswith(b"SSH-2.0-OpenSSH")
    closed = ends.open("forward", "127.0.0.1:1")
    await eventually(lambda: closed.controls)
    assert isinstance(closed.controls[0], Failed)
    assert closed.controls[0].code == "target-refused"


async def test_what_is_not_understood_is_told(ends: Ends, eventually: Eventually) -> None:
    stream: Any = Tunnelled()
    ends.target.serve(stream, Open(target="web-1", bot="b", session="s", parameters={"ssh": "{"}), ends.done.append)
    await eventually(lambda: stream.controls)
    assert stream.controls[0].code == "request-broken"
    assert len(ends.done) == 1


async def test_broken_frames_end_the_channel(ends: Ends, eventually: Eventually) -> None:
    await connected(ends, eventually)
    channel = ends.open("exec", "cat")
    await eventually(lambda: channel.on_data)
    assert channel.on_data is not None
    channel.on_data(b"\xff\xff\xff\xff\xff")
    assert channel.reason == "the frames broke"
