"""Stored keys, near ends, and credentials that nobody uses."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from wicketgate.identity.doctor.findings import Finding, Report

Only = Callable[[Report, str], Finding]


def test_a_client_secret_is_a_problem_and_its_remedy_is_exact(practice: Any, only: Only) -> None:
    path = f"applications/{practice.id('wicketgate-bot-review', 'application')}"
    made = practice.graph("POST", f"{path}/addPassword", {"passwordCredential": {"displayName": "quick fix"}})
    report = practice.visit()
    found = only(report, "stored-secret")
    assert "(quick fix), which expires on" in found.said
    assert made["keyId"] in found.remedy
    assert made["secretText"] not in str(report.findings)
    practice.graph("POST", f"{path}/removePassword", {"keyId": made["keyId"]})
    assert not practice.visit().sick


def test_a_bot_that_ends_soon_is_a_warning(practice: Any, only: Only) -> None:
    practice.settings["bots"]["review"]["expires"] = f"{datetime.now(UTC).date() + timedelta(days=3)}"
    report = practice.visit()
    assert "in 3 days" in only(report, "expiring").said
    assert not report.sick


def test_without_the_log_nothing_is_said_of_use(practice: Any, only: Only) -> None:
    found = only(practice.visit(), "use-unknown")
    assert found.level == "note"
    assert "b0afded3-3588-46d8-8b3d-9842eff778da" in found.remedy


def grant_log(practice: Any) -> None:
    body = {"principalId": practice.id("wicketgate-deployer"), "resourceId": practice.id("Microsoft Graph")}
    role = {"appRoleId": "b0afded3-3588-46d8-8b3d-9842eff778da"}
    practice.graph("POST", f"servicePrincipals/{body['principalId']}/appRoleAssignments", body | role)


def test_an_unused_credential_is_told_and_a_used_one_is_not(practice: Any) -> None:
    grant_log(practice)
    store = practice.entra.core.directory.store
    for one in list(store.all("application")):
        store.put("application", one | {"createdDateTime": "2026-01-01T00:00:00Z"})
    practice.proof("review", "repo:acme/shop:ref:refs/heads/main")
    report = practice.visit()  # it proves the bot's exchange, which is a use
    unused = {one.about: one for one in report.findings if one.code == "credential-unused"}
    assert set(unused) == {"gateway gate", "agent desk"}
    assert "was not used for 30 days" in unused["agent desk"].said


def test_a_failed_sign_in_is_no_use(practice: Any) -> None:
    grant_log(practice)
    practice.proof("review", "repo:acme/elsewhere")
    report = practice.visit()
    assert ("credential-new", "bot review") in {(one.code, one.about) for one in report.findings}
