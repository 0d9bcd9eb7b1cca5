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


def test_mistakes_beyond_the_shape_are_told_with_their_place():
    _, problems = compiled(
        "  - allow:\n      sql: {statements: [read, procedural], relations: [public.*]}\n"
        "  - deny:\n      sql: {statements: []}\n      when: op.statment == ''\n"
        "  - allow: {sql: {relations: []}}\n"
    )
    assert [str(p) for p in problems] == [
        (
            "p.yaml:5:13: `rules.0.allow.sql.statements`: `procedural` cannot be limited to relations, so this rule never"
            " covers it; allow `procedural` in a rule of its own, without `relations`"
        ),
        (
            "p.yaml:8:7: `rules.1.deny.when`: undeclared reference to 'op.statment' (line 1, character 3 of the condition);"
            " a condition can use op.statement, op.kinds, op.classes, op.relations, op.functions, op.columns, bot.name,"
            " bot.groups, target.name, target.labels, now"
        ),
        "p.yaml:7:13: `rules.1.deny.sql.statements`: an empty list matches nothing; list something, or remove the term",
        "p.yaml:9:19: `rules.2.allow.sql.relations`: an empty list matches nothing; list something, or remove the term",
    ]


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
