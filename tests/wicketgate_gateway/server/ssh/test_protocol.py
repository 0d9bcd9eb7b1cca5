"""What asyncssh is answered: one proof, channels with their frames, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import asyncssh
import paramiko
import pytest

pytestmark = pytest.mark.anyio
Eventually = Callable[[Callable[[], object]], Awaitable[None]]


async def test_a_token_opens_and_a_command_is_told(front: Any) -> None:
    async with await front.connect() as connection:
        done = await connection.run("uname -a", input=b"in", encoding=None, env={"LANG": "C"})
    assert (done.stdout, done.stderr, done.exit_status) == (b"in", b"done", 7)
    (asked,) = front.channels
    assert (asked.session, asked.kind, asked.command, asked.env) == ("s1", "exec", "uname -a", {"LANG": "C"})
    assert front.connects[0].target == "web-1"


async def test_no_other_token_does(front: Any) -> None:
    with pytest.raises(asyncssh.PermissionDenied):
        await front.connect("bad")
    assert [asked.token for asked in front.connects] == ["bad"]
    assert not front.channels


async def test_a_command_that_is_too_long_says_so(front: Any) -> None:
    async with await front.connect() as connection:
        await connection.run("x" * 13_000, input=b"x", encoding=None)
    (asked,) = front.channels
    assert asked.cut == 13_000
    assert len(asked.command) == 1000


@pytest.mark.parametrize(("kind", "text"), [("exec", b"uname \xff"), ("subsystem", b"sftp\xff")])
async def test_a_text_that_is_none_is_told_as_such(front: Any, kind: str, text: bytes) -> None:
    def ask() -> int:
        transport = paramiko.Transport(("localhost", front.port))
        transport.connect(username="web-1", password="good-token")
        channel = transport.open_session()
        channel.exec_command(text) if kind == "exec" else channel.invoke_subsystem(text)
        channel.shutdown_write()
        status = channel.recv_exit_status()
        transport.close()
        return status

    assert await asyncio.to_thread(ask) == 7
    (asked,) = front.channels
    assert (asked.kind, asked.command, asked.inexact) == (kind, text.decode("ascii", "backslashreplace"), True)


async def test_a_terminal_and_its_size(front: Any) -> None:
    async with await front.connect() as connection:
        process = await connection.create_process("top", term_type="xterm", term_size=(80, 24), encoding=None)
        process.stdin.write_eof()
        await process.wait()
    assert (front.channels[0].pty, front.channels[0].size[:2]) == ("xterm", (80, 24))


async def test_the_sessions_end_is_the_connections(front: Any, eventually: Eventually) -> None:
    connection = await front.connect()
    front.accounts[0].close("cut off by an operator")
    await asyncio.wait_for(connection.wait_closed(), 5)
    await eventually(lambda: not front.door.connections)


async def test_the_connections_end_is_the_sessions(front: Any, eventually: Eventually) -> None:
    connection = await front.connect()
    connection.abort()
    await eventually(lambda: front.accounts[0].closed is not None)


async def test_what_is_never_given(front: Any) -> None:
    async with await front.connect() as connection:
        with pytest.raises((asyncssh.Error, asyncssh.ChannelListenError, OSError)):
            await asyncio.wait_for(connection.forward_remote_port("127.0.0.1", 0, "127.0.0.1", 1), 5)
        with pytest.raises(asyncssh.ChannelOpenError):
            await asyncio.wait_for(connection.open_unix_connection("/run/x"), 5)
    assert not front.channels


@pytest.mark.parametrize("user", ["x" * 100_000, "\u4e2d" * 30_000])
async def test_attack_a_name_that_is_too_long_harms_nobody_else(front: Any, user: str) -> None:
    async with await front.connect() as connection:
        with contextlib.suppress(asyncssh.Error, OSError):
            (await front.connect("bad", user=user)).close()
        with contextlib.suppress(asyncssh.Error, OSError):
            (await front.connect("\u4e2d" * 16_000)).close()
        done = await connection.run("uname", input=b"in", encoding=None)
    assert done.exit_status == 7
    assert max(len(asked.target) for asked in front.connects) <= 200
