"""A denial in PostgreSQL's words."""

import pytest

from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.session import denials
from wicketgate_gateway.wire.postgres import messages


def fields(verdict: Verdict) -> dict[str, str]:
    return messages.read_report(denials.denial(verdict, 7, "01abc").response[5:])


def test_what_a_policy_denies() -> None:
    said = fields(Verdict(Effect.DENY, "p#2", "no rule allows it", "ask for less", "not-allowed"))
    assert said["C"] == "42501"
    assert said["V"] == "ERROR"
    assert said["M"] == "denied by policy: no rule allows it"
    assert said["D"] == "p#2; operation 7 of session 01abc"
    assert said["H"] == "ask for less"


@pytest.mark.parametrize(
    ("code", "sqlstate"),
    [
        ("sql-syntax", "42601"),
        ("unknown-prepared", "26000"),
        ("unknown-portal", "34000"),
        ("recording-failed", "58030"),
    ],
)
def test_what_is_no_policys_doing_has_its_own_state(code: str, sqlstate: str) -> None:
    said = fields(denials.denied(code, "it is so"))
    assert (said["C"], said["M"]) == (sqlstate, "it is so")


def test_too_many() -> None:
    assert fields(denials.too_many("portals"))["C"] == "54000"
