"""One emulator per test module, with a small tenant in it, and clients for it."""

import html
import re
import secrets
import ssl
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import msal
import pytest

from wicketgate.testing.entra.builtin import furnish
from wicketgate.testing.entra.directory import Directory
from wicketgate.testing.entra.quirks import Quirks
from wicketgate.testing.entra.server import DEFAULT_TENANT, EntraEmulator
from wicketgate.testing.entra.store import Store

BOT_ROLE = "5b1e0a52-7a53-4c0e-9a55-3f2e6b1d8c40"
PEOPLE_ROLE = "5b1e0a52-7a53-4c0e-9a55-3f2e6b1d8c41"

TENANT_SEED: dict[str, Any] = {
    "users": [
        {"displayName": "Ada", "mail": "ada@contoso.example"},
        {"displayName": "Bob", "mail": "bob@contoso.example"},
        {"displayName": "Eve", "mail": "eve@contoso.example", "accountEnabled": False},
    ],
    "groups": [
        {"displayName": "reviewers", "members": ["ada@contoso.example"]},
        {"displayName": "everyone", "members": ["reviewers"]},
    ],
    "applications": [
        {
            "displayName": "gate",
            "identifierUris": ["api://gate"],
            "api": {
                "requestedAccessTokenVersion": 2,
                "oauth2PermissionScopes": [
                    {
                        "id": "7b1e0a52-7a53-4c0e-9a55-3f2e6b1d8c40",
                        "value": "access",
                        "type": "User",
                        "adminConsentDisplayName": "Access",
                        "adminConsentDescription": "Access",
                    }
                ],
            },
            "appRoles": [
                {
                    "id": BOT_ROLE,
                    "value": "Bot",
                    "displayName": "Bot",
                    "description": "A bot",
                    "allowedMemberTypes": ["Application"],
                },
                {
                    "id": PEOPLE_ROLE,
                    "value": "Person",
                    "displayName": "Person",
                    "description": "A person",
                    "allowedMemberTypes": ["User"],
                },
            ],
            "optionalClaims": {"accessToken": [{"name": "idtyp", "additionalProperties": ["include_user_token"]}]},
            "appRoleAssignmentRequired": True,
        },
        {"displayName": "old-api", "identifierUris": ["api://old"]},
        {
            "displayName": "bot",
            "secrets": [
                {"secretText": "bot-secret"},
                {"secretText": "bot-old-secret", "endDateTime": "2020-01-01T00:00:00Z"},
            ],
            "groups": ["reviewers"],
            "assignments": [{"resource": "gate", "role": "Bot"}],
        },
        {"displayName": "stranger", "secrets": [{"secretText": "stranger-secret"}]},
        {"displayName": "disabled", "secrets": [{"secretText": "disabled-secret"}], "accountEnabled": False},
        {
            "displayName": "cli",
            "isFallbackPublicClient": True,
            "publicClient": {"redirectUris": ["http://localhost"]},
            "web": {"redirectUris": ["https://app.example/callback"]},
        },
        {
            "displayName": "portal",
            "web": {"redirectUris": ["https://portal.example/callback"]},
            "secrets": [{"secretText": "portal-secret"}],
        },
    ],
    "deployer": {"secrets": [{"secretText": "deployer-secret"}]},
}


@pytest.fixture(scope="module")
def entra() -> Iterator[EntraEmulator]:
    with EntraEmulator(seed=TENANT_SEED) as emulator:
        yield emulator


@pytest.fixture(autouse=True)
def _fresh_quirks(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that sets a switch leaves it as it was."""
    yield
    if "entra" in request.fixturenames:
        emulator: EntraEmulator = request.getfixturevalue("entra")
        emulator.core.quirks.update(Quirks().as_dict())


@pytest.fixture
def app_id(entra: EntraEmulator) -> Callable[[str], str]:
    """The client id of the application with a display name."""

    def find(name: str) -> str:
        found = entra.core.directory.find_by("application", "displayName", name)
        assert found is not None
        return found["appId"]

    return find


@pytest.fixture
def object_id(entra: EntraEmulator) -> Callable[[str, str], str]:
    """The object id of a kind of object with a display name."""

    def find(kind: str, name: str) -> str:
        found = entra.core.directory.find_by(kind, "displayName", name)
        assert found is not None
        return found["id"]

    return find


@pytest.fixture
def web(entra: EntraEmulator) -> Iterator[httpx2.Client]:
    """An HTTP client that trusts the emulator and follows nothing."""
    context = ssl.create_default_context(cafile=str(entra.ca_file))
    with httpx2.Client(base_url=entra.url, verify=context, trust_env=False) as client:
        yield client


@pytest.fixture
def graph(entra: EntraEmulator, web: httpx2.Client) -> httpx2.Client:
    """The same with a Graph token that has every permission."""
    web.headers["Authorization"] = f"Bearer {entra.graph_token()}"
    return web


@pytest.fixture
def ask(entra: EntraEmulator, web: httpx2.Client) -> Callable[..., httpx2.Response]:
    """POSTs a token request to the tenant."""

    def post(**form: str) -> httpx2.Response:
        tenant = form.pop("tenant", entra.tenant)
        return web.post(f"/{tenant}/oauth2/v2.0/token", data=form)

    return post


@pytest.fixture
def directory() -> Directory:
    """A furnished directory in memory, without a server."""
    made = Directory(Store(), DEFAULT_TENANT)
    furnish(made)
    return made


REDIRECT = "http://localhost:53123"


@pytest.fixture
def public(entra: EntraEmulator, app_id: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """msal's client for people."""
    # requests lets these override `verify`.
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    return msal.PublicClientApplication(
        app_id("cli"),
        authority=f"{entra.authority}/{entra.tenant}",
        instance_discovery=False,
        verify=str(entra.ca_file),
    )


@pytest.fixture
def press(web: httpx2.Client) -> Callable[[httpx2.Response, str], httpx2.Response]:
    """Presses the button of a person on the sign-in page."""

    def click(page: httpx2.Response, name: str) -> httpx2.Response:
        assert page.status_code == 200
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        action = re.search(r'action="([^"]+)"', page.text)
        assert action is not None
        hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page.text))
        buttons = dict(re.findall(r'<button name="user" value="([^"]+)">([^<]+)<br>', page.text))
        [user] = [key for key, shown in buttons.items() if html.unescape(shown) == name]
        return web.post(html.unescape(action[1]), data={**hidden, "user": user})

    return click


@pytest.fixture
def get_code(
    web: httpx2.Client, entra: EntraEmulator, press: Callable[[httpx2.Response, str], httpx2.Response]
) -> Callable[..., dict[str, str]]:
    """Signs a person in by hand; what the client then redeems: code, redirect_uri, code_verifier."""

    def sign_in(client: str, person: str = "Ada", **more: str) -> dict[str, str]:
        verifier = secrets.token_urlsafe(48)
        query = {
            "client_id": client,
            "response_type": "code",
            "redirect_uri": REDIRECT,
            "scope": "openid profile offline_access User.Read",
            "code_challenge": verifier,
            "code_challenge_method": "plain",
            "state": "s&1",
            **more,
        }
        answer = press(web.get(f"/{entra.tenant}/oauth2/v2.0/authorize", params=query), person)
        values = parse_qs(urlsplit(answer.headers["location"]).query)
        assert values["state"] == ["s&1"]
        return {"code": values["code"][0], "redirect_uri": query["redirect_uri"], "code_verifier": verifier}

    return sign_in


@pytest.fixture
def redeem(ask: Callable[..., httpx2.Response]) -> Callable[..., httpx2.Response]:
    """Redeems a code at the token endpoint."""

    def post(client: str, form: dict[str, str], **more: str) -> httpx2.Response:
        return ask(grant_type="authorization_code", client_id=client, **form | more)

    return post


@pytest.fixture
def refused() -> Callable[[httpx2.Response], int]:
    """The AADSTS code of a refusal."""

    def code(answer: httpx2.Response) -> int:
        assert answer.status_code in (400, 401), answer.text
        return answer.json()["error_codes"][0]

    return code
