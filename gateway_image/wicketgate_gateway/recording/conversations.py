"""Which reader turns a recording into steps: one for each protocol, all to be used alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from wicketgate_gateway.audit.events import Operation, SessionStarted
from wicketgate_gateway.recording.blocks import Record
from wicketgate_gateway.recording.http_replay import HttpConversation
from wicketgate_gateway.recording.kubernetes_replay import KubernetesConversation
from wicketgate_gateway.recording.replay import DEFAULT_ROWS, Conversation, Step
from wicketgate_gateway.recording.ssh_replay import SshConversation


class Reader(Protocol):
    """Turns records into steps."""

    def feed(self, record: Record) -> Iterator[Step]:
        """The steps that `record` completes."""
        ...

    def finish(self) -> Iterator[Step]:
        """What the recording's end leaves open."""
        ...

    def missing(self) -> list[Operation]:
        """Operations that went out according to the journal, but that the recording does not hold."""
        ...


def reader_of(
    started: SessionStarted, more: Callable[[], Sequence[Operation]], *, max_rows: int = DEFAULT_ROWS
) -> Reader:
    """The reader for that session's recording; `more` gives its next operations, `max_rows` bounds shown results."""
    match started.protocol:
        case "ssh":
            return SshConversation(more)
        case "http":
            return HttpConversation(more)
        case "kubernetes":
            return KubernetesConversation(more)
        case _:
            return Conversation(more, max_rows=max_rows, answers=started.record == "full")
