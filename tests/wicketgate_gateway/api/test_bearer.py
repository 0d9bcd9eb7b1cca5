"""Assertions for tokens: what a token stands for, and when it stands for nothing. Forgeries: `tests/attacks`."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wicketgate_gateway.api import bearer
from wicketgate_gateway.api.bearer import PREFIX, SECONDS, Bearer
from wicketgate_gateway.approvals.people import PeopleStore
from wicketgate_gateway.approvals.store import open_store
from wicketgate_gateway.contract.gateway import Saml
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.identity.people import Person

pytestmark = pytest.mark.anyio
TENANT, CLIENT = "6f1c9a52-7a53-4c0e-9a55-3f2e6b1d8c40", "0a4f3e2d-1c0b-4a99-8877-665544332211"
SETTINGS = Saml(client=CLIENT, entity_id="api://gate", bearer=True)
CONFIG: Any = SimpleNamespace(
    entra=SimpleNamespace(tenant=TENANT, authority="https://login.example"),
    people=SimpleNamespace(url="https://gate.example", saml=SETTINGS),
)


class People:
    """Graph's word, and how it was asked."""

    def __init__(self) -> None:
        self.enabled = True
        self.asked: list[tuple[frozenset[str], bool]] = []

    async def recheck(self, person: Person, groups: frozenset[str], *, fresh: bool = False) -> Person:
        if not self.enabled:
            raise Refused("person-disabled", "the account is disabled", "")
        self.asked.append((groups, fresh))
        return dataclasses.replace(person, principal=dataclasses.replace(person.principal, groups=groups))


def ada(ends: float = 3600.0, key: str = "_1") -> Person:
    roles = frozenset({"Session.Read"})
    principal = Principal(PrincipalKind.PERSON, TENANT, "ada", CLIENT, "Ada", key, time.time() + ends, roles)
    return Person(principal, 1.0)


@pytest.fixture
async def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path}/state/control.db")
    people: Any = People()

    async def fetch(url: str) -> bytes:
        raise AssertionError(url)

    tokens = Bearer(CONFIG, SETTINGS, people, PeopleStore(store.database), fetch)
    proven = {"person": ada()}

    async def read(_: str) -> Person:
        return proven["person"]

    monkeypatch.setattr(tokens, "_read", read)
    yield SimpleNamespace(tokens=tokens, people=people, proven=proven, store=store, fetch=fetch)
    await store.close()


async def test_a_token_is_its_person_with_groups_of_now(made: Any) -> None:
    token, seconds = await made.tokens.exchange("x")
    assert token.startswith(PREFIX)
    assert len(token) > 40
    assert 0 < seconds <= SECONDS
    person = await made.tokens.person(token, frozenset({"g"}), fresh=True)
    principal = person.principal
    assert (principal.object_id, principal.roles, principal.groups) == ("ada", frozenset({"Session.Read"}), {"g"})
    assert (principal.kind, person.signed_in_at, principal.token_id) == (PrincipalKind.PERSON, 1.0, "_1")
    assert principal.expires_at <= time.time() + SECONDS
    assert made.people.asked == [(frozenset(), True), (frozenset({"g"}), True)]


async def test_attack_an_assertion_serves_once(made: Any) -> None:
    await made.tokens.exchange("x")
    with pytest.raises(Refused) as caught:
        await made.tokens.exchange("x")
    assert caught.value.code == "saml-replayed"


async def test_attack_other_tokens_open_nothing(made: Any) -> None:
    token, _ = await made.tokens.exchange("x")
    for wrong in (token[:-1], token + "x", PREFIX, PREFIX + "A" * 43):
        with pytest.raises(Refused):
            await made.tokens.person(wrong, frozenset(), fresh=False)


async def test_no_longer_than_the_assertion(made: Any) -> None:
    made.proven["person"] = ada(ends=5.0)
    _, seconds = await made.tokens.exchange("x")
    assert seconds <= 5.0


async def test_signed_out_it_opens_nothing(made: Any) -> None:
    token, _ = await made.tokens.exchange("x")
    await made.tokens.end(token)
    with pytest.raises(Refused):
        await made.tokens.person(token, frozenset(), fresh=False)


async def test_attack_a_disabled_person(made: Any) -> None:
    token, _ = await made.tokens.exchange("x")
    made.people.enabled = False
    with pytest.raises(Refused, match="disabled"):
        await made.tokens.person(token, frozenset(), fresh=False)
    made.proven["person"] = ada(key="_2")
    with pytest.raises(Refused, match="disabled"):
        await made.tokens.exchange("x")


async def test_attack_a_token_of_another_registration_on_the_same_store(made: Any) -> None:
    token, _ = await made.tokens.exchange("x")
    other = Saml(client="1a4f3e2d-1c0b-4a99-8877-665544332211", entity_id="api://gate", bearer=True)
    tokens = Bearer(CONFIG, other, made.people, PeopleStore(made.store.database), made.fetch)
    with pytest.raises(Refused, match="another registration"):
        await tokens.person(token, frozenset(), fresh=False)


async def test_off_unless_it_is_on(made: Any) -> None:
    off: Any = SimpleNamespace(people=SimpleNamespace(saml=SETTINGS.model_copy(update={"bearer": False})))
    assert bearer.of_setting(off, made.people, PeopleStore(made.store.database), made.fetch) is None
    assert bearer.of_setting(CONFIG, made.people, PeopleStore(made.store.database), made.fetch) is not None
    assert bearer.off().code == "not-found"
