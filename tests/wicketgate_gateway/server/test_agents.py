"""The agents' address: who is let in, what an agent may say, and what happens when it goes."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from wicketgate.testing.certs import CertificateAuthority, client_context
from wicketgate_gateway.audit.events import AgentConnected, AgentCredentials, AgentDisconnected, AgentRefused
from wicketgate_gateway.contract.catalogue import Catalogue
from wicketgate_gateway.contract.gateway import GatewayConfig
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.server import agents
from wicketgate_gateway.server.agents import AgentRegistry, TargetUnavailableError
from wicketgate_gateway.session.estimates import Wanted
from wicketgate_gateway.tunnel import frames, mux
from wicketgate_gateway.tunnel.messages import (
    CatalogueRefresh,
    CatalogueUpdate,
    Control,
    Failed,
    Hello,
    Open,
    Opened,
    Rejected,
    Welcome,
)
from wicketgate_gateway.tunnel.mux import Mux, Stream

pytestmark = pytest.mark.anyio
Eventually = Callable[[Callable[[], object]], Awaitable[None]]
IDS = [f"{n}{n}{n}{n}{n}{n}{n}{n}-1111-4111-8111-111111111111" for n in range(10)]
OPENING = Open(target="orders-db", bot="b", session="s", parameters={})


class Journal:
    def __init__(self) -> None:
        self.events: list[Any] = []
        self.failure: Exception | None = None

    def submit(self, events: Sequence[Any], release: Callable[[Exception | None], None] | None = None) -> None:
        if self.failure is None:
            self.events += events
        if release is not None:
            asyncio.get_running_loop().call_soon(release, self.failure)


class Authenticator:
    """Tokens are `NAME` or `NAME:SECONDS` to live; unknown names are refused."""

    def __init__(self) -> None:
        self.known = {"eu-west": IDS[3], "us-east": IDS[4]}
        self.disabled: set[str] = set()
        self.gate: asyncio.Event | None = None
        self.broken = False

    async def agent(self, token: str) -> Principal:
        if self.gate is not None:
            await self.gate.wait()
        if self.broken:
            raise RuntimeError("a bug")
        name, _, life = token.partition(":")
        if name not in self.known:
            raise Refused("bad-signature", "the token's signature is wrong", "get another")
        ends = time.time() + float(life or 3600)
        return Principal(PrincipalKind.AGENT, IDS[1], self.known[name], IDS[2], name, "uti", ends)

    async def recheck(self, principal: Principal) -> Principal:
        if principal.name in self.disabled:
            raise Refused("bot-disabled", "the service principal is disabled")
        return principal


class Agent:
    """An agent's end of a tunnel, as a test drives it."""

    def __init__(self) -> None:
        self.messages: list[Control] = []
        self.lost: list[str] = []
        self.opened: list[tuple[Stream, Control]] = []
        self.answer: Control | None = Opened(parameters={"server_version": "15"})
        self.mux: Mux

    def make(self) -> Mux:
        self.mux = Mux(opens=False, on_message=self.messages.append, on_lost=self.lost.append, on_open=self._open)
        self.mux.max_message = mux.MAX_MESSAGE
        return self.mux

    def _open(self, stream: Stream, message: Control) -> None:
        self.opened.append((stream, message))
        if self.answer is not None:
            stream.send_control(self.answer)

    def hello(self, token: str = "eu-west", name: str = "eu-west", targets: Sequence[str] = ("orders-db",)) -> None:
        self.mux.send_message(Hello(agent=name, token=token, targets=list(targets)))


class Gate:
    def __init__(self, registry: AgentRegistry, port: int, tls: ssl.SSLContext) -> None:
        self.registry, self.port, self.tls = registry, port, tls
        self.journal: Journal = registry.journal  # pyright: ignore[reportAttributeAccessIssue]
        self.authenticator: Authenticator = registry.authenticator  # pyright: ignore[reportAttributeAccessIssue]
        self.agents: list[Agent] = []

    async def dial(self) -> Agent:
        agent = Agent()
        await asyncio.get_running_loop().create_connection(agent.make, "localhost", self.port, ssl=self.tls)
        self.agents.append(agent)
        return agent

    async def connected(self, eventually: Eventually, *arguments: Any, **more: Any) -> Agent:
        agent = await self.dial()
        agent.hello(*arguments, **more)
        await eventually(lambda: agent.messages)
        assert agent.messages == [Welcome(gateway="gate")]
        return agent

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.journal.events if isinstance(event, kind)]


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Gate]:
    config = GatewayConfig.model_validate(
        {
            "name": "gate",
            "entra": {"tenant": IDS[1]},
            "audience": IDS[2],
            "workload": {"clientId": IDS[2], "tokenFile": "none"},
            "agents": {IDS[3]: "eu-west", IDS[4]: "us-east"},
            "listen": {"postgres": {"port": 0}, "agents": {"port": 0}},
            "tls": {"certificateFile": "x", "keyFile": "x"},
            "state": str(tmp_path),
            "policies": str(tmp_path),
            "targets": {
                "orders-db": {"kind": "postgres", "agent": "eu-west"},
                "unoffered": {"kind": "postgres", "agent": "eu-west"},
                "foreign": {"kind": "postgres", "agent": "us-east"},
            },
            "limits": {"login": "1s", "groupsCache": "1s"},
        }
    )
    leaf = CertificateAuthority.open(tmp_path / "ca").issue_files(tmp_path, "gate", ["localhost"])
    registry = AgentRegistry(config, Authenticator(), Journal())
    port = await registry.listen(leaf.server_context())
    made = Gate(registry, port, client_context(tmp_path / "ca" / "ca.pem", system=False))
    yield made
    await registry.close()
    for agent in made.agents:
        agent.mux.abort("the test ends")


async def test_hello_and_welcome(gate: Gate, eventually: Eventually) -> None:
    agent = await gate.connected(eventually, targets=["orders-db", "foreign", "unheard-of"])
    (event,) = gate.of(AgentConnected)
    assert (event.agent, event.agent_id, event.targets) == ("eu-west", IDS[3], ["orders-db"])
    assert event.peer.startswith("127.0.0.1:")
    assert gate.registry.connected() == {"eu-west": {"orders-db"}}
    agent.mux.close("done")
    await eventually(lambda: gate.of(AgentDisconnected))
    assert gate.registry.connected() == {}


async def test_a_process_among_several_says_which_and_takes_one_tunnel_of_an_agent(
    gate: Gate, eventually: Eventually
) -> None:
    gate.registry.instance, gate.registry.workers = "one", 3
    agent = await gate.dial()
    agent.hello()
    await eventually(lambda: agent.messages)
    assert agent.messages == [Welcome(gateway="gate", instance="one", workers=3)]
    again, other = await gate.dial(), await gate.dial()
    again.mux.send_message(Hello(agent="eu-west", token="eu-west", targets=["orders-db"], holds=["two", "one"]))
    other.mux.send_message(Hello(agent="eu-west", token="eu-west", targets=["orders-db"], holds=["two"]))
    await eventually(lambda: again.mux.lost is not None and other.messages)
    (said,) = again.messages
    assert isinstance(said, Rejected)
    assert said.code == "worker-known"
    assert isinstance(other.messages[0], Welcome)
    assert not gate.of(AgentRefused), "that it is known already is no refusal"
    assert len(gate.of(AgentConnected)) == 2


async def test_a_process_that_has_just_begun_waits_for_its_agents(gate: Gate, eventually: Eventually) -> None:
    gate.registry._young_until = asyncio.get_running_loop().time() + 30
    opening = asyncio.ensure_future(gate.registry.open("orders-db", OPENING))
    await asyncio.sleep(0.05)
    assert not opening.done()
    await gate.connected(eventually)
    stream, _ = await opening
    assert stream.closed is None
    gate.registry._young_until = asyncio.get_running_loop().time() + 0.05
    error = await refused(gate, "foreign")
    assert error.code == "agent-unavailable", "not for ever"


async def test_a_session(gate: Gate, eventually: Eventually) -> None:
    agent = await gate.connected(eventually)
    stream, opened = await gate.registry.open("orders-db", OPENING)
    assert opened == agent.answer
    assert agent.opened[0][1] == OPENING
    got: list[bytes] = []
    agent.opened[0][0].on_data = got.append
    stream.send(b"hello")
    await eventually(lambda: got)
    assert gate.registry.agent_of("orders-db") == "eu-west"
    assert gate.registry.agent_of("nothing") == ""


async def test_attack_what_is_too_long_fails_alone(gate: Gate, eventually: Eventually) -> None:
    agent = await gate.connected(eventually)
    stream, _ = await gate.registry.open("orders-db", OPENING)
    long = Open(target="orders-db", bot="b", session="s", parameters={"application_name": "x" * mux.MAX_OPENING})
    with pytest.raises(TargetUnavailableError) as told:
        await gate.registry.open("orders-db", long)
    assert (told.value.code, told.value.sqlstate) == ("request-too-long", "54000")
    for text, parameters in (("SELECT 1 -- " + "x" * agents.MAX_ESTIMATE, []), ("SELECT $1", [b"x" * 5_000_000])):
        wanted = Wanted(text, count=False)
        found = await gate.registry.estimate("orders-db", wanted, [], parameters, [])
        assert found.note == "it is too long to be estimated"
    again, _ = await gate.registry.open("orders-db", OPENING)
    assert (stream.closed, again.closed, agent.lost) == (None, None, [])


async def test_data_right_behind_the_answer_is_not_lost(gate: Gate, eventually: Eventually) -> None:
    agent = await gate.connected(eventually)
    real = agent._open

    def eager(stream: Stream, message: Control) -> None:
        real(stream, message)
        stream.send(b"first")
        stream.close("and gone")

    agent.mux._on_open = eager
    stream, _ = await gate.registry.open("orders-db", OPENING)
    got: list[Any] = []
    stream.on_data = got.append
    stream.on_close = got.append
    await eventually(lambda: len(got) == 2)
    assert got == [b"first", "and gone"]


# Who is not let in.


@pytest.mark.parametrize(
    ("hello", "code"),
    [
        ({"token": "mallory"}, "bad-signature"),
        ({"token": ""}, "bad-signature"),
        ({"name": "us-east"}, "agent-name"),
        ({"token": "us-east"}, "agent-name"),
        ({"name": ""}, "agent-name"),
    ],
)
async def test_refused(gate: Gate, eventually: Eventually, hello: dict[str, str], code: str) -> None:
    agent = await gate.dial()
    agent.hello(**hello)
    await eventually(lambda: agent.lost)
    (said,) = agent.messages
    assert isinstance(said, Rejected)
    assert said.code == code
    (event,) = gate.of(AgentRefused)
    assert event.code == code
    assert not gate.of(AgentConnected)
    assert gate.registry.connected() == {}


async def test_silence_ends_at_the_deadline(gate: Gate, eventually: Eventually) -> None:
    agent = await gate.dial()
    await eventually(lambda: agent.lost)
    assert gate.of(AgentRefused)[0].code == "hello-late"


async def test_a_silent_one_and_a_slow_check_hold_nobody_up(gate: Gate, eventually: Eventually) -> None:
    for _ in range(20):
        await gate.dial()
    _, raw = await asyncio.open_connection("127.0.0.1", gate.port)  # not even a TLS handshake
    gate.authenticator.gate = asyncio.Event()
    slow = await gate.dial()
    slow.hello()
    await asyncio.sleep(0.05)
    gate.authenticator.gate, waiting = None, gate.authenticator.gate
    await gate.connected(eventually, "us-east", "us-east", targets=["foreign"])
    waiting.set()
    await eventually(lambda: slow.messages)
    raw.close()


async def test_too_many_strangers(gate: Gate, eventually: Eventually, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "MAX_STRANGERS", 3)
    known = await gate.connected(eventually)
    strangers = [await gate.dial() for _ in range(5)]
    await eventually(lambda: sum(bool(s.lost) for s in strangers) == 2)
    assert gate.of(AgentRefused)[0].code == "too-many-connections"
    await eventually(lambda: all(s.lost for s in strangers))
    await gate.connected(eventually)
    assert not known.lost


@pytest.mark.parametrize(
    "message",
    [
        Welcome(gateway="x"),
        CatalogueUpdate(target="orders-db", catalogue=Catalogue("v", "15", [], [])),
        OPENING,
        Opened(parameters={}),
    ],
)
async def test_anything_but_a_hello_first(gate: Gate, eventually: Eventually, message: Control) -> None:
    agent = await gate.dial()
    agent.mux.send_message(message)
    await eventually(lambda: agent.lost)
    assert gate.registry.catalogue("orders-db") is None


async def test_two_hellos_at_once(gate: Gate, eventually: Eventually) -> None:
    gate.authenticator.gate = asyncio.Event()
    agent = await gate.dial()
    agent.hello()
    agent.hello()
    await eventually(lambda: agent.lost)


async def test_a_fault_in_checking_lets_nobody_in(gate: Gate, eventually: Eventually) -> None:
    gate.authenticator.broken = True
    agent = await gate.dial()
    agent.hello()
    await eventually(lambda: agent.lost)
    assert gate.registry.connected() == {}


async def test_an_agent_tells_its_version_and_when_credentials_end(gate: Gate, eventually: Eventually) -> None:
    agent = await gate.dial()

    def hello(expires: dict[str, int]) -> None:
        targets = ["orders-db", "foreign"]
        told = Hello(agent="eu-west", token="eu-west", targets=targets, software="1.2.3+x <b>\n" * 9, expires=expires)
        agent.mux.send_message(told)

    hello({"orders-db": 5, "foreign": 6, "unheard-of": 7})
    await eventually(lambda: gate.registry.connected())
    (event,) = gate.of(AgentConnected)
    assert event.version == "1.2.3+xb1.2.3+xb1.2.3+xb1.2.3+x"[: len(event.version)]
    assert len(event.version) <= 40
    await eventually(lambda: gate.of(AgentCredentials))
    hello({"orders-db": 1 << 60})  # no time at all
    await eventually(lambda: len(gate.of(AgentCredentials)) == 2)
    assert [event.expires for event in gate.of(AgentCredentials)] == [{"orders-db": 5}, {}]


async def test_without_a_record_no_tunnel(gate: Gate, eventually: Eventually) -> None:
    gate.journal.failure = OSError("disk full")
    agent = await gate.dial()
    agent.hello()
    await eventually(lambda: agent.lost)
    assert agent.messages == []
    assert gate.registry.connected() == {}


async def test_a_long_hello(gate: Gate, eventually: Eventually) -> None:
    agent = await gate.dial()
    agent.hello(targets=["x" * 60 for _ in range(5000)])
    await eventually(lambda: agent.lost)
    assert gate.registry.connected() == {}


# What changes while it is connected.


async def test_a_renewed_token_moves_the_end(
    gate: Gate, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "LEEWAY", 0)
    kept = await gate.connected(eventually, "eu-west:0.4")
    kept.hello()
    dropped = await gate.connected(eventually, "us-east:0.4", "us-east")
    await eventually(lambda: dropped.lost)
    assert dropped.messages[-1] == Rejected(code="token-expired", reason="the agent's token ended without a new one")
    assert not kept.lost
    assert len(gate.of(AgentConnected)) == 2  # a renewal is no new connection


async def test_a_renewal_with_another_agents_token(gate: Gate, eventually: Eventually) -> None:
    agent = await gate.connected(eventually)
    agent.hello("us-east", "us-east")
    await eventually(lambda: agent.lost)
    assert gate.of(AgentRefused)[0].code == "agent-changed"


async def test_a_disabled_agent_is_cut_off(gate: Gate, eventually: Eventually) -> None:
    agent = await gate.connected(eventually)
    stream, _ = await gate.registry.open("orders-db", OPENING)
    ended: list[str] = []
    stream.on_close = ended.append
    gate.authenticator.disabled.add("eu-west")
    await eventually(lambda: agent.lost)
    assert ended
    assert gate.of(AgentRefused)[0].code == "bot-disabled"


async def test_the_newest_tunnel_takes_new_sessions_and_the_old_one_keeps_its_own(
    gate: Gate, eventually: Eventually
) -> None:
    old = await gate.connected(eventually)
    first, _ = await gate.registry.open("orders-db", OPENING)
    new = await gate.connected(eventually)
    await gate.registry.open("orders-db", OPENING)
    assert (len(old.opened), len(new.opened)) == (1, 1)
    got: list[bytes] = []
    old.opened[0][0].on_data = got.append
    first.send(b"still here")
    await eventually(lambda: got)
    new.mux.abort("crash")
    await eventually(lambda: len(gate.of(AgentDisconnected)) == 1)
    await gate.registry.open("orders-db", OPENING)
    assert len(old.opened) == 2


async def test_too_many_tunnels_of_one_agent(
    gate: Gate, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "MAX_TUNNELS", 2)
    first, second, third = [await gate.connected(eventually) for _ in range(3)]
    await eventually(lambda: first.lost)
    assert not second.lost
    assert not third.lost


# Sessions that do not come about.


async def refused(gate: Gate, target: str = "orders-db") -> TargetUnavailableError:
    with pytest.raises(TargetUnavailableError) as error:
        await gate.registry.open(target, OPENING)
    return error.value


async def test_no_such_target_no_agent_not_offered(gate: Gate, eventually: Eventually) -> None:
    error = await refused(gate, "nothing")
    assert (error.code, error.sqlstate) == ("target-unknown", "3D000")
    error = await refused(gate)
    assert (error.code, error.sqlstate) == ("agent-unavailable", "08006")
    await gate.connected(eventually)
    assert (await refused(gate, "unoffered")).code == "target-unavailable"
    assert (await refused(gate, "foreign")).code == "agent-unavailable"


async def test_the_agents_reason(gate: Gate, eventually: Eventually) -> None:
    agent = await gate.connected(eventually)
    agent.answer = Failed(code="target-refused", reason="no connection left", sqlstate="53300")
    error = await refused(gate)
    assert (error.code, error.message, error.sqlstate) == ("target-refused", "no connection left", "53300")
    agent.answer = Failed(code="c" * 999, reason="r" * 9999, sqlstate="s" * 99)
    error = await refused(gate)
    assert (len(error.code), len(error.message), len(error.sqlstate)) == (60, 500, 5)
    agent.answer = Welcome(gateway="what?")
    assert (await refused(gate)).code == "agent-unavailable"


async def test_an_agent_that_does_not_answer(gate: Gate, eventually: Eventually) -> None:
    agent = await gate.connected(eventually)
    agent.answer = None
    assert (await refused(gate)).code == "target-timeout"
    await eventually(lambda: agent.opened[0][0].closed)


async def test_the_agent_dies_in_mid_log_in_and_in_mid_session(gate: Gate, eventually: Eventually) -> None:
    agent = await gate.connected(eventually)
    stream, _ = await gate.registry.open("orders-db", OPENING)
    ended: list[str] = []
    stream.on_close = ended.append
    agent.answer = None
    opening = asyncio.ensure_future(refused(gate))
    await eventually(lambda: len(agent.opened) == 2)
    agent.mux.abort("kill -9")
    assert (await opening).code == "agent-unavailable"
    await eventually(lambda: ended)
    assert ended[0].startswith("the tunnel ended: ")


# Catalogues.


async def test_catalogues_of_its_own_targets_alone(gate: Gate, eventually: Eventually) -> None:
    told: list[tuple[str, str]] = []
    gate.registry.on_catalogue.append(lambda target, catalogue: told.append((target, catalogue.version)))
    agent = await gate.connected(eventually, targets=["orders-db", "foreign"])
    for target in ("foreign", "nothing", "orders-db"):
        agent.mux.send_message(CatalogueUpdate(target=target, catalogue=Catalogue("v1", "15", [], [])))
    await eventually(lambda: told)
    assert told == [("orders-db", "v1")]
    assert gate.registry.catalogue("foreign") is None
    found = gate.registry.catalogue("orders-db")
    assert found is not None
    agent.mux.close("gone")
    await eventually(lambda: gate.of(AgentDisconnected))
    assert gate.registry.catalogue("orders-db") is found


async def test_refresh_is_passed_on_but_not_often(gate: Gate, eventually: Eventually) -> None:
    gate.registry.refresh_catalogue("orders-db")  # nobody there
    agent = await gate.connected(eventually)
    for _ in range(10):
        gate.registry.refresh_catalogue("orders-db")
    await eventually(lambda: len(agent.messages) == 2)
    await asyncio.sleep(0.05)
    assert agent.messages[1:] == [CatalogueRefresh(target="orders-db")]


async def test_rubbish_on_the_wire(gate: Gate, eventually: Eventually) -> None:
    for rubbish in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100, frames.frame(frames.DATA, 1, b"x"), b"\xff" * 70_000):
        reader, writer = await asyncio.open_connection("localhost", gate.port, ssl=gate.tls)
        writer.write(rubbish)
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                while await reader.read(65536):
                    pass
        writer.close()
    await eventually(lambda: len(gate.of(AgentRefused)) == 4)
    assert {event.code for event in gate.of(AgentRefused)} == {"protocol-violation"}
    await gate.connected(eventually)


async def test_close_tells_the_agents(gate: Gate, eventually: Eventually) -> None:
    agent = await gate.connected(eventually)
    stranger = await gate.dial()
    await gate.registry.close()
    await eventually(lambda: agent.lost and stranger.lost)
    assert gate.of(AgentDisconnected)[0].reason == "the gateway stops"
    assert not gate.of(AgentRefused)
