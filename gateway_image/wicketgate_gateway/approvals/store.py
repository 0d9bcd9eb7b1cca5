"""Requests, votes, claims and kills in the control store: every step one transaction, whatever other processes do.

How this works: a request is written once, as canonical bytes with their digests; only its state moves, by updates that
name the state that they expect. Reading checks the digests. What is past its time counts as expired whether or not
anyone has written so. Each step notes a `change` in its own transaction, for those who wait and for the audit.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, and_, delete, func, insert, not_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from wicketgate_gateway.approvals import digest as digests
from wicketgate_gateway.approvals.database import Clock, Database
from wicketgate_gateway.approvals.model import Change, Choice, Claim, Kill, Request, Scope, State, Vote
from wicketgate_gateway.approvals.signals import PostgresSignal, Signal, SqliteSignal
from wicketgate_gateway.approvals.tables import changes, kills, requests, uses, votes
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording.ids import new_session_id

MAX_OPEN_PER_BOT = 20
"""Requests of one bot that wait for an answer at once: more would bury the approvers."""
_HANDLE = "hold-"
_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"
_RECHECK_SECONDS = 2.0
"""A waiter looks again after so long even if nobody called."""


def new_handle() -> str:
    """A handle: 30 random bits in Crockford's base 32."""
    return _HANDLE + "".join(secrets.choice(_LETTERS) for _ in range(6))


def new_claim_id() -> str:
    """An id for a claim."""
    return new_session_id()


def normal_handle(text: str) -> str:
    """A handle as a person may have typed it: `HOLD-7KQ2M9`, `7kq2m9`."""
    lower = text.strip().lower()[:64]
    return lower if lower.startswith(_HANDLE) else _HANDLE + lower


async def open_store(url: str, *, clock: Clock | None = None, max_open: int = MAX_OPEN_PER_BOT) -> ApprovalStore:
    """Open (and make, and migrate) the store: `sqlite+aiosqlite:///PATH` or `postgresql+asyncpg://…`.

    Raises WicketgateError: `store-url-invalid`, `store-newer`, `approvals-unavailable`.
    """
    database = await Database.open(url, clock=clock)
    signal: Signal = SqliteSignal(database) if database.kind == "sqlite" else PostgresSignal(database)
    return ApprovalStore(database, signal, max_open)


class ApprovalStore:
    """The control store. Every method raises WicketgateError (`approvals-unavailable`) if the store cannot be used."""

    def __init__(self, database: Database, signal: Signal, max_open: int) -> None:
        self.database = database
        self._signal = signal
        self._max_open = max_open

    async def close(self) -> None:
        """Close all connections; who still waits is told by `approvals-unavailable`."""
        await self._signal.close()
        await self.database.close()

    # -- requests --------------------------------------------------------------------------------------------------

    async def request(self, wanted: Request, operation: str) -> Request:
        """Put a request on the list, or find the one that stands for the same operation of the same bot: open, or
        denied within its time (a denial holds: nobody is asked again and again).

        `wanted` has `created` and `expires` relative to 0; handle and seal are made here.
        Raises WicketgateError (`too-many-holds`, `killed`).
        """
        async with self.database.reading() as (connection, now):
            # A bot that asks on and on takes nobody's turn to write.
            if await self._standing(connection, wanted.digest, wanted.bot_id, now) is None:
                await self._room(connection, wanted, now)
        async with self.database.writing() as (connection, now):
            if await self._killed(connection, wanted.bot_id, wanted.target, wanted.session):
                raise WicketgateError(
                    f"`{wanted.bot}` is cut off from `{wanted.target}` at the moment",
                    code="killed",
                    remedy="ask the gateway's operator, who ordered it",
                )
            await self._expire(connection, now, requests.c.bot_id == wanted.bot_id)
            row = await self._standing(connection, wanted.digest, wanted.bot_id, now)
            if row is not None:
                return await self._read(connection, row, now)
            await self._room(connection, wanted, now)
            made = replace(
                wanted,
                handle=await self._free_handle(connection),
                created=now,
                expires=now + wanted.expires - wanted.created,
                state=State.PENDING,
            )
            terms = digests.terms_text(made)
            made = replace(made, seal=digests.seal_of_terms(terms))
            await connection.execute(
                insert(requests).values(
                    handle=made.handle,
                    digest=made.digest,
                    seal=made.seal,
                    bot_id=made.bot_id,
                    target=made.target,
                    state=made.state.value,
                    created=made.created,
                    expires=made.expires,
                    uses=0,
                    note="",
                    operation=operation,
                    terms=terms,
                )
            )
            await self.database.change(connection, now, "requested", made.handle, {})
            return made

    async def standing(self, digest: str, bot_id: str) -> Request | None:
        """The request that stands for this operation of this bot: open, or denied within its time. Writes nothing."""
        async with self.database.reading() as (connection, now):
            row = await self._standing(connection, digest, bot_id, now)
            found = None if row is None else await self._read(connection, row, now)
        return None if found is None or found.state is State.EXPIRED else found

    async def get(self, handle: str) -> Request:
        """The request as it stands now. Raises WicketgateError (`hold-unknown`, `approval-damaged`)."""
        async with self.database.reading() as (connection, now):
            return await self._get(connection, handle, now)

    async def list(
        self,
        states: Collection[State] = (State.PENDING, State.APPROVED),
        *,
        bot_id: str = "",
        target: str = "",
        limit: int = 1000,
    ) -> list[Request]:
        """The newest `limit` requests in these states, oldest first, as they stand now."""
        async with self.database.reading() as (connection, now):
            wanted = [or_(*(_in_state(state, now) for state in states))]
            wanted += [requests.c.bot_id == bot_id] if bot_id else []
            wanted += [requests.c.target == target] if target else []
            newest = requests.c.created.desc(), requests.c.handle.desc()
            rows = (await connection.execute(select(requests).where(*wanted).order_by(*newest).limit(limit))).mappings()
            return [await self._read(connection, row, now) for row in reversed(rows.all())]

    async def vote(self, handle: str, vote: Vote) -> Request:
        """Count one person's answer; gives the request as it then stands. One denial denies; a denial also takes back
        an approval that was not used yet.

        Raises WicketgateError: `hold-unknown`, `hold-expired`, `hold-closed` (decided, used, void), `already-voted`,
        `seal-mismatch`.
        """
        async with self.database.writing() as (connection, now):
            request = await self._get(connection, handle, now, lock=True)
            _votable(request, vote)
            before = next((v for v in request.votes if v.approver == vote.approver), None)
            values = {"name": vote.name, "choice": vote.choice.value, "comment": vote.comment, "time": now}
            if before is None:
                await connection.execute(
                    insert(votes).values(handle=request.handle, approver=vote.approver, seal=request.seal, **values)
                )
            else:
                mine = and_(votes.c.handle == request.handle, votes.c.approver == vote.approver)
                await connection.execute(update(votes).where(mine).values(**values))
            said = {"approver": vote.approver, "name": vote.name, "choice": vote.choice.value, "comment": vote.comment}
            await self.database.change(connection, now, "voted", request.handle, said)
            request = await self._get(connection, handle, now)
            state = _outcome(request)
            if state is not request.state:
                seconds = request.use_within if request.reuse is None else request.reuse
                await self._move(
                    connection,
                    request,
                    state,
                    decided=now,
                    use_by=now + round(seconds * 1e9) if state is State.APPROVED else None,
                )
                approvers = [v.approver for v in request.votes if v.choice.value == vote.choice.value]
                await self.database.change(connection, now, state.value, request.handle, {"approvers": approvers})
            return await self._get(connection, handle, now)

    async def claim(self, digest: str, bot_id: str, session: str, claim_id: str = "") -> Claim | None:
        """The right to run the operation of this digest now, if it is approved: given exactly once, or as often as
        asked in the time of a `for` rule. Asked for again by the same `claim_id`, it is the one that was given then.
        """
        approved = and_(
            requests.c.digest == digest, requests.c.bot_id == bot_id, requests.c.state == State.APPROVED.value
        )
        given = and_(uses.c.id == claim_id, uses.c.session == session, uses.c.outcome == "")
        async with self.database.reading() as (connection, _):
            # Mostly there is nothing to claim, and then nobody's turn to write is taken.
            if (await connection.execute(select(requests.c.handle).where(approved))).first() is None and (
                not claim_id or (await connection.execute(select(uses.c.id).where(given))).first() is None
            ):
                return None
        async with self.database.writing() as (connection, now):
            before = (await connection.execute(select(uses).where(given))).mappings().first() if claim_id else None
            if before is None:
                query = select(requests).where(approved).with_for_update()
            else:
                mine = requests.c.handle == before["handle"], requests.c.digest == digest, requests.c.bot_id == bot_id
                query = select(requests).where(*mine)
            row = (await connection.execute(query)).mappings().first()
            if row is None:
                return None
            request = await self._read(connection, row, now)
            if await self._killed(connection, bot_id, request.target, session):
                return None
            if before is not None:
                standing = request.state in (State.USED, State.APPROVED)
                return Claim(claim_id, request, session, int(before["time"])) if standing else None
            if request.state is not State.APPROVED or _outcome(request) is not State.APPROVED:
                return None
            claim = Claim(claim_id or new_claim_id(), replace(request, uses=request.uses + 1), session, now)
            state = State.APPROVED if request.reuse is not None else State.USED
            await self._move(connection, request, state, uses=requests.c.uses + 1)
            await connection.execute(
                insert(uses).values(id=claim.id, handle=request.handle, session=session, time=now, outcome="")
            )
            await self.database.change(connection, now, "used", request.handle, {"claim": claim.id, "session": session})
            return claim

    async def release(self, claim: Claim) -> bool:
        """Give a claim back whose operation certainly did not go out; False if it was ended already."""
        async with self.database.writing() as (connection, now):
            if not await self._end_use(connection, claim, "released"):
                return False
            r = claim.request
            state = State.USED if r.reuse is None else State.APPROVED
            # A kill made all open requests void; this one was not open then, and must not come back.
            killed = await self._killed(connection, r.bot_id, r.target, claim.session, since=claim.time)
            after = State.VOID if killed else State.APPROVED
            await connection.execute(
                update(requests)
                .where(requests.c.handle == r.handle, requests.c.state == state.value)
                .values(state=after.value, uses=requests.c.uses - 1)
            )
            await self.database.change(connection, now, "released", r.handle, {"claim": claim.id})
            return True

    async def finished(self, claim: Claim, outcome: str) -> None:
        """Note how the operation ended (`ok`, `error`, `cancelled`, `lost`)."""
        async with self.database.writing() as (connection, now):
            if await self._end_use(connection, claim, outcome):
                data = {"claim": claim.id, "outcome": outcome}
                await self.database.change(connection, now, "finished", claim.request.handle, data)

    async def void(self, note: str, *, handle: str = "", bot_id: str = "", target: str = "") -> list[str]:
        """End open requests that can no longer be decided; gives their handles. Name at least one of the filters."""
        given = {"handle": handle, "bot_id": bot_id, "target": target}
        conditions = [requests.c[name] == value for name, value in given.items() if value]
        if not conditions:
            raise ValueError("void needs a handle, a bot or a target")
        async with self.database.writing() as (connection, now):
            return await self.database.void(connection, now, and_(*conditions), note)

    async def bots_with_open_requests(self) -> list[str]:
        """Object ids of the bots that have something to be decided or used."""
        async with self.database.reading() as (connection, now):
            is_open = or_(_in_state(State.PENDING, now), _in_state(State.APPROVED, now))
            found = await connection.execute(select(requests.c.bot_id).where(is_open).distinct())
            return sorted(str(bot_id) for (bot_id,) in found.all())

    async def sweep(self) -> int:
        """Write down what has expired; gives the number. Also notes the time, so that a clock that goes back shows."""
        async with self.database.reading() as (connection, now):
            condition = requests.c.state.in_([State.PENDING.value, State.APPROVED.value])
            some = (await connection.execute(select(requests.c.handle).where(condition).limit(1))).first()
        if some is None:
            return 0
        async with self.database.writing() as (connection, now):
            return await self._expire(connection, now, requests.c.handle.is_not(None))

    async def forget(self, before: int) -> int:
        """Delete ended requests, and changes that are in the journal, from before that time; gives the requests."""
        async with self.database.writing() as (connection, _):
            ended = requests.c.state.not_in([State.PENDING.value, State.APPROVED.value])
            gone = await connection.execute(
                delete(requests).where(
                    ended,
                    requests.c.created < before,
                    requests.c.expires < before,
                    or_(requests.c.use_by.is_(None), requests.c.use_by < before),
                )
            )
            await connection.execute(delete(changes).where(changes.c.journaled == 1, changes.c.time < before))
            return gone.rowcount

    # -- waiting ---------------------------------------------------------------------------------------------------

    async def wait(self, handle: str, until: int) -> Request:
        """The request once it is no longer pending, or at `until` (ns since 1970), whichever is first."""
        with self._signal.listening(normal_handle(handle)) as called:
            while True:
                called.clear()  # before looking: what happens while we look must wake us, too
                async with self.database.reading() as (connection, now):
                    request = await self._get(connection, handle, now)
                if request.state is not State.PENDING or now >= until:
                    return request
                left = (min(until, request.expires) - now) / 1e9
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(max(left, 0.0) + 0.001, _RECHECK_SECONDS)):
                        await called.wait()

    async def watch(self, since: int | None = None) -> AsyncIterator[Change]:
        """All changes as they happen, for ever; those after the id `since` first, if given."""
        last = await self._last_change() if since is None else since
        while True:
            seen = self._signal.generation
            async with self.database.reading() as (connection, _):
                query = select(changes).where(changes.c.id > last).order_by(changes.c.id).limit(500)
                found = [_change(row) for row in (await connection.execute(query)).mappings()]
            for change in found:
                last = change.id
                yield change
            if not found:
                await self._signal.after(seen, _RECHECK_SECONDS)

    async def _last_change(self) -> int:
        async with self.database.reading() as (connection, _):
            return int((await connection.execute(select(func.coalesce(func.max(changes.c.id), 0)))).scalar_one())

    # -- for the journal -------------------------------------------------------------------------------------------

    async def lease_changes(self, *, limit: int = 200, seconds: float = 10.0) -> list[Change]:
        """Changes that are not in any journal yet, oldest first; no other process gets them for so long."""
        async with self.database.reading() as (connection, now):
            waiting = and_(changes.c.journaled == 0, changes.c.leased_until <= now)
            if (await connection.execute(select(changes.c.id).where(waiting).limit(1))).first() is None:
                return []
        async with self.database.writing() as (connection, now):
            waiting = and_(changes.c.journaled == 0, changes.c.leased_until <= now)
            query = select(changes).where(waiting).order_by(changes.c.id).limit(limit)
            found = [_change(row) for row in (await connection.execute(query)).mappings()]
            ids = changes.c.id.in_([change.id for change in found])
            await connection.execute(update(changes).where(ids).values(leased_until=now + round(seconds * 1e9)))
            return found

    async def journaled(self, ids: Sequence[int]) -> None:
        """These changes are durable in a journal."""
        async with self.database.writing() as (connection, _):
            await connection.execute(update(changes).where(changes.c.id.in_(list(ids))).values(journaled=1))

    async def after_change(self, seen: int, seconds: float) -> None:
        """Wait until something changes after the generation `seen` (see `generation`), at most so long."""
        await self._signal.after(seen, seconds)

    @property
    def generation(self) -> int:
        """Rises whenever something may have changed."""
        return self._signal.generation

    # -- kills -----------------------------------------------------------------------------------------------------

    async def kill(self, scope: Scope, value: str, *, by: str, by_id: str, reason: str) -> Kill:
        """Order the end of sessions. Open requests of what is killed become void.

        Raises WicketgateError (`kill-invalid`).
        """
        if bool(value) is (scope is Scope.ALL):
            raise WicketgateError(
                "a kill names one bot, group, target or session, or `all` and nothing else",
                code="kill-invalid",
                remedy="give its object id, name or session id",
            )
        async with self.database.writing() as (connection, now):
            values = {"scope": scope.value, "value": value, "by_name": by, "by_id": by_id, "reason": reason}
            made = await connection.execute(
                insert(kills).values(time=now, lifted_by="", **values).returning(kills.c.id)
            )
            number = int(made.scalar_one())
            await self.database.change(connection, now, "kill", "", {"kill": number, **values})
            condition = {
                Scope.ALL: requests.c.handle.is_not(None),
                Scope.BOT: requests.c.bot_id == value,
                Scope.TARGET: requests.c.target == value,
            }.get(scope)
            if condition is not None:
                await self.database.void(connection, now, condition, f"killed: {reason}" if reason else "killed")
            return Kill(number, scope, value, by, by_id, reason, now)

    async def kills(self, since: int = 0, *, lifted: bool = False) -> list[Kill]:
        """The kills after the id `since`, oldest first; with `lifted` also those that no longer hold."""
        async with self.database.reading() as (connection, _):
            query = select(kills).where(kills.c.id > since).order_by(kills.c.id)
            if not lifted:
                query = query.where(kills.c.lifted.is_(None))
            return [_kill(row) for row in (await connection.execute(query)).mappings()]

    async def lift(self, number: int, *, by: str, by_id: str) -> None:
        """Let what was killed come back. Raises WicketgateError (`kill-unknown`) if it does not hold."""
        async with self.database.writing() as (connection, now):
            done = await connection.execute(
                update(kills).where(kills.c.id == number, kills.c.lifted.is_(None)).values(lifted=now, lifted_by=by)
            )
            if done.rowcount != 1:
                raise WicketgateError(f"no kill `{number}` is in force", code="kill-unknown", remedy="list the kills")
            data = {"kill": number, "by_name": by, "by_id": by_id}
            await self.database.change(connection, now, "lifted", "", data)

    # -- parts -----------------------------------------------------------------------------------------------------

    async def _standing(self, connection: AsyncConnection, digest: str, bot_id: str, now: int) -> RowMapping | None:
        """The request that stands for the same operation."""
        found = await connection.execute(
            select(requests)
            .where(
                requests.c.bot_id == bot_id,
                requests.c.digest == digest,
                requests.c.state.in_([State.PENDING.value, State.APPROVED.value, State.DENIED.value]),
                or_(requests.c.state != State.DENIED.value, requests.c.expires > now),
            )
            .order_by(requests.c.created.desc())
            .limit(1)
        )
        return found.mappings().first()

    async def _room(self, connection: AsyncConnection, wanted: Request, now: int) -> None:
        """Raises WicketgateError (`too-many-holds`) if the bot has enough that waits."""
        waiting = await connection.execute(
            select(func.count())
            .select_from(requests)
            .where(requests.c.bot_id == wanted.bot_id, _in_state(State.PENDING, now))
        )
        if int(waiting.scalar_one()) >= self._max_open:
            raise WicketgateError(
                f"`{wanted.bot}` has {self._max_open} statements waiting for an answer already",
                code="too-many-holds",
                remedy="wait for an answer to one of them, or for one to lapse",
            )

    async def _killed(
        self, connection: AsyncConnection, bot_id: str, target: str, session: str, *, since: int | None = None
    ) -> bool:
        """Whether a kill is in force, or (with `since`) was ordered from then on. Kills of groups are the sessions' to
        see: who is in a group is not known here.
        """
        k = kills.c
        means = or_(
            k.scope == Scope.ALL.value,
            and_(k.scope == Scope.BOT.value, k.value == bot_id),
            and_(k.scope == Scope.TARGET.value, k.value == target),
            and_(k.scope == Scope.SESSION.value, k.value == session),
        )
        when = k.lifted.is_(None) if since is None else k.time >= since
        return (await connection.execute(select(k.id).where(means, when).limit(1))).first() is not None

    async def _free_handle(self, connection: AsyncConnection) -> str:
        while True:
            handle = new_handle()
            taken = await connection.execute(select(requests.c.handle).where(requests.c.handle == handle))
            if taken.first() is None:
                return handle

    async def _get(self, connection: AsyncConnection, handle: str, now: int, *, lock: bool = False) -> Request:
        query = select(requests).where(requests.c.handle == normal_handle(handle))
        row = (await connection.execute(query.with_for_update() if lock else query)).mappings().first()
        if row is None:
            raise WicketgateError(
                f"there is no request `{handle[:64]}`",
                code="hold-unknown",
                remedy="`wicketgate approvals list` lists them",
            )
        return await self._read(connection, row, now)

    async def _read(self, connection: AsyncConnection, row: RowMapping, now: int) -> Request:
        handle = str(row["handle"])
        read = digests.read(row["operation"], row["terms"], digest=row["digest"], seal=row["seal"], handle=handle)
        query = select(votes).where(votes.c.handle == handle).order_by(votes.c.time, votes.c.approver)
        cast = [_vote(vote) for vote in (await connection.execute(query)).mappings()]
        request = Request(
            **read,
            state=State(row["state"]),
            decided=row["decided"],
            use_by=row["use_by"],
            uses=int(row["uses"]),
            note=row["note"],
            votes=tuple(cast),
        )
        return replace(request, state=State.EXPIRED) if _past(request, now) else request

    async def _move(self, connection: AsyncConnection, request: Request, state: State, **values: Any) -> None:
        """From the state that `request` has to another; who came first wins."""
        done = await connection.execute(
            update(requests)
            .where(requests.c.handle == request.handle, requests.c.state == request.state.value)
            .values(state=state.value, **values)
        )
        if done.rowcount != 1:
            raise WicketgateError(
                f"`{request.handle}` was changed by someone else in this moment",
                code="hold-closed",
                remedy="look at it again",
            )

    async def _expire(self, connection: AsyncConnection, now: int, condition: Any) -> int:
        pending = and_(requests.c.state == State.PENDING.value, requests.c.expires <= now)
        approved = and_(
            requests.c.state == State.APPROVED.value, or_(requests.c.use_by.is_(None), requests.c.use_by <= now)
        )
        found = await connection.execute(
            update(requests)
            .where(condition, or_(pending, approved))
            .values(state=State.EXPIRED.value)
            .returning(requests.c.handle)
        )
        handles = [str(handle) for (handle,) in found.all()]
        for handle in handles:
            await self.database.change(connection, now, State.EXPIRED.value, handle, {})
        return len(handles)

    async def _end_use(self, connection: AsyncConnection, claim: Claim, outcome: str) -> bool:
        done = await connection.execute(
            update(uses).where(uses.c.id == claim.id, uses.c.outcome == "").values(outcome=outcome)
        )
        return done.rowcount == 1


def _votable(request: Request, vote: Vote) -> None:
    if request.state is State.EXPIRED:
        raise WicketgateError(f"`{request.handle}` has lapsed", code="hold-expired", remedy="the bot must ask again")
    taken_back = request.state is State.APPROVED and vote.choice is Choice.DENY
    if request.state is not State.PENDING and not taken_back:
        raise WicketgateError(
            f"`{request.handle}` is {request.state.value}: there is nothing left to decide",
            code="hold-closed",
            remedy="`wicketgate approvals list` shows what is open",
        )
    if vote.seal and vote.seal != request.seal:
        raise WicketgateError(
            f"`{request.handle}` is not what was looked at",
            code="seal-mismatch",
            remedy="look at it again, and decide then",
        )
    if any(v.approver == vote.approver and v.choice is vote.choice for v in request.votes):
        raise WicketgateError(
            f"`{vote.name}` has answered already",
            code="already-voted",
            remedy="each person has one vote; another approver must answer",
        )


def _outcome(request: Request) -> State:
    """What the votes make of it. Only votes for exactly this request count."""
    valid = [v for v in request.votes if v.seal == request.seal]
    if any(v.choice is Choice.DENY for v in valid):
        return State.DENIED
    approvers = {v.approver for v in valid if v.choice is Choice.APPROVE}
    return State.APPROVED if len(approvers) >= max(request.quorum, 1) else State.PENDING


def _past(request: Request, now: int) -> bool:
    if request.state is State.PENDING:
        return request.expires <= now
    return request.state is State.APPROVED and (request.use_by is None or request.use_by <= now)


def _in_state(state: State, now: int) -> ColumnElement[bool]:
    """The same as `_past`, for the database."""
    r = requests.c
    stored = r.state == state.value
    used_by = and_(r.use_by.is_not(None), r.use_by > now)
    match state:
        case State.PENDING:
            return and_(stored, r.expires > now)
        case State.APPROVED:
            return and_(stored, used_by)
        case State.EXPIRED:
            lapsed = and_(r.state == State.PENDING.value, r.expires <= now)
            return or_(stored, lapsed, and_(r.state == State.APPROVED.value, not_(used_by)))
        case _:
            return stored


def _vote(row: RowMapping) -> Vote:
    return Vote(row["approver"], row["name"], Choice(row["choice"]), row["comment"], int(row["time"]), row["seal"])


def _change(row: RowMapping) -> Change:
    return Change(int(row["id"]), int(row["time"]), row["kind"], row["handle"], json.loads(row["data"]))


def _kill(row: RowMapping) -> Kill:
    return Kill(
        int(row["id"]), Scope(row["scope"]), row["value"], row["by_name"], row["by_id"], row["reason"],
        int(row["time"]), row["lifted"], row["lifted_by"],
    )  # fmt: skip
