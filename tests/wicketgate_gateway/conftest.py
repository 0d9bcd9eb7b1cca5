"""A policy, a catalogue and a bot, which tests of decisions start from; and the API with people, as a process."""

import asyncio
import json
import os
import re
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml as pyyaml

from wicketgate.testing.certs import CertificateAuthority
from wicketgate.testing.postgres import PostgresServer
from wicketgate_gateway.approvals.model import Held, Parameter, Request, State
from wicketgate_gateway.approvals.place import store_url
from wicketgate_gateway.approvals.service import Approvals
from wicketgate_gateway.approvals.store import open_store
from wicketgate_gateway.contract import model, yaml
from wicketgate_gateway.contract.catalogue import Catalogue, Column, Relation
from wicketgate_gateway.contract.gateway import GatewayConfig, GatewayTarget, TargetKind
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.contract.policy import Bundle, BundledBot, BundledPolicy, Policy
from wicketgate_gateway.contract.verdict import HoldTerms
from wicketgate_gateway.policy.engine import Decision, TargetPolicy, decide_text
from wicketgate_gateway.policy.load import PolicySet
from wicketgate_gateway.policy.operation import SessionFacts
from wicketgate_gateway.wire.postgres.sql.builtins import CATALOG_RELATIONS

TENANT, BOT, GROUP = (f"00000000-0000-0000-0000-00000000000{i}" for i in (1, 2, 3))
APPROVERS = {name: f"00000000-0000-0000-0000-0000000000a{i}" for i, name in enumerate(("dba", "leads", "security"))}
ORDERS = """
customers(id, name, email, phone, card_number, city)
orders(id, customer_id, item, amount, status, placed_at)
api_keys(id, service, api_key, created_at)
"""


class Decider:
    """One bot with some policies at one target."""

    def __init__(self, texts: list[str], catalogue: Catalogue | None, target: GatewayTarget) -> None:
        policies = [model.validate(Policy, yaml.parse(text, f"p{i}.yaml")) for i, text in enumerate(texts)]
        bundled = [
            BundledPolicy(**{k: getattr(p, k) for k in p.model_fields_set}, groups={GROUP: "reviewers"})
            for p in policies
        ]
        bots = {BOT: BundledBot(name="code-review", owner="x")}
        bundle = Bundle(tenant=TENANT, policies=bundled, bots=bots, approvers=APPROVERS)
        self.set = PolicySet(bundle)
        self.principal = Principal(
            PrincipalKind.BOT, TENANT, BOT, BOT, "name-from-token", "uti", 4e9, groups=frozenset({GROUP})
        )
        found = self.set.for_principal(self.principal, "orders-db", target)
        assert found is not None
        self.policy: TargetPolicy = found
        self.session = SessionFacts(catalogue=catalogue)

    def __call__(self, text: str, session: SessionFacts | None = None) -> Decision:
        return decide_text(self.policy, text, session or self.session)

    def allows(self, text: str, session: SessionFacts | None = None) -> bool:
        return self(text, session).verdict.allowed


@pytest.fixture
def make_catalogue() -> Callable[..., Catalogue]:
    """`make_catalogue("orders(id, item)", "v:mail(id, email) < customers.email")`: tables, and views with sources."""

    def make(*lines: str, version: str = "1", **more: Any) -> Catalogue:
        relations: dict[str, Relation] = {}
        for number, line in enumerate(lines):
            kind, rest = (line[0], line[2:]) if line[1] == ":" else ("r", line)
            head, _, sources = rest.partition("<")
            match = re.fullmatch(r"\s*(?:(\w+)\.)?(\w+)\((.*)\)\s*", head)
            assert match
            columns = [Column(i, name.strip(), 25) for i, name in enumerate(match[3].split(","), 1)]
            found: list[tuple[int, int]] = []
            for source in sources.split():
                relation = relations[source.split(".")[0]]
                names = {c.name: c.number for c in relation.columns}
                found.append((relation.oid, names[source.split(".")[1]] if "." in source else 0))
            key = match[2] if match[2] not in relations else f"{match[1]}.{match[2]}"
            relations[key] = Relation(20000 + number, match[1] or "public", match[2], kind, columns, found)
        system = sorted(CATALOG_RELATIONS)
        return Catalogue(version, "18.4", list(relations.values()), system, **more)

    return make


@pytest.fixture
def orders(make_catalogue: Callable[..., Catalogue]) -> Catalogue:
    """The demo database's catalogue."""
    return make_catalogue(*ORDERS.split("\n")[1:-1])


@pytest.fixture
def decider(orders: Catalogue) -> Callable[..., Decider]:
    """`decider(yaml, …)`: a bot with these policies at `orders-db`; `rules` alone may be given without a head."""

    def make(*texts: str, catalogue: Catalogue | None = orders) -> Decider:
        target = GatewayTarget(kind=TargetKind.POSTGRES, agent="eu", labels={"env": "prod"})
        whole = [
            text if "policy:" in text else f"policy: p{i}\ntargets: [orders-db]\n{text}" for i, text in enumerate(texts)
        ]
        return Decider(whole, catalogue, target)

    return make


HELD = "UPDATE orders SET status = 'paid'\nWHERE id = $1 -- \x1b[2K‮ and no more"


@dataclass
class Desk:
    """A running API."""

    cloud: Any
    folder: Path
    config: GatewayConfig
    config_file: Path
    ca_file: Path
    policy: str
    process: subprocess.Popen[bytes]
    port: int
    asked: int = 0
    tokens: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def token(self, name: str) -> str:
        """A real token of a person, got once."""
        if name not in self.tokens:
            self.tokens[name] = self.cloud.person_token(name)
        return self.tokens[name]

    def call(
        self, method: str, path: str, who: str | None = None, *, token: str | None = None, **more: Any
    ) -> httpx2.Response:
        """One request, as that person."""
        headers = dict(more.pop("headers", {}))
        given = token if token is not None else self.token(who) if who else None
        if given is not None:
            headers["Authorization"] = f"Bearer {given}"
        with httpx2.Client(verify=ssl.create_default_context(cafile=str(self.ca_file)), trust_env=False) as http:
            return http.request(method, self.url + path, headers=headers, timeout=20, **more)

    def hold(self, statement: str = "", **more: Any) -> Request:
        """A request, as a gateway makes one; each time of another statement, if none is given."""
        self.asked += 1
        statement = statement or f"{HELD} {self.asked}"
        terms = HoldTerms(
            rule="orders#2",
            approver_groups=(self.cloud.ids["dba"],),
            approver_names=("dba",),
            quorum=more.pop("quorum", 1),
            within=more.pop("within", 600.0),
            use_within=600.0,
            wait=1.0,
            reason_required=False,
            reuse=None,
            count=False,
        )
        values: dict[str, Any] = {
            "bot_id": self.cloud.ids["bot"],
            "bot": "code-review",
            "owner": "group:platform-team",
            "owner_id": self.cloud.ids["others"],
            "target": "orders-db",
            "protocol": "postgres",
            "session": "01J0000000000000000000TEST",
            "statement": statement,
            "parameters": (Parameter("23", 1, b"\0\0\0\x2a"), Parameter("25", 0, None)),
            "facts": {"search_path": "public"},
            "policy": self.policy,
            "reason": "customer <b>asked</b>",
            "blast": {"estimate": 1},
        }
        held = Held(**(values | more))

        async def ask() -> Request:
            store = await open_store(store_url(self.config))
            try:
                return await Approvals(store, policy=lambda: held.policy).ask(held, terms)
            finally:
                await store.close()

        return asyncio.run(ask())

    def stands(self, handle: str) -> Request:
        """How a request stands in the store."""

        async def get() -> Request:
            store = await open_store(store_url(self.config))
            try:
                return await store.get(handle)
            finally:
                await store.close()

        return asyncio.run(get())


def deadline(seconds: float, what: Callable[[], Any]) -> Any:
    """Polls until it gives something."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "too slow"
        time.sleep(0.02)
    return found


@pytest.fixture(scope="session")
def whole_desk(whole_cloud: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The API for the whole run; tests take `desk`."""
    folder = tmp_path_factory.mktemp("api")
    state = folder / "state"
    state.mkdir(mode=0o700)
    authority = CertificateAuthority.open(folder / "ca")
    leaf = authority.issue_files(folder / "tls", "api", ["127.0.0.1"])
    bundle = Bundle.model_validate(
        {
            "tenant": whole_cloud.entra.tenant,
            "policies": [
                {
                    "policy": "orders",
                    "targets": ["orders-db"],
                    "rules": [{"allow": {"sql": {"statements": ["read"]}}}],
                    "groups": {whole_cloud.ids["reviewers"]: "reviewers"},
                }
            ],
            "approvers": {"dba": whole_cloud.ids["dba"]},
            "bots": {whole_cloud.ids["bot"]: {"name": "code-review", "owner": "group:platform-team"}},
        }
    )
    (folder / "bundle.json").write_text(bundle.render())
    document = {
        "name": "gate",
        "entra": whole_cloud.document(),
        "audience": whole_cloud.audience,
        "workload": whole_cloud.workload("gateway"),
        "agents": {},
        "listen": {"postgres": {"port": 0}, "agents": {"port": 0}, "api": {"port": 0}},
        "people": {
            "url": "https://gate.example:8444",
            "client": whole_cloud.clients["cli"],
            "saml": {"client": whole_cloud.clients["gateway-saml"], "entityId": "api://gateway-saml"},
            "applyPolicies": True,
        },
        "tls": {"certificateFile": str(leaf.cert_file), "keyFile": str(leaf.key_file)},
        "state": str(state),
        "policies": str(folder / "bundle.json"),
        "targets": {"orders-db": {"kind": "postgres", "agent": "desk"}},
    }
    config_file = folder / "gateway.yaml"
    config_file.write_text(pyyaml.safe_dump(document))
    config = GatewayConfig.model_validate(document)
    ready = state / "api.json"
    with (folder / "api.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "wicketgate_gateway.api", "--config", "-"],
            stdin=subprocess.PIPE,
            stderr=output,
            env={k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")},
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(document).encode() + b"\n")
        process.stdin.flush()
        try:
            deadline(30, lambda: ready.is_file() or process.poll() is not None)
            assert process.poll() is None, (folder / "api.log").read_text()
            port = json.loads(ready.read_text())["api"]
            yield Desk(whole_cloud, folder, config, config_file, authority.cert_file, bundle.digest, process, port)
        finally:
            process.stdin.close()
            assert process.wait(15) == 0, (folder / "api.log").read_text()


@pytest.fixture
def desk(whole_desk: Desk, cloud: Any) -> Iterator[Desk]:
    """The API, with an empty store."""

    async def clear() -> None:
        store = await open_store(store_url(whole_desk.config))
        try:
            for request in await store.list((State.PENDING, State.APPROVED)):
                await store.void("test over", handle=request.handle)
            for kill in await store.kills():
                await store.lift(kill.id, by="test", by_id="test")
        finally:
            await store.close()

    assert cloud is whole_desk.cloud
    asyncio.run(clear())
    yield whole_desk
    asyncio.run(clear())


@pytest.fixture
def audit_url(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """A file with the URL of a new, empty database on a real server."""

    def make() -> Path:
        name = f"audit_{uuid.uuid4().hex[:12]}"
        postgres.create_user("wicketgate_audit", "store password")
        postgres.create_database(name, "wicketgate_audit")
        path = tmp_path_factory.mktemp("url") / "audit-store.url"
        path.write_text(postgres.dsn("wicketgate_audit", "store password", name) + "\n")
        return path

    return make
