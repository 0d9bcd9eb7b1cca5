"""The sign-in log of applications."""

from typing import Any

from wicketgate.testing.entra import sign_ins
from wicketgate.testing.entra.errors import login_error
from wicketgate.testing.entra.query import Query, parse_query
from wicketgate.testing.entra.server import EntraEmulator
from wicketgate.testing.entra.views import View


def listed(entra: EntraEmulator, text: str = "", version: str = "beta") -> list[dict[str, Any]]:
    query = parse_query({"$filter": text}, eventual=False) if text else Query()
    return sign_ins.listed(View(entra.core, version), "auditLogs/signIns", query)["value"]


def test_sign_ins_are_listed_newest_first_and_in_beta_alone(entra: EntraEmulator) -> None:
    entra.core.sign_ins.clear()
    client = {"appId": "a", "displayName": "bot", "id": "p"}
    sign_ins.record(entra.core, client, federated="f")
    sign_ins.record(entra.core, client, error=login_error(700213, value="s"))
    failed, good = listed(entra, "signInEventTypes/any(t: t eq 'servicePrincipal') and appId eq 'a'")
    assert (good["federatedCredentialId"], good["status"]["errorCode"]) == ("f", 0)
    assert (failed["federatedCredentialId"], failed["status"]["errorCode"]) == ("", 700213)
    assert listed(entra, "appId eq 'b'") == []
    assert listed(entra, "createdDateTime ge 2099-01-01T00:00:00Z") == []
    assert listed(entra, version="v1.0") == []
    entra.core.sign_ins.clear()


def test_pages_follow(entra: EntraEmulator) -> None:
    entra.core.sign_ins.clear()
    for number in range(3):
        sign_ins.record(entra.core, {"appId": str(number), "displayName": "bot", "id": "p"})
    answer = sign_ins.listed(View(entra.core, "beta"), "auditLogs/signIns", Query(top=2))
    assert [one["appId"] for one in answer["value"]] == ["2", "1"]
    assert "$skiptoken=" in answer["@odata.nextLink"]
    entra.core.sign_ins.clear()
