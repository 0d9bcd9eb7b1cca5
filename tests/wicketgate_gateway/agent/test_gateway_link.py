"""The agent's side of the tunnel: it comes up, comes back, renews, and says what it has read."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from wicketgate.testing.certs import CertificateAuthority
from wicketgate_gateway.agent import gateway_link
from wicketgate_gateway.audit.events import AgentConnected, AgentRefused
from wicketgate_gateway.identity.exchange import ExchangeError
from wicketgate_gateway.server.agents import TargetUnavailableError
from wicketgate_gateway.tunnel.messages import Open, Welcome

pytestmark = pytest.mark.anyio
Eventually = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_link, "BACKOFF_SECONDS", (0.02, 0.1))


def of(world: Any, kind: type) -> list[Any]:
    return [event for event in world.events if isinstance(event, kind)]


async def test_the_catalogue_reaches_the_gateway(world: Any, running: Any, eventually: Eventually) -> None:
    running(world.watcher.run())
    await eventually(lambda: world.watcher.current)
    running(world.link.run())
    await eventually(lambda: world.registry.catalogue("orders-db"))
    assert world.registry.catalogue("orders-db") == world.watcher.current
    world.postgres.sql("CREATE TABLE later (n int)", "agent_demo")
    try:
        await asyncio.sleep(1.0)  # the watcher's least time between reads
        world.registry.refresh_catalogue("orders-db")
        await eventually(lambda: any(r.name == "later" for r in world.registry.catalogue("orders-db").relations))
    finally:
        world.postgres.sql("DROP TABLE later", "agent_demo")


async def test_after_a_loss_it_is_back_within_a_second(world: Any, running: Any, eventually: Eventually) -> None:
    running(world.link.run())
    await eventually(lambda: world.registry.connected())
    stream, _ = await world.registry.open("orders-db", Open(target="orders-db", bot="b", session="s", parameters={}))
    ended: list[str] = []
    stream.on_close = ended.append
    world.registry._tunnels["eu-west"][0].mux.abort("cut")
    async with asyncio.timeout(1):
        await eventually(lambda: len(of(world, AgentConnected)) == 2)
    assert ended
    await eventually(lambda: not world.link.sessions)  # the target's connection was let go
    await world.registry.open("orders-db", Open(target="orders-db", bot="b", session="s", parameters={}))


async def test_rejected_it_tries_again_until_it_is_let_in(world: Any, running: Any, eventually: Eventually) -> None:
    world.tokens[:] = ["bad", "bad", "good"]
    running(world.link.run())
    await eventually(lambda: world.registry.connected())
    assert [event.code for event in of(world, AgentRefused)] == ["bad-signature"] * 2


async def test_without_a_token_it_tries_again(
    world: Any, running: Any, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = world.link._credential.token, [1, 1]

    async def failing(scope: str) -> Any:
        if failures:
            failures.pop()
            raise ExchangeError("Entra is away")
        return await real(scope)

    monkeypatch.setattr(world.link._credential, "token", failing)
    running(world.link.run())
    await eventually(lambda: world.registry.connected())


async def test_the_token_is_renewed_within_the_tunnel(
    world: Any, running: Any, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_link, "RENEW_SECONDS", 300.0)
    world.life = 301.0
    world.tokens[:] = ["good", "renewed"]
    world.accepted.add("renewed")
    running(world.link.run())
    await eventually(lambda: world.registry.connected())
    await eventually(lambda: len(world.tokens) == 1)
    world.accepted.discard("renewed")  # the next renewal is refused, and the tunnel with it
    await eventually(lambda: of(world, AgentRefused))
    assert len(of(world, AgentConnected)) == 1


async def test_a_gateway_that_is_not_what_its_certificate_says(
    world: Any, running: Any, eventually: Eventually, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    CertificateAuthority.open(tmp_path / "other")
    world.link._endpoint = world.link._endpoint.model_copy(update={"ca_file": str(tmp_path / "other" / "ca.pem")})
    running(world.link.run())
    said: list[str] = []
    await eventually(lambda: said.append(capsys.readouterr().out) or "was refused" in "".join(said))
    assert not world.registry.connected()


async def test_a_gateway_that_never_welcomes(
    world: Any, eventually: Eventually, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gateway_link, "WELCOME_SECONDS", 0.1)
    leaf = CertificateAuthority.open(tmp_path / "ca").issue_files(tmp_path, "mute", ["localhost"])
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0, ssl=leaf.server_context())
    port = server.sockets[0].getsockname()[1]
    world.link._endpoint = world.link._endpoint.model_copy(update={"port": port})
    with pytest.raises(Exception, match="no answer to the hello"):
        await world.link._once()
    server.close()


async def test_a_target_that_this_agent_does_not_have(world: Any, running: Any, eventually: Eventually) -> None:
    running(world.link.run())
    await eventually(lambda: world.registry.connected())
    tunnel = world.registry._tunnels["eu-west"][0]
    for message in (Open(target="other", bot="b", session="s", parameters={}), Welcome(gateway="x")):
        stream = tunnel.mux.open(message)
        got: list[Any] = []
        stream.on_control = got.append
        stream.on_close = got.append
        await eventually(lambda got=got: len(got) == 2)
        assert got[0].code == "target-unknown"
    assert not world.link.sessions


async def test_a_gateway_of_several_processes_gets_a_tunnel_to_each(
    world: Any, running: Any, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One registry that says each time that it is another process, as several behind one port are reached by chance.
    said = ["one", "one", "two", "one", "two", "three"]
    registry = world.registry
    registry.workers = 3
    monkeypatch.setattr(type(registry), "instance", property(lambda _: said[0]), raising=False)
    admit = registry.admit
    dialled: list[str] = []

    def next_one(tunnel: Any) -> bool:
        if dialled and len(said) > 1:
            said.pop(0)
        dialled.append(said[0])
        return admit(tunnel)

    monkeypatch.setattr(registry, "admit", next_one)
    running(world.link.run())
    await eventually(lambda: world.link.tunnels == 3)
    assert dialled == ["one", "one", "two", "one", "two", "three"]
    assert len(of(world, AgentConnected)) == 3
    assert not of(world, AgentRefused)
    assert world.link.up
    # One is lost: only that one is sought.
    said[:] = ["four"]
    registry._tunnels["eu-west"][1].mux.abort("cut")
    await eventually(lambda: len(of(world, AgentConnected)) == 4 and world.link.tunnels == 3)
    assert sorted(world.link._reached()) == ["four", "one", "three"]
    # After a restart the gateway is one process alone.
    registry.workers, said[:] = 1, ["five"]
    for tunnel in list(registry._tunnels["eu-west"]):
        tunnel.mux.abort("restart")
    await eventually(lambda: world.link._reached() == ["five"] and not world.link._others)


async def test_stopping_says_goodbye(world: Any, eventually: Eventually) -> None:
    task = asyncio.ensure_future(world.link.run())
    await eventually(lambda: world.registry.connected())
    task.cancel()
    await eventually(lambda: not world.registry.connected())
    with pytest.raises(TargetUnavailableError):
        await world.registry.open("orders-db", Open(target="orders-db", bot="b", session="s", parameters={}))


def test_the_agent_verifies_the_gateway() -> None:
    context = gateway_link.tls_context(None)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
