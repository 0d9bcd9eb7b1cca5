"""Proves that each workload's federated exchange works: by doing it, with the proof that its platform gave.

How this works: azure-identity presents the platform's token to Entra as the workload would, for the audience that the
workload would ask for, and what comes back is looked at as the gateway will. A refusal that time may heal (a credential
that has not reached every server, or one of Entra's stray 700213) is tried again, a few times, and said. Where no proof
is at hand, nothing is claimed: the finding says what was not proven, and how to.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from wicketgate.config import StackConfig
from wicketgate.identity.doctor import proofs
from wicketgate.identity.doctor.drift import UP
from wicketgate.identity.doctor.expected import Registration
from wicketgate.identity.doctor.findings import Report
from wicketgate.identity.doctor.tenant import Found, Tenant
from wicketgate.identity.graph import first_line
from wicketgate.identity.signin import Cloud, SignInError, claims_of, read_proof
from wicketgate_gateway.contract.gateway import TOKEN_EXCHANGE_AUDIENCE

ATTEMPTS = 4
PAUSE = 2.0
"""Seconds before the second attempt; doubled each time."""
_CODE = re.compile(r"AADSTS(\d+)")
_HEALS = frozenset({"700211", "700213", "70021", "700016", "501051"})
_MEANS = {
    "700211": ("no federated credential has the issuer `{iss}`", "compare it with the credential's, byte for byte"),
    "700213": ("no federated credential has the subject `{sub}`", "write the subject that the platform really gives"),
    "7002138": ("the subject `{sub}` differs in upper and lower case alone", "write it as the platform does"),
    "700212": ("the proof is for the audience `{aud}`", f"have the platform issue it for {TOKEN_EXCHANGE_AUDIENCE}"),
    "70021": ("no federated credential fits", "compare issuer, subject and audience"),
    "700024": ("the proof has expired", "get a fresh one from the platform"),
    "700027": ("Entra cannot verify the proof's signature", "check that the issuer publishes that key"),
    "50027": ("the proof is no token that Entra can read", "get a fresh one from the platform"),
    "50166": ("Entra cannot fetch the issuer's keys", "check that `{iss}/.well-known/openid-configuration` is public"),
    "700016": ("the application is not in the tenant", UP),
    "7000112": ("its service principal is disabled", UP),
    "501051": ("it is not assigned to the gateway", UP),
}


async def prove(
    config: StackConfig,
    cloud: Cloud,
    tenant_id: str,
    tenant: Tenant,
    given: Mapping[str, Path],
    environ: Mapping[str, str],
    report: Report,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """An exchange for each workload whose proof is at hand; a finding for each other one."""
    run = proofs.github_run(environ)
    job = await _github(run, report) if run is not None else None
    for found in tenant.registrations:
        wanted = found.wanted
        if not wanted.credentials or found.application is None:
            continue
        if not wanted.enabled:
            continue  # Entra gives it no token, as it should
        proof = _proof(config, wanted, given, job, report)
        if proof is None:
            continue
        await _exchange(cloud, tenant_id, tenant, found, proof, report, sleep)


async def _github(run: proofs.GitHubRun, report: Report) -> str | None:
    import httpx

    headers = {"Authorization": f"Bearer {run.bearer}", "Accept": "application/json"}
    try:
        async with httpx.AsyncClient(timeout=30.0) as client:
            answer = await client.get(f"{run.url}&audience={TOKEN_EXCHANGE_AUDIENCE}", headers=headers)
            token: Any = answer.json()["value"] if answer.is_success else None
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        token = None
    if not isinstance(token, str):
        said = "GitHub gave this job no token"
        report.note("proof-unreadable", "stack", said, "give the job `permissions: {id-token: write}`")
        return None
    return token


def _proof(
    config: StackConfig, wanted: Registration, given: Mapping[str, Path], job: str | None, report: Report
) -> str | None:
    """The workload's proof, or None with a finding that says how to come by one."""
    if job is not None and _fits(job, wanted):
        return job
    name = "gateway" if wanted.kind == "gateway" else wanted.name
    for file in proofs.files(config, wanted, given):
        if not file.is_file() and name not in given:
            continue
        try:
            proof = read_proof(file)
            end = claims_of(proof).get("exp")
        except SignInError as error:
            report.problem(error.code, wanted.about, error.message, error.remedy or proofs.how(wanted))
            return None
        if isinstance(end, int | float) and end < time.time():
            said = f"the proof in `{file}` is out of date, so its exchange was not proven"
            report.note("unproven", wanted.about, said, proofs.how(wanted))
            return None
        return proof
    said = "its federated exchange was not proven: its platform's token is not at hand here"
    report.note("unproven", wanted.about, said, proofs.how(wanted))
    return None


def _fits(proof: str, wanted: Registration) -> bool:
    """Whether the proof is for one of the workload's credentials with an exact subject."""
    try:
        claims = claims_of(proof)
    except SignInError:
        return False
    pair = (claims.get("iss"), claims.get("sub"))
    return any((c["issuer"], c.get("subject")) == pair for c in wanted.credentials)


async def _exchange(
    cloud: Cloud,
    tenant_id: str,
    tenant: Tenant,
    found: Found,
    proof: str,
    report: Report,
    sleep: Callable[[float], Awaitable[None]],
) -> None:
    from azure.core.exceptions import AzureError

    wanted = found.wanted
    gateway = tenant.gateway.application
    if wanted.kind != "gateway" and gateway is None:
        report.note("unproven", wanted.about, "its exchange was not proven: the gateway is not there", UP)
        return
    audience = cloud.graph.rstrip("/") if wanted.kind == "gateway" or gateway is None else str(gateway["appId"])
    client_id = str((found.application or {})["appId"])
    for attempt in range(ATTEMPTS):
        try:
            token = await asyncio.to_thread(_token, cloud, tenant_id, client_id, proof, f"{audience}/.default")
        except AzureError as error:
            number = _CODE.search(str(error))
            code = number[1] if number else ""
            if code in _HEALS and attempt < ATTEMPTS - 1:
                await sleep(PAUSE * 2**attempt)
                continue
            _refused(wanted, code, proof, error, attempt, report)
            return
        if attempt:
            report.note(
                "exchange-repeated",
                wanted.about,
                f"its exchange worked at attempt {attempt + 1}: Entra had not known the credential everywhere",
                "nothing, unless it stays so; clients must try again on AADSTS70021x",
            )
        _judge(wanted, audience, token, report)
        return


def _token(cloud: Cloud, tenant_id: str, client_id: str, proof: str, scope: str) -> str:
    from azure.identity import ClientAssertionCredential

    # A new one each time: azure-identity would give a cached token.
    with ClientAssertionCredential(tenant_id, client_id, lambda: proof, **cloud.options()) as credential:
        return credential.get_token(scope).token


def _refused(wanted: Registration, code: str, proof: str, error: Exception, attempt: int, report: Report) -> None:
    claims = claims_of(proof)
    shown = {name: str(claims.get(name, "")) for name in ("iss", "sub", "aud")}
    tried = f" (tried {attempt + 1} times)" if attempt else ""
    if code in _MEANS:
        said, remedy = (text.format(**shown) for text in _MEANS[code])
        report.problem("exchange-failed", wanted.about, f"Entra refuses it, AADSTS{code}: {said}{tried}", remedy)
        return
    report.problem(
        "exchange-failed",
        wanted.about,
        f"its exchange failed{tried}: {first_line(error)}",
        "look up the AADSTS code; without one, check the network",
    )


def _judge(wanted: Registration, audience: str, token: str, report: Report) -> None:
    """Whether the gateway would take the token; for the gateway's own, whether Graph would."""
    claims = claims_of(token)
    wrong: list[str] = []
    if wanted.gateway_role is not None:
        if wanted.gateway_role not in (claims.get("roles") or []):
            wrong.append(f"the role `{wanted.gateway_role}` is not in it")
        if claims.get("ver") != "2.0":
            wrong.append("it is not of version 2.0")
        if claims.get("idtyp") != "app":
            wrong.append("`idtyp` is not in it")
        if claims.get("aud") != audience:
            wrong.append("it is for another audience")
    if wrong:
        said = f"Entra gives it a token that the gateway refuses: {'; '.join(wrong)}"
        report.problem("token-unfit", wanted.about, said, f"{UP}; a new role needs a minute to show")
        return
    report.proven.append(wanted.about)
