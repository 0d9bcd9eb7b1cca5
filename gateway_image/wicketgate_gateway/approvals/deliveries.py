"""What receivers are still to be told, in the control store: each message by one gateway, whichever is there.

How this works: one row per receiver and change. Rows are made in the transaction that moves the receiver's place in the
changes on, so none is made twice and none left out, however many gateways do it. Whoever wants to send a message leases
it; the lease names its holder, so that one who was slower than the lease cannot note anything any more. A gateway that
dies leaves a lease that runs out, and another sends the message again, under the same id: a message is sent once unless
a gateway died, or hung, between sending it and noting that. Messages on one request keep their order.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import and_, delete, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from wicketgate_gateway.approvals.database import Database
from wicketgate_gateway.approvals.model import Change
from wicketgate_gateway.approvals.tables import changes, deliveries, receivers
from wicketgate_gateway.recording.ids import new_session_id

OPEN, TOLD, DEAD = "open", "told", "dead"
KEEP_SECONDS = 7 * 24 * 3600
"""How long what is over stays."""
_STEP = 500


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message that the holder of the lease is to send now."""

    receiver: str
    change: Change
    """Without its data."""
    tries: int
    """Earlier ones."""
    holder: str


class Deliveries:
    """All messages of all receivers of a store. Methods raise WicketgateError (`approvals-unavailable`)."""

    def __init__(self, database: Database, kinds: Collection[str]) -> None:
        self._database = database
        self._kinds = sorted(kinds)

    async def enrol(self, names: Collection[str]) -> None:
        """Make receivers known: those that are new are told what happens from now on."""
        async with self._database.writing() as (connection, _):
            last = int((await connection.execute(select(func.coalesce(func.max(changes.c.id), 0)))).scalar_one())
            known = {str(name) for (name,) in (await connection.execute(select(receivers.c.name))).all()}
            for name in sorted(set(names) - known):
                await connection.execute(insert(receivers).values(name=name, last=last))

    async def spread(self, names: Collection[str]) -> int:
        """Make rows of the changes since; gives their number. Also drops what is long over."""
        wanted = receivers.c.name.in_(sorted(names))
        async with self._database.reading() as (connection, _):
            newest = int((await connection.execute(select(func.coalesce(func.max(changes.c.id), 0)))).scalar_one())
            behind = select(receivers.c.name).where(wanted, receivers.c.last < newest)
            if (await connection.execute(behind.limit(1))).first() is None:
                return 0
        async with self._database.writing() as (connection, now):
            made = 0
            for name, last in (await connection.execute(select(receivers).where(wanted))).all():
                made += await self._spread(connection, str(name), int(last), now)
            old = and_(deliveries.c.state != OPEN, deliveries.c.due < now - KEEP_SECONDS * 1_000_000_000)
            await connection.execute(delete(deliveries).where(old))
            return made

    async def _spread(self, connection: AsyncConnection, name: str, last: int, now: int) -> int:
        query = select(changes).where(changes.c.id > last).order_by(changes.c.id).limit(_STEP)
        found = (await connection.execute(query)).mappings().all()
        told = [row for row in found if row["kind"] in self._kinds and row["handle"]]
        rows = [
            {
                "receiver": name,
                "change": int(row["id"]),
                "kind": row["kind"],
                "handle": row["handle"],
                "time": int(row["time"]),
                "state": OPEN,
                "tries": 0,
                "due": now,
                "leased_until": 0,
                "holder": "",
            }
            for row in told
        ]
        if rows:
            await connection.execute(insert(deliveries), rows)
        if found:
            await connection.execute(
                update(receivers).where(receivers.c.name == name).values(last=int(found[-1]["id"]))
            )
        return len(rows)

    async def lease(self, receiver: str, seconds: float) -> Delivery | None:
        """The next message that is due for a receiver, for so long; None if there is none."""
        earlier = deliveries.alias("earlier")
        waits = exists().where(
            earlier.c.receiver == deliveries.c.receiver,
            earlier.c.handle == deliveries.c.handle,
            earlier.c.state == OPEN,
            earlier.c.change < deliveries.c.change,
        )

        def due(now: int) -> tuple[object, ...]:
            d = deliveries.c
            return d.receiver == receiver, d.state == OPEN, d.due <= now, d.leased_until <= now, ~waits

        async with self._database.reading() as (connection, now):
            if (await connection.execute(select(deliveries.c.change).where(*due(now)).limit(1))).first() is None:  # pyright: ignore[reportArgumentType] - SQLAlchemy's comparisons are clauses
                return None
        async with self._database.writing() as (connection, now):
            query = select(deliveries).where(*due(now)).order_by(deliveries.c.change).limit(1)  # pyright: ignore[reportArgumentType] - as above
            row = (await connection.execute(query)).mappings().first()
            if row is None:
                return None
            holder = new_session_id()
            mine = and_(deliveries.c.receiver == receiver, deliveries.c.change == row["change"])
            until = now + round(seconds * 1e9)
            await connection.execute(update(deliveries).where(mine).values(leased_until=until, holder=holder))
            change = Change(int(row["change"]), int(row["time"]), row["kind"], row["handle"], {})
            return Delivery(receiver, change, int(row["tries"]), holder)

    async def done(self, delivery: Delivery, state: str = TOLD) -> bool:
        """It was sent, or given up (`DEAD`); False if the lease had run out and another holds it."""
        async with self._database.writing() as (connection, now):
            return await self._end(connection, delivery, state=state, due=now)

    async def again(self, delivery: Delivery, seconds: float) -> bool:
        """It could not be sent, and is due again after so long; False as in `done`."""
        async with self._database.writing() as (connection, now):
            due = now + round(seconds * 1e9)
            return await self._end(connection, delivery, state=OPEN, due=due, tries=delivery.tries + 1)

    async def _end(self, connection: AsyncConnection, delivery: Delivery, **values: object) -> bool:
        d = deliveries.c
        mine = and_(
            d.receiver == delivery.receiver,
            d.change == delivery.change.id,
            d.holder == delivery.holder,
            d.state == OPEN,
        )
        changed = await connection.execute(update(deliveries).where(mine).values(leased_until=0, holder="", **values))
        return changed.rowcount == 1
