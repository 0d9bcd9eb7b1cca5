"""Each platform's credential comes to what its tokens really say; what Entra would accept silently is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from wicketgate.identity import platforms
from wicketgate.identity.platforms import Credential, Credentials

TENANT = "11111111-1111-4111-8111-111111111111"
PRINCIPAL = "22222222-2222-4222-8222-222222222222"
AKS = f"https://westeurope.oic.prod-aks.azure.com/{TENANT}/{PRINCIPAL}/"
EKS = "https://oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF"
GKE = "https://container.googleapis.com/v1/projects/acme/locations/europe-west1/clusters/prod"


def parse(document: dict[str, Any]) -> Credential:
    return Credential.model_validate(document)


@pytest.mark.parametrize(
    ("document", "issuer", "subject"),
    [
        (
            {"github": {"repository": "acme/shop", "branch": "main"}},
            platforms.GITHUB,
            "repo:acme/shop:ref:refs/heads/main",
        ),
        ({"github": {"repository": "acme/shop", "tag": "v1"}}, platforms.GITHUB, "repo:acme/shop:ref:refs/tags/v1"),
        (
            {"github": {"repository": "a@1/b@2", "environment": "prod"}},
            platforms.GITHUB,
            "repo:a@1/b@2:environment:prod",
        ),
        ({"github": {"repository": "a/b", "pullRequest": True}}, platforms.GITHUB, "repo:a/b:pull_request"),
        (
            {"gitlab": {"projectId": 7, "branch": "main"}},
            "https://gitlab.com",
            "project_id:7:ref_type:branch:ref:main",
        ),
        (
            {"gitlab": {"issuer": "https://git.acme.example", "project": "ops/bots", "tag": "v2"}},
            "https://git.acme.example",
            "project_path:ops/bots:ref_type:tag:ref:v2",
        ),
        (
            {"kubernetes": {"issuer": "https://oidc.acme.example", "namespace": "ci", "serviceAccount": "bot"}},
            "https://oidc.acme.example",
            "system:serviceaccount:ci:bot",
        ),
        (
            {"kubernetes": {"cluster": "aks", "issuer": AKS, "namespace": "ci", "serviceAccount": "bot"}},
            AKS,
            "system:serviceaccount:ci:bot",
        ),
        (
            {"kubernetes": {"cluster": "eks", "issuer": EKS, "namespace": "ci", "serviceAccount": "bot"}},
            EKS,
            "system:serviceaccount:ci:bot",
        ),
        (
            {"kubernetes": {"cluster": "gke", "issuer": GKE, "namespace": "ci", "serviceAccount": "bot"}},
            GKE,
            "system:serviceaccount:ci:bot",
        ),
        (
            {"terraform": {"organization": "acme", "project": "shop", "workspace": "prod", "phase": "apply"}},
            "https://app.terraform.io",
            "organization:acme:project:shop:workspace:prod:run_phase:apply",
        ),
        ({"google": {"uniqueId": "112233445566778899001"}}, "https://accounts.google.com", "112233445566778899001"),
        (
            {"spiffe": {"issuer": "https://spire.acme.example", "id": "spiffe://acme.example/ci/bot"}},
            "https://spire.acme.example",
            "spiffe://acme.example/ci/bot",
        ),
        (
            {"managedIdentity": {"tenant": TENANT, "principal": PRINCIPAL}},
            f"https://login.microsoftonline.com/{TENANT}/v2.0",
            PRINCIPAL,
        ),
        ({"oidc": {"issuer": "https://id.acme.example/", "subject": "x"}}, "https://id.acme.example/", "x"),
    ],
)
def test_platforms_have_their_own_subjects(document: dict[str, Any], issuer: str, subject: str) -> None:
    resolved = parse(document).resolve()
    assert (resolved["issuer"], resolved.get("subject")) == (issuer, subject)
    assert resolved["audience"] == "api://AzureADTokenExchange"


def test_an_expression_has_no_subject() -> None:
    matching = "claims['sub'] matches 'repo:acme/shop:ref:refs/heads/*' and claims['job_workflow_ref'] eq 'acme/w/a@b'"
    resolved = parse({"expression": {"issuer": platforms.GITHUB, "matching": matching}}).resolve()
    assert resolved.get("expression") == matching
    assert "subject" not in resolved


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "exactly one of `github`"),
        ({"github": {"repository": "a/b", "branch": "x"}, "google": {"uniqueId": "1" * 21}}, "exactly one of"),
        ({"github": {"repository": "shop", "branch": "main"}}, "owner/name"),
        ({"github": {"repository": "a@1/b", "branch": "main"}}, "both with ids, or none"),
        ({"github": {"repository": "a/b"}}, "exactly one of `branch`"),
        ({"github": {"repository": "a/b", "branch": "release/*"}}, "one exact value"),
        ({"github": {"repository": "a/b", "branch": "main", "tag": "v1"}}, "exactly one of `branch`"),
        ({"gitlab": {"branch": "main"}}, "exactly one of `projectId`"),
        ({"gitlab": {"project": "alone", "branch": "main"}}, "group/name"),
        ({"gitlab": {"projectId": 7, "branch": "a", "tag": "b"}}, "exactly one of `branch`"),
        ({"kubernetes": {"issuer": "http://x", "namespace": "ci", "serviceAccount": "b"}}, "https address"),
        ({"kubernetes": {"issuer": "https://x", "namespace": "CI", "serviceAccount": "b"}}, "no namespace"),
        ({"kubernetes": {"issuer": "https://x", "namespace": "ci", "serviceAccount": "B"}}, "no service account"),
        (
            {"kubernetes": {"cluster": "aks", "issuer": AKS[:-1], "namespace": "ci", "serviceAccount": "b"}},
            "slash at its end",
        ),
        (
            {"kubernetes": {"cluster": "eks", "issuer": EKS.lower(), "namespace": "ci", "serviceAccount": "b"}},
            "the issuer of EKS",
        ),
        ({"terraform": {"organization": "a:b", "project": "p", "workspace": "w", "phase": "plan"}}, "no name of HCP"),
        ({"google": {"uniqueId": "bot@acme.iam.gserviceaccount.com"}}, "the account's number"),
        ({"spiffe": {"issuer": "https://s", "id": "spiffe://Acme/x"}}, "spiffe://trust-domain/path"),
        ({"managedIdentity": {"tenant": TENANT, "principal": "bot"}}, "principal"),
        (
            {"oidc": {"issuer": "https://i", "subject": "x", "audience": "api://gate"}},
            "no audience of a token exchange",
        ),
        ({"oidc": {"issuer": "https://i?x=1", "subject": "x"}}, "byte for byte"),
        ({"oidc": {"issuer": "https://i", "subject": "x*"}}, "one exact value"),
        ({"oidc": {"issuer": "https://i", "subject": " x"}}, "without spaces"),
        ({"oidc": {"issuer": "https://i", "subject": "x" * 601}}, "1 to 600"),
        ({"expression": {"issuer": "https://i", "matching": "claims['sub'] eq 'x'"}}, "these issuers alone"),
        ({"expression": {"issuer": platforms.GITHUB, "matching": "sub eq 'x'"}}, "no part of an expression"),
        ({"expression": {"issuer": platforms.GITHUB, "matching": "claims['aud'] eq 'x'"}}, "does not compare `aud`"),
        ({"expression": {"issuer": platforms.GITHUB, "matching": "claims['sub'] matches '*'"}}, "leaves open whose"),
        ({"expression": {"issuer": platforms.GITHUB, "matching": "claims['sub'] matches 'repo:*'"}}, "leaves open"),
        ({"expression": {"issuer": platforms.GITHUB, "matching": "claims['sub'] matches 'repo:a*/b:x'"}}, "leaves"),
        (
            {"expression": {"issuer": platforms.GITHUB, "matching": "claims['job_workflow_ref'] matches 'a/b/*'"}},
            "needs a part on `sub`",
        ),
    ],
)
def test_what_would_only_fail_at_the_exchange_is_refused(document: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        parse(document)


def test_more_credentials_than_entra_takes_are_refused() -> None:
    many = [{"oidc": {"issuer": "https://i", "subject": f"s{i}"}} for i in range(21)]
    with pytest.raises(ValidationError, match="at most 20"):
        TypeAdapter(Credentials).validate_python(many)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"github": {"repository": "acme/shop", "branch": "main"}}, "can change hands"),
        ({"github": {"repository": "a@1/b@2", "pullRequest": True}}, "pull request"),
        ({"gitlab": {"project": "a/b", "branch": "main"}}, "projectId"),
        ({"kubernetes": {"issuer": "https://x", "namespace": "ci", "serviceAccount": "default"}}, "every pod"),
        ({"github": {"repository": "a@1/b@2", "branch": "main"}}, ""),
        ({"gitlab": {"projectId": 1, "branch": "main"}}, ""),
    ],
)
def test_what_is_worth_a_second_thought_is_said(document: dict[str, Any], said: str) -> None:
    found = " ".join(parse(document).warnings())
    assert (said in found) if said else not found
