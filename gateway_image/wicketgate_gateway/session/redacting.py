"""Masks by detectors on the output of a channel: standard output and standard error, each a stream of its own.

How this works: a policy's masks name detectors; what they find is replaced before the client or the recording sees it.
The redactor of a stream holds back what could be the beginning of something, so that nothing is missed where pieces
meet; when nothing came for a moment it lets go of what is none, so that a prompt is seen. If the output cannot be
looked at, there is none.
"""

from __future__ import annotations

from collections.abc import Iterator

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.masking.detectors import Detecting, DetectorError, detecting
from wicketgate_gateway.masking.redactor import Redactor
from wicketgate_gateway.policy.engine import TargetPolicy

IDLE_SECONDS = 0.15


class RedactionError(WicketgateError):
    """The output cannot be masked, so it is not shown."""

    code = "masking-unavailable"


class Redacting:
    """The redactors of one channel, by the kind of frame."""

    def __init__(self, masks: Detecting) -> None:
        self._masks = masks
        self._streams: dict[int, Redactor] = {}

    @property
    def waits(self) -> bool:
        """Whether something is held back."""
        return any(stream.held for stream in self._streams.values())

    def feed(self, kind: int, data: bytes) -> bytes:
        """The masked part of the stream of this kind that may be shown now."""
        found = self._streams.get(kind)
        if found is None:
            found = self._streams[kind] = Redactor(self._masks)
        return found.feed(data)

    def idle(self) -> Iterator[tuple[int, bytes]]:
        """What may be shown since nothing came for a while."""
        for kind, stream in self._streams.items():
            if some := stream.idle():
                yield kind, some

    def flush(self) -> Iterator[tuple[int, bytes]]:
        """What is left of each stream."""
        streams, self._streams = self._streams, {}
        for kind, stream in streams.items():
            if rest := stream.flush():
                yield kind, rest


def redacting(policy: TargetPolicy, key: bytes) -> Redacting | None:
    """The redactors that a policy's masks ask for; None if they ask for none. Raises RedactionError."""
    try:
        masks = detecting(policy, key)
    except DetectorError as error:
        raise RedactionError(error.message, remedy=error.remedy) from None
    return None if masks is None else Redacting(masks)
