"""What the tenant has, read with what may be read; the rest are findings."""

import asyncio
from typing import Any

from wicketgate.identity.doctor.expected import expected
from wicketgate.identity.doctor.findings import Report
from wicketgate.identity.doctor.tenant import Tenant, read
from wicketgate.identity.graph import connect
from wicketgate.identity.signin import Cloud, credential


def look(practice: Any) -> tuple[Tenant, Report]:
    config = practice.config()
    cloud = Cloud(config.entra.authority, config.entra.graph, config.entra.ca_file)
    report = Report()

    async def ask() -> Tenant:
        async with connect(cloud, credential(cloud, practice.environ)) as graph:
            return await read(graph, expected(config), report)

    return asyncio.run(ask()), report


def test_everything_is_read(practice: Any) -> None:
    tenant, report = look(practice)
    assert report.findings == []
    bot = tenant.of("bot", "review")
    assert bot is not None
    assert bot.principal is not None
    assert bot.principal["id"] == practice.id("wicketgate-bot-review")
    assert [one["subject"] for one in bot.credentials or []] == ["repo:acme/shop:ref:refs/heads/main"]
    assert [one["principalDisplayName"] for one in tenant.assigned or []] == [
        "wicketgate-agent-desk",
        "wicketgate-bot-review",
        "dba",
    ]
    (group,) = tenant.groups
    assert [one["id"] for one in group.members or []] == [bot.principal["id"]]
    assert tenant.strangers == []


def test_a_service_principal_that_is_gone_is_told(practice: Any) -> None:
    practice.graph("DELETE", f"servicePrincipals/{practice.id('wicketgate-bot-review')}")
    tenant, report = look(practice)
    assert [(one.code, one.about) for one in report.findings] == [("principal-missing", "bot review")]
    bot = tenant.of("bot", "review")
    assert bot is not None
    assert bot.principal is None
