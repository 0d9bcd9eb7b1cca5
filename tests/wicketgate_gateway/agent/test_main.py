"""The agent as a process of its own, with real tokens: it comes up, is killed, comes back, and tells no secret."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from wicketgate.testing.certs import CertificateAuthority
from wicketgate_gateway.agent import main as agent_main
from wicketgate_gateway.contract.gateway import Entra, GatewayConfig, PostgresTarget
from wicketgate_gateway.identity import http
from wicketgate_gateway.identity.authenticator import Authenticator
from wicketgate_gateway.server.agents import AgentRegistry
from wicketgate_gateway.tunnel.messages import Open
from wicketgate_gateway.wire.postgres import messages

pytestmark = pytest.mark.anyio
Eventually = Callable[..., Awaitable[None]]
OPENING = Open(target="orders-db", bot="b", session="s", parameters={})


class Journal:
    def __init__(self) -> None:
        self.events: list[Any] = []

    def submit(self, events: Any, release: Callable[[Exception | None], None] | None = None) -> None:
        self.events += events
        if release is not None:
            asyncio.get_running_loop().call_soon(release, None)


@dataclass
class Processes:
    registry: AgentRegistry
    config: Path
    log: Path
    running: list[asyncio.subprocess.Process]

    async def start(self) -> asyncio.subprocess.Process:
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "wicketgate_gateway.agent", "--config", str(self.config), stderr=log, stdout=log
            )
        self.running.append(process)
        return process


@pytest.fixture
async def gate(
    cloud: Any, gateway_config: GatewayConfig, agent_target: PostgresTarget, tmp_path: Path
) -> AsyncIterator[Processes]:
    config = gateway_config.model_copy(
        update={
            "entra": Entra.model_validate(cloud.document()),
            "audience": cloud.audience,
            "workload": type(gateway_config.workload).model_validate(cloud.workload("gateway")),
            "agents": {cloud.ids["agent"]: "eu-west"},
        }
    )
    leaf = CertificateAuthority.open(tmp_path / "ca").issue_files(tmp_path, "gate", ["localhost"])
    async with http.client(config.entra) as client:
        authenticator = Authenticator(config, groups=frozenset[str], bots=dict, http=client)
        registry = AgentRegistry(config, authenticator, Journal())
        port = await registry.listen(leaf.server_context())
        agent = {
            "name": "eu-west",
            "gateways": [{"host": "localhost", "port": port, "caFile": str(tmp_path / "ca" / "ca.pem")}],
            "entra": cloud.document(),
            "audience": cloud.audience,
            "workload": cloud.workload("agent"),
            "targets": {"orders-db": agent_target.model_dump(mode="json", by_alias=True)},
        }
        path = tmp_path / "agent.yaml"
        path.write_text(yaml.safe_dump(agent))
        processes = Processes(registry, path, tmp_path / "agent.log", [])
        yield processes
        for process in processes.running:
            if process.returncode is None:
                process.kill()
                await process.wait()
        await registry.close()


@pytest.mark.slow
async def test_up_killed_and_up_again(gate: Processes, eventually: Eventually, demo: tuple[Path, str]) -> None:
    process = await gate.start()
    await eventually(lambda: gate.registry.catalogue("orders-db"), 30)
    stream, _ = await gate.registry.open("orders-db", OPENING)
    ended: list[str] = []
    stream.on_close = ended.append
    stream.send(messages.query("SELECT pg_sleep(60)"))

    password = demo[1]
    for name in ("cmdline", "environ"):
        shown = await asyncio.to_thread(Path(f"/proc/{process.pid}/{name}").read_bytes)
        assert password.encode() not in shown

    os.kill(process.pid, signal.SIGKILL)
    await eventually(lambda: ended, 5)
    assert ended[0].startswith("the tunnel ended: ")
    await eventually(lambda: not gate.registry.connected())

    await gate.start()
    await eventually(lambda: gate.registry.connected(), 30)
    await gate.registry.open("orders-db", OPENING)

    log = gate.log.read_text()
    assert password not in log
    assert "eyJ" not in log  # how every token begins
    lines = [json.loads(line) for line in log.splitlines()]
    assert {"agent started", "tunnel up", "catalogue read"} <= {line["event"] for line in lines}


async def test_a_restarted_gateway_is_found_again(gate: Processes, eventually: Eventually) -> None:
    await gate.start()
    await eventually(lambda: gate.registry.connected(), 30)
    for tunnel in gate.registry._tunnels["eu-west"]:
        tunnel.mux.abort("the gateway was killed")
    await eventually(lambda: not gate.registry.connected())
    await eventually(lambda: gate.registry.connected(), 2)


@pytest.mark.slow
async def test_a_frozen_agent_is_given_up_within_15_seconds(gate: Processes, eventually: Eventually) -> None:
    process = await gate.start()
    await eventually(lambda: gate.registry.connected(), 30)
    stream, _ = await gate.registry.open("orders-db", OPENING)
    ended: list[str] = []
    stream.on_close = ended.append
    process.send_signal(signal.SIGSTOP)
    try:
        await eventually(lambda: ended, 15)
        assert "nothing was heard" in ended[0]
        assert not gate.registry.connected()
    finally:
        process.send_signal(signal.SIGCONT)
    await eventually(lambda: gate.registry.connected(), 15)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_ends_cleanly(gate: Processes, eventually: Eventually, number: signal.Signals) -> None:
    process = await gate.start()
    await eventually(lambda: gate.registry.connected(), 30)
    process.send_signal(number)
    async with asyncio.timeout(10):
        assert await process.wait() == 0
    await eventually(lambda: not gate.registry.connected())
    assert "agent stopped" in gate.log.read_text()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"surplus": 1}, "surplus"),
        ({"targets": {"x": {"kind": "postgres", "address": "nowhere", "database": "d", "credential": "c"}}}, "nowhere"),
        ({"entra": {"tenant": "6f1c9a52-7a53-4c0e-9a55-3f2e6b1d8c40", "caFile": "/no/such.pem"}}, "such.pem"),
    ],
)
def test_a_wrong_configuration_says_what(tmp_path: Path, change: dict[str, Any], word: str) -> None:
    ids = "6f1c9a52-7a53-4c0e-9a55-3f2e6b1d8c40"
    good = {
        "name": "eu-west",
        "gateways": [{"host": "localhost", "port": 1}],
        "entra": {"tenant": ids},
        "audience": ids,
        "workload": {"clientId": ids, "tokenFile": "none"},
        "targets": {},
    }
    path = tmp_path / "agent.yaml"
    path.write_text(yaml.safe_dump({**good, **change}))
    command = [sys.executable, "-m", "wicketgate_gateway.agent", "--config", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    told = json.loads(done.stderr.splitlines()[-1])
    assert told["event"] == "agent cannot run"
    assert word in told["reason"]


def test_the_log_holds_no_local_variables(capsys: pytest.CaptureFixture[str]) -> None:
    import structlog

    try:
        agent_main.configure_logging()

        def fail(password: str) -> None:
            raise ValueError("broken")

        try:
            fail("".join(("hun", "ter2")))
        except ValueError:
            structlog.get_logger("test").exception("it broke")
    finally:
        structlog.reset_defaults()
    line = json.loads(capsys.readouterr().err)
    assert "ValueError: broken" in line["exception"]
    assert "hunter2" not in json.dumps(line)
