"""SFTP packets: understood whole, made anew, split at every byte, and refused where they are broken."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.wire.ssh import sftp
from wicketgate_gateway.wire.ssh.sftp import PacketDecoder, SftpError, Type


def s(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


NO_ATTRIBUTES = struct.pack(">I", 0)
REQUESTS: list[tuple[int, bytes]] = [
    (Type.OPEN, s(b"/a") + struct.pack(">I", 26) + struct.pack(">II", 4, 0o644)),
    (Type.CLOSE, s(b"h")),
    (Type.READ, s(b"h") + struct.pack(">QI", 1 << 40, 32768)),
    (Type.WRITE, s(b"h") + struct.pack(">Q", 5) + s(b"data")),
    (Type.LSTAT, s(b"/a")),
    (Type.FSTAT, s(b"h")),
    (Type.SETSTAT, s(b"/a") + struct.pack(">IQIIIII", 15, 1, 2, 3, 4, 5, 6)),
    (Type.FSETSTAT, s(b"h") + NO_ATTRIBUTES),
    (Type.OPENDIR, s(b"/")),
    (Type.READDIR, s(b"h")),
    (Type.REMOVE, s(b"/a")),
    (Type.MKDIR, s(b"/a") + NO_ATTRIBUTES),
    (Type.RMDIR, s(b"/a")),
    (Type.REALPATH, s(b".")),
    (Type.STAT, s(b"/a")),
    (Type.RENAME, s(b"/a") + s(b"/b")),
    (Type.READLINK, s(b"/a")),
    (Type.SYMLINK, s(b"/a") + s(b"/b")),
    (Type.EXTENDED, s(b"posix-rename@openssh.com") + s(b"/a") + s(b"/b")),
    (Type.EXTENDED, s(b"fsync@openssh.com") + s(b"h")),
    (Type.EXTENDED, s(b"lsetstat@openssh.com") + s(b"/a") + NO_ATTRIBUTES),
    (Type.EXTENDED, s(b"limits@openssh.com")),
]


@pytest.mark.parametrize(("kind", "body"), REQUESTS)
def test_a_request_is_made_anew_as_it_came(kind: int, body: bytes) -> None:
    request = sftp.read_request(kind, struct.pack(">I", 7) + body)
    assert request.id == 7
    assert sftp.known(request.type, request.extension)
    assert sftp.write_request(request, 9) == sftp.packet(kind, 9, body)
    for cut in range(len(body)):
        with pytest.raises(SftpError):
            sftp.read_request(kind, struct.pack(">I", 7) + body[:cut])
    with pytest.raises(SftpError):
        sftp.read_request(kind, struct.pack(">I", 7) + body + b"x")


def test_other_paths_take_the_place_of_those_given() -> None:
    request = sftp.read_request(Type.RENAME, struct.pack(">I", 1) + s(b"a") + s(b"b"))
    assert sftp.write_request(request, 1, (b"/x/a", b"/x/b")) == sftp.packet(Type.RENAME, 1, s(b"/x/a") + s(b"/x/b"))


def test_what_is_not_known_is_told_apart() -> None:
    for kind, body in ((21, b""), (99, b"x"), (Type.EXTENDED, s(b"copy-data") + b"x")):
        request = sftp.read_request(kind, struct.pack(">I", 1) + body)
        assert not sftp.known(request.type, request.extension)


def test_packets_however_they_are_split() -> None:
    stream = sftp.init() + sftp.packet(Type.STAT, 1, s(b"/a")) + sftp.status(2, sftp.OK, "fine")
    whole = list(PacketDecoder().feed(stream))
    assert [kind for kind, _ in whole] == [Type.INIT, Type.STAT, Type.STATUS]
    for cut in range(len(stream)):
        decoder = PacketDecoder()
        assert [*decoder.feed(stream[:cut]), *decoder.feed(stream[cut:])] == whole
    decoder = PacketDecoder()
    assert [p for i in range(len(stream)) for p in decoder.feed(stream[i : i + 1])] == whole


@pytest.mark.parametrize("raw", [b"\0\0\0\0\0", b"\xff\xff\xff\xff\1", b"\0\x10\0\0\1"])
def test_packets_of_wrong_length(raw: bytes) -> None:
    with pytest.raises(SftpError):
        list(PacketDecoder().feed(raw))


def test_unknown_extensions_are_not_offered() -> None:
    offered = struct.pack(">I", 3) + s(b"limits@openssh.com") + s(b"1") + s(b"copy-data") + s(b"1")
    ((kind, body),) = PacketDecoder().feed(sftp.version(offered))
    assert kind == Type.VERSION
    assert body == struct.pack(">I", 3) + s(b"limits@openssh.com") + s(b"1")
    with pytest.raises(SftpError):
        sftp.version(struct.pack(">I", 6))


def test_attributes_that_come_with_writing() -> None:
    plain = sftp.plain_attributes
    assert plain(struct.pack(">I", 0))
    assert plain(struct.pack(">IQIII", 13, 9, 0o100644, 1, 2))
    assert not plain(struct.pack(">II", 4, 0o4755))
    assert not plain(struct.pack(">II", 4, 0o2755))
    assert not plain(struct.pack(">III", 2, 0, 0))
    assert not plain(struct.pack(">II", 0x80000000, 0))


def test_answers() -> None:
    name = struct.pack(">II", 1, 1) + s(b"/srv") + s(b"long") + NO_ATTRIBUTES
    assert sftp.read_name(name) == b"/srv"
    assert sftp.read_handle(struct.pack(">I", 1) + s(b"h")) == b"h"
    assert sftp.read_status(struct.pack(">II", 1, 3)) == 3
    assert sftp.data_length(struct.pack(">I", 1) + s(b"abc")) == 3
    for call, raw in (
        (sftp.read_name, struct.pack(">II", 1, 2)),
        (sftp.data_length, struct.pack(">II", 1, 9) + b"abc"),
        (sftp.read_id, b"\0"),
    ):
        with pytest.raises(SftpError):
            call(raw)


@given(st.binary(max_size=200), st.integers(0, 255))
def test_nothing_breaks_it(raw: bytes, kind: int) -> None:
    try:
        request = sftp.read_request(kind, raw)
    except SftpError:
        return
    if sftp.known(request.type, request.extension):
        assert sftp.write_request(request, request.id)[5:] == raw


def test_answers_that_the_gateway_itself_asked_for() -> None:
    rest = struct.pack(">IQIIIII", 1 | 2 | 4 | 8, 77, 1, 2, 0o100644, 5, 6)
    assert sftp.read_attributes(rest) == sftp.Attributes(77, 0o100644, 5, 6)
    assert sftp.read_attributes(bytes(4)) == sftp.Attributes()
    each = sftp.string(b"a") + sftp.string(b"-rw a") + rest
    assert sftp.read_names(struct.pack(">II", 1, 2) + each * 2) == [b"a", b"a"]
    with pytest.raises(SftpError):
        sftp.read_names(struct.pack(">II", 1, 2) + each)
    assert sftp.read_message(sftp.status(1, 3, "why")[5:]) == "why"
    assert sftp.read_message(struct.pack(">II", 1, 3)) == ""
