"""One channel: refused, run, masked, cut; each side sends only what is its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from wicketgate_gateway.audit.events import Operation, OperationFinished
from wicketgate_gateway.session.ssh_channel import DENIED, ENDED, PENDING
from wicketgate_gateway.wire.ssh import channel as frames
from wicketgate_gateway.wire.ssh.channel import Kind

pytestmark = pytest.mark.anyio
Eventually = Callable[[Callable[[], object]], Awaitable[None]]
Make = Callable[..., Any]
MASKED = """
rules:
  - allow: {ssh: {commands: [cat]}}
mask:
  - {detect: [email], with: redact}
"""


def status(number: int) -> bytes:
    return number.to_bytes(4, "big")


async def test_what_is_denied_says_why_and_never_reaches_the_target(make_ssh: Make, eventually: Eventually) -> None:
    world = make_ssh()
    client = world.ask("rm -rf /srv", env={"LD_PRELOAD": "/x.so"})
    await eventually(lambda: client.closed is not None)
    assert client.of(Kind.EXIT) == status(DENIED)
    assert client.of(Kind.STDERR).startswith(b"wicketgate: denied: ")
    assert b"not passed on: LD_PRELOAD" in client.of(Kind.STDERR)
    assert world.channels() == []
    assert [operation.effect for operation in world.of(Operation)] == ["deny"]


async def test_input_waits_and_then_passes_in_order(make_ssh: Make, eventually: Eventually) -> None:
    world = make_ssh()
    client = world.ask("cat")
    client.on_data(frames.data_frames(Kind.STDIN, b"one"))
    client.on_data(frames.frame(Kind.EOF))
    await eventually(lambda: world.channels() and world.channels()[0].of(Kind.STDIN))
    (target,) = world.channels()
    assert target.came == [(Kind.STDIN, b"one"), (Kind.EOF, b"")]


async def test_the_status_is_the_commands_own(make_ssh: Make, eventually: Eventually) -> None:
    world = make_ssh()
    client = world.ask("uname -a")
    await eventually(lambda: world.channels())
    (target,) = world.channels()
    target.on_data(frames.data_frames(Kind.STDERR, b"oops") + frames.exit_status(3))
    target.end("the channel ended")
    assert (client.of(Kind.STDERR), client.of(Kind.EXIT)) == (b"oops", status(3))
    (finished,) = world.of(OperationFinished)
    assert (finished.outcome, finished.sqlstate) == ("error", "3")


async def test_a_target_that_goes_without_a_status_is_no_success(make_ssh: Make, eventually: Eventually) -> None:
    world = make_ssh()
    client = world.ask("uname -a")
    await eventually(lambda: world.channels())
    world.channels()[0].end("broke")
    assert client.of(Kind.EXIT) == status(ENDED)
    assert world.of(OperationFinished)[0].outcome == "lost"


@pytest.mark.parametrize("kind", [Kind.STDOUT, Kind.EXIT, Kind.BEGIN, Kind.NOTE])
async def test_attack_a_client_that_sends_what_only_targets_send(
    make_ssh: Make, eventually: Eventually, kind: int
) -> None:
    world = make_ssh()
    client = world.ask("uname -a")
    await eventually(lambda: world.channels())
    client.on_data(frames.frame(kind, b"\0\0\0\0"))
    assert client.closed is not None
    assert world.channels()[0].closed is not None


@pytest.mark.parametrize("kind", [Kind.STDIN, Kind.SIGNAL, Kind.BEGIN, Kind.NOTE])
async def test_attack_a_target_that_sends_what_only_clients_send(
    make_ssh: Make, eventually: Eventually, kind: int
) -> None:
    world = make_ssh()
    client = world.ask("uname -a")
    await eventually(lambda: world.channels())
    world.channels()[0].on_data(frames.frame(kind, b"x"))
    assert client.closed is not None
    assert client.of(Kind.STDIN) == b""


async def test_what_is_held_and_cannot_be_asked_does_not_run(make_ssh: Make, eventually: Eventually) -> None:
    world = make_ssh()
    client = world.ask("reboot now")
    client.on_data(frames.frame(Kind.EOF))
    await eventually(lambda: client.closed is not None)
    assert client.of(Kind.EXIT) == status(PENDING)
    assert world.channels() == []
    assert [operation.effect for operation in world.of(Operation)] == ["hold"]


async def test_held_input_that_does_not_end_is_refused(make_ssh: Make, eventually: Eventually) -> None:
    world = make_ssh()
    client = world.ask("reboot now")
    client.on_data(frames.data_frames(Kind.STDIN, b"y\n"))
    await eventually(lambda: client.closed is not None)
    assert client.of(Kind.EXIT) == status(DENIED)
    assert b"cannot be shown whole" in client.of(Kind.STDERR)
    assert world.of(Operation)[0].code == "hold-not-showable"


async def test_output_is_masked_across_pieces(make_ssh: Make, eventually: Eventually) -> None:
    world = make_ssh(MASKED)
    client = world.ask("cat")
    await eventually(lambda: world.channels())
    (target,) = world.channels()
    target.on_data(frames.data_frames(Kind.STDOUT, b"to ann.lee@exam"))
    target.on_data(frames.data_frames(Kind.STDOUT, b"ple.com now\n") + frames.exit_status(0))
    target.end("the channel ended")
    said = client.of(Kind.STDOUT)
    assert b"ann.lee" not in said
    assert said.startswith(b"to ")
    assert said.endswith(b" now\n")
    assert world.of(Operation)[0].masked


async def test_a_cut_channel_passes_nothing_more(make_ssh: Make, eventually: Eventually) -> None:
    world = make_ssh()
    client = world.ask("cat")
    await eventually(lambda: world.channels())
    (target,) = world.channels()
    world.ssh.cut()
    assert (client.closed, target.closed) == ("cut off", "cut off")
    assert world.of(OperationFinished)[0].outcome == "lost"


async def test_credit_follows_the_slower_side(make_ssh: Make, eventually: Eventually) -> None:
    world = make_ssh()
    client = world.ask("cat")
    await eventually(lambda: world.channels())
    (target,) = world.channels()
    target.writable = False
    given = frames.data_frames(Kind.STDIN, b"x" * 100)
    client.on_data(given)
    assert client.returned == 0
    target.writable = True
    target.on_writable()
    assert client.returned == len(given)
