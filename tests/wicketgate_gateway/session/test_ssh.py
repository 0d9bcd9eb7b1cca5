"""A session and its channels between two stand-ins, with the real policy engine, journal and recorder."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from wicketgate_gateway.audit.events import Operation, SessionEnded
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.session.ssh import MAX_CHANNELS
from wicketgate_gateway.tunnel.messages import SshChannel
from wicketgate_gateway.wire.ssh import channel as frames
from wicketgate_gateway.wire.ssh.channel import Kind

pytestmark = pytest.mark.anyio
Eventually = Callable[[Callable[[], object]], Awaitable[None]]
Make = Callable[..., Any]


async def test_what_is_allowed_is_on_record_before_it_goes_out(make_ssh: Make, eventually: Eventually) -> None:
    world = make_ssh()
    world.before_open = lambda: world.of(Operation)
    client = world.ask("uname -a")
    await eventually(lambda: world.channels())
    (stream,) = world.channels()
    assert msgspec.json.decode(stream.opening.parameters["ssh"], type=SshChannel).command == "uname -a"
    (operation,) = world.recorded_then
    assert (operation.effect, operation.statement, operation.bot) == ("allow", "uname -a", "code-review")
    assert client.closed is None


async def test_what_is_not_recorded_does_not_run(make_ssh: Make, eventually: Eventually) -> None:
    world = make_ssh()
    world.fail_journal = True
    client = world.ask("uname -a")
    await eventually(lambda: client.closed is not None)
    assert world.channels() == []
    assert (client.of(Kind.EXIT), b"cannot be recorded" in client.of(Kind.STDERR)) == (b"\0\0\0\x45", True)


async def test_the_end_of_the_client_ends_what_runs(make_ssh: Make, eventually: Eventually) -> None:
    world = make_ssh()
    world.ask("uname -a")
    await eventually(lambda: world.ssh.busy)
    world.client.end("hung up")
    assert [stream.closed is not None for stream in world.opened] == [True, True]
    assert not world.ssh.busy
    assert world.overs == 1
    (ended,) = world.of(SessionEnded)
    assert ended.reason == "the client hung up"


async def test_the_end_of_the_target_is_told_on_each_channel(make_ssh: Make, eventually: Eventually) -> None:
    world = make_ssh()
    client = world.ask("uname -a")
    await eventually(lambda: world.ssh.busy)
    world.opened[0].end("the network broke")
    assert client.of(Kind.EXIT) == b"\0\0\0\xff"
    assert b"the connection to `orders-db` is lost: the network broke" in client.of(Kind.STDERR)
    assert world.client.closed is not None


async def test_channels_are_counted(make_ssh: Make) -> None:
    world = make_ssh()
    many = [world.ask("cat") for _ in range(MAX_CHANNELS + 1)]
    assert [client.closed for client in many] == [None] * MAX_CHANNELS + ["no more channels"]


async def test_after_the_end_nothing_is_opened(make_ssh: Make) -> None:
    world = make_ssh()
    world.ssh.end("57P01", "killed by ada", reason="killed")
    assert world.ask("uname -a").closed == "no more channels"
    world.ssh.end("57P01", "again", reason="again")
    assert world.overs == 1


async def test_a_request_that_does_not_fit_is_refused(make_ssh: Make) -> None:
    world = make_ssh()
    for text in ("\x01" * 5000, "\u4e2d" * 9600):
        with pytest.raises(WicketgateError) as told:
            await world.ssh.open(SshChannel(session=world.ssh.session.id, kind="exec", command=text))
        assert told.value.code == "request-too-long"
    assert world.channels() == []


async def test_all_that_passes_is_recorded_by_channel(make_ssh: Make, eventually: Eventually) -> None:
    world = make_ssh()
    client = world.ask("uname -a")
    await eventually(lambda: world.channels())
    before = world.ssh.session.bytes_out
    out = frames.data_frames(Kind.STDOUT, b"Linux")
    world.channels()[0].on_data(out)
    assert client.of(Kind.STDOUT) == b"Linux"
    assert world.ssh.session.bytes_out == before + len(out)
