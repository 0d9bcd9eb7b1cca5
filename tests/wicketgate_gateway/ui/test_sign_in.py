"""Signing a browser in: whoever did not begin it here, or is somebody else, is not signed in."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from wicketgate_gateway.ui.sign_in import local


@pytest.mark.parametrize(
    ("to", "kept"),
    [
        ("/ui/approvals/hold-1?x=1", True),
        ("/ui/", True),
        ("/ui", True),
        ("https://evil.example/", False),
        ("//evil.example/ui/", False),
        ("/ui//evil.example", False),
        ("/ui/../v1/me", False),
        ("/ui/\\evil.example", False),
        ("/ui/%0d%0aSet-Cookie:x", False),
        ("/ui/x\r\nLocation: y", False),
        ("/v1/approvals", False),
        ("/uix", False),
        ("javascript:alert(1)", False),
        ("/ui/<script>", False),
        ("/ui/" + "x" * 600, False),
        ("", False),
    ],
)
def test_nobody_is_sent_elsewhere(to: str, kept: bool) -> None:
    assert local(to) == (to if kept else "/ui/")


def test_a_sign_in_comes_to_a_session(tab: Any) -> None:
    page = tab()
    assert page.get("/ui/approvals").headers["location"].startswith("/ui/sign-in?to=%2Fui%2Fapprovals")
    query = parse_qs(urlsplit(page.start()).query)
    assert query["code_challenge_method"] == ["S256"]
    assert query["response_type"] == ["code"]
    assert "prompt" not in query
    assert parse_qs(urlsplit(page.start(again="1")).query)["prompt"] == ["login"]
    answer = page.sign_in("Dana", "/ui/approvals?view=answered")
    assert 'content="0; url=/ui/approvals?view=answered"' in answer.text
    (cookie,) = [text for text in page.raw if text.startswith("__Host-wicketgate=")]
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"secure", "httponly", "path=/", "samesite=strict"} <= parts
    assert not any(part.startswith("domain") for part in parts)
    assert page.get("/ui/approvals").status_code == 200


def test_a_code_of_another_browser_signs_nobody_in(tab: Any) -> None:
    """Log-in CSRF: the attacker's code and state in the victim's browser."""
    attacker, victim = tab(), tab()
    values = attacker.pick(attacker.start(), "Dana")
    victim.start()
    answer = victim.finish(values)
    assert answer.status_code == 401
    assert "__Host-wicketgate" not in victim.cookies
    stranger = tab()
    assert stranger.finish(values).status_code == 401


def test_a_state_or_a_code_serves_once(tab: Any) -> None:
    page = tab()
    values = page.pick(page.start(), "Dana")
    cookies = dict(page.cookies)
    assert page.finish(values).status_code == 200
    again = tab()
    again.cookies.update(cookies)
    assert again.finish(values).status_code == 401
    page = tab()
    values = page.pick(page.start(), "Dana")
    assert page.finish(values | {"state": values["state"][:-1]}).status_code == 401
    assert page.finish(values).status_code == 401  # the wrong answer ended that sign-in


def test_what_entra_refuses_is_told_and_no_markup(tab: Any) -> None:
    page = tab()
    state = parse_qs(urlsplit(page.start()).query)["state"][0]
    answer = page.finish({"state": state, "error": "access_denied", "error_description": "<script>alert(1)</script>"})
    assert answer.status_code == 401
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;" in answer.text


def test_a_code_that_entra_did_not_give(tab: Any) -> None:
    page = tab()
    state = parse_qs(urlsplit(page.start()).query)["state"][0]
    answer = page.finish({"state": state, "code": "1.made-up"})
    assert answer.status_code == 401
    assert "made-up" not in answer.text


def test_a_person_without_a_role_is_not_signed_in(tab: Any) -> None:
    page = tab()
    page_source = page._entra.get(page.start()).text
    assert "Nils" in page_source  # Entra knows him, and assigns nobody without a role
    with pytest.raises((AssertionError, KeyError)):
        page.sign_in("Nils")
    assert "__Host-wicketgate" not in page.cookies
