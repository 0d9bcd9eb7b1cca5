"""Where paths lead, and what is done to each."""

from __future__ import annotations

import struct

import pytest

from wicketgate_gateway.contract.ssh import FileOperation as Op
from wicketgate_gateway.session.sftp_paths import Paths, SftpDeniedError
from wicketgate_gateway.wire.ssh import sftp
from wicketgate_gateway.wire.ssh.sftp import Request, SftpError, Type

pytestmark = pytest.mark.anyio
LINKS = {b".": "/home/bot", b"/in/link": "/vault/key", b"/in/up": "/", b"/broken": "/a/../b", b"/odd": "relative"}


def paths(links: dict[bytes, str] | None = None) -> Paths:
    async def ask(path: bytes) -> tuple[int, bytes]:
        found = (LINKS if links is None else links).get(path, path.decode())
        if found.startswith("/gone"):
            return Type.STATUS, struct.pack(">II", 1, sftp.NO_SUCH_FILE)
        return Type.NAME, struct.pack(">II", 1, 1) + sftp.string(found.encode()) + sftp.string(b"") + bytes(4)

    return Paths(ask)


async def places(kind: int, *given: bytes, **more: object) -> tuple[list[str], list[tuple[Op, str]]]:
    return await paths().places(Request(kind, 1, given, **more))  # type: ignore[arg-type]


async def test_links_are_followed_where_the_request_follows_them() -> None:
    assert await places(Type.STAT, b"/in/link") == (["/vault/key"], [(Op.READ, "/vault/key")])
    assert await places(Type.LSTAT, b"/in/link") == (["/in/link"], [(Op.READ, "/in/link")])
    assert await places(Type.REMOVE, b"/in/up/etc") == (["/etc"], [(Op.REMOVE, "/etc")])


async def test_opens() -> None:
    flags = sftp.READ_FLAG | sftp.WRITE_FLAG | sftp.CREATE_FLAG
    assert (await places(Type.OPEN, b"/f", flags=flags))[1] == [(Op.READ, "/f"), (Op.WRITE, "/f")]
    for wrong in (0, sftp.CREATE_FLAG, 64 | sftp.READ_FLAG):
        with pytest.raises(SftpDeniedError):
            await places(Type.OPEN, b"/f", flags=wrong)


async def test_two_paths() -> None:
    assert (await places(Type.RENAME, b"/a", b"/b"))[1] == [(Op.RENAME, "/a"), (Op.WRITE, "/b")]
    found = await places(Type.EXTENDED, b"/a", b"/b", extension=b"hardlink@openssh.com")
    assert found[1] == [(Op.LINK, "/a"), (Op.READ, "/a"), (Op.WRITE, "/a"), (Op.LINK, "/b")]
    found = await places(Type.SYMLINK, b"/in/link", b"/out")
    assert found == (["/in/link", "/out"], [(Op.LINK, "/out"), (Op.LINK, "/vault/key"), (Op.READ, "/vault/key")])


async def test_home_is_asked_for_once() -> None:
    asked: list[bytes] = []

    async def ask(path: bytes) -> tuple[int, bytes]:
        asked.append(path)
        return Type.NAME, struct.pack(">II", 1, 1) + sftp.string(b"/home/bot") + sftp.string(b"") + bytes(4)

    found = Paths(ask)
    assert [await found.home(), await found.home()] == ["/home/bot", "/home/bot"]
    assert asked == [b"."]


@pytest.mark.parametrize("path", [b"\xff", b"/a\0b"])
async def test_attack_paths_that_are_no_text(path: bytes) -> None:
    with pytest.raises(SftpDeniedError):
        await paths().resolve(path)


@pytest.mark.parametrize("path", [b"/broken", b"/odd"])
async def test_attack_a_server_that_does_not_resolve(path: bytes) -> None:
    with pytest.raises(SftpError):
        await paths().resolve(path)


async def test_what_is_not_there() -> None:
    with pytest.raises(SftpDeniedError) as caught:
        await paths().resolve(b"/gone/x")
    assert (str(caught.value), caught.value.code) == ("", sftp.NO_SUCH_FILE)


async def test_attack_other_homes() -> None:
    with pytest.raises(SftpDeniedError):
        await places(Type.EXTENDED, b"~root/x", extension=b"expand-path@openssh.com")
