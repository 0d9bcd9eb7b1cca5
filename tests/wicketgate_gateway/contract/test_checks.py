from wicketgate_gateway.contract import model, yaml
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
