"""A running gateway and agent in front of a real PostgreSQL, with an emulated Entra: everything else is real.

`gateway` is shared by a whole run; `make_gateway` starts one of a test's own, for tests that break or change it. A
plugin (see `tests/conftest.py`), since several folders use it; what is slow to import waits until it is needed.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from wicketgate.testing.certs import CertificateAuthority
    from wicketgate.testing.entra.server import EntraEmulator
    from wicketgate.testing.issuer.server import WorkloadIssuer
    from wicketgate.testing.postgres import PostgresServer
    from wicketgate_gateway.audit.events import Operation

DATABASE, ROLE = "e2e", "e2e_owner"
AUDIENCE = "api://AzureADTokenExchange"
GROUP = "10000000-0000-4000-8000-000000000001"
DBA = "10000000-0000-4000-8000-000000000002"
OWNERS = "10000000-0000-4000-8000-000000000003"
BOT = "20000000-0000-4000-8000-000000000001"
STRANGER = "20000000-0000-4000-8000-000000000002"
ROLES = [
    {
        "id": f"30000000-0000-4000-8000-00000000000{i}",
        "value": value,
        "displayName": value,
        "description": value,
        "allowedMemberTypes": ["Application"],
        "isEnabled": True,
    }
    for i, value in enumerate(("Bot.Connect", "Agent.Connect"), 1)
]
SCHEMA = """
CREATE TABLE customers(
  id int PRIMARY KEY, name text NOT NULL, email text UNIQUE, card varchar(20), balance numeric, note jsonb
);
INSERT INTO customers VALUES
  (1, 'Ann', 'ann@example.com', '4111111111111111', 12.50, '{"k": 1}'),
  (2, 'Bob', 'bob@example.org', '5500000000000004', 0, NULL),
  (3, 'Cid', NULL, NULL, NULL, NULL);
CREATE TABLE orders(
  id serial PRIMARY KEY, customer_id int REFERENCES customers, item text, amount int CHECK (amount > 0)
);
INSERT INTO orders(customer_id, item, amount) SELECT 1 + i % 3, 'item ' || i, i FROM generate_series(1, 100) i;
CREATE TABLE secrets(id int, value text);
INSERT INTO secrets VALUES (1, 'nobody sees this');
CREATE TABLE uploads(id int, value text);
CREATE VIEW mails AS SELECT id, email FROM customers;
CREATE FUNCTION speak(x text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'hello %', x; RETURN x; END $$;
"""
POLICY: dict[str, Any] = {
    "policy": "e2e",
    "targets": ["orders-db", "down-db"],
    "rules": [
        {"allow": {"sql": {"statements": ["read"], "relations": ["public.*", "pg_catalog.*"]}}},
        {"allow": {"sql": {"statements": ["write"], "relations": ["public.orders", "public.uploads"]}}},
        {"allow": {"sql": {"statements": ["read", "maintenance"], "functions": ["speak", "pg_sleep"]}}},
        {"deny": {"sql": {"relations": ["public.secrets"]}, "because": "secrets are for people"}},
    ],
    "mask": [
        {"columns": ["public.customers.email"], "with": "partial"},
        {"columns": ["public.customers.card"], "with": "redact"},
        {"columns": ["public.customers.balance"], "with": "null"},
    ],
}


@dataclass
class Running:
    """A gateway and its agent. `stop` ends both; `events` reads the journal."""

    folder: Path
    cloud: Cloud
    ca_file: Path
    control: Path | None = None
    """A file with the URL of a control store that gateways share; None: one of its own in the state folder."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict[str, "subprocess.Popen[bytes]"])

    @property
    def state(self) -> Path:
        """The gateway's state folder."""
        return self.folder / "state"

    @property
    def ports(self) -> dict[str, int]:
        """What `ports.json` says."""
        return json.loads((self.state / "ports.json").read_text())

    def dsn(self, target: str = "orders-db", token: str | None = None, *, password: bool = True, **more: str) -> str:
        """A libpq connection string; the token is a bot's good one if none is given."""
        values = {
            "host": "localhost",
            "port": str(self.ports["postgres"]),
            "dbname": target,
            "user": "bot",
            "password": (self.cloud.bot_token() if token is None else token) if password else "",
            "sslmode": "verify-full",
            "sslrootcert": str(self.ca_file),
            "connect_timeout": "20",
            **more,
        }
        return " ".join(f"{name}='{value}'" for name, value in values.items() if value)

    def psql(
        self, *commands: str, token: str | None = None, target: str = "orders-db", stdin: str = "", **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Stock psql, unaligned output, each command by `-c`."""
        arguments = [argument for command in commands for argument in ("-c", command)]
        return subprocess.run(
            [
                "psql",
                "-X",
                "-A",
                "-t",
                "-q",
                "-v",
                "VERBOSITY=verbose",
                self.dsn(target, password=False, **more),
                *arguments,
            ],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                "LANG": "C.UTF-8",
                "PGPASSWORD": self.cloud.bot_token() if token is None else token,
            },
        )

    def events(self) -> list[Any]:
        """All audit events so far, oldest first."""
        import msgspec

        from wicketgate_gateway.audit.events import AuditEvent
        from wicketgate_gateway.audit.ingest import journal_folder
        from wicketgate_gateway.recording.format import JOURNAL_MAGIC, FrameReader
        from wicketgate_gateway.recording.journal import journal_files

        decoder = msgspec.msgpack.Decoder(list[AuditEvent])
        found: list[Any] = []
        for path in journal_files(journal_folder(self.state)):
            with path.open("rb") as file:
                for frame in FrameReader(file, JOURNAL_MAGIC):
                    found += decoder.decode(frame.payload)
        return found

    def operations(self, session: str | None = None) -> list[Operation]:
        """The operations so far."""
        from wicketgate_gateway.audit.events import Operation

        return [e for e in self.events() if isinstance(e, Operation) and session in (None, e.session)]

    def recorded(self, session: str, direction: int | None = None) -> bytes:
        """What was recorded of a session, once its recording is closed."""
        from wicketgate_gateway.audit.events import RecordingClosed
        from wicketgate_gateway.recording.reader import Recording

        self.wait(lambda: any(isinstance(e, RecordingClosed) and e.session == session for e in self.events()))
        recording = Recording(self.state / "recordings", session)
        return b"".join(r.data for r in recording.records() if direction in (None, r.direction))

    def wait(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        """Until the condition holds; fails after `seconds`."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not come about in time"
            time.sleep(0.02)

    def start_gateway(self) -> None:
        """Starts the gateway and waits until it is ready."""
        (self.state / "ports.json").unlink(missing_ok=True)
        self._start("gateway", "wicketgate_gateway.server", "gateway.yaml")
        self._wait(lambda: (self.state / "ports.json").exists(), "gateway")

    def start_agent(self) -> None:
        """Starts the agent (which dials where the gateway is now)."""
        self._write_agent()
        self._start("agent", "wicketgate_gateway.agent", "agent.yaml")

    def wait_for_agent(self) -> None:
        """Until a session with the target works."""
        self._wait(lambda: self.psql("SELECT 1").returncode == 0, "agent", pause=0.1)

    def _start(self, name: str, module: str, config: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", module, "--config", str(self.folder / config)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def _wait(self, condition: Callable[[], bool], name: str, pause: float = 0.02) -> None:
        end = time.monotonic() + 60
        while not condition():
            process = self.processes[name]
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"{name} is not ready ({process.returncode}):\n{self.log(name)}")
            time.sleep(pause)

    def log(self, name: str) -> str:
        """The end of a process's log."""
        return (self.folder / f"{name}.log").read_text()[-6000:]

    def stop(self, name: str, how: signal.Signals = signal.SIGTERM) -> int:
        """Ends a process; its exit status."""
        process = self.processes.pop(name)
        process.send_signal(how)
        return process.wait(60)

    def write_policies(self, *policies: dict[str, Any]) -> None:
        """Puts a bundle with these policies, all for the group, in place of the one in force."""
        from wicketgate_gateway.contract.policy import Bundle, BundledBot, BundledPolicy

        bundled = [
            BundledPolicy.model_validate({**policy, "groups": {GROUP: "reviewers"}}, strict=False)
            for policy in policies
        ]
        bundle = Bundle(
            tenant=self.cloud.entra.tenant,
            policies=bundled,
            bots={BOT: BundledBot(name="code-review", owner="group:platform-team", owner_id=OWNERS)},
            approvers={"dba": DBA},
        )
        new = self.folder / "policies.new"
        new.write_text(bundle.render())
        new.replace(self.folder / "policies.json")

    def _entra(self) -> dict[str, Any]:
        entra = self.cloud.entra
        return {
            "tenant": entra.tenant,
            "authority": entra.authority,
            "graph": entra.graph,
            "caFile": str(entra.ca_file),
        }

    def write_gateway(self, **limits: Any) -> None:
        """Writes gateway.yaml (JSON is YAML)."""
        leaf = self.cloud.ca.issue_files(self.folder, "server", ["localhost", "127.0.0.1"])
        target = {"kind": "postgres", "agent": "eu", "labels": {"env": "test"}}
        config = {
            "name": "gate",
            "entra": self._entra(),
            "audience": self.cloud.audience,
            "workload": {"clientId": self.cloud.client("gateway"), "tokenFile": self.cloud.token_file("gateway")},
            "agents": {self.cloud.principal("agent"): "eu"},
            "listen": {"postgres": {"port": 0}, "agents": {"port": 0}},
            "tls": {"certificateFile": str(leaf.cert_file), "keyFile": str(leaf.key_file)},
            "state": str(self.state),
            "policies": str(self.folder / "policies.json"),
            "targets": {"orders-db": target, "down-db": target, "other-db": target},
            "limits": limits,
            **({"control": {"urlFile": str(self.control)}} if self.control else {}),
        }
        (self.folder / "gateway.yaml").write_text(json.dumps(config))

    def _write_agent(self) -> None:
        postgres = self.cloud.postgres
        target: dict[str, Any] = {
            "kind": "postgres",
            "address": f"{postgres.host}:{postgres.port}",
            "database": DATABASE,
            "tls": "verify-full" if postgres.ca_file else "disable",
            "credential": str(self.cloud.credential),
        }
        if postgres.ca_file:
            target["caFile"] = str(postgres.ca_file)
        config = {
            "name": "eu",
            "gateways": [{"host": "localhost", "port": self.ports["agents"], "caFile": str(self.ca_file)}],
            "entra": self._entra(),
            "audience": self.cloud.audience,
            "workload": {"clientId": self.cloud.client("agent"), "tokenFile": self.cloud.token_file("agent")},
            "targets": {"orders-db": target, "down-db": {**target, "address": "127.0.0.1:1"}},
        }
        (self.folder / "agent.yaml").write_text(json.dumps(config))


@dataclass
class Cloud:
    """What the gateway stands in: Entra, a workload issuer, certificates, the database."""

    folder: Path
    ca: CertificateAuthority
    entra: EntraEmulator
    issuer: WorkloadIssuer
    postgres: PostgresServer
    credential: Path
    audience: str
    ids: dict[str, tuple[str, str]]
    """(client id, principal id) by name."""
    _tokens: dict[str, tuple[str, float]] = field(default_factory=dict[str, tuple[str, float]])

    def client(self, name: str) -> str:
        """An identity's client id."""
        return self.ids[name][0]

    def principal(self, name: str) -> str:
        """An identity's object id."""
        return self.ids[name][1]

    def token_file(self, name: str) -> str:
        """Where the platform keeps an identity's token fresh."""
        return str(self.folder / f"{name}.token")

    def bot_token(self, name: str = "bot") -> str:
        """A bot's token, really exchanged at Entra for the issuer's."""
        from wicketgate_gateway.identity import exchange

        token, end = self._tokens.get(name, ("", 0.0))
        if end - 300 < time.time():
            assertion = self.issuer.token(f"workload:{name}", AUDIENCE)
            request = exchange.request(
                self.entra.authority, self.entra.tenant, self.client(name), f"{self.audience}/.default", assertion
            )
            context = ssl.create_default_context(cafile=str(self.entra.ca_file))
            call = urllib.request.Request(request.url, request.body, request.headers)
            with urllib.request.urlopen(call, context=context, timeout=20) as answer:
                granted = exchange.answer(answer.status, answer.read())
            token, end = granted.token, granted.expires_at
            self._tokens[name] = (token, end)
        return token

    def mint(self, header: dict[str, Any] | None = None, alg: str = "RS256", **claims: Any) -> str:
        """A token like the bot's, with other claims (None removes one)."""
        base = {
            "aud": self.audience,
            "oid": self.principal("bot"),
            "sub": self.principal("bot"),
            "azp": self.client("bot"),
            "azpacr": "2",
            "roles": ["Bot.Connect"],
        }
        return self.entra.mint({**base, **claims}, header, alg)


def _seed(issuer: WorkloadIssuer) -> tuple[dict[str, Any], dict[str, tuple[str, str]]]:
    gateway = "40000000-0000-4000-8000-000000000001"
    ids = {
        "gateway": ("40000000-0000-4000-8000-000000000002", "50000000-0000-4000-8000-000000000002"),
        "agent": ("40000000-0000-4000-8000-000000000003", "50000000-0000-4000-8000-000000000003"),
        "bot": ("40000000-0000-4000-8000-000000000004", BOT),
        "stranger": ("40000000-0000-4000-8000-000000000005", STRANGER),
    }
    more: dict[str, dict[str, Any]] = {
        "gateway": {"graphRoles": ["Application.Read.All"]},
        "agent": {"assignments": [{"resource": gateway, "role": "Agent.Connect"}]},
        "bot": {"assignments": [{"resource": gateway, "role": "Bot.Connect"}], "groups": [GROUP]},
        "stranger": {"assignments": [{"resource": gateway, "role": "Bot.Connect"}]},
    }
    applications: list[dict[str, Any]] = [
        {
            "displayName": "wicketgate",
            "appId": gateway,
            "appRoles": ROLES,
            "api": {"requestedAccessTokenVersion": 2},
            "optionalClaims": {"accessToken": [{"name": "idtyp"}]},
        }
    ]
    applications += [
        {
            "displayName": name,
            "appId": client,
            "servicePrincipalId": principal,
            "federatedCredentials": [{"name": "workload", "issuer": issuer.url, "subject": f"workload:{name}"}],
            **more[name],
        }
        for name, (client, principal) in ids.items()
    ]
    return {"groups": [{"displayName": "reviewers", "id": GROUP}], "applications": applications}, ids


@contextlib.contextmanager
def cloud_in(folder: Path, postgres: PostgresServer) -> Generator[Cloud]:
    """Entra, issuer, certificates, and the schema in this server; what it needs is kept in the folder."""
    from wicketgate.testing.certs import CertificateAuthority
    from wicketgate.testing.entra.server import EntraEmulator
    from wicketgate.testing.issuer.server import WorkloadIssuer

    password = secrets.token_urlsafe(18)
    postgres.create_user(ROLE, password)
    postgres.create_database(DATABASE, ROLE)
    postgres.sql(f"SET ROLE {ROLE};" + SCHEMA, DATABASE)
    credential = folder / "credential"
    credential.mkdir(mode=0o700)
    (credential / "username").write_text(ROLE)
    (credential / "password").write_text(password)
    with contextlib.ExitStack() as stack:
        issuer = stack.enter_context(WorkloadIssuer(folder / "issuer"))
        seed, ids = _seed(issuer)
        entra = stack.enter_context(EntraEmulator(folder / "entra", trust=[issuer.ca_file], seed=seed))
        ca = CertificateAuthority.open(folder / "ca")
        made = Cloud(folder, ca, entra, issuer, postgres, credential, seed["applications"][0]["appId"], ids)
        for name in ids:
            issuer.project(f"workload:{name}", AUDIENCE, Path(made.token_file(name)))
        yield made


@pytest.fixture(scope="session")
def running_cloud(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[Cloud]:
    """Entra, issuer, certificates and the database, for the whole run."""
    with cloud_in(tmp_path_factory.mktemp("cloud"), postgres) as made:
        yield made


@contextlib.contextmanager
def gateways_in(cloud: Cloud, folders: pytest.TempPathFactory) -> Generator[Callable[..., Running]]:
    """What makes gateways in this cloud; they end with the context."""
    started: list[Running] = []

    def make(*, policies: list[dict[str, Any]] | None = None, control: Path | None = None, **limits: Any) -> Running:
        running = Running(folders.mktemp("gateway"), cloud, cloud.ca.cert_file, control)
        started.append(running)
        running.write_policies(*(policies or [POLICY]))
        running.write_gateway(**limits)
        running.start_gateway()
        running.start_agent()
        running.wait_for_agent()
        return running

    yield make
    for running in started:
        for name in list(running.processes):
            running.stop(name)


@pytest.fixture(scope="session")
def make_gateway(running_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Running]]:
    """`make_gateway(policies=[…], groupsCache="1s")`: a gateway and agent of one's own, ended with the run."""
    with gateways_in(running_cloud, tmp_path_factory) as make:
        yield make


@pytest.fixture(scope="session")
def gateway(make_gateway: Callable[..., Running]) -> Running:
    """The gateway that most tests share: change nothing of it."""
    return make_gateway()


@pytest.fixture
def policy() -> dict[str, Any]:
    """The policy that gateways start with, to change and write anew."""
    return json.loads(json.dumps(POLICY))
