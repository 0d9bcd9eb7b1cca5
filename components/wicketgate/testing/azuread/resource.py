"""A row of the table of resources: what the server needs to know of each."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from wicketgate.provider.values import UNKNOWN, Secret
from wicketgate.testing.azuread.errors import NotInStandInError
from wicketgate.testing.azuread.operation import Operation, Session
from wicketgate.testing.azuread.plan import Plan
from wicketgate.testing.azuread.schema import Block, Field

_TIMEOUTS_KEY: Final = "e2bfb730-ecaa-11e6-8f88-34363bc7c4c0"

Step = Callable[[Operation], None]


def _no_update(_operation: Operation) -> None:
    raise NotInStandInError("an update of this resource, all of whose properties force a new one")


def _any_id(_identifier: str) -> None:
    pass


def _no_customisation(_session: Session, _plan: Plan, _identifier: str, _deadline: float) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One resource type.

    `create` sets the operation's `id` as soon as there is one, and reads at its end; `read` raises GoneError
    if the resource does not exist. `check_id` raises ValueError for an ID that cannot be imported. `customise`
    may add to a plan, forbid it (ValueError), or ask Graph about it. Timeouts are in minutes.
    """

    name: str
    tf: str
    block: Block
    create: Step
    read: Step
    delete: Step
    update: Step = _no_update
    check_id: Callable[[str], None] = _any_id
    customise: Callable[[Session, Plan, str, float], None] = _no_customisation
    timeouts: Mapping[str, int] = field(default_factory=dict[str, int])
    version: int = 0

    @property
    def token(self) -> str:
        """The type's token, as in `azuread:index/group:Group`."""
        return f"azuread:index/{self.name[0].lower()}{self.name[1:]}:{self.name}"

    @property
    def meta(self) -> str:
        """What the bridge records under `__meta`: default timeouts in nanoseconds, and the schema's version."""
        document: dict[str, Any] = {}
        if self.timeouts:
            document[_TIMEOUTS_KEY] = {name: minutes * 60 * 10**9 for name, minutes in sorted(self.timeouts.items())}
        if self.version:
            document["schema_version"] = str(self.version)
        return json.dumps(document, separators=(",", ":"))

    def outputs(self, values: Mapping[str, Any], identifier: str) -> dict[str, Any]:
        """The state as the engine gets it: with the ID, metadata, and secrets marked."""
        out = {name: _marked(described, values.get(name)) for name, described in self.block.items()}
        out["id"] = identifier or UNKNOWN
        if self.timeouts or self.version:
            out["__meta"] = self.meta
        return out


def _marked(described: Field, value: Any) -> Any:
    if described.sensitive:
        return value if value is None else Secret(value)
    block = described.block
    if block is None or not any(item.sensitive for item in block.values()):
        return value
    if isinstance(value, Mapping):
        return {name: _marked(block[name], item) if name in block else item for name, item in value.items()}
    if isinstance(value, list):
        return [_marked_item(block, item) for item in value]
    return value


def _marked_item(block: Block, item: Any) -> Any:
    if not isinstance(item, Mapping):
        return item
    return {name: _marked(block[name], value) if name in block else value for name, value in item.items()}
