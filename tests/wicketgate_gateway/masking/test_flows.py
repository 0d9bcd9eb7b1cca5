import pytest

from wicketgate_gateway.contract.policy import MaskMethod, MaskUses
from wicketgate_gateway.masking.flows import Flows
from wicketgate_gateway.masking.lineage.model import Lineage
from wicketgate_gateway.masking.masks import Cover
from wicketgate_gateway.policy.operation import SessionFacts, statement_of
from wicketgate_gateway.wire.postgres.sql.facts import analyze

POLICY = """
rules:
  - allow: {sql: {statements: [read, write], relations: ["*.*"]}}
  - allow: {sql: {functions: [f]}}
mask:
  - {columns: [public.customers.email], with: partial%s}
%s
"""


@pytest.fixture
def catalogue(make_catalogue):
    return make_catalogue("customers(id, name, email)", "orders(id, item)")


@pytest.fixture
def gate(decider, catalogue):
    return decider(POLICY % ("", ""), catalogue=catalogue)


def lineage(gate, text: str) -> Lineage | str | None:
    flows = Flows(gate.policy.masks, gate.session)
    return flows.lineage(statement_of(analyze(text).statements[0], gate.session))


def test_what_has_nothing_to_do_with_masks_is_not_traced(gate):
    for text in (
        "SELECT id, upper(name) FROM customers",
        "SELECT * FROM orders",
        "SELECT relname FROM pg_class",
        "SHOW x",
    ):
        assert lineage(gate, text) is None
    assert isinstance(lineage(gate, "SELECT email FROM customers"), Lineage)
    assert isinstance(lineage(gate, "UPDATE customers SET email = 'x'"), Lineage)
    deep = "SELECT " + "lower(" * 120 + "email" + ")" * 120 + " FROM customers"
    assert isinstance(lineage(gate, deep), str)
    assert gate(deep).verdict.code == "masked-side-channel"


def test_it_is_traced_once(gate):
    assert lineage(gate, "SELECT email FROM customers") is lineage(gate, "SELECT email FROM customers")


def test_covers(gate):
    flows = Flows(gate.policy.masks, gate.session)
    assert flows.cover((20000, 3)) == Cover(MaskMethod.PARTIAL, MaskUses.NONE) == flows.cover((20000, 0))
    assert flows.cover((20000, 1)) is flows.cover((1259, 1)) is None
    assert flows.shown((20000, 3)) == "public.customers.email"
    assert flows.shown((9, 1)) == "an unknown relation"
    assert Flows(gate.policy.masks, SessionFacts()).cover((20000, 1)) == Cover(MaskMethod.REDACT, MaskUses.NONE)


USES = {
    "SELECT id FROM customers WHERE email = 'x'": "compare",
    "SELECT id FROM customers WHERE email IN ('x', $1) AND name LIKE 'a%'": "compare",
    "SELECT o.id FROM customers JOIN orders o ON item = email": "compare",
    "UPDATE customers SET name = 'x' WHERE email = 'y'": "compare",
    "SELECT id FROM customers WHERE email LIKE 'x%'": "any",
    "SELECT id FROM customers ORDER BY email": "any",
    "SELECT count(*) FROM customers GROUP BY email": "any",
    "SELECT max(email) FROM customers": "any",
    "SELECT email::int FROM customers": "any",
    "SELECT id FROM orders WHERE f(id)": "any",
    "SELECT email FROM customers": "none",
    "SELECT f(1)": "none",
}


@pytest.mark.parametrize("text", USES)
def test_a_mask_says_what_its_column_may_be_used_for(decider, catalogue, text: str):
    order = ["none", "compare", "any"]
    for allowed in order:
        gate = decider(POLICY % (f", uses: {allowed}", ""), catalogue=catalogue)
        verdict = gate(text).verdict
        assert verdict.allowed is (order.index(allowed) >= order.index(USES[text])), verdict
        if not verdict.allowed:
            assert (verdict.rule, verdict.code) == ("builtin:masked-side-channel", "masked-side-channel")
            assert verdict.remedy


def test_where_masks_meet_the_one_that_lets_the_least_wins(decider, catalogue):
    gate = decider(POLICY % (", uses: any", "  - {names: [email], with: redact}"), catalogue=catalogue)
    assert gate("SELECT id FROM customers ORDER BY email").verdict.code == "masked-side-channel"


def test_what_cannot_be_traced_is_denied_where_a_policy_says_so(decider, catalogue):
    texts = ("SELECT f(1)", "SELECT lower(f(1)) FROM orders", "SELECT x FROM just_made")
    for text in texts:
        assert decider(POLICY % ("", ""), catalogue=catalogue)(text).verdict.allowed
        strict = decider(POLICY % ("", ""), "rules: [{deny: {sql: {relations: [x.y]}}}]\nuntraceable: deny",
                         catalogue=catalogue)  # fmt: skip
        assert strict(text).verdict.code == "masked-untraceable"
        assert strict("SELECT email, 1 FROM customers").verdict.allowed


def test_parameters_and_literals_that_meet_masked_columns_are_hidden(decider, catalogue):
    gate = decider(POLICY % (", uses: any", ""), catalogue=catalogue)
    for text, hidden, literals in (
        ("SELECT id FROM customers WHERE email = $2 AND id = $1", {2}, False),
        ("SELECT id FROM customers WHERE email = 'x' AND id = $1", set(), True),
        ("INSERT INTO customers (id, email) VALUES ($1, $2)", {2}, False),
        ("UPDATE customers SET email = $1 WHERE name = 'x'", {1}, False),
        ("SELECT id FROM customers WHERE name = $1 AND id = 3", set(), False),
        ("SELECT id FROM orders WHERE f(id) = $1", {1}, False),
    ):
        plan = gate(text).verdict.masks
        assert (plan.hidden, plan.hides_literals) == (hidden, literals), text
    # What is denied is recorded, too.
    plan = decider(POLICY % ("", ""), catalogue=catalogue)("SELECT id FROM customers WHERE email = 'x'").verdict.masks
    assert plan.hides_literals


@pytest.mark.parametrize(
    ("text", "disturbs"),
    [
        ("UPDATE customers SET name = NULL", True),
        ("UPDATE plainly SET name = NULL", True),
        ("SELECT name FROM risky", True),
        ("SELECT name FROM plainly", False),
        ("UPDATE parent SET name = NULL", True),
        ("UPDATE orders SET item = NULL", False),
        ("SELECT id, name FROM customers", False),
        ("SELECT relname FROM pg_class", False),
    ],
)
def test_what_errors_may_tell_of(decider, make_catalogue, text: str, disturbs: bool):
    catalogue = make_catalogue(
        "customers(id, name, email)", "orders(id, item)", "parent(id, name)", "v:plainly(name) < customers.name",
        "v:risky(name) < customers.name customers.email", "child(id, name, email)", inherits=[(20005, 20002)],
    )  # fmt: skip
    gate = decider(POLICY % ("", "  - {columns: [public.child.email], with: redact}"), catalogue=catalogue)
    assert Flows(gate.policy.masks, gate.session).disturbs(analyze(text).statements[0]) is disturbs
