"""A gateway's registry and an agent in one loop, joined by real TLS, in front of the real PostgreSQL."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from wicketgate.testing.certs import CertificateAuthority
from wicketgate.testing.postgres import PostgresServer
from wicketgate_gateway.agent.catalogue import CatalogueWatcher
from wicketgate_gateway.agent.gateway_link import GatewayLink
from wicketgate_gateway.agent.target import Target
from wicketgate_gateway.contract.catalogue import Catalogue
from wicketgate_gateway.contract.gateway import AgentConfig, Endpoint, GatewayConfig, PostgresTarget, TlsMode
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.identity.exchange import AccessToken
from wicketgate_gateway.server.agents import AgentRegistry

TENANT = "11111111-1111-4111-8111-111111111111"
AUDIENCE = "22222222-2222-4222-8222-222222222222"
AGENT_ID = "33333333-3333-4333-8333-333333333333"
CLIENT_ID = "44444444-4444-4444-8444-444444444444"
ROLE = "agent_demo"


@dataclass
class World:
    """What a test holds of the two ends."""

    postgres: PostgresServer
    folder: Path
    password: str
    target: PostgresTarget
    registry: AgentRegistry
    config: AgentConfig
    link: GatewayLink
    watcher: CatalogueWatcher
    events: list[Any] = field(default_factory=list[Any])
    accepted: set[str] = field(default_factory=lambda: {"good"})
    tokens: list[str] = field(default_factory=lambda: ["good"])
    """What the agent's credential gives; the last one stays."""
    life: float = 3600.0


@pytest.fixture(scope="session")
def demo(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A database `agent_demo` with a role of that name; the credential folder and the password."""
    password = secrets.token_urlsafe(16)
    postgres.create_user(ROLE, password)
    postgres.create_database("agent_demo", ROLE)
    postgres.sql(
        """
        CREATE TABLE customers (id int PRIMARY KEY, email text, gone int);
        ALTER TABLE customers DROP COLUMN gone;
        CREATE VIEW mails AS SELECT email FROM customers WHERE id > 0;
        CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT n * 2';
        INSERT INTO customers SELECT i, 'user' || i || '@example.com' FROM generate_series(1, 1000) i;
        GRANT SELECT ON customers, mails TO agent_demo;
        """,
        "agent_demo",
    )
    folder = tmp_path_factory.mktemp("credential")
    (folder / "username").write_text(ROLE)
    (folder / "password").write_text(password + "\n")
    return folder, password


@pytest.fixture
def agent_target(postgres: PostgresServer, demo: tuple[Path, str]) -> PostgresTarget:
    """The demo database as an agent's target."""
    ca = postgres.ca_file
    return PostgresTarget(
        kind="postgres",  # pyright: ignore[reportArgumentType]
        address=f"localhost:{postgres.port}",
        database="agent_demo",
        tls=TlsMode.VERIFY_FULL if ca else TlsMode.DISABLE,
        ca_file=str(ca) if ca else None,
        credential=str(demo[0]),
    )


class _Sink:
    def __init__(self, world: Callable[[], World]) -> None:
        self._world = world

    def submit(self, events: Sequence[Any], release: Callable[[Exception | None], None] | None = None) -> None:
        self._world().events.extend(events)
        if release is not None:
            asyncio.get_running_loop().call_soon(release, None)


class _Authenticator:
    def __init__(self, world: Callable[[], World]) -> None:
        self._world = world

    async def agent(self, token: str) -> Principal:
        world = self._world()
        if token not in world.accepted:
            raise Refused("bad-signature", "the token's signature is wrong")
        return Principal(
            PrincipalKind.AGENT, TENANT, AGENT_ID, CLIENT_ID, "eu-west", "uti", time.time() + world.life - 60
        )

    async def recheck(self, principal: Principal) -> Principal:
        if not self._world().accepted:
            raise Refused("bot-disabled", "the service principal is disabled")
        return principal


class _Credential:
    def __init__(self, world: Callable[[], World]) -> None:
        self._world = world

    async def token(self, scope: str) -> AccessToken:
        world = self._world()
        assert scope == f"{AUDIENCE}/.default"
        token = world.tokens.pop(0) if len(world.tokens) > 1 else world.tokens[0]
        return AccessToken(token, time.time() + world.life)


@pytest.fixture
def gateway_config(tmp_path: Path) -> GatewayConfig:
    """A gateway that knows the agent `eu-west` and its target `orders-db`."""
    return GatewayConfig.model_validate(
        {
            "name": "gate",
            "entra": {"tenant": TENANT},
            "audience": AUDIENCE,
            "workload": {"clientId": CLIENT_ID, "tokenFile": str(tmp_path / "none")},
            "agents": {AGENT_ID: "eu-west"},
            "listen": {"postgres": {"port": 0}, "agents": {"port": 0}},
            "tls": {"certificateFile": str(tmp_path / "gate.pem"), "keyFile": str(tmp_path / "gate.key")},
            "state": str(tmp_path),
            "policies": str(tmp_path),
            "targets": {
                "orders-db": {"kind": "postgres", "agent": "eu-west"},
                "elsewhere": {"kind": "postgres", "agent": "us-east"},
                "unoffered": {"kind": "postgres", "agent": "eu-west"},
            },
            "limits": {"login": "5s", "groupsCache": "1s"},
        }
    )


@pytest.fixture
async def world(
    postgres: PostgresServer,
    demo: tuple[Path, str],
    agent_target: PostgresTarget,
    gateway_config: GatewayConfig,
    tmp_path: Path,
) -> AsyncIterator[World]:
    """The registry listens; the test starts `link.run()` and `watcher.run()` as it likes."""
    made: list[World] = []
    leaf = CertificateAuthority.open(tmp_path / "ca").issue_files(tmp_path, "gate", ["localhost"])
    registry = AgentRegistry(gateway_config, _Authenticator(lambda: made[0]), _Sink(lambda: made[0]))
    port = await registry.listen(leaf.server_context())
    config = AgentConfig.model_validate(
        {
            "name": "eu-west",
            "gateways": [{"host": "localhost", "port": port, "caFile": str(tmp_path / "ca" / "ca.pem")}],
            "entra": {"tenant": TENANT},
            "audience": AUDIENCE,
            "workload": {"clientId": CLIENT_ID, "tokenFile": str(tmp_path / "none")},
            "targets": {"orders-db": agent_target.model_dump(by_alias=True)},
        }
    )
    target = Target("orders-db", agent_target)

    def changed(name: str, catalogue: Catalogue) -> None:
        link.catalogue_changed(name, catalogue)

    watcher = CatalogueWatcher(target, changed)
    endpoint: Endpoint = config.gateways[0]
    link = GatewayLink(
        config,
        endpoint,
        _Credential(lambda: made[0]),  # pyright: ignore[reportArgumentType]
        {"orders-db": target},
        {"orders-db": watcher},
    )
    made.append(World(postgres, demo[0], demo[1], agent_target, registry, config, link, watcher))
    yield made[0]
    await registry.close()


@pytest.fixture
def running() -> Iterator[Callable[..., None]]:
    """`running(coroutine)` runs it as a task that ends with the test."""
    tasks: list[asyncio.Task[Any]] = []
    yield lambda coroutine: tasks.append(asyncio.get_running_loop().create_task(coroutine))
    for task in tasks:
        task.cancel()
