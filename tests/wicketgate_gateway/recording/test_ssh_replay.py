"""An SSH recording as steps."""

from __future__ import annotations

import json
from typing import Any

from wicketgate_gateway.audit.events import Operation
from wicketgate_gateway.recording.blocks import CLIENT, SERVER, Record
from wicketgate_gateway.recording.replay import Answered, Asked, Note, Output, Resized
from wicketgate_gateway.recording.ssh_replay import SshConversation
from wicketgate_gateway.session.ssh import RECORD_HEAD
from wicketgate_gateway.wire.ssh import channel as frames
from wicketgate_gateway.wire.ssh.channel import Kind


def piece(channel: int, frame: bytes) -> bytes:
    return RECORD_HEAD.pack(channel, len(frame)) + frame


def begun(**document: Any) -> bytes:
    return frames.frame(Kind.BEGIN, json.dumps(document).encode())


def operation(seq: int, statement: str, effect: str = "allow") -> Operation:
    return Operation(time=seq, session="s", seq=seq, statement=statement, effect=effect, rule="p#1")


def test_channels_side_by_side() -> None:
    given = iter([[operation(1, "a"), operation(2, "b", "deny")], []])
    conversation = SshConversation(lambda: next(given, []))
    data = piece(1, begun(kind="exec", command="a")) + piece(2, begun(kind="exec", command="b"))
    steps = list(conversation.feed(Record(1, CLIENT, data)))
    assert [(s.text, s.operation.effect) for s in steps if isinstance(s, Asked) and s.operation] == [
        ("a", "allow"),
        ("b", "deny"),
    ]
    out = piece(2, frames.exit_status(126)) + piece(1, frames.data_frames(Kind.STDOUT, b"x"))
    steps = list(conversation.feed(Record(2, SERVER, out)))
    assert [(s.number, s.tag) for s in steps if isinstance(s, Answered)] == [(2, "exit 126")]
    assert [(s.number, s.stream, s.data) for s in steps if isinstance(s, Output)] == [(1, "stdout", b"x")]
    (left,) = conversation.finish()
    assert isinstance(left, Answered)
    assert (left.number, left.complete) == (1, False)
    assert conversation.missing() == []


def test_notes_of_files() -> None:
    conversation = SshConversation(list)
    asked = frames.frame(Kind.NOTE, json.dumps({"asked": "sftp read /a", "seq": 1}).encode())
    closed = frames.frame(
        Kind.NOTE, json.dumps({"closed": "/a", "read": {"bytes": 1, "sha256": "d", "inOrder": True}}).encode()
    )
    steps = list(conversation.feed(Record(1, SERVER, piece(1, asked) + piece(1, closed))))
    assert isinstance(steps[0], Asked)
    assert isinstance(steps[1], Note)
    assert steps[1].text == "closed /a; read 1 bytes, sha256 d"


def test_the_content_of_files() -> None:
    conversation = SshConversation(list)
    asked = frames.frame(Kind.NOTE, json.dumps({"asked": "sftp read /a", "seq": 4}).encode())
    other = frames.frame(Kind.NOTE, json.dumps({"asked": "sftp write /b", "seq": 5}).encode())
    data = piece(1, asked) + piece(1, other)
    closed = {"closed": "/b", "written": {"bytes": 9, "sha256": "d", "inOrder": True, "content": {"left": "a part"}}}
    data += piece(1, frames.file_frame(5, b"up", written=True))
    data += piece(1, frames.frame(Kind.NOTE, json.dumps(closed).encode()))
    steps = list(conversation.feed(Record(1, CLIENT, data)))
    steps += conversation.feed(Record(2, SERVER, piece(1, frames.file_frame(4, b"down", written=False))))
    found = [(s.number, s.stream, s.data) for s in steps if isinstance(s, Output)]
    assert found == [(2, "file written", b"up"), (1, "file read", b"down")]
    assert [s.text for s in steps if isinstance(s, Note)] == [
        "closed /b; written 9 bytes, sha256 d; its content is on record in part: a part"
    ]


def test_what_went_out_and_is_not_recorded_is_missing() -> None:
    given = iter([[operation(1, "a"), operation(2, "b")], []])
    conversation = SshConversation(lambda: next(given, []))
    list(conversation.feed(Record(1, CLIENT, piece(1, begun(kind="exec", command="b")))))
    assert [one.statement for one in conversation.missing()] == ["a"]


def test_what_cannot_be_read_is_told() -> None:
    conversation = SshConversation(list)
    (step,) = conversation.feed(Record(1, SERVER, piece(1, b"\xff\xff\xff\xff\xff")))
    assert isinstance(step, Note)


def test_sizes_of_a_terminal() -> None:
    conversation = SshConversation(list)
    data = piece(1, begun(kind="shell", pty=True, size=[90, 20, 0, 0])) + piece(1, frames.window(120, 40))
    _, first, second = conversation.feed(Record(1, CLIENT, data))
    assert isinstance(first, Resized)
    assert isinstance(second, Resized)
    assert [(s.number, s.columns, s.rows) for s in (first, second)] == [(1, 90, 20), (1, 120, 40)]
    assert second.text == "the terminal is 120 by 40"
    (only,) = SshConversation(list).feed(Record(1, CLIENT, piece(1, begun(kind="exec", command="ls", size=[1, 1]))))
    assert isinstance(only, Asked)
