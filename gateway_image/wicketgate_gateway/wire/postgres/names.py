"""Which statement and portal a name means: what the server has confirmed, and what is still under way to it.

How this works: a name is bound by the server's own confirmation alone, in the order of its answers (`confirmed`). What
was sent and not answered yet is `pending`. Together they are all that the name can mean when the next message reaches
the server, however the messages before it end: a decision is made on every one of them.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Names(Generic[T]):
    """One name space of a session."""

    __slots__ = ("_pending", "confirmed")

    def __init__(self) -> None:
        self.confirmed: dict[str, T] = {}
        self._pending: dict[str, list[T]] = {}

    def __len__(self) -> int:
        return len(self.confirmed) + len(self._pending)

    def sent(self, name: str, thing: T) -> None:
        """`name` was sent to the server with `thing`."""
        pending = self._pending.get(name)
        if pending is None:
            self._pending[name] = [thing]
        else:
            pending.append(thing)

    def confirm(self, name: str, thing: T) -> None:
        """The server took it: from now on `name` means `thing`."""
        pending = self._pending.get(name)
        if pending is not None:
            if len(pending) == 1 and pending[0] is thing:
                del self._pending[name]
            else:
                self.settle(name, thing)
        self.confirmed[name] = thing

    def settle(self, name: str, thing: T) -> None:
        """It is no longer under way: the server refused or skipped it."""
        pending = self._pending.get(name)
        if pending is None:
            return
        for i, other in enumerate(pending):
            if other is thing:
                del pending[i]
                break
        if not pending:
            del self._pending[name]

    def drop(self, name: str) -> None:
        """The server confirmed that `name` means nothing now."""
        self.confirmed.pop(name, None)

    def drop_all(self) -> None:
        """The server confirmed that no name means anything now."""
        self.confirmed.clear()

    def candidates(self, name: str) -> tuple[T, ...]:
        """All that `name` can mean when the next message is read, the likeliest last."""
        pending: Any = self._pending.get(name)
        confirmed = self.confirmed.get(name)
        if pending is None:
            return () if confirmed is None else (confirmed,)
        return (*pending,) if confirmed is None else (confirmed, *pending)

    def values(self) -> list[T]:
        """Everything, confirmed and under way."""
        return [*self.confirmed.values(), *(thing for things in self._pending.values() for thing in things)]
