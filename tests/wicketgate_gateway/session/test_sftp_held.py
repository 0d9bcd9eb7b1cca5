"""What people see of held file operations, and what is gathered for them."""

from __future__ import annotations

import json
import struct

import pytest

from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.session import sftp_held
from wicketgate_gateway.session.sftp_files import Counted
from wicketgate_gateway.session.sftp_held import MAX_CONTENT, HeldFile
from wicketgate_gateway.wire.ssh import sftp
from wicketgate_gateway.wire.ssh.sftp import Attributes, Request, Type

FLAGS = sftp.WRITE_FLAG | sftp.CREATE_FLAG | sftp.TRUNCATE_FLAG
MODE = struct.pack(">II", sftp.ATTR_MODE, 0o644)
TIMES = struct.pack(">III", sftp.ATTR_TIMES, 1, 2)


def held() -> HeldFile:
    opening = Request(Type.OPEN, 1, (b"/x/../a",), flags=FLAGS, attributes=MODE)
    return HeldFile(opening, "/a", [], "sftp write /a", Verdict(Effect.HOLD, "p#1", "held"))


def status(answer: bytes) -> int:
    return sftp.read_status(answer[5:])


def write(offset: int, data: bytes) -> Request:
    return Request(Type.WRITE, 7, handle=b"h", offset=offset, data=data)


def test_what_people_see() -> None:
    file = held()
    assert status(file.take(write(0, b"hello "))) == sftp.OK
    assert status(file.take(write(6, b"there"))) == sftp.OK
    assert status(file.take(Request(Type.FSETSTAT, 8, handle=b"h", attributes=TIMES))) == sftp.OK
    assert bytes(file.content) == b"hello there"
    assert file.facts() == {
        "kind": "sftp",
        "request": "open",
        "paths": json.dumps(["/a"]),
        "attributes": "mode 0644",
        "flags": "write, create, truncate",
        "size": "11 bytes",
        "then": "read 1970-01-01T00:00:01Z, changed 1970-01-01T00:00:02Z",
    }


def test_what_goes_out_is_what_was_gathered() -> None:
    file = held()
    data = bytes(range(256)) * 160
    for at in range(0, len(data), 8192):
        file.take(write(at, data[at : at + 8192]))
    file.take(Request(Type.FSETSTAT, 8, handle=b"h", attributes=TIMES))
    numbers = iter(range(100))
    counted = Counted()
    packets = list(file.packets(b"H", lambda: next(numbers), counted))
    requests = [sftp.read_request(packet[4], packet[5:]) for packet in packets]
    assert [request.type for request in requests] == [Type.WRITE, Type.WRITE, Type.FSETSTAT]
    assert b"".join(request.data for request in requests) == data
    assert {request.handle for request in requests} == {b"H"}
    assert (counted.size, counted.ordered) == (len(data), True)


@pytest.mark.parametrize(
    ("offset", "data", "why"),
    [(5, b"x", "in its order"), (0, b"x" * (MAX_CONTENT + 1), "longer than")],
)
def test_attack_what_cannot_be_shown_whole(offset: int, data: bytes, why: str) -> None:
    file = held()
    assert status(file.take(write(offset, data))) == sftp.FAILURE
    assert why in file.refused
    # Nothing later makes it good.
    assert status(file.take(write(0, b"x"))) == sftp.FAILURE
    assert bytes(file.content) == b""


def test_attack_special_attributes_and_other_requests() -> None:
    file = held()
    special = struct.pack(">II", sftp.ATTR_MODE, 0o4755)
    owner = struct.pack(">III", sftp.ATTR_IDS, 0, 0)
    for each in (special, owner):
        request = Request(Type.FSETSTAT, 8, handle=b"h", attributes=each)
        assert status(file.take(request)) == sftp.PERMISSION_DENIED
    assert status(file.take(Request(Type.READ, 9, handle=b"h", length=5))) == sftp.PERMISSION_DENIED
    assert file.attributes == []
    assert status(file.take(Request(Type.EXTENDED, 9, handle=b"h", extension=b"fsync@openssh.com"))) == sftp.OK


def test_what_is_there() -> None:
    assert sftp_held.described(Attributes(5, 0o100640, 0, 3)) == (
        "a file of 5 bytes, mode 0640, changed 1970-01-01T00:00:03Z"
    )
    assert sftp_held.described(Attributes(5, 0o040755)).startswith("a folder, mode 0755")
    assert sftp_held.described(Attributes(5, 0o120777)).startswith("a link")
    assert sftp_held.described(Attributes()).startswith("neither")


def test_attributes_are_said_whole() -> None:
    raw = struct.pack(">IQIII", 7, 9, 1, 2, 0o100600)
    assert sftp_held.attributes_said(raw) == "size 9, owner 1, group 2, mode 0600"
    assert sftp_held.attributes_said(bytes(4)) == "none"
    assert sftp_held.attributes_said(b"") == "none"
    assert sftp_held.attributes_said(struct.pack(">II", sftp.ATTR_EXTENDED, 0)) == "extended: 8000000000000000"
