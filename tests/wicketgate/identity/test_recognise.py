"""Each platform's credential is read back as its own lines, to the byte."""

from typing import Any

import pytest

from wicketgate.identity.platforms import Credential
from wicketgate.identity.recognise import lines

KEY = "40000000-0000-4000-8000-000000000000"
PLATFORMS: list[dict[str, Any]] = [
    {"github": {"repository": "acme/shop", "branch": "main"}},
    {"github": {"repository": "acme@1/shop@2", "tag": "v1"}},
    {"github": {"repository": "acme/shop", "environment": "prod"}},
    {"github": {"repository": "acme/shop", "pullRequest": True}},
    {"kubernetes": {"issuer": "https://k.example", "namespace": "ci", "serviceAccount": "bot"}},
    {"gitlab": {"projectId": 4711, "branch": "main"}},
    {"gitlab": {"issuer": "https://git.example", "project": "g/n", "tag": "v1"}},
    {"terraform": {"organization": "a", "project": "b", "workspace": "c", "phase": "plan"}},
    {"google": {"uniqueId": "112233445566778899001"}},
    {"spiffe": {"issuer": "https://s.example", "id": "spiffe://a/b"}},
    {
        "managedIdentity": {
            "tenant": "11111111-1111-4111-8111-111111111111",
            "principal": "22222222-2222-4222-8222-222222222222",
        }
    },
    {
        "expression": {
            "issuer": "https://token.actions.githubusercontent.com",
            "matching": "claims['sub'] matches 'repo:acme/shop:ref:refs/heads/*'",
        }
    },
    {"oidc": {"issuer": "https://o.example", "subject": "anything"}},
    {"oidc": {"issuer": "https://o.example", "subject": "x", "audience": "api://AzureADTokenExchangeUSGov"}},
]


def graph(platform: dict[str, Any]) -> dict[str, Any]:
    """The credential as Graph gives it."""
    made = Credential.model_validate(platform).resolve()
    expression = {"value": made["expression"]} if "expression" in made else None
    names = {"id": KEY, "name": "n", "subject": made.get("subject"), "claimsMatchingExpression": expression}
    return {**names, "issuer": made["issuer"], "audiences": [made["audience"]]}


@pytest.mark.parametrize("platform", PLATFORMS, ids=lambda one: next(iter(one)))
def test_it_is_read_back(platform: dict[str, Any]) -> None:
    assert lines(graph(platform)) == {**platform, "adopt": KEY}


def test_a_form_that_only_looks_alike_is_written_as_it_is() -> None:
    credential = graph(PLATFORMS[0]) | {"subject": "repo:acme/shop:ref:refs/heads/main:extra?"[:-1] + " "}
    with pytest.raises(ValueError, match="cannot be adopted"):
        lines(credential)
    credential = graph(PLATFORMS[0]) | {"subject": "repo:acme/shop:job_workflow_ref:x"}
    assert set(lines(credential)) == {"oidc", "adopt"}


@pytest.mark.parametrize(
    "change",
    [
        {"audiences": ["api://mine"]},
        {"issuer": "http://plain.example"},
        {"subject": None, "claimsMatchingExpression": {"value": "claims['sub'] matches '*'"}},
    ],
)
def test_what_a_stack_may_not_have_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the federated credential `n` cannot be adopted"):
        lines(graph(PLATFORMS[0]) | change)
