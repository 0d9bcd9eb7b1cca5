from wicketgate_gateway.contract import model, yaml
from wicketgate_gateway.contract.policy import Policy
from wicketgate_gateway.contract.verdict import Effect
from wicketgate_gateway.policy.compile import compile_policy, summary


def compiled(rules: str):
    document = yaml.parse("policy: p\ntargets: [t]\nrules:\n" + rules, "p.yaml")
    return compile_policy(model.validate(Policy, document), document)


def test_rules_are_numbered_from_one():
    rules, problems = compiled("  - allow: {sql: {statements: read}}\n  - deny: {sql: {functions: [f]}, because: no}\n")
    assert problems == []
    assert [r.label for r in rules] == ["p#1", "p#2"]
    assert [r.effect for r in rules] == [Effect.ALLOW, Effect.DENY]
    assert rules[1].because == "no"


def test_a_condition_that_does_not_compile_is_told_with_its_place():
    rules, problems = compiled(
        "  - deny:\n      sql: {statements: read}\n      when: op.statment == ''\n"
        "  - allow: {sql: {statements: read}, when: '1'}\n"
    )
    assert rules == []
    first, second = (str(p) for p in problems)
    assert first.startswith(
        "p.yaml:6:7: `rules.0.deny.when`: undeclared reference to 'op.statment' (line 1, character 3"
    )
    assert second.startswith("p.yaml:7:38: `rules.1.allow.when`: the condition is of type INT, not BOOL;")


def test_the_summary_says_what_is_allowed_and_nothing_else():
    rules, _ = compiled(
        "  - allow: {sql: {statements: [write, read], relations: [a.*, b.c]}}\n"
        "  - deny: {sql: {statements: ddl}}\n"
        "  - allow: {sql: {functions: [f]}}\n"
        "  - allow: {sql: {relations: [x.y]}, when: 'true'}\n"
        "  - allow: {sql: {statements: session}}\n"
    )
    assert summary(rules) == ("`read`, `write` on `a.*`, `b.c`; calling `f`; everything on `x.y` when true; `session`")
    assert len(summary(rules, limit=20)) == 20
    assert summary([r for r in rules if r.effect is Effect.DENY]) == ""
