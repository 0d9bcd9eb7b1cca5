"""The emulator's SAML endpoints: who may ask, where answers go, and the metadata."""

import base64
import html
import re
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from lxml import etree

from wicketgate.testing.entra import saml
from wicketgate.testing.entra.saml_documents import DISPLAY_NAME, DS, GROUPS, GROUPS_LINK, OBJECT_ID, SAML, TENANT_ID

REPLY = "https://portal.example/callback"


def asked(issuer: str, reply: str = REPLY, *, more: str = "", root: str = "AuthnRequest", **query: str) -> str:
    text = (
        f'<p:{root} xmlns:p="urn:oasis:names:tc:SAML:2.0:protocol" ID="_abc" Version="2.0" {more} '
        f'AssertionConsumerServiceURL="{reply}"><Issuer xmlns="{SAML}">{issuer}</Issuer></p:{root}>'
    )
    return urlencode({"SAMLRequest": base64.b64encode(zlib.compress(text.encode())[2:-4]).decode()} | query)


def picked(web: Any, entra: Any, query: str, user: str) -> dict[str, str]:
    page = web.get(f"/{entra.tenant}/saml2?{query}")
    assert page.status_code == 200, page.text
    field = re.search(r'name="request" value="([^"]+)"', page.text)
    assert field
    answer = web.post(f"/{entra.tenant}/saml2/login", data={"request": html.unescape(field[1]), "user": user})
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', answer.text)
    assert found, answer.text
    return {name: html.unescape(value) for name, value in found}


def claims(form: dict[str, str]) -> dict[str, list[str | None]]:
    tree = etree.fromstring(base64.b64decode(form["SAMLResponse"]))
    return {one.get("Name"): [value.text for value in one] for one in tree.iter(f"{{{SAML}}}Attribute")}


def test_an_answer(web: Any, entra: Any, app_id: Callable[[str], str], object_id: Callable[[str, str], str]) -> None:
    ada = object_id("user", "Ada")
    form = picked(web, entra, asked(app_id("portal"), RelayState="there"), ada)
    assert form["RelayState"] == "there"
    found = claims(form)
    assert (found[TENANT_ID], found[OBJECT_ID], found[DISPLAY_NAME]) == ([entra.tenant], [ada], ["Ada"])
    tree = etree.fromstring(base64.b64decode(form["SAMLResponse"]))
    assert (tree.get("InResponseTo"), tree.get("Destination")) == ("_abc", REPLY)
    assert tree.find(f".//{{{SAML}}}Audience").text == f"spn:{app_id('portal')}"
    assert tree.find(f".//{{{SAML}}}Issuer").text == f"https://sts.windows.net/{entra.tenant}/"


def test_a_request_serves_once(
    web: Any, entra: Any, app_id: Callable[[str], str], object_id: Callable[[str, str], str]
) -> None:
    page = web.get(f"/{entra.tenant}/saml2?{asked(app_id('portal'))}")
    field = re.search(r'name="request" value="([^"]+)"', page.text)
    assert field
    data = {"request": field[1], "user": object_id("user", "Ada")}
    assert web.post(f"/{entra.tenant}/saml2/login", data=data).status_code == 200
    assert web.post(f"/{entra.tenant}/saml2/login", data=data).status_code == 400


@pytest.mark.parametrize(("query", "code"), [
    ("", "AADSTS750054"),
    ("SAMLRequest=junk!", "AADSTS75005"),
    (asked("api://nowhere"), "AADSTS700016"),
    (asked("api://gate", "https://evil.example/"), "AADSTS50011"),
    (asked("api://gate", root="LogoutRequest"), "AADSTS75005"),
])  # fmt: skip
def test_what_is_refused(web: Any, entra: Any, query: str, code: str) -> None:
    answer = web.get(f"/{entra.tenant}/saml2?{query}")
    assert answer.status_code == 400
    assert code in answer.text


def test_people_without_assignment_get_none(
    web: Any, entra: Any, app_id: Callable[[str], str], object_id: Callable[[str, str], str]
) -> None:
    page = web.get(f"/{entra.tenant}/saml2?{asked(app_id('portal'))}")
    field = re.search(r'name="request" value="([^"]+)"', page.text)
    assert field
    data = {"request": field[1], "user": object_id("user", "Eve")}
    answer = web.post(f"/{entra.tenant}/saml2/login", data=data)
    assert "AADSTS50057" in answer.text  # disabled
    assert "SAMLResponse" not in answer.text


@pytest.mark.parametrize(("mode", "name"), [("present", GROUPS), ("overage", GROUPS_LINK)])
def test_groups_or_their_link(
    web: Any, entra: Any, app_id: Callable[[str], str], object_id: Callable[[str, str], str], mode: str, name: str
) -> None:
    entra.set_quirks(groups_claim=mode)
    found = claims(picked(web, entra, asked(app_id("portal")), object_id("user", "Ada")))
    assert name in found
    if mode == "overage":
        assert str(found[name][0]).startswith("https://graph.windows.net/")


def test_metadata_names_the_applications_own_certificates(web: Any, entra: Any, app_id: Callable[[str], str]) -> None:
    address = f"/{entra.tenant}/federationmetadata/2007-06/federationmetadata.xml"

    def certificates(query: str = "") -> list[str]:
        tree = etree.fromstring(web.get(address + query).content)
        assert tree.get("entityID") == saml.issuer(entra.core)
        return [str(one.text) for one in tree.iter(f"{{{DS}}}X509Certificate")]

    portal = f"?appid={app_id('portal')}"
    first = certificates(portal)
    assert len(first) == 1
    assert first != certificates()
    entra.roll_keys(app=app_id("portal"))
    rolled = certificates(portal)
    assert (len(rolled), rolled[1:]) == (2, first)
    entra.roll_keys(app=app_id("portal"), retire=True)
    assert not set(certificates(portal)) & set(rolled)
    assert web.get(f"{address}?appid=nobody").status_code == 400
