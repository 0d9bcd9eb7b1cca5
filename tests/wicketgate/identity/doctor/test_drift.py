"""Each way in which a tenant differs from its stack is found, and its remedy undoes it."""

from collections.abc import Callable
from typing import Any

import pytest

from wicketgate.identity import roles
from wicketgate.identity.doctor.findings import Finding, Report

Codes = Callable[[Report], list[tuple[str, str]]]
Only = Callable[[Report, str], Finding]
MEMBER = "https://graph.microsoft.com/v1.0/directoryObjects/"


def application(practice: Any, name: str) -> str:
    return f"applications/{practice.id(name, 'application')}"


def principal(practice: Any, name: str) -> str:
    return f"servicePrincipals/{practice.id(name)}"


def refer(practice: Any, path: str, key: str) -> None:
    practice.graph("POST", f"{path}/$ref", {"@odata.id": f"{practice.entra.graph}/v1.0/directoryObjects/{key}"})


def back_door(p: Any) -> None:
    body = {
        "name": "mine",
        "issuer": "https://evil.example",
        "subject": "me",
        "audiences": ["api://AzureADTokenExchange"],
    }
    p.graph("POST", f"{application(p, 'wicketgate-bot-review')}/federatedIdentityCredentials", body)


def lost_credential(p: Any) -> None:
    path = f"{application(p, 'wicketgate-bot-review')}/federatedIdentityCredentials"
    (one,) = p.graph("GET", path)["value"]
    p.graph("DELETE", f"{path}/{one['id']}")


def owner(p: Any) -> None:
    refer(p, f"{application(p, 'wicketgate-bot-review')}/owners", p.id("Mallory", "user"))


def group_owner(p: Any) -> None:
    refer(p, f"groups/{p.id('wicketgate-reviewers', 'group')}/owners", p.id("Mallory", "user"))


def lost_owner(p: Any) -> None:
    p.graph("DELETE", f"{application(p, 'wicketgate-agent-desk')}/owners/{p.id('wicketgate-deployer')}/$ref")


def member(p: Any) -> None:
    refer(p, f"groups/{p.id('wicketgate-reviewers', 'group')}/members", p.id("other"))


def lost_member(p: Any) -> None:
    group, bot = p.id("wicketgate-reviewers", "group"), p.id("wicketgate-bot-review")
    p.graph("DELETE", f"groups/{group}/members/{bot}/$ref")


def stranger(p: Any) -> None:
    body = {"principalId": p.id("other"), "resourceId": p.id("wicketgate-gate")}
    bot = next(r for r in p.graph("GET", principal(p, "wicketgate-gate"))["appRoles"] if r["value"] == "Bot.Connect")
    p.graph("POST", f"{principal(p, 'wicketgate-gate')}/appRoleAssignedTo", body | {"appRoleId": bot["id"]})


def approver(p: Any) -> None:
    body = {"principalId": p.id("Mallory", "user"), "resourceId": p.id("wicketgate-gate")}
    role = {"appRoleId": roles.role_id("Approval.Decide")}
    p.graph("POST", f"{principal(p, 'wicketgate-gate')}/appRoleAssignedTo", body | role)


def lost_approvers(p: Any) -> None:
    path = f"{principal(p, 'wicketgate-gate')}/appRoleAssignedTo"
    (one,) = [one for one in p.graph("GET", path)["value"] if one["principalDisplayName"] == "dba"]
    p.graph("DELETE", f"{path}/{one['id']}")


def graph_role(p: Any) -> None:
    body = {"principalId": p.id("wicketgate-bot-review"), "resourceId": p.id("Microsoft Graph")}
    role = {"appRoleId": "9a5d68dd-52b0-4cc2-bd40-abcf44ac3a30"}
    p.graph("POST", f"{principal(p, 'wicketgate-bot-review')}/appRoleAssignments", body | role)


def lost_role(p: Any) -> None:
    path = f"{principal(p, 'wicketgate-bot-review')}/appRoleAssignments"
    (one,) = p.graph("GET", path)["value"]
    p.graph("DELETE", f"{path}/{one['id']}")


def redirect(p: Any) -> None:
    p.graph("PATCH", application(p, "wicketgate-gate"), {"web": {"redirectUris": ["https://evil.example/"]}})


def disabled(p: Any) -> None:
    p.graph("PATCH", principal(p, "wicketgate-bot-review"), {"accountEnabled": False})


def expired(p: Any) -> None:
    p.settings["bots"]["review"]["expires"] = "2020-01-01"


def open_to_all(p: Any) -> None:
    p.graph("PATCH", principal(p, "wicketgate-gate"), {"appRoleAssignmentRequired": False})


def version_one(p: Any) -> None:
    p.graph("PATCH", application(p, "wicketgate-gate"), {"api": {"requestedAccessTokenVersion": None}})


def no_idtyp(p: Any) -> None:
    p.graph("PATCH", application(p, "wicketgate-gate"), {"optionalClaims": {"accessToken": []}})


def orphan(p: Any) -> None:
    p.graph("POST", "applications", {"displayName": "wicketgate-bot-old"})


def twin(p: Any) -> None:
    p.graph("POST", "applications", {"displayName": "wicketgate-bot-review"})


def gone(p: Any) -> None:
    p.graph("DELETE", application(p, "wicketgate-agent-desk"))


WRONG: dict[Callable[[Any], None], tuple[str, str]] = {
    back_door: ("federated-unexpected", "bot review"),
    owner: ("owner-unexpected", "bot review"),
    group_owner: ("owner-unexpected", "group reviewers"),
    lost_owner: ("owner-missing", "agent desk"),
    member: ("member-unexpected", "group reviewers"),
    stranger: ("role-stranger", "gateway gate"),
    approver: ("role-stranger", "gateway gate"),
    graph_role: ("role-unexpected", "bot review"),
    disabled: ("disabled", "bot review"),
    open_to_all: ("assignment-not-required", "gateway gate"),
    version_one: ("token-version", "gateway gate"),
    no_idtyp: ("claim-missing", "gateway gate"),
    orphan: ("stranger", "wicketgate-bot-old"),
}
LOST: dict[Callable[[Any], None], tuple[str, str]] = {
    lost_credential: ("federated-missing", "bot review"),
    lost_member: ("member-missing", "group reviewers"),
    lost_approvers: ("role-missing", "gateway gate"),
    lost_role: ("role-missing", "bot review"),
    expired: ("expired", "bot review"),
}


@pytest.mark.parametrize("spoils", [WRONG, LOST], ids=["too much", "too little"])
def test_each_difference_is_found_and_nothing_else(
    practice: Any, codes: Codes, spoils: dict[Callable[[Any], None], tuple[str, str]]
) -> None:
    for spoil in spoils:
        spoil(practice)
    report = practice.visit()
    assert sorted(codes(report)) == sorted(spoils.values())
    assert all(one.remedy for one in report.findings)
    assert report.sick


def test_an_address_is_told_as_one_too_many_and_one_too_few(practice: Any, codes: Codes) -> None:
    redirect(practice)
    assert codes(practice.visit()) == [
        ("redirect-unexpected", "gateway gate"),
        ("redirect-missing", "gateway gate"),
    ]


def test_what_is_gone_or_doubled_is_told(practice: Any, codes: Codes) -> None:
    gone(practice)
    twin(practice)
    found = codes(practice.visit())
    assert ("missing", "agent desk") in found
    assert ("ambiguous", "bot review") in found


def test_the_remedy_of_a_back_door_closes_it(practice: Any, only: Only) -> None:
    back_door(practice)
    remedy = only(practice.visit(), "federated-unexpected").remedy
    url = remedy.rpartition("--url ")[2]
    practice.graph("DELETE", url.removeprefix(f"{practice.entra.graph}/v1.0/"))
    assert not practice.visit().sick


def test_a_difference_in_case_alone_is_named(practice: Any, only: Only) -> None:
    issuer = practice.issuer.url
    practice.settings["bots"]["review"]["credentials"] = [
        {"oidc": {"issuer": issuer, "subject": "repo:Acme/shop:ref:refs/heads/main"}}
    ]
    assert "upper and lower case alone" in only(practice.visit(), "federated-missing").said
