import json
from pathlib import Path

import pytest

from wicketgate_gateway.cli.policy_explain_mask import explain_mask
from wicketgate_gateway.contract.errors import WicketgateError

ACCESS = Path(__file__).parents[3] / "policies" / "access"
POLICY, SCHEMA = (ACCESS / "support-bot.yaml",), ACCESS / "support-bot.test.yaml"


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_each_column_with_its_source_and_mask(capsys: pytest.CaptureFixture[str]):
    text = "SELECT name, email AS contact, upper(email) AS up FROM customers"
    assert explain_mask(text, target="orders-db", policy=POLICY, schema=SCHEMA) == 0
    lines = said(capsys)
    assert lines[0] == "column comes from how mask why"
    assert "name public.customers.name copy plain" in lines
    assert "contact public.customers.email copy partial `public.customers.email` is masked" in lines
    assert any(
        line.startswith("up public.customers.email expression redact `public.customers.email`") for line in lines
    )


def test_json(capsys: pytest.CaptureFixture[str]):
    explain_mask("SELECT email FROM customers", target="orders-db", policy=POLICY, schema=SCHEMA, json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "allow"
    assert found["columns"] == [
        {
            "name": "email",
            "from": ["public.customers.email"],
            "how": "copy",
            "mask": "partial",
            "why": "`public.customers.email` is masked",
        }
    ]


def test_what_masks_forbid_is_said(capsys: pytest.CaptureFixture[str]):
    text = "SELECT name FROM customers ORDER BY email"
    assert explain_mask(text, target="orders-db", policy=POLICY, schema=SCHEMA) == 1
    assert any(
        line.startswith("denied: `public.customers.email` is masked, and sorted by here") for line in said(capsys)
    )


def test_what_cannot_be_told_is_an_error():
    with pytest.raises(WicketgateError, match="cannot be told"):
        explain_mask("SELECT * FROM gone", target="orders-db", policy=POLICY, schema=SCHEMA)


def test_a_copy_is_an_answer_too(capsys: pytest.CaptureFixture[str]):
    text = "COPY (SELECT name, email, upper(email) AS up FROM customers) TO STDOUT (FORMAT csv)"
    assert explain_mask(text, target="orders-db", policy=POLICY, schema=SCHEMA) == 0
    lines = said(capsys)
    assert "name public.customers.name copy plain" in lines
    assert "email public.customers.email copy partial `public.customers.email` is masked" in lines
    assert any(
        line.startswith("up public.customers.email expression null") for line in lines
    )  # of no type that is known
    text = "COPY customers (email) TO STDOUT (NULL '')"
    assert explain_mask(text, target="orders-db", policy=POLICY, schema=SCHEMA) == 1
    assert any("in a format that is not certain" in line for line in said(capsys))
