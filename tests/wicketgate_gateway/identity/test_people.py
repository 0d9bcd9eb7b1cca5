"""People against the emulator: real sign-ins, and what is not a person's token for this gateway."""

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from wicketgate_gateway.contract.gateway import Entra, GatewayConfig, Workload
from wicketgate_gateway.contract.identity import PrincipalKind
from wicketgate_gateway.identity import http
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.identity.people import PeopleAuthenticator
from wicketgate_gateway.identity.tokens import TokenVerifier
from wicketgate_gateway.identity.workload import WorkloadCredential

pytestmark = pytest.mark.anyio


class Door:
    """The authenticator over the cloud."""

    def __init__(self, cloud: Any, client: httpx2.AsyncClient) -> None:
        self.cloud = cloud
        self.client = client
        self.skew = 0.0
        self.config = GatewayConfig.model_validate(
            {
                "name": "gate",
                "entra": cloud.document(),
                "audience": cloud.audience,
                "workload": cloud.workload("gateway"),
                "agents": {},
                "listen": {"postgres": {"port": 0}, "agents": {"port": 0}, "api": {"port": 0}},
                "people": {"url": "https://gate.example", "client": cloud.clients["cli"]},
                "tls": {"certificateFile": "x", "keyFile": "x"},
                "state": "x",
                "policies": "x",
                "targets": {},
            }
        )
        config = self.config
        self.people = PeopleAuthenticator(
            config,
            TokenVerifier(config.entra, config.audience, http.fetcher(client)),
            WorkloadCredential(config.entra, config.workload, client),
            client,
            clock=lambda: time.time() + self.skew,
        )

    async def refused(self, token: str, groups: frozenset[str] = frozenset()) -> str:
        with pytest.raises(Refused) as error:
            await self.people.person(token, groups)
        assert not token or token.split(".")[1] not in str(error.value)
        return error.value.code


@pytest.fixture
async def door(cloud: Any) -> AsyncIterator[Door]:
    async with http.client(Entra.model_validate(cloud.document())) as client:
        yield Door(cloud, client)


async def test_a_person_signs_in(door: Door) -> None:
    ids = door.cloud.ids
    person = await door.people.person(door.cloud.person_token("Dana"), frozenset({ids["dba"], ids["others"]}))
    principal = person.principal
    assert (principal.kind, principal.object_id, principal.name) == (PrincipalKind.PERSON, ids["Dana"], "Dana")
    assert principal.roles == {"Approval.Decide"}
    assert principal.groups == {ids["dba"]}  # by way of another group
    assert person.signed_in_at == pytest.approx(time.time(), abs=10)
    door.people.check_recent(person)


async def test_apps_are_not_people(door: Door) -> None:
    """A bot's token; one whose app has been given people's roles; one that says both."""
    credential = WorkloadCredential(door.config.entra, Workload.model_validate(door.cloud.workload("bot")), door.client)
    token = (await credential.token(f"{door.cloud.audience}/.default")).token
    assert await door.refused(token) == "not-a-persons-token"
    bot = {"oid": door.cloud.ids["bot"], "roles": ["Approval.Decide", "Gateway.Admin"]}
    app = door.cloud.mint_person("Dana", **bot, scp=None, idtyp="app")
    assert await door.refused(app) == "not-a-persons-token"
    both = door.cloud.mint_person("Dana", **bot, idtyp="app")
    assert await door.refused(both) == "not-a-persons-token"
    silent = door.cloud.mint_person("Dana", **bot, scp=None, idtyp=None)
    assert await door.refused(silent) == "not-a-persons-token"
    # A service principal's id is no user's: Graph says so, whatever a token says.
    claimed = door.cloud.mint_person("Dana", **bot)
    assert await door.refused(claimed) == "person-disabled"


async def test_tokens_of_another_kind(door: Door) -> None:
    cloud = door.cloud
    assert await door.refused(cloud.person_token("Dana", scope="openid profile")) == "wrong-audience"  # Graph's
    assert await door.refused(cloud.entra.graph_token()) == "wrong-audience"
    assert await door.refused(cloud.mint_person("Dana", nonce="n")) == "not-a-persons-token"
    assert await door.refused(cloud.mint_person("Dana", aud=cloud.clients["cli"])) == "wrong-audience"
    assert await door.refused(cloud.mint_person("Dana", ver="1.0")) == "wrong-version"
    assert await door.refused("") == "token-missing"
    assert await door.refused("hold-7kq2m9.x.y") == "token-malformed"


@pytest.mark.parametrize(
    ("scp", "code"),
    [
        ("gateway.use", "scope-missing"),
        ("Gateway.Use.All", "scope-missing"),
        ("User.Read", "scope-missing"),
        ("Gateway.Use,User.Read", "scope-missing"),
        ("Gateway.Use\nGateway.Admin", "not-a-persons-token"),
        ("Gateway.Use  User.Read", "not-a-persons-token"),
        (["Gateway.Use"], "not-a-persons-token"),
        ("", "not-a-persons-token"),
    ],
)
async def test_scopes(door: Door, scp: Any, code: str) -> None:
    assert await door.refused(door.cloud.mint_person("Dana", scp=scp)) == code


async def test_a_scope_among_others(door: Door) -> None:
    await door.people.person(door.cloud.mint_person("Dana", scp="User.Read Gateway.Use"))


async def test_another_program_of_the_tenant_cannot_act_for_a_person(door: Door) -> None:
    token = door.cloud.person_token("Dana", client="other-cli")
    assert await door.refused(token) == "wrong-client"
    assert await door.refused(door.cloud.mint_person("Dana", azp=None)) == "token-malformed"


async def test_without_a_role(door: Door) -> None:
    with pytest.raises(ValueError, match="AADSTS50105"):
        door.cloud.person_token("Nils")
    assert await door.refused(door.cloud.mint_person("Nils", roles=None)) == "role-missing"
    assert await door.refused(door.cloud.mint_person("Nils", roles=["Bot.Connect"])) == "role-missing"
    assert await door.refused(door.cloud.mint_person("Nils", roles="Approval.Decide")) == "token-malformed"


async def test_groups_in_the_token_count_for_nothing(door: Door) -> None:
    dba = door.cloud.ids["dba"]
    person = await door.people.person(door.cloud.mint_person("Erik", groups=[dba]), frozenset({dba}))
    assert person.principal.groups == frozenset()


async def test_roles_for_bots_stay_out(door: Door) -> None:
    person = await door.people.person(door.cloud.mint_person("Dana", roles=["Approval.Decide", "Bot.Connect"]))
    assert person.principal.roles == {"Approval.Decide"}


async def test_a_disabled_account(door: Door) -> None:
    token = door.cloud.person_token("Erik")
    await door.people.person(token)
    door.cloud.patch(f"users/{door.cloud.ids['Erik']}", {"accountEnabled": False})
    try:
        await door.people.person(token)  # within the minute the last answer holds, but for a decision
        with pytest.raises(Refused) as error:
            await door.people.person(token, fresh=True)
        assert error.value.code == "person-disabled"
        assert await door.refused(token) == "person-disabled"  # and that answer is kept
    finally:
        door.cloud.patch(f"users/{door.cloud.ids['Erik']}", {"accountEnabled": True})


async def test_graph_down_is_no_answer(door: Door) -> None:
    door.cloud.entra.set_quirks(fail_next=99)
    assert await door.refused(door.cloud.mint_person("Dana")) == "graph-unavailable"


async def test_recent_sign_in(door: Door) -> None:
    now = int(time.time())
    for auth_time, code in (
        (now - 12 * 3600 - 5, "sign-in-too-old"),
        (None, "sign-in-unknown"),
        (now + 3600, "sign-in-too-old"),
    ):
        person = await door.people.person(door.cloud.mint_person("Dana", auth_time=auth_time))
        with pytest.raises(Refused) as error:
            door.people.check_recent(person)
        assert error.value.code == code
    person = await door.people.person(door.cloud.mint_person("Dana", auth_time=now - 12 * 3600 + 60))
    door.people.check_recent(person)
    assert await door.refused(door.cloud.mint_person("Dana", auth_time="yesterday")) == "token-malformed"


async def test_a_token_ends_during_a_stream(door: Door) -> None:
    person = await door.people.person(door.cloud.mint_person("Dana"))
    door.skew = 3700
    with pytest.raises(Refused) as error:
        await door.people.recheck(person, frozenset())
    assert error.value.code == "token-expired"
