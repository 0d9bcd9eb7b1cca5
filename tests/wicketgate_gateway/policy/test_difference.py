"""Who gains what: found by the engine, complete on small bundles, deterministic."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wicketgate_gateway.contract.access import Access
from wicketgate_gateway.policy import http_trial, kubernetes_trial, ssh_trial
from wicketgate_gateway.policy.difference import MONDAY, Side, differences
from wicketgate_gateway.policy.trial import Trial, catalogue_of


def access(rules: list[Any], kind: str = "postgres", groups: tuple[str, ...] = ("team",), **more: Any) -> Access:
    policy = {"policy": "one", "targets": ["place"], "groups": ["team"], "rules": rules, **more}
    return Access.model_validate(
        {
            "policies": [policy],
            "targets": {"place": {"kind": kind}},
            "bots": {"robot": {"owner": "group:x", "groups": list(groups)}},
            "approvers": {"dba": "dba", "leads": "leads"},
        }
    )


def allow(protocol: str, **terms: Any) -> dict[str, Any]:
    return {"allow": {protocol: terms}}


def found(before: Access, after: Access) -> set[tuple[str, str, str, str]]:
    return {(c.change, c.operation, c.before, c.after) for c in differences(before, after).changes}


READS = allow("sql", statements=["read"], relations=["public.*"])


def test_nothing_changes_where_the_words_do_and_the_verdicts_do_not() -> None:
    other = [
        allow("sql", statements=["read"], relations=["public.a*", "public.*"]),
        {"deny": {"sql": {"relations": ["private.*"]}}},
    ]
    done = differences(access([READS]), access(other))
    assert done.changes == ()
    assert done.asked > 50
    assert done.cut == ()


def test_a_wider_pattern_is_a_gain_and_back_a_loss() -> None:
    wide = access([allow("sql", statements=["read"], relations=["public.*", "billing.*"])])
    gained = differences(access([READS]), wide).changes
    assert gained
    assert {(c.bot, c.target, c.change, c.before, c.after) for c in gained} == {
        ("robot", "place", "gained", "deny", "allow")
    }
    assert all("billing" in c.operation for c in gained)
    assert {c.change for c in differences(wide, access([READS])).changes} == {"lost"}


def test_holds_masks_windows_conditions_and_recording_are_told() -> None:
    hold = {"hold": {"sql": {"statements": ["read"], "relations": ["public.*"]}, "approvers": {"groups": ["dba"]}}}
    assert {c.change for c in differences(access([READS]), access([hold])).changes} == {"lost"}
    stricter = {"hold": {**hold["hold"], "approvers": {"groups": ["dba"], "quorum": 2}}}
    assert {c.change for c in differences(access([hold]), access([stricter])).changes} == {"changed"}
    masked = access([READS], mask=[{"columns": ["public.customers.email"], "with": "partial"}])
    assert ("changed", 'SELECT "email" FROM "public"."customers"', "allow", "allow, masked: email as partial") in found(
        access([READS]), masked
    )
    timed = access([READS], during={"days": "mon-fri", "from": "08:00", "to": "18:00"})
    closed = [c for c in differences(access([READS]), timed).changes if c.change == "lost"]
    assert closed
    assert all(c.when for c in closed)
    asking = {"allow": {**READS["allow"], "when": 'op.statement.contains("tickets")'}}
    other = {"allow": {**READS["allow"], "when": 'op.statement.contains("ticket")'}}
    assert [c.operation for c in differences(access([asking]), access([other])).changes] == ["condition", "condition"]
    kept = access([READS], record={"keep": "10d"})
    assert found(access([READS]), kept) == {
        ("note", "recording", "full, kept 90 days", ""),
        ("note", "recording", "", "full, kept 10 days"),
    }


def test_membership_labels_kinds_and_last_days_count() -> None:
    before, after = access([READS]), access([READS], groups=())
    assert {c.after for c in differences(before, after).changes} == {"no access"}
    assert differences(Access(policies=[]), before).changes
    moved = access([READS], kind="http")
    assert {c.change for c in differences(before, moved).changes} == {"lost"}
    document = before.document()
    document["bots"]["robot"]["expires"] = "2027-01-01"
    assert found(before, Access.model_validate(document)) == {
        ("changed", "any, until its last day", "none", "2027-01-01")
    }


@pytest.mark.parametrize(
    ("kind", "before", "after", "operation"),
    [
        ("http", {"methods": "GET", "routes": "/a/{id}"}, {"methods": ["GET", "PUT"], "routes": "/a/{id}"}, "PUT /a/x"),
        (
            "kubernetes",
            {"verbs": "read", "resources": "pods", "namespaces": "shop"},
            {"verbs": "read", "resources": "pods", "namespaces": ["shop", "bank"]},
            "get pods in bank",
        ),
        ("ssh", {"commands": "uptime"}, {"commands": ["uptime", "reboot"]}, "reboot"),
    ],
)
def test_every_protocol(kind: str, before: dict[str, Any], after: dict[str, Any], operation: str) -> None:
    old, new = access([allow(kind, **before)], kind), access([allow(kind, **after)], kind)
    assert ("gained", operation, "deny", "allow") in found(old, new)
    assert ("lost", operation, "allow", "deny") in found(new, old)


# --- if it says nothing, nothing changes -----------------------------------------------------------------------------

NAMES = st.sampled_from(["public.*", "public.a*", "public.?b", "public.ab", "*.ab", "p*.b", "other.*"])
CLASSES = st.lists(st.sampled_from(["read", "write", "ddl", "grant"]), min_size=1, max_size=2, unique=True)
HELD = {"approvers": {"groups": ["dba"]}}


def rule(effect: str, protocol: str, terms: dict[str, Any]) -> dict[str, Any]:
    return {effect: {protocol: terms, **(HELD if effect == "hold" else {})}}


EFFECTS = st.sampled_from(["allow", "hold", "deny"])
SQL_RULES = st.lists(
    st.builds(
        lambda e, s, r: rule(e, "sql", {"statements": s, "relations": r}),
        EFFECTS,
        CLASSES,
        st.lists(NAMES, min_size=1, max_size=2, unique=True),
    ),
    min_size=1,
    max_size=3,
)
TABLES = [f"{schema}.{name}" for schema in ("public", "other", "p") for name in ("a", "b", "ab", "cb", "axb")]
STATEMENTS = ["SELECT 1 FROM {}", "DELETE FROM {}", "DROP TABLE {}", "GRANT SELECT ON {} TO PUBLIC"]
CATALOGUE = catalogue_of({table: ["c"] for table in TABLES}, {})


def effects(side: Access, ask: Any) -> list[Any]:
    policy = Side(side).policy("robot", "place")
    assert policy is not None
    return [None if (v := ask(policy, text)) is None else v.effect for text in ask.texts]


class Sql:
    texts = tuple(s.format(t) for s, t in itertools.product(STATEMENTS, TABLES))

    def __call__(self, policy: Any, text: str) -> Any:
        return Trial(policy, CATALOGUE).decide(text, MONDAY).verdict


@settings(max_examples=60, deadline=None)
@given(SQL_RULES, SQL_RULES)
def test_silence_means_no_change_in_sql(before: list[Any], after: list[Any]) -> None:
    old, new = access(before), access(after)
    if effects(old, Sql()) != effects(new, Sql()):
        assert differences(old, new).changes


class Http:
    texts = tuple(f"{m} {p}" for m in ("GET", "POST", "PUT") for p in ("/", "/a", "/a/1", "/ab/1", "/b/1/2", "/a/1/"))

    def __call__(self, policy: Any, text: str) -> Any:
        return http_trial.decide(policy, text, MONDAY)


class Kubernetes:
    texts = tuple(
        f"{v} {r}{w}"
        for v in ("get", "list", "delete")
        for r in ("pods", "pods/log", "secrets", "services")
        for w in (" x in shop", " in shop-2", "")
    )

    def __call__(self, policy: Any, text: str) -> Any:
        return kubernetes_trial.decide(policy, text, MONDAY)[0]


class Ssh:
    texts = (
        "ls",
        "ls -l",
        "ls /srv",
        "cat a b",
        "ls; cat a",
        "shell",
        "sftp read /srv/a",
        "sftp write /srv/a/b",
        "pty: ls",
    )

    def __call__(self, policy: Any, text: str) -> Any:
        return ssh_trial.decide(policy, text, MONDAY)[0]


def some(*values: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True)


def rules(protocol: str, terms: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.builds(rule, EFFECTS, st.just(protocol), terms), min_size=1, max_size=3)


HTTP_RULES = rules(
    "http",
    st.fixed_dictionaries(
        {"routes": some("/", "/a", "/a/{id}", "/a*/1", "/b/**", "/a/", "/**")},
        optional={"methods": some("GET", "POST", "*")},
    ),
)
KUBERNETES_RULES = rules(
    "kubernetes",
    st.fixed_dictionaries(
        {"verbs": some("read", "get", "delete", "*")},
        optional={
            "resources": some("pods", "pods/log", "*", "secrets", "pods/*"),
            "namespaces": some("shop", "shop*", "*-2"),
            "names": some("x", "y*"),
        },
    ),
)
SSH_RULES = rules(
    "ssh",
    st.one_of(
        st.fixed_dictionaries({"commands": some("ls", "ls *", "ls **", "cat **", "* a b")}),
        st.fixed_dictionaries({"paths": some("/srv/**", "/srv/a", "/srv/*"), "operations": some("read", "write")}),
        st.fixed_dictionaries({"commands": some("ls"), "pty": st.just(True)}),
        st.just({"shell": True}),
        st.fixed_dictionaries({"scripts": some("ls; *", "*")}),
    ),
)


@settings(max_examples=80, deadline=None)
@given(st.data())
@pytest.mark.parametrize(
    ("kind", "strategy", "ask"),
    [("http", HTTP_RULES, Http()), ("kubernetes", KUBERNETES_RULES, Kubernetes()), ("ssh", SSH_RULES, Ssh())],
)
def test_silence_means_no_change_elsewhere(kind: str, strategy: Any, ask: Any, data: st.DataObject) -> None:
    old, new = access(data.draw(strategy), kind), access(data.draw(strategy), kind)
    if effects(old, ask) != effects(new, ask):
        assert differences(old, new).changes


@settings(max_examples=20, deadline=None)
@given(SQL_RULES, SQL_RULES)
def test_twice_the_same(before: list[Any], after: list[Any]) -> None:
    old, new = access(before), access(after)
    assert differences(old, new) == differences(old, new)


def test_many_bots_cost_what_a_few_do() -> None:
    document = access([READS]).document()
    document["bots"] = {f"robot-{i}": {"owner": "group:x", "groups": ["team"]} for i in range(300)}
    old = Access.model_validate(document)
    document["policies"][0]["rules"] = [allow("sql", statements=["read"], relations=["public.a*"])]
    done = differences(old, Access.model_validate(document))
    assert done.asked < 1000
    assert len({c.bot for c in done.changes}) == 300
