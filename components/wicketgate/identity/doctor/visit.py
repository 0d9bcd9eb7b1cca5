"""The whole visit, in order: who is signed in, may they, what does the tenant have, do the exchanges work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from wicketgate.config import StackConfig
from wicketgate.identity.doctor import drift, exchange, keys, permissions
from wicketgate.identity.doctor.expected import expected
from wicketgate.identity.doctor.findings import Report
from wicketgate.identity.doctor.tenant import read
from wicketgate.identity.graph import Graph, GraphError, connect, first_line
from wicketgate.identity.signin import Cloud, Principal, SignInError, credential, principal
from wicketgate_gateway.contract.errors import WicketgateError

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential


def cloud_of(config: StackConfig) -> Cloud:
    """Where the stack's tenant is."""
    return Cloud(config.entra.authority, config.entra.graph, config.entra.ca_file)


async def visit(
    config: StackConfig,
    environ: Mapping[str, str],
    given: Mapping[str, Path],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Report:
    """Look at everything that can be looked at. Raises nothing that Entra, Graph or the network can cause."""
    report = Report()
    cloud = cloud_of(config)
    try:
        signed = credential(cloud, environ, config.tenant)
        who = _who(signed, cloud)
        if config.tenant is not None and who.tenant != config.tenant:
            report.problem(
                "wrong-tenant",
                "deployer",
                f"`{who.name}` is signed in to the tenant {who.tenant}, and the stack belongs to {config.tenant}",
                "sign in to the other tenant, or change `wicketgate:tenant`",
            )
            return report
        permissions.look(config, cloud, who, report)
        async with connect(cloud, signed) as graph:
            graph.sleep = sleep
            try:
                await _look(config, cloud, who, graph, environ, given, report, sleep)
            finally:
                _repeated(graph, report)
    except WicketgateError as error:
        report.failed("stack", error)
    return report


def _who(signed: TokenCredential, cloud: Cloud) -> Principal:
    from azure.core.exceptions import AzureError, ClientAuthenticationError

    try:
        return principal(signed.get_token(f"{cloud.graph.rstrip('/')}/.default").token)
    except ClientAuthenticationError as error:
        remedy = "check the tenant, the client id and the proof that the environment names, or run `az login`"
        raise SignInError(f"Entra does not let you in: {first_line(error)}", remedy=remedy) from None
    except AzureError as error:
        remedy = "check the network, a proxy, and `wicketgate:entra` (`authority`, `caFile`)"
        said = f"Entra cannot be reached: {first_line(error)}"
        raise GraphError(said, 0, code="unreachable", remedy=remedy) from None


async def _look(
    config: StackConfig,
    cloud: Cloud,
    who: Principal,
    graph: Graph,
    environ: Mapping[str, str],
    given: Mapping[str, Path],
    report: Report,
    sleep: Callable[[float], Awaitable[None]],
) -> None:
    now = datetime.now(UTC)
    wanted = expected(config)
    keys.expiring(config, now, report)
    tenant = await read(graph, wanted, report)
    gateway = tenant.gateway.principal
    await permissions.assigning(graph, cloud, who, str(gateway["id"]) if gateway else "", report)
    drift.compare(wanted, tenant, who, cloud, report)
    keys.stored(tenant, cloud, now, report)
    await exchange.prove(config, cloud, who.tenant, tenant, given, environ, report, sleep=sleep)
    await keys.unused(graph, cloud, tenant, who, now, report)


def _repeated(graph: Graph, report: Report) -> None:
    for status, times in sorted(graph.repeated.items()):
        why = {"429": "too many requests", "409": "another write was in the way", "404": "not everywhere yet"}
        said = f"{times} requests were repeated after {status} ({why.get(status, 'Graph was not available')})"
        said += f"; {graph.waited:.0f} s were waited in sum"
        report.note("repeated", "stack", said, "nothing; Graph's limits hold for an app and tenant together")
