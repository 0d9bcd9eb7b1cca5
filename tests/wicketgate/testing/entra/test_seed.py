"""Seeds: deterministic, idempotent, and clear about mistakes."""

from typing import Any

import pytest

from wicketgate.testing.entra.builtin import GRAPH_ROLES
from wicketgate.testing.entra.directory import GRAPH_APP_ID, Directory
from wicketgate.testing.entra.schema import ENTITIES
from wicketgate.testing.entra.seed import DEPLOYER, DEPLOYER_ROLES, SeedError, apply_seed

ISSUER = "https://localhost:4443"


def seed(issuer: str = ISSUER) -> dict[str, Any]:
    return {
        "users": [{"displayName": "Ada", "id": "0f0e0d0c-0000-4000-8000-00000000000A", "groups": ["team"]}],
        "groups": [{"displayName": "team", "owners": ["Ada"]}],
        "deployer": {"federatedCredentials": [{"name": "ci-main", "issuer": issuer, "subject": "repo:a/b"}]},
        "applications": [
            {
                "displayName": "gate",
                "appId": "0f0e0d0c-0000-4000-8000-00000000000b",
                "id": "0f0e0d0c-0000-4000-8000-00000000000c",
                "servicePrincipalId": "0f0e0d0c-0000-4000-8000-00000000000d",
                "owners": [DEPLOYER],
                "secrets": [{"secretText": "s", "displayName": "d"}],
                "api": {"requestedAccessTokenVersion": 2},
            }
        ],
        "quirks": {"retry_after": 4},
    }


def snapshot(directory: Directory) -> dict[str, list[dict[str, Any]]]:
    return {kind: list(directory.store.all(kind)) for kind in ENTITIES}


def test_a_second_time_changes_nothing(directory: Directory) -> None:
    apply_seed(directory, seed())
    first = snapshot(directory)
    assert len(first["application"]) == 2
    apply_seed(directory, seed())
    assert snapshot(directory) == first


def test_the_deployer_holds_its_graph_roles(directory: Directory) -> None:
    apply_seed(directory, seed())
    deployer = directory.find_by("servicePrincipal", "displayName", DEPLOYER)
    graph = directory.principal_of(GRAPH_APP_ID)
    assert deployer
    assert graph
    assert set(directory.role_values(deployer, graph)) == set(DEPLOYER_ROLES) <= set(GRAPH_ROLES)
    [credential] = directory.all("federatedIdentityCredential")
    assert credential["audiences"] == ["api://AzureADTokenExchange"]
    gate = directory.find("application", "0f0e0d0c-0000-4000-8000-00000000000c")
    assert gate
    assert directory.store.targets("owners", gate["id"]) == [deployer["id"]]


def test_given_ids_are_kept_in_lower_case(directory: Directory) -> None:
    apply_seed(directory, seed())
    ada = directory.find("user", "0f0e0d0c-0000-4000-8000-00000000000a")
    assert ada
    assert ada["userPrincipalName"] == "ada@contoso.onmicrosoft.com"
    gate = directory.principal_of("0f0e0d0c-0000-4000-8000-00000000000b")
    assert gate
    assert gate["id"].endswith("0d")
    assert [one["displayName"] for one in directory.groups_of(ada["id"])] == ["team"]
    assert directory.quirks.retry_after == 4


def test_an_issuer_that_came_back_elsewhere_is_followed(directory: Directory) -> None:
    apply_seed(directory, seed())
    apply_seed(directory, seed("https://localhost:5555"))
    [credential] = directory.all("federatedIdentityCredential")
    assert credential["issuer"] == "https://localhost:5555"


def test_secrets_are_kept_as_digests(directory: Directory) -> None:
    apply_seed(directory, seed())
    gate = directory.find_by("application", "displayName", "gate")
    assert gate
    [credential] = gate["passwordCredentials"]
    assert credential["secretText"] is None
    assert len(credential["_digest"]) == 64


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"people": []}, "unknown keys in the seed: people"),
        ({"users": [{"mail": "a@b"}]}, "lacks 'displayName'"),
        ({"users": [{"displayName": "A", "shoeSize": 5}]}, "a user has no property shoeSize"),
        ({"groups": [{"displayName": "g", "members": ["nobody"]}]}, "names `nobody`"),
        ({"groups": [{"displayName": "g", "id": "x"}]}, "the id `x` is no GUID"),
        ({"applications": [{"displayName": "a", "graphRoles": ["Mail.Send"]}]}, "no app role `Mail.Send`"),
        ({"applications": [{"displayName": "a", "assignments": [{"resource": "b", "role": "r"}]}]}, "names `b`"),
        ({"deployer": {"federatedCredentials": [{"name": "x"}]}}, "Invalid value|name"),
        ({"deployer": {"federatedCredentials": [{"name": "abc", "sub": "x"}]}}, "no property sub"),
        (
            {"applications": [{"displayName": "a", "api": {"requestedAccessTokenVersion": 5}}]},
            "requestedAccessTokenVersion",
        ),
        ({"quirks": {"speling": 1}}, "no quirk `speling`"),
    ],
)
def test_mistakes_are_named(directory: Directory, document: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        apply_seed(directory, document)


def test_seed_errors_have_one_type(directory: Directory) -> None:
    with pytest.raises(SeedError):
        apply_seed(directory, {"people": []})
