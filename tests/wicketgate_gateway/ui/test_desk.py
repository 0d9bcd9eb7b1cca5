"""What all pages share: cookies, forms, and a fresh sign-in for what needs one."""

from __future__ import annotations

import time
from typing import Any

import pytest
from starlette.responses import Response

from wicketgate_gateway.ui.desk import set_cookie


def test_cookies_are_for_this_host_and_no_script() -> None:
    response = Response()
    set_cookie(response, "value")
    set_cookie(response, "", "__Host-other", same_site="lax")
    first, second = response.headers.getlist("set-cookie")
    for part in ("HttpOnly", "Secure", "Path=/", "SameSite=strict"):
        assert part.lower() in first.lower()
    assert "max-age=0" in second.lower()
    assert "samesite=lax" in second.lower()
    assert "domain" not in (first + second).lower()


def test_a_field_given_twice_is_refused(desk: Any, tab: Any) -> None:
    held = desk.hold()
    page = tab("Dana")
    body = f"seal={held.seal}&seal={'0' * 64}"
    answer = page._send(
        "POST",
        f"/ui/approvals/{held.handle}/approve",
        {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"},
        body,
    )
    assert answer.status_code == 422
    assert desk.stands(held.handle).votes == ()


def test_an_error_is_a_page_or_a_line(tab: Any) -> None:
    page = tab("Ada")
    whole = page.get("/ui/approvals/hold-000000")
    assert whole.status_code == 404
    assert "<html" in whole.text
    part = page.get("/ui/approvals/hold-000000/standing", **{"HX-Request": "true"})
    assert part.status_code == 404
    assert "<html" not in part.text


def test_who_is_signed_in_is_shown_and_what_they_may(tab: Any) -> None:
    text = tab("Dana").get("/ui/approvals").text
    assert "Dana" in text
    assert 'href="/ui/sessions"' not in text
    assert 'href="/ui/sessions"' in tab("Ada").get("/ui/sessions").text


@pytest.mark.parametrize("name", ["Dana", "Ada", "Root"])
def test_the_first_page(tab: Any, name: str) -> None:
    answer = tab(name).get("/ui/")
    assert answer.headers["location"] == ("/ui/approvals" if name == "Dana" else "/ui/sessions")


def test_pages_are_quick_enough_to_ask_again_and_again(tab: Any) -> None:
    """Sixty requests at once pass a person's and an address's bounds."""
    page = tab("Dana")
    began = time.monotonic()
    assert {page.get("/ui/approvals/rows").status_code for _ in range(60)} == {200}
    assert time.monotonic() - began < 60
