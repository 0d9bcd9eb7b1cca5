"""Where proofs are, and each platform's own way to one."""

from pathlib import Path
from typing import Any

import pytest

from wicketgate.identity.doctor import proofs
from wicketgate.identity.doctor.expected import Registration
from wicketgate.identity.platforms import Credential


def registration(*credentials: dict[str, Any]) -> Registration:
    platforms = tuple(Credential.model_validate(one) for one in credentials)
    return Registration("bot", "review", "wicketgate-bot-review", platforms=platforms)


@pytest.mark.parametrize(
    ("credential", "way"),
    [
        ({"github": {"repository": "acme/shop", "branch": "main"}}, "in a job of that repository"),
        ({"gitlab": {"projectId": 4711, "branch": "main"}}, "id_tokens"),
        (
            {"kubernetes": {"issuer": "https://k.example", "namespace": "ci", "serviceAccount": "bot"}},
            "kubectl create token bot --namespace ci --audience api://AzureADTokenExchange",
        ),
        (
            {"terraform": {"organization": "a", "project": "b", "workspace": "c", "phase": "plan"}},
            "TFC_WORKLOAD_IDENTITY_AUDIENCE",
        ),
        ({"google": {"uniqueId": "112233445566778899001"}}, "gcloud auth print-identity-token"),
        ({"spiffe": {"issuer": "https://s.example", "id": "spiffe://a/b"}}, "-spiffeID spiffe://a/b"),
        (
            {
                "managedIdentity": {
                    "tenant": "11111111-1111-4111-8111-111111111111",
                    "principal": "22222222-2222-4222-8222-222222222222",
                }
            },
            "169.254.169.254",
        ),
        ({"oidc": {"issuer": "https://o.example", "subject": "s"}}, "in the workload"),
    ],
)
def test_each_platform_has_its_way(credential: dict[str, Any], way: str) -> None:
    told = proofs.how(registration(credential))
    assert way in told
    assert "wicketgate doctor --proof review=proof.jwt" in told


def test_a_proof_given_by_hand_comes_first(practice: Any) -> None:
    config = practice.config()
    assert proofs.files(config, registration(), {"review": Path("p")}) == [Path("p")]
    assert proofs.files(config, registration(), {}) == [practice.folder / "tokens" / "review.jwt"]


@pytest.mark.parametrize(
    ("url", "found"), [("https://issuer.example/t?x=1", True), ("http://evil.example/", False), ("", False)]
)
def test_only_a_job_with_an_https_address_is_asked(url: str, found: bool) -> None:
    run = proofs.github_run({"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "b"})
    assert (run is not None) is found
    assert run is None or "b" not in repr(run).replace("GitHubRun", "")
