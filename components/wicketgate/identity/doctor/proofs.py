"""Where each workload's platform puts its token, and how a person gets one there by hand.

A platform's token is as good as the bot for the minutes that it lives: it is read, sent to Entra and forgotten, and
stands in no message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from wicketgate.config import StackConfig
from wicketgate.identity.doctor.expected import Registration
from wicketgate.identity.platforms import GITHUB, Credential
from wicketgate.places import ComposeDeploy, LocalDeploy
from wicketgate_gateway.contract.gateway import TOKEN_EXCHANGE_AUDIENCE


@dataclass(frozen=True, slots=True)
class GitHubRun:
    """A job of GitHub Actions that this runs in: it may ask for a token of its own."""

    url: str
    bearer: str

    def __repr__(self) -> str:
        return "GitHubRun(…)"


def github_run(environ: Mapping[str, str]) -> GitHubRun | None:
    """The job of GitHub Actions that the environment tells of; only https addresses are followed."""
    url, bearer = environ.get("ACTIONS_ID_TOKEN_REQUEST_URL", ""), environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "")
    return GitHubRun(url, bearer) if urlsplit(url).scheme == "https" and bearer else None


def files(config: StackConfig, wanted: Registration, given: Mapping[str, Path]) -> list[Path]:
    """Files that may hold the workload's proof: what was given by hand, else what the deployment mounts."""
    name = "gateway" if wanted.kind == "gateway" else wanted.name
    if name in given:
        return [given[name]]
    place = config.gateway.deploy
    if isinstance(place, LocalDeploy):
        return [Path(place.token_folder) / f"{name}.jwt"]
    if isinstance(place, ComposeDeploy):
        return [Path(place.token_folder) / name / f"{name}.jwt"]
    return []


def how(wanted: Registration) -> str:
    """How to prove the workload's exchange: on its own platform, by that platform's own means."""
    name = "gateway" if wanted.kind == "gateway" else wanted.name
    prove = f"wicketgate doctor --proof {name}=proof.jwt"
    ways = list(dict.fromkeys(_way(credential) for credential in wanted.platforms))
    return "\n".join(f"{way} && {prove}" if not way.startswith("in ") else f"{way}: {prove}" for way in ways)


def _way(credential: Credential) -> str:
    audience = TOKEN_EXCHANGE_AUDIENCE
    if credential.github is not None:
        return "in a job of that repository with `permissions: {id-token: write}` (no file is needed there)"
    if credential.gitlab is not None:
        return f"in a job of that project with `id_tokens: {{PROOF: {{aud: {audience}}}}}`, written to proof.jwt"
    if (account := credential.kubernetes) is not None:
        return (
            f"kubectl create token {account.service_account} --namespace {account.namespace} "
            f"--audience {audience} --duration 10m > proof.jwt"
        )
    if credential.terraform is not None:
        return f"in a run of that workspace with TFC_WORKLOAD_IDENTITY_AUDIENCE={audience}"
    if credential.google is not None:
        account = "--impersonate-service-account ACCOUNT"
        return f"gcloud auth print-identity-token {account} --audiences {audience} > proof.jwt"
    if credential.spiffe is not None:
        fetch = f"spire-agent api fetch jwt -audience {audience} -spiffeID {credential.spiffe.id}"
        return f"{fetch} | sed -n 2p > proof.jwt"
    if credential.managed_identity is not None:
        url = f"http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource={audience}"
        return f"curl -s -H Metadata:true '{url}' | jq -r .access_token > proof.jwt"
    if credential.expression is not None and credential.expression.issuer == GITHUB:
        return "in a job of that repository with `permissions: {id-token: write}` (no file is needed there)"
    return f"in the workload, with its platform's token for the audience {audience} in proof.jwt"
