"""The plugin under the real engine: a stack as the quickstart's, from nothing to nothing again."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wicketgate.testing.entra.server import EntraEmulator
from wicketgate.testing.project import Project

ROOT = Path(__file__).resolve().parents[4]
sys.path.insert(0, str(ROOT))  # `tools` is no distribution

PROGRAM = """
    import pulumi
    import pulumi_azuread as azuread

    config = pulumi.Config()
    me = azuread.get_client_config()
    role_id = "0b6cf4a4-5d0c-4f3c-8f5e-2a1f5a6d7e01"
    gate = azuread.Application(
        "gate",
        display_name="gate",
        owners=[me.object_id],
        identifier_uris=["api://gate"],
        api={"requested_access_token_version": 2},
        app_roles=[{
            "id": role_id,
            "allowed_member_types": ["Application"],
            "description": "A bot",
            "display_name": "Bot",
            "value": "Bot",
        }],
        prevent_duplicate_names=True,
    )
    gate_principal = azuread.ServicePrincipal(
        "gate", client_id=gate.client_id, app_role_assignment_required=True, owners=[me.object_id]
    )
    bot = azuread.Application("bot", display_name=config.get("bot") or "bot", owners=[me.object_id])
    bot_principal = azuread.ServicePrincipal("bot", client_id=bot.client_id, owners=[me.object_id])
    group = azuread.Group("reviewers", display_name="reviewers", security_enabled=True, owners=[me.object_id])
    azuread.GroupMember("bot", group_object_id=group.object_id, member_object_id=bot_principal.object_id)
    azuread.AppRoleAssignment(
        "bot",
        app_role_id=gate.app_role_ids["Bot"],
        principal_object_id=bot_principal.object_id,
        resource_object_id=gate_principal.object_id,
    )
    for name in ("main", "next"):
        azuread.ApplicationFederatedIdentityCredential(
            name,
            application_id=bot.id,
            display_name=f"github-{name}",
            issuer="https://token.actions.githubusercontent.com",
            subject=f"repo:acme/shop:ref:refs/heads/{name}",
            audiences="api://AzureADTokenExchange",
        )
    password = azuread.ApplicationPassword("bot", application_id=bot.id, display_name="until federated")
    pulumi.export("bot", bot.id)
    pulumi.export("client", bot.client_id)
    pulumi.export("password", password.value)
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The pinned engine with our stand-ins; built now if it is not in the cache."""
    from tools.provide import provide

    return provide(folder=tmp_path_factory.mktemp("engine"), python=Path(sys.executable))


@pytest.fixture
def stack(engine: Any, entra: EntraEmulator, tmp_path: Path) -> Callable[[str], Project]:
    """Makes a project whose azuread plugin is the stand-in, against the emulator."""
    deployer = entra.core.directory.find_by("application", "displayName", "wicketgate-deployer")
    assert deployer is not None

    def make(program: str) -> Project:
        environ = {
            **engine.env,
            "ARM_METADATA_HOSTNAME": entra.metadata_host,
            "ARM_TENANT_ID": entra.tenant,
            "ARM_CLIENT_ID": deployer["appId"],
            "ARM_CLIENT_SECRET": "deployer-secret",
            "ARM_USE_CLI": "false",
            "SSL_CERT_FILE": str(entra.bundle_file),
            "WICKETGATE_AZUREAD_WAIT_SECONDS": "0.01",
            "PYTHONPATH": os.pathsep.join([str(ROOT / "components"), os.environ.get("PYTHONPATH", "")]),
        }
        project = Project(tmp_path / "project", engine.command, environ, python=Path(sys.prefix))
        project.program(program)
        return project

    return make


def objects(entra: EntraEmulator) -> set[str]:
    """The names of what a stack can leave behind."""
    kinds = ("application", "servicePrincipal", "group")
    return {str(found["displayName"]) for kind in kinds for found in entra.core.directory.all(kind)}


@pytest.mark.build
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_stack_comes_up_stays_changes_and_goes(entra: EntraEmulator, stack: Callable[[str], Project]) -> None:
    before = objects(entra)
    project = stack(PROGRAM)
    assert project.planned() == {"create": 11}
    project.up()
    assert {"gate", "bot", "reviewers"} <= objects(entra)

    # Nothing changes on a second run, nor by a refresh.
    assert project.planned() == {"same": 11}
    refreshed = json.loads(project.pulumi("refresh", "--preview-only", "--json").out)
    assert set(refreshed["changeSummary"]) <= {"same", "refresh"}, refreshed["changeSummary"]
    project.refresh()
    assert project.planned() == {"same": 11}

    # One property of one resource is one update.
    project.pulumi("config", "set", "bot", "robot")
    assert project.planned() == {"same": 10, "update": 1}
    project.up()
    assert "robot" in objects(entra)
    assert project.planned() == {"same": 11}

    # The password is in the state as a secret alone.
    secret = project.outputs()["password"]
    assert secret
    assert secret not in json.dumps(project.state())
    project.destroy()
    assert objects(entra) == before
