"""`python -m bench.decide`: how long a decision takes among 10, 100 and 1,000 rules, warm and cold.

How this works: half of the rules allow reading one table each, half deny writing one. *Warm* is a text whose like was
decided on, with another literal; *cold* one that was never seen: it is parsed, resolved and decided on by every rule.
Times are CPU time of this thread, so a busy machine spoils them less.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from dataclasses import dataclass

from wicketgate_gateway.contract import model, yaml
from wicketgate_gateway.contract.catalogue import Catalogue, Column, Relation
from wicketgate_gateway.contract.gateway import GatewayTarget, TargetKind
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.contract.policy import Bundle, BundledBot, BundledPolicy, Policy
from wicketgate_gateway.policy.engine import TargetPolicy, decide_text
from wicketgate_gateway.policy.load import PolicySet
from wicketgate_gateway.policy.operation import SessionFacts

RULES = (10, 100, 1000)
TENANT, BOT, GROUP = (f"00000000-0000-0000-0000-00000000000{i}" for i in (1, 2, 3))


@dataclass(frozen=True, slots=True)
class Deciding:
    """Times among so many rules, in µs."""

    rules: int
    warm_us: float
    cold_us: float
    cold_p99_us: float


def policy_of(rules: int) -> TargetPolicy:
    """A bot's policy of so many rules."""
    lines = [
        f"  - {'deny' if n % 2 else 'allow'}: "
        f"{{sql: {{statements: {'write' if n % 2 else 'read'}, relations: [public.t{n // 2}]}}}}"
        for n in range(rules)
    ]
    text = "policy: bench\ntargets: [orders-db]\nrules:\n" + "\n".join(lines) + "\nrecord: {level: full, keep: 1d}\n"
    policy = model.validate(Policy, yaml.parse(text, "bench.yaml"))
    bundled = BundledPolicy(**{k: getattr(policy, k) for k in policy.model_fields_set}, groups={GROUP: "bots"})
    found = PolicySet(
        Bundle(tenant=TENANT, policies=[bundled], bots={BOT: BundledBot(name="bench", owner="bench")})
    ).for_principal(
        Principal(PrincipalKind.BOT, TENANT, BOT, BOT, "bench", "u", 4e9, groups=frozenset({GROUP})),
        "orders-db",
        GatewayTarget(kind=TargetKind.POSTGRES, agent="desk", labels={}),
    )
    assert found is not None
    return found


def measure(rules: int, *, count: int = 300) -> Deciding:
    """The times among so many rules."""
    tables = max(RULES) // 2
    columns = [Column(1, "id", 23), Column(2, "v", 25)]
    relations = [Relation(20_000 + n, "public", f"t{n}", "r", columns, []) for n in range(tables)]
    policy, session = policy_of(rules), SessionFacts("public", Catalogue("1", "17", relations, []), {}, {})
    source = random.Random(1)

    def timed(text: str) -> float:
        started = time.thread_time_ns()
        decision = decide_text(policy, text, session)
        took = time.thread_time_ns() - started
        if not decision.verdict.allowed:
            raise SystemExit(f"error: `{text}` was denied: {decision.verdict.reason}")
        return took / 1000

    timed("SELECT v FROM t0 WHERE id = 0")
    warm = [timed(f"SELECT v FROM t0 WHERE id = {n}") for n in range(count * 10)]
    cold = [
        timed(
            f"SELECT a.v AS c{n}, b.id FROM t{source.randrange(rules // 2)} a JOIN t0 b ON a.id = b.id "
            "WHERE a.v = 'x' ORDER BY 1 LIMIT 5"
        )
        for n in range(count)
    ]
    return Deciding(rules, statistics.median(warm), statistics.median(cold), sorted(cold)[int(count * 0.99)])


def main() -> int:
    """Print a line for each number of rules."""
    for rules in RULES:
        found = measure(rules)
        sys.stdout.write(
            f"{rules:5} rules  warm {found.warm_us:6.1f} µs  cold {found.cold_us:6.1f} µs"
            f"  (p99 {found.cold_p99_us:.0f} µs)\n"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
