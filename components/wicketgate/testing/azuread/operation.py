"""One lifecycle operation on one resource: its data, its deadline, and its way to Graph.

How this works: a resource's functions get an `Operation`. They read what the program wants with `get`, send
requests with `graph_get` and its like, and write what they read with `put`, as the real provider's functions do
with `ResourceData`. The state that remains is `state`: what was planned, overlaid with what was put.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, cast

from wicketgate.provider.values import UNKNOWN
from wicketgate.testing.azuread.errors import GraphError, OperationError
from wicketgate.testing.azuread.graph import BETA, V1, Graph, Retry
from wicketgate.testing.azuread.names import named
from wicketgate.testing.azuread.plan import Plan
from wicketgate.testing.azuread.schema import Block, Kind, is_zero, request_order, sort_set, zero
from wicketgate.testing.azuread.waits import CONSISTENT_SECONDS, CONSISTENT_TIMES, Locks, WaitError, Waits

MINUTE: Final = 60.0


@dataclass(frozen=True)
class Session:
    """A configured provider: who signed in, and where requests go."""

    graph: Graph
    tenant: str
    client: str
    caller: str
    waits: Waits = field(default_factory=Waits)
    locks: Locks = field(default_factory=Locks)


@dataclass
class Operation:
    """An operation under way. `planned` is None for Read and Delete, `id` is empty before a creation."""

    session: Session
    block: Block
    deadline: float
    prior: Mapping[str, Any]
    planned: Plan | None = None
    id: str = ""
    written: dict[str, Any] = field(default_factory=dict[str, Any])

    # What the program wants.

    def get(self, name: str) -> Any:
        """A value: what was put, planned or there before; the type's zero if absent or unknown."""
        value = self._value(name)
        return zero(self.block[name]) if value is None or value is UNKNOWN else value

    def _value(self, name: str) -> Any:
        if name in self.written:
            return self.written[name]
        return self.planned.values.get(name) if self.planned is not None else self.prior.get(name)

    def ordered(self, name: str) -> list[Any]:
        """A set in the order in which the provider walks it."""
        return request_order(self.block[name], self.get(name))

    def given(self, name: str) -> bool:
        """Whether there is a value other than the type's zero (`GetOk`)."""
        return not is_zero(self.get(name))

    def exists(self, name: str) -> bool:
        """Whether there is a value, be it the type's zero (`GetOkExists`)."""
        value = self._value(name)
        return value is not None and value is not UNKNOWN

    def changed(self, name: str) -> bool:
        """Whether the plan changes the value."""
        return self.planned is not None and self.planned.changed(name)

    # What was read.

    def put(self, name: str, value: Any) -> None:
        """Record a value as read; None is the type's zero, a set is brought to its order."""
        described = self.block[name]
        if value is None:
            value = zero(described)
        if described.kind is Kind.SET and isinstance(value, list) and not described.single:
            value = sort_set(cast(list[Any], value))
        self.written[name] = value

    def state(self) -> dict[str, Any]:
        """What remains of the resource.

        After a creation or an update an empty list or map that was planned as absent stays absent, as the
        Terraform SDK has it (`normalizeNullValues`).
        """
        out: dict[str, Any] = {}
        for name in self.block:
            value = self._value(name)
            if value is UNKNOWN:
                value = None
            if self.planned is not None and name in self.written and value in ([], {}):
                planned = self.planned.values.get(name)
                if planned is None and not self.block[name].block:
                    value = None
            out[name] = value
        return out

    # Requests.

    def graph_get(self, path: str, *, version: str = V1, select: str = "") -> dict[str, Any]:
        """An object. Raises GraphError."""
        query = {"$select": select} if select else None
        answer = self.session.graph.send("GET", version, path, deadline=self.deadline, query=query)
        if not isinstance(answer, dict):
            raise OperationError("Bad API response", f"retrieving {named(path)}: model was nil")
        return cast(dict[str, Any], answer)

    def graph_find(self, path: str, *, version: str = V1, select: str = "") -> dict[str, Any] | None:
        """An object, or None if it does not exist."""
        try:
            return self.graph_get(path, version=version, select=select)
        except GraphError as error:
            if error.not_found:
                return None
            raise

    def graph_list(self, path: str, *, version: str = V1, filtered: str = "") -> list[dict[str, Any]]:
        """The items of a collection."""
        query = {"$filter": filtered} if filtered else None
        return self.session.graph.items(version, path, deadline=self.deadline, query=query)

    def graph_post(self, path: str, body: Any, *, version: str = V1, retry: Retry | None = None) -> dict[str, Any]:
        """Create something; the answer's object, empty if there is none."""
        answer = self.session.graph.send("POST", version, path, deadline=self.deadline, body=body, retry=retry)
        return cast(dict[str, Any], answer) if isinstance(answer, dict) else {}

    def graph_patch(self, path: str, body: Any, *, version: str = V1, retry: Retry | None = None) -> None:
        """Change something."""
        self.session.graph.send("PATCH", version, path, deadline=self.deadline, body=body, retry=retry)

    def graph_delete(self, path: str, *, version: str = V1) -> None:
        """Delete something."""
        self.session.graph.send("DELETE", version, path, deadline=self.deadline)

    def ids(self, path: str, *, version: str = V1) -> list[str]:
        """The object IDs of a collection's items."""
        return [str(item.get("id") or "") for item in self.graph_list(path, version=version)]

    def reference(self, identifier: str, *, version: str = V1) -> dict[str, str]:
        """The body that adds a directory object to a relation."""
        return {"@odata.id": self.session.graph.reference(version, identifier)}

    # Waiting.

    def wait_until(
        self,
        check: Callable[[], bool | None],
        what: str,
        *,
        times: int = CONSISTENT_TIMES,
        seconds: float = CONSISTENT_SECONDS,
        target: str = "Done",
    ) -> None:
        """Wait until `check` holds steadily. Raises OperationError with `what` if it does not, or fails."""
        try:
            self.session.waits.until(check, deadline=self.deadline, times=times, seconds=seconds, target=target)
        except WaitError as error:
            raise OperationError(what, str(error)) from None
        except GraphError as error:
            raise OperationError(what, f"retrieving resource: {error}") from None

    def wait_gone(self, path: str, what: str, *, version: str = V1) -> None:
        """Wait until the object is steadily not found."""
        self.wait_until(lambda: self.graph_find(path, version=version) is None, what, target="Deleted")

    @contextmanager
    def attempting(self, what: str) -> Generator[None, None, None]:
        """Say of an unexpected answer of Graph what was being attempted."""
        try:
            yield
        except GraphError as error:
            raise OperationError(what, str(error)) from None

    def locked(self, kind: str, identifier: str) -> Any:
        """A context that holds the lock of an application or group."""
        return self.session.locks.holding(kind, identifier)


__all__ = ["BETA", "MINUTE", "V1", "Operation", "Session"]
