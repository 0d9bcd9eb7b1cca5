"""The recording of a session with a Kubernetes API server as steps: requests, what went with them, and answers.

How this works: a recorded piece says what it is (`wire.kubernetes.record`). A request names its number in the audit, by
which its verdict is found. What a command reads and writes is told as it came, channel by channel; its end is the
status on the error channel.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from wicketgate_gateway.audit.events import Operation
from wicketgate_gateway.recording.blocks import CLIENT, Record
from wicketgate_gateway.recording.replay import Answered, Asked, Output, Resized, Step
from wicketgate_gateway.wire.kubernetes.record import Kind, unpack

_STREAMS = {
    Kind.STDIN: "stdin",
    Kind.STDOUT: "stdout",
    Kind.STDERR: "stderr",
    Kind.BODY: "body",
    Kind.CONTENT: "answer",
}


class KubernetesConversation:
    """As `replay.Conversation`: `more` gives the session's next operations in order."""

    def __init__(self, more: Callable[[], Sequence[Operation]] = tuple) -> None:
        self._more = more
        self._operations: dict[int, Operation] = {}
        self._seen: set[int] = set()
        self._asked: Asked | None = None
        self._open = False
        self._upgraded = False

    def feed(self, record: Record) -> Iterator[Step]:
        """The steps in a record: a whole number of pieces."""
        for kind, data in unpack(record.data):
            yield from self._piece(kind, data, record.time, client=record.direction == CLIENT)

    def finish(self) -> Iterator[Step]:
        """What the recording's end leaves open."""
        if self._asked is not None and self._open:
            yield Answered(self._asked.number, self._asked.time, complete=False)
        self._asked = None

    def missing(self) -> list[Operation]:
        """Operations that went out according to the journal, but that the recording does not hold."""
        self._look()
        return [o for seq, o in sorted(self._operations.items()) if seq not in self._seen and o.effect == "allow"]

    def _look(self) -> None:
        while found := self._more():
            self._operations.update((operation.seq, operation) for operation in found)

    def _piece(self, kind: int, data: bytes, time: int, *, client: bool) -> Iterator[Step]:
        number = self._asked.number if self._asked is not None else 0
        if kind == Kind.REQUEST:
            yield from self._end(time)
            told = _document(data)
            seq = int(told.get("seq", 0))
            self._look()
            self._seen.add(seq)
            self._asked, self._open, self._upgraded = Asked(seq, time, str(told.get("text", ""))), True, False
            self._asked.operation = self._operations.get(seq)
            yield self._asked
        elif kind == Kind.STATUS:
            code = int(_document(data).get("code", 0))
            self._upgraded = code == 101
            if not self._upgraded:
                yield from self._end(time, f"{code}")
        elif kind == Kind.ERROR:
            yield from self._end(time, _status(data))
        elif kind == Kind.RESIZE:
            size = _document(data)
            columns, rows = (n if isinstance(n := size.get(name), int) else 0 for name in ("Width", "Height"))
            yield Resized(time, f"the terminal is {columns} by {rows}", number, columns, rows)
        elif kind == Kind.PORT:
            yield Output(number, time, "to port" if client else "from port", data[4:])
        elif kind in _STREAMS and data:
            yield Output(number, time, _STREAMS[Kind(kind)], data, pty=False)

    def _end(self, time: int, tag: str = "") -> Iterator[Step]:
        if self._asked is not None and self._open:
            self._open = False
            yield Answered(self._asked.number, time, max(0, time - self._asked.time), tag=tag)


def _document(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _status(data: bytes) -> str:
    told = _document(data)
    if told.get("status") == "Success":
        return "exit 0"
    causes = (told.get("details") or {}).get("causes") or ()
    code = next((c.get("message") for c in causes if isinstance(c, dict) and c.get("reason") == "ExitCode"), None)
    return f"exit {code}" if code is not None else str(told.get("message", "failed"))
