"""Probes in SQL reach every class, and tell apart what rules tell apart."""

from wicketgate_gateway.contract.policy import Policy, StatementClass
from wicketgate_gateway.contract.targets import TargetKind
from wicketgate_gateway.policy.operation import SessionFacts, statement_of
from wicketgate_gateway.policy.probe import probes_for
from wicketgate_gateway.wire.postgres.sql.facts import analyze


def policy(*rules: object, **more: object) -> Policy:
    return Policy.model_validate({"policy": "tried", "targets": ["db"], "rules": list(rules), **more})


def test_every_probe_parses_and_every_class_is_there() -> None:
    tried = policy({"allow": {"sql": {"statements": ["read"], "relations": ["public.*"], "functions": ["made"]}}})
    found = probes_for(TargetKind.POSTGRES, [tried])
    assert found.complete
    session = SessionFacts("public", None)
    statements = [statement_of(f, session) for p in found.probes for f in analyze(p.text).statements]
    assert {aspect.cls for s in statements for aspect in s.aspects} == set(StatementClass)


def test_names_are_those_that_rules_tell_apart() -> None:
    tried = policy(
        {"allow": {"sql": {"statements": ["read"], "relations": ["public.*"]}}},
        {"deny": {"sql": {"columns": ["public.customers.email"]}}},
        mask=[{"columns": ["public.customers.phone"], "with": "redact"}, {"names": ["*secret*"], "with": "null"}],
    )
    texts = {probe.text for probe in probes_for(TargetKind.POSTGRES, [tried]).probes}
    assert 'SELECT "email" FROM "public"."customers"' in texts
    assert 'SELECT "phone" FROM "public"."customers"' in texts
    assert 'SELECT "secret" FROM "public"."customers"' in texts
    assert any(text.startswith("DELETE FROM ") and "customers" not in text for text in texts)
