import pytest

from wicketgate_gateway.contract import checks, model, yaml
from wicketgate_gateway.contract.checks import condition_problems, name_problems
from wicketgate_gateway.contract.policy import Policy

TEXT = """
policy: p
targets: [db]
subjects: {groups: [a, b], bots: [c]}
rules:
  - allow: {sql: {statements: read}, when: "bot.name == 'x'"}
  - deny: {sql: {statements: write}, when: bot.name}
  - hold: {sql: {statements: ddl}, approvers: {groups: [dba, nobody]}, when: "op.x"}
"""
DOCUMENT = yaml.parse(TEXT, "p.yaml")
POLICY = model.validate(Policy, DOCUMENT)


def test_conditions_are_compiled_and_their_place_is_told():
    first, second = condition_problems(POLICY, DOCUMENT)
    assert str(first).startswith("p.yaml:7:38: `rules.1.deny.when`: the condition is of type STRING, not BOOL")
    assert str(second).startswith("p.yaml:8:72: `rules.2.hold.when`: undeclared reference")
    assert condition_problems(POLICY)[0].where is None


def test_names_that_are_not_known():
    assert name_problems(POLICY, approvers={"dba", "nobody"}) == []
    found = name_problems(POLICY, approvers={"dba"}, groups={"a"}, bots=[], document=DOCUMENT)
    assert [(p.term, p.message) for p in found] == [
        ("rules.2.hold.approvers.groups.1", "there is no group of approvers `nobody`"),
        ("subjects.groups.1", "there is no group `b`"),
        ("subjects.bots.0", "there is no bot `c`"),
    ]
    assert all(p.where and p.where.line for p in found)
    assert "known: none yet" in found[-1].remedy


@pytest.mark.parametrize(
    ("targets", "protocol", "wrong"),
    [
        ("[db]", "sql", False),
        ("[db]", "http", True),
        ("[db, api]", "http", False),
        ("{kind: http}", "sql", True),
        ("{labels: {a: b}}", "http", False),
        ("[unknown]", "http", False),
    ],
)
def test_rules_of_a_protocol_that_no_target_speaks(targets: str, protocol: str, wrong: bool) -> None:
    """Told with the rule's own line."""
    terms = {"sql": "{statements: read}", "http": "{methods: GET}"}[protocol]
    text = f"policy: p\ntargets: {targets}\nrules:\n  - allow: {{{protocol}: {terms}}}\n"
    document = yaml.parse(text, "p.yaml")
    policy = model.validate(Policy, document)
    found = checks.kind_problems(policy, {"db": "postgres", "api": "http"}, document)
    assert bool(found) is wrong
    assert all(problem.where is not None and problem.where.line == 4 for problem in found)
