"""The device code flow, with msal, azure-identity and by the page."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from azure.identity import DeviceCodeCredential

from wicketgate.testing import jws
from wicketgate.testing.entra import device
from wicketgate.testing.entra.server import EntraEmulator

AppId = Callable[[str], str]
Ask = Callable[..., httpx2.Response]
Refused = Callable[[httpx2.Response], int]
GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def test_msal(entra: EntraEmulator, public: Any, ask: Ask, app_id: AppId, refused: Refused) -> None:
    flow = public.initiate_device_flow(["User.Read"])
    assert flow["user_code"] in flow["message"]
    poll = {"grant_type": GRANT, "client_id": app_id("cli"), "device_code": flow["device_code"]}
    assert ask(**poll).json()["error"] == "authorization_pending"
    entra.approve_device(flow["user_code"], "ada@contoso.example")
    result = public.acquire_token_by_device_flow(flow)
    assert result["id_token_claims"]["preferred_username"] == "ada@contoso.example"
    assert refused(ask(**poll)) == 70018


def test_azure_identity(entra: EntraEmulator, app_id: AppId) -> None:
    credential = DeviceCodeCredential(
        client_id=app_id("cli"),
        tenant_id=entra.tenant,
        authority=entra.authority,
        connection_verify=str(entra.ca_file),
        disable_instance_discovery=True,
        prompt_callback=lambda _uri, code, _expires: entra.approve_device(code, "bob@contoso.example"),
    )
    assert jws.parse(credential.get_token("User.Read").token).claims["name"] == "Bob"


def test_by_the_page(web: httpx2.Client, public: Any, press: Callable[[httpx2.Response, str], httpx2.Response]) -> None:
    flow = public.initiate_device_flow(["User.Read"])
    assert 'name="user_code"' in web.get(flow["verification_uri"]).text
    people = web.get(flow["verification_uri"], params={"user_code": flow["user_code"].lower()})
    assert "You have signed in" in press(people, "Ada").text
    assert "not known" in press(people, "Ada").text
    assert "access_token" in public.acquire_token_by_device_flow(flow)


def test_disabled_people_and_markup_on_the_page(
    web: httpx2.Client, public: Any, press: Callable[[httpx2.Response, str], httpx2.Response]
) -> None:
    flow = public.initiate_device_flow(["User.Read"])
    people = web.get(flow["verification_uri"], params={"user_code": flow["user_code"]})
    assert "AADSTS50057" in press(people, "Eve").text
    assert "<script>" not in web.get(flow["verification_uri"], params={"user_code": "<script>"}).text


def test_refusals(
    entra: EntraEmulator, public: Any, web: httpx2.Client, ask: Ask, app_id: AppId, refused: Refused
) -> None:
    flow = public.initiate_device_flow(["User.Read"])
    for code, person in (("WRONGCODE", "ada@contoso.example"), (flow["user_code"], "nobody")):
        with pytest.raises(ValueError, match=r"not known|there is no person"):
            entra.approve_device(code, person)
    device.decide(entra.core, flow["user_code"], "", approve=False)
    declined = ask(grant_type="device_code", client_id=app_id("cli"), code=flow["device_code"])
    assert declined.json()["error"] == "authorization_declined"
    other = ask(grant_type="device_code", client_id=app_id("bot"), device_code=flow["device_code"])
    assert refused(other) == 7000218
    assert refused(web.post(f"/{entra.tenant}/oauth2/v2.0/devicecode", data={"client_id": app_id("cli")})) == 900144
