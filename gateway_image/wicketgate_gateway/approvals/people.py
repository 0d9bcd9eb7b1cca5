"""What the control store knows of people's sign-ins: what has served once, and the API's own tokens.

How this works: an assertion serves once, whichever of the processes and gateways that share the store sees it first:
its id goes into a table by one insert, whose conflict is the answer. Tokens that the API gives out are kept by their
SHA-256, with what was proven when they were given; a copy of the store opens nothing. What is past its time goes with
the next write.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, func, insert, select

from wicketgate_gateway.approvals.database import Database
from wicketgate_gateway.approvals.model import NANOSECONDS
from wicketgate_gateway.approvals.tables import once, person_tokens
from wicketgate_gateway.contract.errors import WicketgateError

MAX_ONCE = 100_000
MAX_TOKENS = 10_000
MAX_KEY = 200


class PeopleStore:
    """Raises WicketgateError (`approvals-unavailable`) wherever the store cannot be used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def first(self, kind: str, key: str, ends: float) -> bool:
        """Whether nobody came with this `key` before; it is remembered until `ends` (seconds since 1970).

        Raises WicketgateError (`too-many-sign-ins`) if there are too many to remember.
        """
        if not 0 < len(key) <= MAX_KEY:
            raise ValueError("a key of wrong length")
        async with self._database.writing() as (connection, now):
            await connection.execute(delete(once).where(once.c.ends < now))
            known = select(once.c.key).where(once.c.kind == kind, once.c.key == key)
            if (await connection.execute(known)).first() is not None:
                return False
            count = int((await connection.execute(select(func.count()).select_from(once))).scalar_one())
            if count >= MAX_ONCE:
                raise WicketgateError(
                    "too many people sign in at once", code="too-many-sign-ins", remedy="try again in some minutes"
                )
            await connection.execute(insert(once).values(kind=kind, key=key, ends=_nanoseconds(ends)))
            return True

    async def keep(self, token: str, person: Mapping[str, Any], ends: float) -> None:
        """Remember what a token stands for until `ends`. Raises WicketgateError (`too-many-sign-ins`)."""
        async with self._database.writing() as (connection, now):
            await connection.execute(delete(person_tokens).where(person_tokens.c.ends < now))
            count = int((await connection.execute(select(func.count()).select_from(person_tokens))).scalar_one())
            if count >= MAX_TOKENS:
                raise WicketgateError(
                    "too many people are signed in", code="too-many-sign-ins", remedy="try again in some minutes"
                )
            values = {"digest": _digest(token), "person": json.dumps(person), "ends": _nanoseconds(ends)}
            await connection.execute(insert(person_tokens).values(**values))

    async def find(self, token: str) -> dict[str, Any] | None:
        """What a token stands for; None if it is unknown, over or ended."""
        async with self._database.reading() as (connection, now):
            wanted = select(person_tokens.c.person).where(
                person_tokens.c.digest == _digest(token), person_tokens.c.ends > now
            )
            row = (await connection.execute(wanted)).first()
        return None if row is None else json.loads(row[0])

    async def end(self, token: str) -> None:
        """The token opens nothing any more."""
        async with self._database.writing() as (connection, _):
            await connection.execute(delete(person_tokens).where(person_tokens.c.digest == _digest(token)))


def _nanoseconds(seconds: float) -> int:
    return math.ceil(seconds) * NANOSECONDS


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
