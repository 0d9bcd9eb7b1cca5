"""Whole log-ins against the emulator: exchange, keys, Graph."""

import datetime
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from wicketgate_gateway.contract.gateway import Entra, GatewayConfig, Workload
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.contract.policy import BundledBot
from wicketgate_gateway.identity import http
from wicketgate_gateway.identity.authenticator import Authenticator
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.identity.workload import WorkloadCredential

pytestmark = pytest.mark.anyio


class Gate:
    """An authenticator over the cloud, and tokens of the cloud's workloads."""

    def __init__(self, cloud: Any, client: httpx2.AsyncClient, folder: Any) -> None:
        self.cloud = cloud
        self.groups: set[str] = {cloud.ids["reviewers"], cloud.ids["everyone"], cloud.ids["others"]}
        self.bots: dict[str, BundledBot] = {cloud.ids["bot"]: BundledBot(name="code-review", owner="group:platform")}
        self.skew = 0.0
        self.client = client
        self.config = GatewayConfig.model_validate(
            {
                "name": "gate",
                "entra": cloud.document(),
                "audience": cloud.audience,
                "workload": cloud.workload("gateway"),
                "agents": {cloud.ids["agent"]: "eu-west"},
                "listen": {"postgres": {"port": 0}, "agents": {"port": 0}},
                "tls": {"certificateFile": "x", "keyFile": "x"},
                "state": str(folder),
                "policies": str(folder),
                "targets": {},
            }
        )
        self.authenticator = Authenticator(
            self.config,
            groups=lambda: frozenset(self.groups),
            bots=lambda: self.bots,
            http=client,
            clock=lambda: time.time() + self.skew,
        )

    async def token(self, name: str, audience: str | None = None) -> str:
        entra, workload = Entra.model_validate(self.cloud.document()), self.cloud.workload(name)
        credential = WorkloadCredential(entra, Workload.model_validate(workload), self.client)
        return (await credential.token(f"{audience or self.cloud.audience}/.default")).token

    async def refused(self, token: str, what: str = "bot") -> str:
        with pytest.raises(Refused) as error:
            await getattr(self.authenticator, what)(token)
        assert token.split(".")[1] not in str(error.value)
        return error.value.code

    def mint(self, **claims: Any) -> str:
        """A token as the emulator would sign it, with these claims."""
        good = {
            "aud": self.cloud.audience,
            "oid": self.cloud.ids["bot"],
            "azp": self.cloud.clients["bot"],
            "roles": ["Bot.Connect"],
        }
        return self.cloud.entra.mint({**good, **claims})

    def later(self) -> None:
        """Makes what was asked of Graph too old to count."""
        for object_id, answer in list(self.authenticator.resolver._cache.items()):
            self.authenticator.resolver._cache[object_id] = answer._replace(at=answer.at - 61)


@pytest.fixture
async def gate(cloud: Any, tmp_path: Any) -> AsyncIterator[Gate]:
    async with http.client(Entra.model_validate(cloud.document())) as client:
        yield Gate(cloud, client, tmp_path)


async def test_a_bot_with_its_groups(gate: Gate) -> None:
    principal = await gate.authenticator.bot(await gate.token("bot"))
    assert principal.kind is PrincipalKind.BOT
    assert (principal.tenant, principal.object_id) == (gate.cloud.entra.tenant, gate.cloud.ids["bot"])
    assert principal.client_id == gate.cloud.clients["bot"]
    assert principal.name == "code-review"
    assert principal.roles == {"Bot.Connect"}
    # Nested membership counts; groups that no policy names are not asked for.
    assert principal.groups == {gate.cloud.ids["reviewers"], gate.cloud.ids["everyone"]}
    assert principal.expires_at > time.time()
    assert principal.token_id


async def test_a_bot_that_the_bundle_does_not_name(gate: Gate) -> None:
    gate.bots.clear()
    assert (await gate.authenticator.bot(gate.mint())).name == gate.cloud.ids["bot"]


async def test_an_agent(gate: Gate) -> None:
    principal = await gate.authenticator.agent(await gate.token("agent"))
    assert (principal.kind, principal.name) == (PrincipalKind.AGENT, "eu-west")
    assert principal.groups == frozenset()


async def test_an_agents_token_is_no_bots_and_the_other_way_round(gate: Gate) -> None:
    assert await gate.refused(await gate.token("agent")) == "role-missing"
    assert await gate.refused(await gate.token("bot"), "agent") == "role-missing"
    both = gate.mint(roles=["Bot.Connect", "Agent.Connect"])
    assert await gate.refused(both) == "role-conflict"
    assert await gate.refused(gate.mint(oid=gate.cloud.ids["agent"])) == "role-conflict"
    both = gate.mint(oid=gate.cloud.ids["agent"], roles=["Bot.Connect", "Agent.Connect"])
    assert await gate.refused(both, "agent") == "role-conflict"


async def test_an_agent_that_the_configuration_does_not_name(gate: Gate) -> None:
    assert await gate.refused(gate.mint(roles=["Agent.Connect"]), "agent") == "agent-unknown"


async def test_without_the_role(gate: Gate) -> None:
    assert await gate.refused(gate.mint(roles=None)) == "role-missing"
    assert await gate.refused(gate.mint(roles=["bot.connect", "Bot.Connect.All"])) == "role-missing"


async def test_real_tokens_for_others(gate: Gate) -> None:
    assert await gate.refused(await gate.token("gateway", gate.cloud.entra.graph)) == "wrong-audience"
    assert await gate.refused(gate.cloud.entra.graph_token()) == "wrong-audience"
    assert await gate.refused(gate.cloud.entra.mint(alg="none") + "AA") == "wrong-algorithm"
    assert await gate.refused(gate.cloud.entra.mint(alg="HS256")) == "wrong-algorithm"


async def test_disabled_and_enabled_again(gate: Gate) -> None:
    token = await gate.token("bot")
    principal = await gate.authenticator.bot(token)
    path = f"servicePrincipals/{gate.cloud.ids['bot']}"
    gate.cloud.patch(path, {"accountEnabled": False})
    try:
        await gate.authenticator.recheck(principal)  # within the minute the last answer holds
        gate.later()
        with pytest.raises(Refused) as error:
            await gate.authenticator.recheck(principal)
        assert error.value.code == "bot-disabled"
        assert await gate.refused(token) == "bot-disabled"
    finally:
        gate.cloud.patch(path, {"accountEnabled": True})
    gate.later()
    await gate.authenticator.bot(token)


async def test_leaving_a_group_counts_within_a_minute(gate: Gate) -> None:
    principal = await gate.authenticator.bot(gate.mint())
    group, bot = gate.cloud.ids["reviewers"], gate.cloud.ids["bot"]
    gate.cloud.patch(f"groups/{group}/members/{bot}/$ref", {}, "DELETE")
    try:
        gate.later()
        again = await gate.authenticator.recheck(principal)
        assert again.groups == frozenset()
        assert again.object_id == principal.object_id
    finally:
        reference = {"@odata.id": f"{gate.cloud.entra.graph}/v1.0/directoryObjects/{bot}"}
        gate.cloud.patch(f"groups/{group}/members/$ref", reference, "POST")


async def test_graph_throttled_and_down(gate: Gate) -> None:
    gate.cloud.entra.set_quirks(throttle_next=1, retry_after=0)
    await gate.authenticator.bot(gate.mint())
    gate.later()
    gate.cloud.entra.set_quirks(fail_next=99)
    assert await gate.refused(gate.mint()) == "graph-unavailable"


async def test_an_unknown_service_principal(gate: Gate) -> None:
    unknown = gate.mint(oid="00000000-0000-4000-8000-00000000dead")
    assert await gate.refused(unknown) == "bot-disabled"


async def test_rollover_of_the_tenants_keys(gate: Gate) -> None:
    await gate.authenticator.bot(gate.mint())
    old = gate.mint()
    gate.cloud.entra.roll_keys()
    await gate.authenticator.bot(gate.mint())
    await gate.authenticator.bot(old)


async def test_clocks_apart(gate: Gate) -> None:
    gate.cloud.entra.set_quirks(clock_skew=50)
    await gate.authenticator.bot(await gate.token("bot"))
    gate.cloud.entra.set_quirks(clock_skew=120)
    assert await gate.refused(gate.mint()) == "token-not-yet-valid"


async def test_the_bundles_last_day(gate: Gate) -> None:
    today = datetime.datetime.now(datetime.UTC).date()
    bot = gate.bots[gate.cloud.ids["bot"]]
    gate.bots[gate.cloud.ids["bot"]] = bot.model_copy(update={"expires": today.isoformat()})
    principal = await gate.authenticator.bot(gate.mint())
    yesterday = today - datetime.timedelta(days=1)
    gate.bots[gate.cloud.ids["bot"]] = bot.model_copy(update={"expires": yesterday.isoformat()})
    assert await gate.refused(gate.mint()) == "bot-expired"
    with pytest.raises(Refused) as error:
        await gate.authenticator.recheck(principal)
    assert error.value.code == "bot-expired"


async def test_an_agent_taken_out_of_the_configuration(gate: Gate) -> None:
    principal = Principal(PrincipalKind.AGENT, "t", gate.cloud.ids["bot"], "c", "eu-west", "u", 2e9)
    with pytest.raises(Refused) as error:
        await gate.authenticator.recheck(principal)
    assert error.value.code == "agent-unknown"
    real = await gate.authenticator.agent(await gate.token("agent"))
    assert await gate.authenticator.recheck(real) == real


async def test_the_groups_claim_is_no_source(gate: Gate) -> None:
    token = gate.mint(groups=[gate.cloud.ids["others"]], hasgroups=True)
    assert gate.cloud.ids["others"] not in (await gate.authenticator.bot(token)).groups
    source = {"src1": {"endpoint": "https://graph.windows.net/x"}}
    token = gate.mint(_claim_names={"groups": "src1"}, _claim_sources=source)
    assert (await gate.authenticator.bot(token)).groups
