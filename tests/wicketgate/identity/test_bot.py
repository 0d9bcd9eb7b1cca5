"""A bot: one application without keys, one role, its groups."""

from collections.abc import Callable
from typing import Any

from wicketgate.args import BotArgs, CredentialIssuer, FederatedCredentialArgs
from wicketgate.identity import roles
from wicketgate.identity.bot import Bot


def credential(subject: str) -> FederatedCredentialArgs:
    return {
        "kind": CredentialIssuer.GITHUB,
        "issuer": "https://token.actions.githubusercontent.com",
        "subject": subject,
        "audience": "api://AzureADTokenExchange",
    }


def bot(**more: Any) -> BotArgs:
    args: BotArgs = {
        "display_name": "wicketgate-bot-review",
        "owner": "group:platform",
        "deployer_object_id": "deployer",
        "gateway_object_id": "oid-gateway",
        "group_names": ["reviewers"],
        "group_object_ids": ["oid-reviewers"],
        "credentials": [credential("repo:a/b:ref:refs/heads/main"), credential("repo:a/b:environment:prod")],
    }
    return {**args, **more}  # type: ignore[typeddict-item] - tests add any key


def test_a_bot_has_no_stored_key(under_mocks: Callable[..., Any]) -> None:
    made = under_mocks(lambda: Bot("bot-review", bot()))
    types = {r.typ.rsplit(":", 1)[-1] for r in made.resources}
    assert types == {
        "Bot",
        "Application",
        "ServicePrincipal",
        "ApplicationFederatedIdentityCredential",
        "AppRoleAssignment",
        "GroupMember",
    }
    (application,) = made.of("Application").values()
    assert "passwords" not in application
    assert "password" not in application


def test_the_role_is_assigned_to_the_principal_itself(under_mocks: Callable[..., Any]) -> None:
    made = under_mocks(lambda: Bot("bot-review", bot()))
    (role,) = made.of("AppRoleAssignment").values()
    assert role["appRoleId"] == roles.BOT_ROLE_ID
    assert role["principalObjectId"] == made.id_of("bot-review-principal")
    assert role["resourceObjectId"] == "oid-gateway"


def test_it_joins_its_groups_by_a_resource_of_its_own(under_mocks: Callable[..., Any]) -> None:
    made = under_mocks(lambda: Bot("bot-review", bot()))
    assert made.of("GroupMember") == {
        "bot-review-in-reviewers": {
            "groupObjectId": "oid-reviewers",
            "memberObjectId": made.id_of("bot-review-principal"),
        }
    }


def test_an_expired_bot_is_disabled(under_mocks: Callable[..., Any]) -> None:
    (principal,) = under_mocks(lambda: Bot("bot-review", bot(enabled=False))).of("ServicePrincipal").values()
    assert principal["accountEnabled"] is False


def test_removing_one_credential_renames_no_other(under_mocks: Callable[..., Any]) -> None:
    typ = "ApplicationFederatedIdentityCredential"
    both = under_mocks(lambda: Bot("bot-review", bot())).of(typ)
    one = under_mocks(lambda: Bot("bot-review", bot(credentials=[credential("repo:a/b:environment:prod")]))).of(typ)
    assert set(one) < set(both)
