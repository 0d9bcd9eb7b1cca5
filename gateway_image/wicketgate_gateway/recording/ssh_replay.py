"""The recording of an SSH session as steps: what was asked for, what was typed and shown, and how it ended.

How this works: a recorded piece names its channel; the bytes behind the head are frames (`wire.ssh.channel`). A channel
begins with what it asked for; SFTP leaves a note for each request instead of packets. Verdicts come from the audit's
operations, in order: each is told once, with the request that it is about.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from struct import Struct
from typing import Any

from wicketgate_gateway.audit.events import Operation
from wicketgate_gateway.recording.blocks import CLIENT, Record
from wicketgate_gateway.recording.replay import FILE_READ, FILE_WRITTEN, Answered, Asked, Note, Output, Resized, Step
from wicketgate_gateway.wire.ssh import channel as frames
from wicketgate_gateway.wire.ssh.channel import FrameDecoder, FrameError, Kind

_HEAD = Struct(">II")
_STREAMS = {Kind.STDIN: "stdin", Kind.STDOUT: "stdout", Kind.STDERR: "stderr"}


@dataclass(slots=True)
class _Channel:
    """One channel of the session."""

    asked: Asked | None = None
    pty: bool = False
    client: FrameDecoder = field(default_factory=FrameDecoder)
    server: FrameDecoder = field(default_factory=FrameDecoder)
    ended: bool = False


class SshConversation:
    """As `replay.Conversation`: `more` gives the session's next operations in order."""

    def __init__(self, more: Callable[[], Sequence[Operation]] = tuple) -> None:
        self._more = more
        self._unmatched: deque[Operation] = deque()
        self._passed: list[Operation] = []
        self._channels: dict[int, _Channel] = {}
        self._number = 0
        self._opened: dict[int, int] = {}
        """Numbers of steps that opened files, by the audit's numbers of the operations."""

    def feed(self, record: Record) -> Iterator[Step]:
        """The steps in a record: a whole number of pieces."""
        data, at = record.data, 0
        client = record.direction == CLIENT
        while len(data) - at >= _HEAD.size:
            number, length = _HEAD.unpack_from(data, at)
            at += _HEAD.size
            piece = data[at : at + length]
            at += length
            channel = self._channels.setdefault(number, _Channel())
            try:
                for kind, payload in (channel.client if client else channel.server).feed(piece):
                    yield from self._frame(number, channel, kind, payload, record.time)
            except FrameError:
                yield Note(record.time, f"channel {number} cannot be read any further")

    def finish(self) -> Iterator[Step]:
        """What the recording's end leaves open."""
        for channel in self._channels.values():
            if channel.asked is not None and not channel.ended:
                yield Answered(channel.asked.number, channel.asked.time, complete=False)
        self._channels.clear()

    def missing(self) -> list[Operation]:
        """Operations that went out according to the journal, but that the recording does not hold."""
        while found := self._more():
            self._unmatched.extend(found)
        return [operation for operation in (*self._passed, *self._unmatched) if operation.effect == "allow"]

    def _frame(self, number: int, channel: _Channel, kind: int, payload: bytes, time: int) -> Iterator[Step]:
        match kind:
            case Kind.BEGIN:
                begun = _document(payload)
                channel.pty = bool(begun.get("pty"))
                yield self._ask(channel, time, _text(begun))
                size = begun.get("size")
                if channel.pty and isinstance(size, list) and len(size) > 1:
                    yield _resized(channel, time, int(size[0]), int(size[1]))
            case Kind.NOTE:
                note = _document(payload)
                if "asked" in note:
                    asked = self._ask(channel, time, str(note["asked"]))
                    self._opened[note.get("seq", 0)] = asked.number
                    yield asked
                    channel.ended = True
                else:
                    yield Note(time, _said(note))
            case Kind.STDIN | Kind.STDOUT | Kind.STDERR:
                asked = channel.asked.number if channel.asked is not None else 0
                yield Output(asked, time, _STREAMS[Kind(kind)], payload, pty=channel.pty)
            case Kind.FILE:
                seq, written, piece = frames.file_piece(payload)
                yield Output(self._opened.get(seq, 0), time, FILE_WRITTEN if written else FILE_READ, piece)
            case Kind.WINDOW:
                yield _resized(channel, time, *frames.window_size(payload)[:2])
            case Kind.EXIT | Kind.EXIT_SIGNAL:
                status = str(frames.number(payload)) if kind == Kind.EXIT else payload.decode("ascii", "replace")
                asked = channel.asked
                channel.ended = True
                if asked is not None:
                    tag = f"exit {status}" if kind == Kind.EXIT else f"killed by {status}"
                    yield Answered(asked.number, time, max(0, time - asked.time), tag=tag)
            case _:
                pass

    def _ask(self, channel: _Channel, time: int, text: str) -> Asked:
        self._number += 1
        asked = Asked(self._number, time, text)
        asked.operation = self._match(text)
        channel.asked, channel.ended = asked, False
        return asked

    def _match(self, text: str) -> Operation | None:
        while found := self._more():
            self._unmatched.extend(found)
        for number, operation in enumerate(self._unmatched):
            if operation.statement == text:
                for _ in range(number):
                    self._passed.append(self._unmatched.popleft())
                return self._unmatched.popleft()
        return None


def _resized(channel: _Channel, time: int, columns: int, rows: int) -> Resized:
    number = channel.asked.number if channel.asked is not None else 0
    return Resized(time, f"the terminal is {columns} by {rows}", number, columns, rows)


def _document(payload: bytes) -> dict[str, Any]:
    try:
        found = json.loads(payload)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _text(begun: dict[str, Any]) -> str:
    """As `session.ssh_request` calls the operation."""
    kind, command = str(begun.get("kind", "")), str(begun.get("command", ""))
    return command if kind in ("exec", "forward") else f"subsystem {command}" if kind == "subsystem" else kind


def _said(note: dict[str, Any]) -> str:
    parts = [f"closed {note.get('closed', '')}"]
    for what in ("read", "written"):
        found = note.get(what)
        if isinstance(found, dict):
            order = "" if found.get("inOrder") else " (not in order)"
            parts.append(f"{what} {found.get('bytes')} bytes, sha256 {found.get('sha256')}{order}")
            content = found.get("content")
            if isinstance(content, dict) and content.get("left"):
                parts.append(f"its content is on record in part: {content['left']}")
    return "; ".join(parts)
