"""The resolver against a scripted Graph; the real conversation is in test_authenticator.py."""

import asyncio
import json
from typing import Any

import httpx2
import pytest

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import Entra
from wicketgate_gateway.identity import graph
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.identity.exchange import AccessToken
from wicketgate_gateway.identity.graph import GroupResolver

pytestmark = pytest.mark.anyio
OID = "12345678-1234-4234-8234-123456789abc"


class Graph:
    """Answers what a test says, in memory."""

    def __init__(self, clock: Any) -> None:
        self.enabled: Any = True
        self.member_of: set[str] = {"g1"}
        self.requests: list[str] = []
        self.answers: list[httpx2.Response | Exception] = []
        """Served first."""
        self.clock = clock
        self.credential_fails = False
        self.pauses: list[float] = []

    async def token(self, scope: str) -> AccessToken:
        assert scope == "https://graph.microsoft.com/.default"
        if self.credential_fails:
            raise WicketgateError("no token")
        return AccessToken("graph-token", 2e9)

    async def handle(self, request: httpx2.Request) -> httpx2.Response:
        assert request.headers["authorization"] == "Bearer graph-token"
        await asyncio.sleep(0)
        self.requests.append(f"{request.method} {request.url.path}")
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        if request.method == "GET":
            return httpx2.Response(200, json={"id": OID, "accountEnabled": self.enabled})
        asked = json.loads(request.content)["groupIds"]
        assert len(asked) <= 20
        return httpx2.Response(200, json={"value": [g for g in asked if g in self.member_of] + ["uninvited"]})

    def resolver(self, **more: Any) -> GroupResolver:
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(self.handle))
        entra = Entra(tenant="6f1c9a52-7a53-4c0e-9a55-3f2e6b1d8c40")
        return GroupResolver(entra, self, http, clock=self.clock, **more)


@pytest.fixture
def server(clock: Any, monkeypatch: pytest.MonkeyPatch) -> Graph:
    made = Graph(clock)
    real = graph._pause

    def pause(*args: Any) -> float:
        made.pauses.append(real(*args))
        return 0.0

    monkeypatch.setattr(graph, "_pause", pause)
    return made


async def refused(resolver: GroupResolver, asked: frozenset[str] = frozenset({"g1"})) -> str:
    with pytest.raises(Refused) as error:
        await resolver.groups_of(OID, asked)
    return error.value.code


async def settled(resolver: GroupResolver) -> None:
    await asyncio.gather(*[task for _, task in resolver._asking.values()], return_exceptions=True)
    await asyncio.sleep(0)


async def test_groups_of_those_asked_for_and_no_others(server: Graph) -> None:
    assert await server.resolver().groups_of(OID, frozenset({"g1", "g2"})) == {"g1"}
    assert server.requests == [
        f"GET /v1.0/servicePrincipals/{OID}",
        f"POST /v1.0/servicePrincipals/{OID}/checkMemberGroups",
    ]


async def test_twenty_groups_a_call(server: Graph) -> None:
    asked = frozenset(f"g{n}" for n in range(45))
    server.member_of = {"g7", "g44", "g99"}
    assert await server.resolver().groups_of(OID, asked) == {"g7", "g44"}
    assert len(server.requests) == 4


async def test_without_groups_only_the_account_is_asked_for(server: Graph) -> None:
    assert await server.resolver().groups_of(OID, frozenset()) == frozenset()
    assert len(server.requests) == 1


async def test_an_answer_is_kept_for_its_age_and_no_longer(server: Graph, clock: Any) -> None:
    resolver = server.resolver()
    await resolver.groups_of(OID, frozenset({"g1"}))
    clock.now += 29
    await resolver.groups_of(OID, frozenset({"g1"}))
    assert len(server.requests) == 2
    clock.now += 31
    server.member_of = set()
    assert await resolver.groups_of(OID, frozenset({"g1"})) == frozenset()


async def test_from_half_its_age_it_is_asked_anew_in_the_background(server: Graph, clock: Any) -> None:
    resolver = server.resolver()
    await resolver.groups_of(OID, frozenset({"g1"}))
    server.member_of = set()
    clock.now += 30
    for _ in range(5):
        assert await resolver.groups_of(OID, frozenset({"g1"})) == {"g1"}
    await settled(resolver)
    assert len(server.requests) == 4
    assert await resolver.groups_of(OID, frozenset({"g1"})) == frozenset()


async def test_the_age_is_never_over_a_minute(server: Graph, clock: Any) -> None:
    resolver = server.resolver(max_age=3600)
    await resolver.groups_of(OID, frozenset())
    clock.now += 60
    server.enabled = False
    assert await refused(resolver) == "bot-disabled"


async def test_a_new_policy_group_is_asked_for_at_once(server: Graph) -> None:
    resolver = server.resolver()
    await resolver.groups_of(OID, frozenset({"g1"}))
    server.member_of = {"g1", "g2"}
    assert await resolver.groups_of(OID, frozenset({"g1", "g2"})) == {"g1", "g2"}
    assert await resolver.groups_of(OID, frozenset({"g2"})) == {"g2"}  # fewer need no question


async def test_concurrent_askers_share_a_question(server: Graph) -> None:
    resolver = server.resolver()
    answers = await asyncio.gather(*[resolver.groups_of(OID, frozenset({"g1"})) for _ in range(20)])
    assert answers == [frozenset({"g1"})] * 20
    assert len(server.requests) == 2


async def test_the_first_asker_hanging_up_harms_no_other(server: Graph) -> None:
    resolver = server.resolver()
    first = asyncio.ensure_future(resolver.groups_of(OID, frozenset({"g1"})))
    second = asyncio.ensure_future(resolver.groups_of(OID, frozenset({"g1"})))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == {"g1"}


@pytest.mark.parametrize("enabled", [False, None, "true", 1])
async def test_disabled_or_not_clearly_enabled(server: Graph, enabled: Any) -> None:
    server.enabled = enabled
    assert await refused(server.resolver()) == "bot-disabled"
    assert len(server.requests) == 1


async def test_deleted(server: Graph) -> None:
    server.answers = [httpx2.Response(404, json={})]
    assert await refused(server.resolver()) == "bot-disabled"
    ok = httpx2.Response(200, json={"accountEnabled": True})
    server.answers = [ok, httpx2.Response(404, json={})]
    assert await refused(server.resolver()) == "bot-disabled"


async def test_throttling_is_waited_for(server: Graph) -> None:
    server.answers = [httpx2.Response(429, headers={"Retry-After": "2"}), httpx2.Response(503)]
    assert await server.resolver().groups_of(OID, frozenset({"g1"})) == {"g1"}
    assert server.pauses[0] == 2.0


@pytest.mark.parametrize("after", ["9999", "-1", "soon", "", "²"])
async def test_no_wait_is_long(server: Graph, after: str) -> None:
    server.answers = [httpx2.Response(429, headers={"Retry-After": after.encode()})]
    await server.resolver().groups_of(OID, frozenset())
    assert server.pauses[0] <= 5.0


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(500),
        httpx2.Response(429),
        httpx2.ConnectError("down"),
        httpx2.ReadTimeout("slow"),
    ],
)
async def test_down_is_refused(server: Graph, answer: Any) -> None:
    server.answers = [answer] * 3
    assert await refused(server.resolver()) == "graph-unavailable"
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(401),
        httpx2.Response(403),
        httpx2.Response(302, headers={"Location": "https://evil.example"}),
        httpx2.Response(200, text="<html>"),
        httpx2.Response(200, json=[]),
        httpx2.Response(200, content=b"[" * 200_000),
    ],
)
async def test_answers_that_say_nothing_are_refused(server: Graph, answer: httpx2.Response) -> None:
    server.answers = [answer]
    assert await refused(server.resolver()) == "graph-unavailable"
    ok = httpx2.Response(200, json={"accountEnabled": True})
    server.answers = [ok, httpx2.Response(200, json={"value": "g1"})]
    assert await refused(server.resolver()) == "graph-unavailable"


async def test_an_outage_is_bridged_by_a_young_answer_alone(server: Graph, clock: Any) -> None:
    resolver = server.resolver()
    await resolver.groups_of(OID, frozenset({"g1"}))
    server.answers = [httpx2.Response(503)] * 99
    for _ in range(2):
        clock.now += 29.5
        assert await resolver.groups_of(OID, frozenset({"g1"})) == {"g1"}
        await settled(resolver)
    clock.now += 1
    assert await refused(resolver) == "graph-unavailable"


async def test_without_a_token_for_graph(server: Graph) -> None:
    server.credential_fails = True
    assert await refused(server.resolver()) == "graph-unavailable"


async def test_the_cache_is_bounded(server: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "MAX_CACHED", 3)
    resolver = server.resolver()
    for n in range(10):
        await resolver.groups_of(f"oid-{n}", frozenset())
    assert len(resolver._cache) == 3
    assert resolver._asking == {}
