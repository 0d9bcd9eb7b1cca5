"""What a decision is made for and comes to, and the cache of decisions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wicketgate_gateway.contract.policy import RecordLevel
from wicketgate_gateway.contract.verdict import Verdict
from wicketgate_gateway.wire.postgres.sql.model import Facts

CACHE_ENTRIES = 2048
RECENT_ENTRIES = 512


@dataclass(frozen=True, slots=True)
class Record:
    """What is recorded, and for how long (seconds)."""

    level: RecordLevel
    keep: float
    files_up_to: int = 0
    """Bytes of each file's content; 0: by digest alone."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Who asks, in the words of conditions; names come from the bundle, not from the token."""

    bot: str
    groups: tuple[str, ...]
    target: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict, and what the operation was found to do (empty where it was not understood).

    The `start` and `end` of the facts may be those of another text with the same statements: don't use them.
    """

    verdict: Verdict
    statements: tuple[Facts, ...] = ()
    relations: tuple[str, ...] = ()
    cacheable: bool = False
    notes: list[Any] = field(default_factory=list[Any], init=False, compare=False, repr=False)
    """What a user of the decision worked out from it, once for all texts that share it."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kind of each statement."""
        return tuple(facts.kind.value for facts in self.statements)


class VerdictCache:
    """Decisions by their key, and the newest texts once more as they are, since stripping literals takes a while.

    Bounded; the oldest entries go first. For one thread.
    """

    __slots__ = ("_decisions", "_recent")

    def __init__(self) -> None:
        self._decisions: OrderedDict[object, Decision] = OrderedDict()
        self._recent: OrderedDict[object, Decision] = OrderedDict()

    def __len__(self) -> int:
        return len(self._decisions)

    def recent(self, key: object) -> Decision | None:
        """The decision on this very text, if it was asked for lately."""
        return self._recent.get(key)

    def find(self, key: object, exact: object, *, remember: bool = True) -> Decision | None:
        """The decision on a text like the one of `exact`, which is remembered; not if it is as fast to find again."""
        found = self._decisions.get(key)
        if found is not None and remember:
            _put(self._recent, exact, found, RECENT_ENTRIES)
        return found

    def put(self, key: object, exact: object, decision: Decision) -> None:
        """Keep a decision."""
        _put(self._decisions, key, decision, CACHE_ENTRIES)
        _put(self._recent, exact, decision, RECENT_ENTRIES)

    def clear(self) -> None:
        """Forget all."""
        self._decisions.clear()
        self._recent.clear()


def _put(entries: OrderedDict[object, Decision], key: object, decision: Decision, most: int) -> None:
    entries[key] = decision
    if len(entries) > most:
        entries.popitem(last=False)
