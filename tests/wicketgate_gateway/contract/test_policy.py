import json

import pytest

from wicketgate_gateway.contract import model, yaml
from wicketgate_gateway.contract.errors import DocumentError
from wicketgate_gateway.contract.policy import (
    Bundle,
    BundledBot,
    BundledPolicy,
    MaskMethod,
    Policy,
    StatementClass,
    TargetSelector,
)

ID = "00000000-0000-0000-0000-000000000001"
HEAD = "policy: p\ntargets: [t]\n"


def read(text: str) -> Policy:
    return model.validate(Policy, yaml.parse(text, "p.yaml"))


def problems(text: str):
    with pytest.raises(DocumentError) as caught:
        read(text)
    return [str(p) for p in caught.value.problems]


def test_the_designs_example_but_for_what_is_to_come():
    policy = read("""
policy: orders-readonly
targets: [orders-db]
rules:
  - allow: {sql: {statements: read, relations: [public.*]}}
  - deny:  {sql: {functions: [lo_export, dblink*]}, because: no way out}
mask:
  - {columns: [public.customers.email], with: partial}
  - {names: "*token*", with: null}
record: {level: full, keep: 90d}
""")
    assert policy.rules[0].match.sql.statements == [StatementClass.READ]
    assert policy.rules[1].match.because == "no way out"
    assert [m.method for m in policy.mask] == [MaskMethod.PARTIAL, MaskMethod.NULL]
    assert policy.mask[1].names == ["*token*"]
    assert policy.record.keep == "90d"


def test_targets_by_kind_and_labels():
    policy = read(
        "policy: p\ntargets: {kind: postgres, labels: {env: prod}}\nrules: [{allow: {sql: {statements: read}}}]"
    )
    assert policy.targets == TargetSelector(kind="postgres", labels={"env": "prod"})


ALLOW = "rules: [{allow: {sql: {statements: read}}}]\n"
WRONG = {
    HEAD + "rules: []": "`rules`",
    HEAD + "rules: [{}]": "exactly one of `allow`, `hold`, `deny`",
    HEAD + "rules: [{allow: {sql: {statements: read}}, deny: {sql: {statements: read}}}]": "exactly one of",
    HEAD + "rules: [{hold: {sql: {statements: write}}}]": "`rules.0.hold.approvers`: missing",
    HEAD + "rules: [{hold: {sql: {statements: write}, approvers: {groups: []}}}]": "at least 1 item",
    HEAD + "rules: [{hold: {sql: {statements: write}, approvers: }}]": "`approvers` has no value",
    HEAD + "rules: [{hold: {sql: {statements: write}, approvers: {groups: a, quorum: 0}}}]": "greater than or equal",
    HEAD + "rules: [{hold: {sql: {statements: write}, approvers: {groups: a}, once: false}}]": "says not how long",
    HEAD + "rules: [{hold: {sql: {statements: write}, approvers: {groups: a}, once: true, for: 1h}}]": "exclude each",
    HEAD + "rules: [{hold: {sql: {statements: write}, approvers: {groups: a}, for: 25h}}]": "from 1 to 86400 seconds",
    HEAD + "rules: [{hold: {sql: {statements: write}, approvers: {groups: a}, within: 0s}}]": "from 1 to",
    HEAD + "rules: [{hold: {sql: {statements: write}, approvers: {groups: a}, wait: 11m}}]": "from 0 to 600 seconds",
    HEAD + "rules: [{hold: {sql: {statements: write}, approvers: {groups: a}, reason: yes}}]": "`rules.0.hold.reason`",
    HEAD
    + "rules: [{hold: {sql: {statements: file, relations: a.b}, approvers: {groups: a}}}]": "hold it in a rule of its",
    HEAD + "rules: [{allow: {sql: {statements: read, columns: a.b.c}}}]": "needs `statements: write`",
    HEAD + "rules: [{allow: {sql: {statements: write, relations: a.b, columns: a.b.c}}}]": "stands alone with",
    HEAD + "during: {days: [mon-foo]}\n" + "rules: [{allow: {sql: {statements: read}}}]": "`mon-foo` is not a day",
    HEAD + 'during: {from: "08:00"}\n' + "rules: [{allow: {sql: {statements: read}}}]": "`from` and `to` go together",
    HEAD + "during: {from: 8:00, to: 9:00}\n" + "rules: [{allow: {sql: {statements: read}}}]": "not a time of day",
    HEAD + "during: {zone: UTC}\n" + "rules: [{allow: {sql: {statements: read}}}]": "needs `days`",
    HEAD + "during: {days: mon, zone: Mars/Base}\n" + "rules: [{allow: {sql: {statements: read}}}]": "not a time zone",
    HEAD + "during: {days: mon, zone: ../../etc/x}\n" + "rules: [{allow: {sql: {statements: read}}}]": "not a time",
    HEAD + "during: []\n" + "rules: [{allow: {sql: {statements: read}}}]": "at least 1 item",
    HEAD + "subjects: {}\n" + "rules: [{allow: {sql: {statements: read}}}]": "needs `groups`, `bots` or `roles`",
    # What is left blank would not limit the rule.
    HEAD + "rules: [{allow: {sql: {statements: read}, during: }}]": "`during` has no value",
    HEAD + "rules: [{allow: {sql: {statements: read, relations: }}}]": "`relations` has no value",
    HEAD + "rules: [{allow: {sql: {statements: ~, relations: a.b}}}]": "`statements` has no value",
    HEAD + "rules: [{allow: {sql: {statements: read}, when: }}]": "`when` has no value",
    HEAD + "rules: [{allow: {sql: {statements: read}}, deny: }]": "`deny` has no value",
    "policy: p\ntargets: {kind: postgres, labels: }\nrules: [{allow: {sql: {statements: read}}}]": "`labels` has no",
    HEAD + "rules: [{allow: {sql: {statements: []}}}]": "at least 1 item",
    HEAD + "rules: [{allow: {sql: {relations: []}}}]": "an empty list matches nothing",
    HEAD + "rules: [{deny: {sql: {functions: []}}}]": "an empty list matches nothing",
    HEAD
    + "rules: [{allow: {sql: {statements: [read, procedural], relations: a.b}}}]": "`procedural` cannot be limited",
    "policy: p\ntargets: {}\n" + ALLOW: "needs `kind` or `labels`",
    "policy: p\ntargets: {labels: {}}\n" + ALLOW: "needs `kind` or `labels`",
    HEAD + "rules: [{allow: {sql: {}}}]": "needs at least one of",
    HEAD + "rules: [{allow: {sql: {statements: readd}}}]": "`rules.0.allow.sql.statements.0`: input should be 'read'",
    HEAD + "rules: [{allow: {sql: {relations: orders}}}]": "`orders` is not of the form `schema.relation`",
    HEAD + "rules: [{allow: {sql: {relations: a.b.c}}}]": "not of the form",
    HEAD + "rules: [{allow: {sql: {relations: ['public.']}}}]": "not of the form",
    HEAD + 'rules: [{allow: {sql: {relations: ["public.*\\n"]}}}]': "not of the form",
    HEAD + "rules: [{allow: {sql: {relations: ['public.\"x\"']}}}]": "not of the form",
    HEAD + "rules: [{deny: {sql: {columns: a.b}}}]": "`schema.relation.column`",
    HEAD + "rules: [{allow: {sql: {columns: a.b.c}}}]": "`columns` in `allow` needs `statements: write`",
    HEAD + "rules: [{allow: {sql: {functions: a.b.c}}}]": "a function's name",
    HEAD + "rules: [{allow: {sql: {statement: read}}}]": "did you mean `statements`?",
    HEAD + "rules: [{alow: {sql: {statements: read}}}]": "did you mean `allow`?",
    HEAD + ALLOW + "mask: [{with: redact}]": "needs `columns`, `names`, `json` or `detect`",
    HEAD + ALLOW + "mask: [{names: x}]": "`mask.0.with`: missing",
    HEAD + ALLOW + "mask: [{names: x, with: blur}]": "`mask.0.with`: input should be 'redact'",
    HEAD + ALLOW + "record: {keep: 90}": "`record.keep`: not a duration",
    HEAD + ALLOW + "record: {keep: 90days}": "not a duration",
    "policy: P\ntargets: [t]\n" + ALLOW: "not a name",
    "policy: p\n" + ALLOW: "`targets`: missing",
    "policy: p\ntargets: [T]\n" + ALLOW: "not a name",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_mistake_is_told_with_its_place(text: str):
    found = problems(text)
    assert WRONG[text] in "\n".join(found)
    assert all(p.startswith("p.yaml:") for p in found)


def test_the_place_is_that_of_the_value():
    (found,) = problems(HEAD + "rules:\n  - allow:\n      sql:\n        statements: [read, wriet]\n")
    assert found.startswith("p.yaml:6:28: `rules.0.allow.sql.statements.1`")


def bundle(**more: object) -> Bundle:
    policy = read(HEAD + ALLOW)
    fields = {name: getattr(policy, name) for name in policy.model_fields_set}
    return Bundle(
        tenant=ID,
        policies=[BundledPolicy(**fields, groups={ID: "reviewers"})],
        bots={ID: BundledBot(name="b", owner="group:x")},
        **more,  # pyright: ignore[reportArgumentType]
    )


def test_a_bundle_renders_to_one_form_and_reads_back():
    first = bundle()
    text = first.render()
    assert text.endswith("}\n")
    assert json.loads(text)["policies"][0]["groups"] == {ID: "reviewers"}
    again = model.validate(Bundle, yaml.parse(text, "bundle.json"))
    assert again.render() == text
    assert again.digest == first.digest
    assert first.digest.startswith("sha256:")


def test_any_change_changes_the_digest():
    text = bundle().render()
    for old, new in (('"read"', '"write"'), ('"reviewers"', '"others"'), (ID[-4:] + '": {', '0002": {')):
        assert old in text
        other = model.validate(Bundle, yaml.parse(text.replace(old, new, 1), "bundle.json"))
        assert other.digest != bundle().digest


def test_ids_in_a_bundle_are_lowercase_uuids():
    text = bundle().render().replace(ID + '": "reviewers"', 'REVIEWERS": "reviewers"')
    with pytest.raises(DocumentError, match="not an object id"):
        model.validate(Bundle, yaml.parse(text, "bundle.json"))


def test_a_hold_with_all_its_terms():
    hold = (
        read(
            HEAD
            + """
rules:
  - hold:
      sql: {statements: ddl}
      approvers: {groups: [dba, leads], quorum: 2}
      within: 30m
      useWithin: 5m
      wait: 2m
      reason: required
      once: true
      count: rollback
"""
        )
        .rules[0]
        .hold
    )
    assert hold is not None
    assert (hold.approvers.groups, hold.approvers.quorum) == (["dba", "leads"], 2)
    assert (hold.within, hold.use_within, hold.wait, hold.reuse) == ("30m", "5m", "2m", None)
    assert (hold.reason, hold.count) == ("required", "rollback")


def test_subjects_and_windows():
    policy = read(
        HEAD
        + """
subjects: {groups: reviewers, bots: [nightly]}
during: {days: mon-fri, from: "22:00", to: "06:00"}
rules: [{allow: {sql: {statements: read}}}]
"""
    )
    assert policy.subjects is not None
    assert (policy.subjects.groups, policy.subjects.bots) == (["reviewers"], ["nightly"])
    assert policy.during is not None
    assert policy.during[0].weekdays == {0, 1, 2, 3, 4}
    assert model.validate(Policy, yaml.Document("x", policy.document())) == policy
