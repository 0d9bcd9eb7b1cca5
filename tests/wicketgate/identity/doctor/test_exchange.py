"""Exchanges are really made; a refusal says what differs; a proof is in no message."""

from collections.abc import Callable
from typing import Any

import pytest

from wicketgate.identity.doctor import exchange
from wicketgate.identity.doctor.findings import Finding, Report

Only = Callable[[Report, str], Finding]
REVIEW = "repo:acme/shop:ref:refs/heads/main"


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ("repo:acme/elsewhere", "AADSTS700213: no federated credential has the subject `repo:acme/elsewhere`"),
        ("repo:Acme/shop:ref:refs/heads/main", "AADSTS7002138: the subject `repo:Acme/shop:ref:refs/heads/main`"),
    ],
)
def test_a_wrong_subject_is_named(practice: Any, only: Only, subject: str, said: str) -> None:
    file = practice.proof("review", subject)
    report = practice.visit()
    assert said in only(report, "exchange-failed").said
    assert file.read_text() not in str(report.findings)


def test_a_wrong_audience_is_named(practice: Any, only: Only) -> None:
    file = practice.folder / "own.jwt"
    file.write_text(practice.issuer.token(REVIEW, "api://other"))
    assert (
        "AADSTS700212: the proof is for the audience `api://other`"
        in only(practice.visit(review=file), "exchange-failed").said
    )


def test_a_stray_refusal_is_tried_again(practice: Any, only: Only, monkeypatch: pytest.MonkeyPatch) -> None:
    practice.proof("review", REVIEW)
    real = exchange._token

    def stray(*given: Any) -> str:
        if not practice.slept:
            practice.entra.core.quirks.update({"stray_700213_next": 1})
        return real(*given)

    monkeypatch.setattr(exchange, "_token", stray)
    report = practice.visit()
    assert "worked at attempt 2" in only(report, "exchange-repeated").said
    assert report.proven == ["bot review"]


def test_attempts_are_bounded(practice: Any, only: Only) -> None:
    practice.proof("review", "repo:acme/elsewhere")
    assert "(tried 4 times)" in only(practice.visit(), "exchange-failed").said
    assert practice.slept == [2.0, 4.0, 8.0]


def test_a_token_that_the_gateway_refuses_is_no_proof(practice: Any, only: Only) -> None:
    practice.proof("review", REVIEW)
    gate = practice.id("wicketgate-gate", "application")
    practice.graph("PATCH", f"applications/{gate}", {"optionalClaims": {"accessToken": []}})
    report = practice.visit()
    assert "`idtyp` is not in it" in only(report, "token-unfit").said
    assert report.proven == []


def test_what_was_not_proven_is_said_with_the_way(practice: Any) -> None:
    found = {one.about: one for one in practice.visit().findings if one.code == "unproven"}
    assert set(found) == {"gateway gate", "agent desk", "bot review"}
    assert "wicketgate doctor --proof review=proof.jwt" in found["bot review"].remedy


def test_a_stale_proof_proves_nothing(practice: Any) -> None:
    practice.proof("review", REVIEW, lifetime=-100)
    found = {one.about: one for one in practice.visit().findings if one.code == "unproven"}
    assert "out of date" in found["bot review"].said


def test_a_proof_that_is_none_is_not_quoted(practice: Any, only: Only) -> None:
    file = practice.folder / "own.jwt"
    file.write_text("hunter2")
    found = only(practice.visit(review=file), "proof-unreadable")
    assert "hunter2" not in found.said


def test_an_expired_bot_is_not_tried(practice: Any) -> None:
    practice.proof("review", REVIEW)
    practice.settings["bots"]["review"]["expires"] = "2020-01-01"
    report = practice.visit()
    assert "bot review" not in report.proven
    assert all(one.code != "exchange-failed" for one in report.findings)
