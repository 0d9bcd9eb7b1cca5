"""A policy, a catalogue and a bot: what tests of decisions start from."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from wicketgate_gateway.contract import model, yaml
from wicketgate_gateway.contract.catalogue import Catalogue, Column, Relation
from wicketgate_gateway.contract.gateway import GatewayTarget, TargetKind
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.contract.policy import Bundle, BundledBot, BundledPolicy, Policy
from wicketgate_gateway.policy.engine import Decision, TargetPolicy, decide_text
from wicketgate_gateway.policy.load import PolicySet
from wicketgate_gateway.policy.operation import SessionFacts
from wicketgate_gateway.wire.postgres.sql.builtins import CATALOG_RELATIONS

TENANT, BOT, GROUP = (f"00000000-0000-0000-0000-00000000000{i}" for i in (1, 2, 3))
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
        bundle = Bundle(tenant=TENANT, policies=bundled, bots={BOT: BundledBot(name="code-review", owner="x")})
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
