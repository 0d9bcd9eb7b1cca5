import pytest

from wicketgate_gateway.contract import model, yaml
from wicketgate_gateway.contract.policy import Policy
from wicketgate_gateway.contract.verdict import Effect
from wicketgate_gateway.policy.load import PolicySet
from wicketgate_gateway.policy.trial import Trial, bundle_of, catalogue_of, policy_for, stand_in

POLICY = """
policy: p
targets: [db]
{subjects}rules:
  - allow: {{sql: {{statements: read, relations: [public.*]}}}}
  - hold: {{sql: {{statements: write}}, approvers: {{groups: [dba]}}}}
"""


def policy(subjects: str = "") -> Policy:
    return model.validate(Policy, yaml.parse(POLICY.format(subjects=subjects), "p.yaml"))


def applies(subjects: str, bot: str, *groups: str) -> bool:
    whole = PolicySet(bundle_of([policy(subjects)], bot, groups))
    return policy_for(whole, stand_in(bot), [stand_in(f"group {g}") for g in groups], "db") is not None


def test_without_subjects_a_policy_is_given_to_the_bot():
    assert applies("", "anyone")


def test_subjects_decide_where_there_are_some():
    assert applies("subjects: {bots: [nightly]}\n", "nightly")
    assert not applies("subjects: {bots: [nightly]}\n", "other")
    assert applies("subjects: {groups: [reviewers]}\n", "other", "reviewers")
    assert not applies("subjects: {groups: [reviewers]}\n", "reviewers")


def test_a_session_keeps_what_it_prepares():
    found = policy_for(PolicySet(bundle_of([policy()], "b", [])), stand_in("b"), [], "db")
    assert found is not None
    trial = Trial(found)
    assert trial.decide("EXECUTE p").verdict.effect is Effect.DENY
    trial.decide("PREPARE p AS SELECT * FROM t")
    assert trial.decide("EXECUTE p").verdict.effect is Effect.ALLOW
    assert trial.decide("PREPARE q AS DELETE FROM t").verdict.effect is Effect.DENY
    assert trial.decide("EXECUTE q").verdict.code == "unknown-prepared"
    trial.decide("DECLARE c CURSOR FOR SELECT * FROM t")
    assert trial.decide("FETCH c").verdict.effect is Effect.ALLOW


def test_a_catalogue_of_tables_and_views():
    made = catalogue_of({"public.t": ["a", "b"]}, {"s.v": ["public.t.b"]})
    table, view = made.relations
    assert [(c.number, c.name) for c in table.columns] == [(1, "a"), (2, "b")]
    assert (view.schema, view.name, view.kind, view.sources) == ("s", "v", "v", [(table.oid, 2)])
    with pytest.raises(KeyError):
        catalogue_of({"public.t": ["a"]}, {"s.v": ["public.t.b"]})
