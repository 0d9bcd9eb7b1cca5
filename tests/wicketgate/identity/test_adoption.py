"""What adopting asks of the engine: imports, nothing changed, retained; and what cannot be adopted."""

import inspect
from collections.abc import Callable
from typing import Any

import pulumi
import pulumi_azuread as azuread
import pytest

from wicketgate import config
from wicketgate.identity import adoption
from wicketgate.identity.bot import Bot
from wicketgate.identity.gateway import GatewayIdentity
from wicketgate.identity.group import BotGroup
from wicketgate_gateway.contract.errors import DocumentError

APP, PRINCIPAL, GROUP, CREDENTIAL, GATE = (f"{n}0000000-0000-4000-8000-000000000000" for n in range(1, 6))
GITHUB: dict[str, Any] = {
    "kind": "github",
    "issuer": "https://token.actions.githubusercontent.com",
    "subject": "repo:acme/shop:ref:refs/heads/main",
    "audience": "api://AzureADTokenExchange",
}


def bot(**adopt: Any) -> None:
    Bot(
        "bot-b",
        {
            "display_name": "b",
            "owner": "group:g",
            "deployer_object_id": "d",
            "gateway_object_id": "gw",
            "group_names": ["old", "new"],
            "group_object_ids": [GROUP, "n"],
            "credentials": [{**GITHUB, "adopt": CREDENTIAL}, {**GITHUB, "subject": "repo:acme/other:environment:e"}],
            "adopt": {
                "application_object_id": APP,
                "principal_object_id": PRINCIPAL,
                "members": {"old": GROUP},
                **adopt,
            },
        },
    )


def test_what_is_there_is_imported_and_the_rest_is_made(under_mocks: Callable[..., Any]) -> None:
    made = under_mocks(bot)
    imported = {r.name: r.importId for r in made.requests if r.importId}
    assert imported == {
        "bot-b-application": f"/applications/{APP}",
        "bot-b-principal": f"/servicePrincipals/{PRINCIPAL}",
        "bot-b-github-" + next(n for n in imported if "github" in n).rpartition("-")[2]: (
            f"{APP}/federatedIdentityCredential/{CREDENTIAL}"
        ),
        "bot-b-in-old": f"{GROUP}/member/{PRINCIPAL}",
    }
    assert all(r.retainOnDelete for r in made.requests if r.importId)
    assert not any(r.retainOnDelete or r.protect for r in made.requests if not r.importId)
    by_name = {r.name: r for r in made.requests}
    assert "displayName" in by_name["bot-b-application"].ignoreChanges
    # Whether it is enabled is the stack's to say: that is how bots end.
    assert "accountEnabled" not in by_name["bot-b-principal"].ignoreChanges
    assert "bot-b-in-new" in by_name


def test_the_gateways_registration_keeps_its_name_and_gets_its_roles(under_mocks: Callable[..., Any]) -> None:
    adopt: Any = {"application_object_id": APP, "principal_object_id": PRINCIPAL}
    args: Any = {"display_name": "g", "deployer_object_id": "d", "adopt": adopt}
    made = under_mocks(lambda: GatewayIdentity("gateway", args))
    by_name = {r.name: r for r in made.requests}
    application, principal = by_name["gateway-application"], by_name["gateway-principal"]
    assert (application.importId, principal.importId) == (f"/applications/{APP}", f"/servicePrincipals/{PRINCIPAL}")
    assert "displayName" in application.ignoreChanges
    assert not {"api", "appRoles", "optionalClaims", "web"} & set(application.ignoreChanges)
    assert "appRoleAssignmentRequired" not in principal.ignoreChanges
    assert application.retainOnDelete


def test_deletion_can_be_asked_for(under_mocks: Callable[..., Any]) -> None:
    made = under_mocks(lambda: bot(delete_with_stack=True))
    assert not any(r.retainOnDelete for r in made.requests)


def test_a_group_keeps_its_owners(under_mocks: Callable[..., Any]) -> None:
    made = under_mocks(
        lambda: BotGroup("group-g", {"display_name": "g", "deployer_object_id": "d", "adopt": {"object_id": GROUP}})
    )
    (request,) = [r for r in made.requests if r.importId]
    assert request.importId == f"/groups/{GROUP}"
    assert "owners" not in made.of("Group")["group-g-group"]


@pytest.mark.parametrize(
    ("resource", "ignored", "ruled"),
    [
        (azuread.Application, adoption.APPLICATION, {"password", "template_id", "sign_in_audience"}),
        (azuread.ServicePrincipal, adoption.PRINCIPAL, {"account_enabled", "client_id", "use_existing"}),
        (azuread.Group, adoption.GROUP, {"members", "owners", "dynamic_membership", "security_enabled"}),
    ],
)
def test_every_property_is_ignored_or_ruled(resource: Any, ignored: tuple[str, ...], ruled: set[str]) -> None:
    """A new version of the provider may know more properties: each must be thought of."""
    known = [p for p in inspect.signature(resource._internal_init).parameters if not p.startswith("_")]
    given = set(known) - {"self", "resource_name", "args", "opts"}
    snake = {"".join(f"_{c.lower()}" if c.isupper() else c for c in name) for name in ignored}
    assert given - snake - {"api", "account_enabled"} <= ruled
    assert snake - {"api"} <= given


def test_a_credential_needs_its_application() -> None:
    with pytest.raises(ValueError, match="only with its application"):
        adoption.credential_import(None, {**GITHUB, "adopt": CREDENTIAL})  # type: ignore[typeddict-item]  # as given


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"securityEnabled": False}, "no security group"),
        ({"securityEnabled": True, "types": ["DynamicMembership"]}, "rule"),
    ],
)
def test_a_group_that_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch, found: dict[str, Any], said: str) -> None:
    answer = type("Found", (), {"security_enabled": found["securityEnabled"], "types": found.get("types")})
    monkeypatch.setattr(azuread, "get_group", lambda **_: answer)
    with pytest.raises(pulumi.RunError, match=said):
        adoption.group_args(adoption.AdoptGroup(group=GROUP))


def test_an_application_open_to_others_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = type("Found", (), {"sign_in_audience": "AzureADMultipleOrgs", "object_id": APP})
    monkeypatch.setattr(azuread, "get_application", lambda **_: answer)
    with pytest.raises(pulumi.RunError, match="--sign-in-audience AzureADMyOrg"):
        adoption.application_args(adoption.AdoptApplication(application=APP), {})


SETTINGS: dict[str, Any] = {
    "gateway": {
        "host": "h",
        "adopt": {"application": GATE},
        "deploy": {
            "kind": "local",
            **dict.fromkeys(("folder", "certificateFile", "keyFile", "caFile", "tokenFolder", "secretFolder"), "f"),
        },
    },
    "agents": {},
    "targets": {},
    "groups": {"old": {"policies": [], "adopt": {"group": GROUP}}, "new": {"policies": []}},
}


def settings(**bots: Any) -> config.StackConfig:
    base = {"owner": "group:g", "groups": ["old", "new"], "expires": "2099-01-01"}
    github = {"github": {"repository": "a/b", "branch": "c"}}
    made = {name: {**base, "credentials": [github], **more} for name, more in bots.items()}
    return config.load({**SETTINGS, "bots": made})


def test_adopting_is_a_setting() -> None:
    found = settings(b={"adopt": {"application": APP, "groups": ["old"]}}).bots["b"]
    assert found.adopt is not None
    assert found.adopt.groups == ["old"]


@pytest.mark.parametrize(
    ("bots", "said"),
    [
        ({"b": {"adopt": {"application": APP, "groups": ["new"]}}}, "`new` is no adopted group of `b`"),
        ({"b": {"adopt": {"application": GATE}}}, "`gateway` has adopted this"),
        ({"b": {"adopt": {"application": APP}}, "c": {"adopt": {"application": APP}}}, "`b` has adopted this"),
        (
            {"b": {"credentials": [{"github": {"repository": "a/b", "branch": "c"}, "adopt": CREDENTIAL}]}},
            "only with its application",
        ),
    ],
)
def test_what_cannot_be_is_told(bots: dict[str, Any], said: str) -> None:
    with pytest.raises(DocumentError, match=said):
        settings(**bots)
