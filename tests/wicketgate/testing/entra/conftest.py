"""One emulator per test module, with a small tenant in it, and clients for it."""

import ssl
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
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
            "secrets": [{"secretText": "cli-secret"}],
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
