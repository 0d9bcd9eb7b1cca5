"""The whole visit: a healthy tenant is called healthy, and nothing that Entra does ends it with a traceback."""

import socket
from collections.abc import Callable
from typing import Any

from wicketgate.identity.doctor.findings import Finding, Report
from wicketgate.testing.entra.seed import DEPLOYER

Codes = Callable[[Report], list[tuple[str, str]]]
Only = Callable[[Report, str], Finding]


def test_a_healthy_tenant_is_called_healthy(practice: Any, codes: Codes) -> None:
    practice.proof("gateway", "gateway")
    practice.proof("desk", "agent")
    practice.proof("review", "repo:acme/shop:ref:refs/heads/main")
    report = practice.visit()
    assert codes(report) == []
    assert not report.sick
    assert report.proven == ["gateway gate", "agent desk", "bot review"]


def test_the_wrong_tenant_ends_the_visit(practice: Any, codes: Codes) -> None:
    practice.settings["tenant"] = "99999999-9999-4999-8999-999999999999"
    del practice.environ["ARM_TENANT_ID"]
    practice.environ["AZURE_TENANT_ID"] = practice.entra.tenant
    assert codes(practice.visit()) == [("wrong-tenant", "deployer")]


def test_a_tenant_that_is_not_there_is_a_finding(practice: Any, only: Only) -> None:
    practice.environ["ARM_TENANT_ID"] = "99999999-9999-4999-8999-999999999999"
    found = only(practice.visit(), "sign-in-failed")
    assert "AADSTS90002" in found.said
    assert found.remedy


def test_nobody_signed_in_is_a_finding(practice: Any, only: Only) -> None:
    practice.environ.clear()
    assert "az login" in only(practice.visit(), "sign-in-failed").remedy


def test_no_network_is_a_finding(practice: Any, codes: Codes) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # not listening: connections are refused
        practice.settings["entra"]["graph"] = f"https://localhost:{taken.getsockname()[1]}"
        practice.settings["entra"]["authority"] = practice.settings["entra"]["graph"]
        assert codes(practice.visit()) == [("unreachable", "stack")]


def test_graph_that_refuses_everything_names_what_is_missing(practice: Any, codes: Codes) -> None:
    directory = practice.entra.core.directory
    for one in list(directory.store.all("appRoleAssignment")):
        if one["principalId"] == practice.id(DEPLOYER):
            directory.store.remove("appRoleAssignment", one["id"])
    report = practice.visit()
    missing = [one for one in report.findings if one.code == "permission-missing"]
    assert [one.said.split("`")[3] for one in missing] == [
        "Application.ReadWrite.OwnedBy",
        "Application.Read.All",
        "Group.Create",
        "GroupMember.Read.All",
    ]
    assert ("not-allowed", "gateway gate") in codes(report)
    assert report.sick


def test_throttling_is_outlasted_and_said(practice: Any, only: Only) -> None:
    practice.entra.core.quirks.update({"throttle_next": 3, "retry_after": 7})
    said = only(practice.visit(), "repeated").said
    assert said.startswith("3 requests were repeated after 429 (too many requests); 21 s")
    assert practice.slept.count(7) == 3


def test_throttling_without_end_ends(practice: Any, codes: Codes) -> None:
    practice.entra.core.quirks.update({"throttle_next": 10_000, "retry_after": 9})
    report = practice.visit()
    assert ("graph-refused", "gateway gate") in codes(report)
    assert max(practice.slept) <= 60
