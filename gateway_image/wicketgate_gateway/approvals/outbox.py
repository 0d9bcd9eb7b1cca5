"""From the control store into the journal: what people decided, in any process, comes on record.

How this works: each step in the store notes a `change` in its own transaction. One gateway at a time leases those that
no journal has, writes their events, and only then marks them. A crash between the two makes an event stand twice, with
the same `change` number; none is ever lost. That an operation goes out (`HoldUsed`) is not told by this: the session
itself puts it on record first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from wicketgate_gateway.approvals.model import Change, Choice, Claim, Request, State
from wicketgate_gateway.approvals.store import ApprovalStore
from wicketgate_gateway.audit.events import (
    AuditEvent,
    HoldDecided,
    HoldRequested,
    HoldUsed,
    HoldVoted,
    KillLifted,
    KillOrdered,
)
from wicketgate_gateway.contract.errors import WicketgateError

log = structlog.get_logger()

Submit = Callable[[Sequence[AuditEvent], Callable[[Exception | None], None]], None]
"""`Journal.submit`."""
_IDLE_SECONDS = 1.0
_RETRY_SECONDS = 1.0


def used(claim: Claim, *, seq: int, now: int) -> HoldUsed:
    """The event for a held operation that is about to go out as number `seq` of its session."""
    r = claim.request
    return HoldUsed(
        time=now,
        session=claim.session,
        handle=r.handle,
        digest=r.digest,
        seal=r.seal,
        bot=r.bot,
        target=r.target,
        claim=claim.id,
        seq=seq,
        rule=r.rule,
        approvers=[v.approver for v in r.votes if v.choice is Choice.APPROVE],
    )


def event_of(change: Change, request: Request | None) -> AuditEvent | None:
    """The event for a change; None for those that are on record otherwise. `request` is None for kills, and for a
    request that is gone or damaged: then the event holds what the change itself says.
    """
    data = change.data
    if change.kind == "kill":
        return KillOrdered(
            time=change.time,
            session=data["value"] if data["scope"] == "session" else "",
            kill=data["kill"],
            scope=data["scope"],
            value=data["value"],
            by=data["by_name"],
            by_id=data["by_id"],
            reason=data["reason"],
            change=change.id,
        )
    if change.kind == "lifted":
        return KillLifted(
            time=change.time, kill=data["kill"], by=data["by_name"], by_id=data["by_id"], change=change.id
        )
    r = request
    session = r.session if r else ""
    digest, seal, bot, target, rule = (r.digest, r.seal, r.bot, r.target, r.rule) if r else ("", "", "", "", "")
    if change.kind == "requested" and r is not None:
        return HoldRequested(
            time=change.time,
            session=session,
            handle=change.handle,
            digest=digest,
            seal=seal,
            bot=bot,
            bot_id=r.bot_id,
            target=target,
            rule=rule,
            policy=r.policy,
            reason=r.reason,
            approvers=list(r.approver_groups),
            quorum=r.quorum,
            expires=r.expires,
            change=change.id,
        )
    if change.kind == "voted":
        return HoldVoted(
            time=change.time,
            session=session,
            handle=change.handle,
            digest=digest,
            seal=seal,
            bot=bot,
            target=target,
            approver=data["approver"],
            name=data["name"],
            choice=data["choice"],
            rule=rule,
            comment=data["comment"],
            change=change.id,
        )
    if change.kind in (State.APPROVED, State.DENIED, State.EXPIRED, State.VOID, "released"):
        return HoldDecided(
            time=change.time,
            session=session,
            handle=change.handle,
            digest=digest,
            bot=bot,
            target=target,
            state=change.kind,
            rule=rule,
            approvers=list(data.get("approvers", ())),
            reason=data.get("note", ""),
            change=change.id,
        )
    return None


class Outbox:
    """Keeps one gateway's journal up to date with the store."""

    def __init__(self, store: ApprovalStore, submit: Submit) -> None:
        self._store = store
        self._submit = submit

    async def run(self) -> None:
        """For ever; a store or a journal that is away for a while ends nothing and loses nothing."""
        told = ""
        while True:
            seen = self._store.generation
            try:
                moved = await self.step()
                told = ""
            except WicketgateError as error:
                if str(error) != told:
                    told = str(error)
                    log.error("approvals are not in the journal yet", reason=told)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            if not moved:
                await self._store.after_change(seen, _IDLE_SECONDS)

    async def step(self) -> int:
        """Move what there is; gives the number. Raises WicketgateError."""
        changes = await self._store.lease_changes()
        if not changes:
            return 0
        events = [event for change in changes if (event := event_of(change, await self._request(change))) is not None]
        if events:
            await self._write(events)
        await self._store.journaled([change.id for change in changes])
        return len(changes)

    async def _request(self, change: Change) -> Request | None:
        if not change.handle:
            return None
        try:
            return await self._store.get(change.handle)
        except WicketgateError as error:
            if error.code not in ("hold-unknown", "approval-damaged"):
                raise
            log.error("a request in the control store cannot be read", handle=change.handle, code=error.code)
            return None

    async def _write(self, events: Sequence[AuditEvent]) -> None:
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def release(error: Exception | None) -> None:
            if written.done():
                return
            if error is None:
                written.set_result(None)
            else:
                written.set_exception(
                    error
                    if isinstance(error, WicketgateError)
                    else WicketgateError(f"the journal cannot be written: {error}", code="journal-failed")
                )

        self._submit(events, release)
        await written
