"""The pages escape what they show."""

from collections.abc import Callable

import httpx2

from wicketgate.testing.entra.pages import page, people_form
from wicketgate.testing.entra.server import EntraEmulator


def test_titles_are_text() -> None:
    shown = page("<b>", "<p>ok</p>", 400)
    assert shown.status_code == 400
    assert b"<h1>&lt;b&gt;</h1><p>ok</p>" in shown.body
    assert "script" not in shown.headers["content-security-policy"]


def test_names_and_hidden_values_are_escaped(
    entra: EntraEmulator, web: httpx2.Client, app_id: Callable[[str], str]
) -> None:
    entra.seed({"users": [{"displayName": '<script>alert("x")</script>', "mail": "mallory@contoso.example"}]})
    form = people_form(entra.core, '/"x', {'a"': '"><script>'})
    assert "<script>" not in form
    assert "&lt;script&gt;" in form
    query = {
        "client_id": app_id("cli"),
        "response_type": "code",
        "redirect_uri": "http://localhost",
        "scope": "openid",
    }
    assert "<script>" not in web.get(f"/{entra.tenant}/oauth2/v2.0/authorize", params=query).text
