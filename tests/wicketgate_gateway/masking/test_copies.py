"""Which COPY is masked, and how; which is refused, and what to do instead."""

import pytest

from wicketgate_gateway.contract.policy import MaskMethod
from wicketgate_gateway.masking.copy_format import CopyFormat
from wicketgate_gateway.masking.copy_in import HIDE_ALL, CopyIn
from wicketgate_gateway.policy.operation import SessionFacts
from wicketgate_gateway.wire.postgres.sql.facts import analyze

POLICY = """
rules:
  - allow: {sql: {statements: [read, write, messaging], relations: ["*.*"]}}
  - allow: {sql: {statements: [write, file, messaging]}}
  - allow: {sql: {functions: ["*", "*.*"]}}
mask:
  - {columns: [public.customers.email], with: partial}
"""
LABELS = POLICY + '  - {names: ["*secret*"], with: redact}\n'
PARTIAL, REDACT, NULL = MaskMethod.PARTIAL, MaskMethod.REDACT, MaskMethod.NULL


@pytest.fixture
def catalogue(make_catalogue):
    return make_catalogue("customers(id, name, email)", "orders(id, item)", "v:mail(a) < customers.email")


@pytest.fixture
def gate(decider, catalogue):
    return decider(POLICY, catalogue=catalogue)


@pytest.fixture
def labels(decider, catalogue):
    return decider(LABELS, catalogue=catalogue)


def plan(gate, text: str):
    verdict = gate(text).verdict
    assert verdict.allowed, verdict
    return verdict.masks


MASKED = {
    "COPY customers TO STDOUT": [("id", None), ("name", None), ("email", PARTIAL)],
    "COPY customers (email, id) TO STDOUT": [("email", PARTIAL), ("id", None)],
    "COPY (SELECT email AS x, lower(email), id FROM customers) TO STDOUT": [
        ("x", PARTIAL),
        ("lower", NULL),
        ("id", None),
    ],
    "COPY (TABLE mail) TO STDOUT": [("a", REDACT)],
    "COPY (SELECT * FROM customers) TO STDOUT": [("id", None), ("name", None), ("email", PARTIAL)],
    "COPY (SELECT f()) TO STDOUT": [("f", NULL)],
    "COPY (DELETE FROM customers RETURNING email) TO STDOUT": [("email", PARTIAL)],
    "COPY just_made TO STDOUT": [("*", NULL)],
    "COPY just_made (x) TO STDOUT (FORMAT csv, HEADER)": [("x", NULL)],
}


@pytest.mark.parametrize("text", MASKED)
def test_masked(gate, text: str):
    found = plan(gate, text).copy
    assert [(column.name, column.method) for column in found.columns] == MASKED[text]
    assert plan(gate, text).masks_answer


def test_a_plain_copy_has_its_columns_type(gate):
    columns = plan(gate, "COPY (SELECT id, email, email || '' FROM customers) TO STDOUT").copy.columns
    assert [column.type_oid for column in columns] == [0, 25, 0]


@pytest.mark.parametrize(
    "text",
    [
        "COPY orders TO STDOUT",
        "COPY customers (id, name) TO STDOUT",
        "COPY (SELECT count(*) FROM customers) TO STDOUT",
        "COPY (SELECT 1) TO STDOUT (FORMAT csv)",
        "COPY pg_class TO STDOUT",
    ],
)
def test_not_masked(gate, text: str):
    assert plan(gate, text).copy is None


REFUSED = {
    "COPY customers TO STDOUT (NULL 'x')": ("format that is not certain", "options"),
    "COPY customers TO STDOUT (ENCODING 'latin1')": ("format that is not certain", "options"),
    "COPY customers TO STDOUT; SELECT 1": ("only statement", "send it alone"),
    "SELECT 1; COPY customers (email) TO STDOUT": ("only statement", "send it alone"),
    "COPY just_made TO STDOUT (HEADER)": ("HEADER", "name the columns"),
    "COPY (SELECT * FROM f()) TO STDOUT (FORMAT csv, FORCE_QUOTE (x))": ("HEADER", "name the columns"),
    "COPY customers TO '/tmp/x'": ("COPY would send masked columns (public.customers)", "use SELECT"),
    "COPY (SELECT id FROM customers WHERE email > 'x') TO STDOUT": ("a condition here", "without a mask"),
    "COPY (UPDATE orders SET item = email FROM customers RETURNING item) TO STDOUT": ("carry masked", "leave out"),
    "COPY (SELECT pg_notify('x', email) FROM customers) TO STDOUT": ("computed with here", "comes back masked"),
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused(gate, text: str):
    verdict = gate(text).verdict
    reason, remedy = REFUSED[text]
    assert verdict.rule.startswith("builtin:masked-")
    assert reason in verdict.reason
    assert remedy in verdict.remedy


def test_masks_by_label_hold_for_copies_too(labels):
    assert [c.method for c in plan(labels, "COPY (SELECT 1 AS my_secret, 2 AS x) TO STDOUT").copy.columns] == [
        NULL,
        None,
    ]
    assert plan(labels, "COPY (SELECT rolname FROM pg_authid) TO STDOUT").copy is None
    for text in ("COPY pg_authid TO STDOUT", "COPY (SELECT * FROM pg_authid) TO STDOUT"):
        verdict = labels(text).verdict
        assert (verdict.code, verdict.allowed) == ("masked-flow", False)
        assert "name the columns" in verdict.remedy


def test_without_a_catalogue_all_comes_as_null(gate):
    found = gate("COPY customers TO STDOUT", SessionFacts()).verdict
    assert [(c.method, c.repeated) for c in found.masks.copy.columns] == [(NULL, True)]


def test_the_columns_of_an_answer_are_those_of_the_copy(gate):
    found = plan(gate, "COPY (SELECT id, lower(email) FROM customers) TO STDOUT")
    assert found.columns([None, None]) == [None, NULL]
    assert found.columns([None]) == [REDACT]


def test_what_is_denied_passes_no_data_on(gate):
    text = "COPY customers TO STDOUT; SELECT 1"
    found = gate.policy.mask_plan(analyze(text).statements, gate.session)
    assert found.copy is None
    assert found.untraced


RECORDED = {
    "COPY customers FROM STDIN": CopyIn(CopyFormat(), frozenset({2})),
    "COPY customers (email, id) FROM STDIN (FORMAT csv)": CopyIn(CopyFormat("csv", b",", b""), frozenset({0})),
    "COPY customers (id, name) FROM STDIN": None,
    "COPY orders FROM STDIN": None,
    "COPY customers FROM STDIN (FORMAT other)": HIDE_ALL,
    "COPY just_made FROM STDIN": HIDE_ALL,
    "COPY customers FROM STDIN; SELECT 1": HIDE_ALL,
    "SELECT 1": None,
}


@pytest.mark.parametrize("text", RECORDED)
def test_what_is_hidden_of_data_that_is_read(gate, text: str):
    assert plan(gate, text).copying_in == RECORDED[text]


def test_what_execute_runs_is_hidden_as_a_whole(gate, catalogue):
    prepared = {"p": analyze("COPY customers FROM STDIN").statements}
    found = gate("EXECUTE p", SessionFacts(catalogue=catalogue, prepared=prepared)).verdict
    assert found.masks.copying_in == HIDE_ALL
