"""What serves once, and the API's own tokens, in both kinds of store."""

from __future__ import annotations

from typing import Any

import pytest

from wicketgate_gateway.approvals.model import NANOSECONDS
from wicketgate_gateway.approvals.people import PeopleStore
from wicketgate_gateway.approvals.store import open_store

pytestmark = pytest.mark.anyio


async def now_of(world: Any) -> float:
    async with world.store.database.reading() as (_, now):
        return now / NANOSECONDS


async def test_a_key_serves_once_whichever_process_comes_first(world: Any) -> None:
    """Two stores on one database, as two processes have them."""
    other = await open_store(world.url)
    try:
        here, there = PeopleStore(world.store.database), PeopleStore(other.database)
        ends = await now_of(world) + 100
        assert await here.first("saml", "_a", ends)
        assert not await there.first("saml", "_a", ends)
        assert not await here.first("saml", "_a", ends)
        assert await there.first("other", "_a", ends)
        assert await there.first("saml", "_b", ends)
    finally:
        await other.close()


async def test_what_is_past_its_time_is_forgotten(world: Any) -> None:
    people = PeopleStore(world.store.database)
    now = await now_of(world)
    assert await people.first("saml", "_old", now - 10)
    assert await people.first("saml", "_old", now + 10)


async def test_a_token_opens_until_it_ends(world: Any) -> None:
    people = PeopleStore(world.store.database)
    now = await now_of(world)
    await people.keep("secret", {"id": "ada"}, now + 100)
    await people.keep("late", {"id": "bob"}, now - 10)
    assert await people.find("secret") == {"id": "ada"}
    assert await people.find("Secret") is None
    assert await people.find("late") is None
    await people.end("secret")
    assert await people.find("secret") is None


async def test_the_store_holds_no_token(world: Any) -> None:
    people = PeopleStore(world.store.database)
    await people.keep("wgp_secret", {"id": "ada"}, await now_of(world) + 100)
    async with world.store.database.engine.connect() as connection:
        rows = (await connection.exec_driver_sql("SELECT * FROM person_tokens")).all()
    assert rows
    assert "wgp_secret" not in str(rows)


@pytest.mark.parametrize("key", ["", "x" * 201])
async def test_keys_of_wrong_length(world: Any, key: str) -> None:
    with pytest.raises(ValueError, match="length"):
        await PeopleStore(world.store.database).first("saml", key, 0)
