"""What Graph says of a service principal or a person: enabled or not, and in which of the policies' groups.

How this works: `accountEnabled` and `checkMemberGroups` (transitive, at most 20 groups a call) are asked together and
kept for a minute at most, counted from before the question. From half that age on, whoever asks gets the kept answer
and has it asked anew in the background, so that one stray failure of Graph ends nobody's session. One question per
principal is in flight; others wait for the same answer. Without an answer that is young enough the principal is
refused. Claims are never a source of groups, and no link found in one is followed. Source: Microsoft Graph v1.0,
`servicePrincipal`, `user` and `checkMemberGroups`; permissions `Application.Read.All` for service principals, and
`User.Read.All` with `GroupMember.Read.All` for people.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import httpx2

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import Entra
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.identity.exchange import AccessToken
from wicketgate_gateway.identity.http import Answer, send

MAX_AGE = 60.0
GROUPS_PER_CALL = 20
MAX_CACHED = 10_000
_TRIES = 3
_MAX_PAUSE = 5.0
_SCOPE_SUFFIX = "/.default"


class Credential(Protocol):
    """What `WorkloadCredential` is."""

    async def token(self, scope: str) -> AccessToken:
        """A token for `scope`."""
        ...


class Membership(NamedTuple):
    """An answer: whether the principal exists and is enabled, and those of `asked` that it is in."""

    enabled: bool
    groups: frozenset[str]
    asked: frozenset[str]
    at: float


@dataclass(frozen=True, slots=True)
class Kind:
    """A collection of Graph, and what is said where its member is disabled or may not be read."""

    collection: str
    code: str
    disabled: str
    remedy: str
    permissions: str


BOTS = Kind(
    "servicePrincipals",
    "bot-disabled",
    "the service principal is disabled or deleted in Entra",
    "ask the bot's owner to enable it",
    "`Application.Read.All`",
)
PEOPLE = Kind(
    "users",
    "person-disabled",
    "the account is disabled or deleted in Entra",
    "ask the tenant's administrators",
    "`User.Read.All` and `GroupMember.Read.All`",
)


class GroupResolver:
    """Memberships of the principals of one `kind`, for one event loop. `max_age` is in seconds, at most 60."""

    def __init__(
        self,
        entra: Entra,
        credential: Credential,
        http: httpx2.AsyncClient,
        *,
        max_age: float = MAX_AGE,
        clock: Callable[[], float] = time.monotonic,
        kind: Kind = BOTS,
    ) -> None:
        self._kind = kind
        self._base = f"{entra.graph.rstrip('/')}/v1.0/{kind.collection}"
        self._scope = entra.graph.rstrip("/") + _SCOPE_SUFFIX
        self._credential = credential
        self._http = http
        self._max_age = min(max_age, MAX_AGE)
        self._clock = clock
        self._cache: OrderedDict[str, Membership] = OrderedDict()
        self._asking: dict[str, tuple[frozenset[str], asyncio.Task[Membership]]] = {}

    async def groups_of(self, object_id: str, asked: frozenset[str], *, fresh: bool = False) -> frozenset[str]:
        """Those of `asked` (object ids of groups) that the enabled principal is in, directly or not.

        A `fresh` answer was asked for now. Raises Refused: `bot-disabled` or `person-disabled` (disabled, deleted or
        unknown), or `graph-unavailable`.
        """
        answer = None if fresh else self._cache.get(object_id)
        age = self._clock() - answer.at if answer is not None else self._max_age
        if answer is None or age >= self._max_age or not asked <= answer.asked:
            # Shielded: the first asker hanging up must not fail those who wait with it.
            answer = await asyncio.shield(self._ask_once(object_id, asked))
        elif age >= self._max_age / 2:
            self._ask_once(object_id, asked)
        if not answer.enabled:
            raise Refused(self._kind.code, self._kind.disabled, self._kind.remedy)
        return answer.groups & asked

    def _ask_once(self, object_id: str, asked: frozenset[str]) -> asyncio.Task[Membership]:
        running = self._asking.get(object_id)
        if running is None or not asked <= running[0]:
            task = asyncio.get_running_loop().create_task(self._ask(object_id, asked))
            self._asking[object_id] = running = (asked, task)
            task.add_done_callback(lambda done: self._asked(object_id, done))
        return running[1]

    def _asked(self, object_id: str, task: asyncio.Task[Membership]) -> None:
        if object_id in self._asking and self._asking[object_id][1] is task:
            del self._asking[object_id]
        if not task.cancelled() and task.exception() is None:
            self._cache[object_id] = task.result()
            self._cache.move_to_end(object_id)
            if len(self._cache) > MAX_CACHED:
                self._cache.popitem(last=False)

    async def _ask(self, object_id: str, asked: frozenset[str]) -> Membership:
        at = self._clock()
        try:
            token = await self._credential.token(self._scope)
        except WicketgateError as error:
            raise Refused("graph-unavailable", f"the gateway got no token for Graph: {error.message}") from None
        account = await self._call(token, "GET", f"/{object_id}?$select=id,accountEnabled", (200, 404))
        if account is None or account.get("accountEnabled") is not True:
            return Membership(False, frozenset(), asked, at)
        ordered = sorted(asked)
        groups: set[str] = set()
        for start in range(0, len(ordered), GROUPS_PER_CALL):
            body = {"groupIds": ordered[start : start + GROUPS_PER_CALL]}
            answer = await self._call(token, "POST", f"/{object_id}/checkMemberGroups", (200, 404), json=body)
            if answer is None:
                return Membership(False, frozenset(), asked, at)
            value = answer.get("value")
            if not isinstance(value, list):
                raise Refused("graph-unavailable", "Graph's answer cannot be read")
            groups.update(item for item in value if isinstance(item, str))
        return Membership(True, frozenset(groups) & asked, asked, at)

    async def _call(
        self, token: AccessToken, method: str, path: str, fine: tuple[int, ...], **more: Any
    ) -> dict[str, Any] | None:
        """The answer's object, or None for 404. Raises Refused."""
        headers = {"Authorization": f"Bearer {token.token}", "Accept": "application/json"}
        answer: Answer | None = None
        for attempt in range(1, _TRIES + 1):
            try:
                answer = await send(self._http, method, self._base + path, headers=headers, **more)
            except WicketgateError as error:
                if attempt == _TRIES:
                    raise Refused("graph-unavailable", error.message, error.remedy) from None
                answer = None
            if answer is not None and answer.status != 429 and answer.status < 500:
                break
            if attempt < _TRIES:
                await asyncio.sleep(_pause(answer, attempt))
        assert answer is not None
        if answer.status not in fine:
            remedy = (
                f"grant the gateway {self._kind.permissions}" if answer.status in (401, 403) else "try again shortly"
            )
            raise Refused("graph-unavailable", f"Graph answered HTTP {answer.status}", remedy)
        if answer.status == 404:
            return None
        try:
            value = json.loads(answer.body)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise Refused("graph-unavailable", "Graph's answer cannot be read")
        return value


def _pause(answer: Answer | None, attempt: int) -> float:
    """Seconds until the next try: Graph's Retry-After, at most 5, else a little more each time."""
    wanted = answer.retry_after if answer is not None else None
    if wanted is not None and wanted.isascii() and wanted.isdigit():
        return min(float(wanted), _MAX_PAUSE)
    return 0.2 * attempt
