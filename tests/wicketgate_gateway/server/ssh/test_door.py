"""Two ways in at one address; strangers have a deadline."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from wicketgate_gateway.server.ssh.door import CIPHERS, available
from wicketgate_gateway.wire.ssh import preface

pytestmark = pytest.mark.anyio


async def spoken(front: Any, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("localhost", front.port, ssl=front.tls())
    writer.write(request)
    said = await asyncio.wait_for(reader.readuntil(b"\n"), 5)
    if said == b"ok\n":
        said += await asyncio.wait_for(reader.readuntil(b"\n"), 5)
    writer.close()
    return said


async def test_the_authority_is_told_to_anyone(front: Any) -> None:
    assert await spoken(front, preface.request("", "")) == f"ok\n{front.authority}\n".encode()
    assert not front.connects


async def test_a_token_ahead_of_ssh(front: Any) -> None:
    said = await spoken(front, preface.request("web-1", "good-token") + b"SSH-2.0-x\r\n")
    assert said.startswith(b"ok\nSSH-2.0-Wicketgate")
    assert (front.connects[0].target, front.connects[0].client) == ("web-1", "ssh-proxy")


async def test_no_other_token_ahead_of_ssh(front: Any) -> None:
    assert await spoken(front, preface.request("web-1", "bad")) == b"no token-invalid the token is none\n"
    assert not front.accounts


async def test_who_waits_for_the_server_to_begin_is_served(front: Any) -> None:
    reader, writer = await asyncio.open_connection("localhost", front.port)
    assert (await asyncio.wait_for(reader.readuntil(b"\n"), 5)).startswith(b"SSH-2.0-Wicketgate")
    writer.close()


async def test_who_says_nothing_more_is_cut_off(front: Any) -> None:
    reader, writer = await asyncio.open_connection("localhost", front.port, ssl=front.tls())
    writer.write(b"WICKETGATE-SSH/1\n")
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


def test_algorithms_are_ours_and_in_our_order() -> None:
    assert available(CIPHERS, [b"3des-cbc", b"aes256-ctr", b"aes128-gcm@openssh.com"]) == [
        "aes128-gcm@openssh.com",
        "aes256-ctr",
    ]
