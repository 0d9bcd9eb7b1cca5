"""Signing a browser in by SAML: the whole way by the emulator's own pages, and whoever did not begin it here."""

from __future__ import annotations

import base64
import zlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest


def request_of(address: str) -> str:
    query = parse_qs(urlsplit(address).query)
    return zlib.decompress(base64.b64decode(query["SAMLRequest"][0]), -15).decode()


def test_a_sign_in_comes_to_a_session(tab: Any) -> None:
    page = tab()
    assert 'href="/ui/saml/start?' in page.get("/ui/sign-in").text
    address = page.saml_start("/ui/approvals?view=answered")
    request = request_of(address)
    assert "ForceAuthn" not in request
    assert 'AssertionConsumerServiceURL="https://gate.example:8444/ui/saml/acs"' in request
    (cookie,) = [text for text in page.raw if text.startswith("__Host-wicketgate-saml=")]
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"secure", "httponly", "path=/", "samesite=none"} <= parts
    answer = page.saml_post(page.saml_pick(address, "Dana"))
    assert answer.status_code == 200, answer.text
    assert 'content="0; url=/ui/approvals?view=answered"' in answer.text
    assert "__Host-wicketgate-saml" not in page.cookies
    (cookie,) = [text for text in page.raw if text.startswith("__Host-wicketgate=")]
    assert "samesite=strict" in cookie.lower()
    shown = page.get("/ui/approvals")
    assert shown.status_code == 200
    assert "Dana" in shown.text


@pytest.mark.parametrize("what", ["assertion", "both"])
def test_what_entra_may_sign(tab: Any, cloud: Any, what: str) -> None:
    cloud.entra.set_quirks(saml_signing=what)
    page = tab()
    assert page.saml_post(page.saml_pick(page.saml_start(), "Ada")).status_code == 200


def test_a_response_signed_alone_is_told_what_to_change(tab: Any, cloud: Any) -> None:
    cloud.entra.set_quirks(saml_signing="response")
    page = tab()
    answer = page.saml_post(page.saml_pick(page.saml_start(), "Ada"))
    assert answer.status_code == 401
    assert "have Entra sign the assertion" in answer.text


def test_a_new_certificate_is_found(tab: Any, desk: Any) -> None:
    page = tab()
    assert page.saml_post(page.saml_pick(page.saml_start(), "Ada")).status_code == 200
    desk.cloud.entra.roll_keys(app=desk.cloud.clients["gateway-saml"])
    page = tab()
    assert page.saml_post(page.saml_pick(page.saml_start(), "Ada")).status_code == 200


def test_step_up_asks_anew(tab: Any) -> None:
    page = tab()
    address = page.saml_start(again="1")
    assert 'ForceAuthn="true"' in request_of(address)
    assert page.saml_post(page.saml_pick(address, "Dana")).status_code == 200


def test_an_answer_serves_one_browser_once(tab: Any) -> None:
    page, thief, stranger = tab(), tab(), tab()
    form = page.saml_pick(page.saml_start(), "Dana")
    thief.saml_start()
    assert thief.saml_post(form).status_code == 401  # log-in CSRF, and a stolen answer
    assert stranger.saml_post(form).status_code == 401
    cookies = dict(page.cookies)
    assert page.saml_post(form).status_code == 200
    again = tab()
    again.cookies.update(cookies)
    assert again.saml_post(form).status_code == 401
    for each in (thief, stranger, again):
        assert "__Host-wicketgate" not in each.cookies


def test_a_wrong_answer_ends_the_request(tab: Any) -> None:
    page = tab()
    form = page.saml_pick(page.saml_start(), "Dana")
    kept = dict(page.cookies)
    assert page.saml_post(form | {"RelayState": form["RelayState"][:-1]}).status_code == 401
    page.cookies.update(kept)
    assert page.saml_post(form).status_code == 401


def test_only_a_whole_page_may_post(tab: Any) -> None:
    page = tab()
    form = page.saml_pick(page.saml_start(), "Dana")
    kept = dict(page.cookies)
    for headers in ({"Sec-Fetch-Dest": "iframe"}, {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}):
        assert page.saml_post(form, **headers).status_code == 403
    assert page.get("/ui/saml/acs").status_code == 405
    page.cookies.update(kept)
    assert page.saml_post(form).status_code == 200


def test_a_disabled_person_is_not_signed_in(tab: Any, cloud: Any) -> None:
    page = tab()
    form = page.saml_pick(page.saml_start(), "Erik")
    cloud.patch(f"users/{cloud.ids['Erik']}", {"accountEnabled": False})
    try:
        answer = page.saml_post(form)
        assert answer.status_code == 403
        assert "__Host-wicketgate" not in page.cookies
    finally:
        cloud.patch(f"users/{cloud.ids['Erik']}", {"accountEnabled": True})
