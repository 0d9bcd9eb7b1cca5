"""Held operations as server-sent events, for as long as the caller may see them.

How this works: the list first, then each change, read anew from the store, so that what is sent is what stands. Every
quarter minute a comment keeps the connection; every minute Graph and the token's end are looked at. Streams are few:
each holds a connection.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Generator

from wicketgate_gateway.api import models
from wicketgate_gateway.api.access import Access, Caller
from wicketgate_gateway.api.changes import Changes
from wicketgate_gateway.approvals.model import Request, State
from wicketgate_gateway.approvals.store import ApprovalStore
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import GatewayConfig

MAX_STREAMS = 100
MAX_EACH = 4
ALIVE_SECONDS = 15.0
RECHECK_SECONDS = 30.0
_places: Counter[str] = Counter()


@contextlib.contextmanager
def place(caller: Caller) -> Generator[None]:
    """One of the few streams. Raises WicketgateError (`too-many-streams`)."""
    who = caller.person.principal.object_id
    if _places[who] >= MAX_EACH or _places.total() >= MAX_STREAMS:
        raise WicketgateError("too many streams are open", code="too-many-streams", remedy="close some")
    _places[who] += 1
    try:
        yield
    finally:
        _places[who] -= 1
        if not _places[who]:
            del _places[who]


async def events(
    caller: Caller, access: Access, store: ApprovalStore, changes: Changes, config: GatewayConfig
) -> AsyncIterator[str]:
    """The stream's text; ends when the caller may see nothing any more, or the store is away."""
    try:
        with place(caller), changes.follow() as follower:
            checked = time.monotonic()
            for request in await store.list((State.PENDING,)):
                caller, text = await _show(caller, access, request, config)
                if text:
                    yield text
            yield "event: ready\ndata: {}\n\n"
            while True:
                change = await follower.next(ALIVE_SECONDS)
                if time.monotonic() - checked >= RECHECK_SECONDS:
                    caller, checked = await access.again(caller, caller.checked), time.monotonic()
                if change is None:
                    yield ": alive\n\n"
                elif change.handle:
                    caller, text = await _show(caller, access, await store.get(change.handle), config)
                    if text:
                        yield text
    except WicketgateError as error:
        yield f"event: end\ndata: {models.End(code=error.code, detail=error.message).model_dump_json()}\n\n"


async def _show(caller: Caller, access: Access, request: Request, config: GatewayConfig) -> tuple[Caller, str]:
    needed = frozenset(request.approver_groups)
    if not caller.sees_all and not needed <= caller.checked:
        caller = await access.again(caller, caller.checked | needed)
    if not caller.sees(request):
        return caller, ""
    return caller, f"event: approval\ndata: {models.approval(request, config).model_dump_json()}\n\n"
