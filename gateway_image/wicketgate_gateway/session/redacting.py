"""Masks by detectors on the output of a channel: standard output and standard error, each a stream of its own.

How this works: a policy's masks name detectors; what they find is replaced before the client or the recording sees it.
The redactor of a stream holds back what could be the beginning of something, so that nothing is missed where pieces
meet. If the output cannot be looked at, there is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.policy.engine import TargetPolicy


class Stream(Protocol):
    """What `masking.detectors` makes for one stream."""

    def feed(self, data: bytes) -> bytes:
        """What may be shown of all that came so far and was not shown yet."""
        ...

    def flush(self) -> bytes:
        """The rest, at the end."""
        ...


class RedactionError(WicketgateError):
    """The output cannot be masked, so it is not shown."""

    code = "masking-unavailable"


class Redacting:
    """The redactors of one channel, by the kind of frame."""

    def __init__(self, masks: Iterable[Any]) -> None:
        self._masks = list(masks)
        self._streams: dict[int, Stream] = {}

    def feed(self, kind: int, data: bytes) -> bytes:
        """The masked part of the stream of this kind that may be shown now."""
        found = self._streams.get(kind)
        if found is None:
            found = self._streams[kind] = make(self._masks)
        return found.feed(data)

    def flush(self) -> Iterator[tuple[int, bytes]]:
        """What is left of each stream."""
        streams, self._streams = self._streams, {}
        for kind, stream in streams.items():
            rest = stream.flush()
            if rest:
                yield kind, rest


def redacting(policy: TargetPolicy) -> Redacting | None:
    """The redactors that a policy's masks ask for; None if they ask for none. Raises RedactionError."""
    masks = [mask for mask in policy.data_masks if mask.detect]
    if not masks:
        return None
    make(masks)
    return Redacting(masks)


def make(masks: list[Any]) -> Stream:
    """A redactor for a stream. Raises RedactionError: without detectors nothing may be shown."""
    raise RedactionError("the policy masks by detectors, and there are none in this gateway", remedy="remove `detect`")
