"""The documents that clients read first."""

from typing import Any

import httpx2
import pytest

from wicketgate.testing.entra.server import EntraEmulator


def test_openid_configuration(entra: EntraEmulator, web: httpx2.Client) -> None:
    for tenant in (entra.tenant, entra.core.directory.domain, "common", "organizations"):
        document = web.get(f"/{tenant}/v2.0/.well-known/openid-configuration").json()
        assert document["issuer"] == f"{entra.url}/{entra.tenant}/v2.0"
        for name in ("token_endpoint", "jwks_uri", "authorization_endpoint", "device_authorization_endpoint"):
            assert document[name].startswith(f"{entra.url}/{entra.tenant}/")
        assert web.get(document["jwks_uri"]).json()["keys"][0]["issuer"] == document["issuer"]
    old = web.get(f"/{entra.tenant}/.well-known/openid-configuration").json()
    assert old["issuer"] == f"https://sts.windows.net/{entra.tenant}/"
    assert web.get(old["jwks_uri"]).json()["keys"][0]["issuer"] == old["issuer"]


@pytest.mark.parametrize("path", ["v2.0/.well-known/openid-configuration", "discovery/v2.0/keys", "discovery/keys"])
def test_other_tenants_have_none(web: httpx2.Client, path: str) -> None:
    answer = web.get(f"/11111111-2222-3333-4444-555555555555/{path}")
    assert (answer.status_code, answer.json()["error_codes"]) == (400, [90002])


def test_keys_roll_over(entra: EntraEmulator, web: httpx2.Client) -> None:
    def kids() -> list[str]:
        document: Any = web.get(f"/{entra.tenant}/discovery/v2.0/keys").json()
        return [key["kid"] for key in document["keys"]]

    [first] = kids()
    second = entra.roll_keys()
    assert kids() == [second, first]
    third = entra.roll_keys(retire=True)
    assert kids() == [third]


def test_metadata_as_the_azuread_provider_reads_it(entra: EntraEmulator, web: httpx2.Client) -> None:
    document = web.get("/metadata/endpoints", params={"api-version": "2022-09-01"}).json()
    assert document["name"]
    assert document["resourceManager"]
    assert document["microsoftGraphResourceId"].rstrip("/") == entra.graph
    assert document["authentication"]["loginEndpoint"] == entra.authority


def test_instance_discovery(entra: EntraEmulator, web: httpx2.Client) -> None:
    document = web.get(
        "/common/discovery/instance",
        params={"api-version": "1.1", "authorization_endpoint": f"{entra.url}/common/oauth2/v2.0/authorize"},
    ).json()
    assert document["metadata"][0]["aliases"] == [entra.metadata_host]
    assert document["tenant_discovery_endpoint"].startswith(entra.url)
