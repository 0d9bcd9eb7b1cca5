"""The plugin under the real engine: a stack as the quickstart's, from nothing to nothing again."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from wicketgate.provider.values import reveal
from wicketgate.testing.azuread.resources.table import RESOURCES
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


ROLE, SCOPE, TEMPLATE = (
    "0b6cf4a4-5d0c-4f3c-8f5e-2a1f5a6d7e01",
    "0b6cf4a4-5d0c-4f3c-8f5e-2a1f5a6d7e02",
    "88d8e3e3-8f55-4a1e-953a-9b9898b8876b",  # Directory Readers
)


def every_resource(engine: Any, entra: EntraEmulator) -> Iterator[tuple[Any, dict[str, Any]]]:
    """One of each resource, created in this order, with what the program says of it."""
    person = entra.core.directory.find_by("user", "mail", "ada@contoso.example")
    assert person is not None

    def make(token: str, **news: Any) -> tuple[Any, dict[str, Any]]:
        return engine.create(token, token, **news), news

    me = engine.invoke("getClientConfig")["objectId"]
    app, _ = made = make(
        "Application",
        displayName="everything",
        owners=[me],
        description="d",
        api={"requestedAccessTokenVersion": 2},
        groupMembershipClaims=["SecurityGroup"],
        optionalClaims={"accessTokens": [{"name": "idtyp", "additionalProperties": ["use_guid"]}]},
        requiredResourceAccesses=[
            {
                "resourceAppId": "00000003-0000-0000-c000-000000000000",
                "resourceAccesses": [{"id": "9a5d68dd-52b0-4cc2-bd40-abcf44ac3a30", "type": "Role"}],
            }
        ],
        web={"redirectUris": ["https://b.example/x", "https://a.example/x"], "implicitGrant": {}},
        featureTags=[{"hide": True}],
    )
    yield made
    registration, _ = made = make("ApplicationRegistration", displayName="registration", notes="n")
    yield made
    on = {"applicationId": registration.id}
    yield make(
        "ApplicationAppRole",
        **on,
        roleId=ROLE,
        allowedMemberTypes=["Application", "User"],
        description="d",
        displayName="Bot",
        value="Bot",
    )
    yield make(
        "ApplicationPermissionScope",
        **on,
        scopeId=SCOPE,
        adminConsentDescription="d",
        adminConsentDisplayName="n",
        value="act",
    )
    yield make("ApplicationIdentifierUri", **on, identifierUri=f"api://{registration['clientId']}")
    yield make("ApplicationPreAuthorized", **on, authorizedClientId=app["clientId"], permissionIds=[SCOPE])
    yield make("ApplicationApiAccess", **on, apiClientId=app["clientId"], roleIds=[ROLE], scopeIds=[SCOPE])
    yield make("ApplicationOwner", **on, ownerObjectId=person["id"])
    yield make("ApplicationOptionalClaims", **on, accessTokens=[{"name": "idtyp", "essential": True}])
    federated = {"issuer": "https://issuer.example", "applicationId": app.id}
    audience = "api://AzureADTokenExchange"
    yield make(
        "ApplicationFederatedIdentityCredential",
        **federated,
        displayName="plain",
        subject="system:serviceaccount:a:b",
        audiences=audience,
    )
    yield make(
        "ApplicationFlexibleFederatedIdentityCredential",
        **{**federated, "issuer": "https://token.actions.githubusercontent.com"},
        displayName="flexible",
        claimsMatchingExpression="claims['sub'] matches 'repo:acme/shop:ref:refs/heads/*'",
        audience=audience,
    )
    yield make("ApplicationPassword", applicationId=app.id, displayName="second", rotateWhenChanged={"day": "1"})
    target, _ = made = make("ServicePrincipal", clientId=registration["clientId"], appRoleAssignmentRequired=True)
    yield made
    bot, _ = made = make("ServicePrincipal", clientId=app["clientId"], owners=[me], notes="n")
    yield made
    group, _ = made = make("Group", displayName="everybody", securityEnabled=True, assignableToRole=True, owners=[me])
    yield made
    yield make("GroupMember", groupObjectId=group["objectId"], memberObjectId=bot["objectId"])
    yield make(
        "AppRoleAssignment",
        appRoleId=ROLE,
        principalObjectId=bot["objectId"],
        resourceObjectId=target["objectId"],
    )
    role, _ = made = make("DirectoryRole", templateId=TEMPLATE)
    yield made
    yield make("DirectoryRoleAssignment", roleId=role["templateId"], principalObjectId=bot["objectId"])


# What an import cannot know: secrets, and what only the program says.
_NOT_IMPORTED = {"password", "rotateWhenChanged", "preventDuplicateNames", "useExisting", "__meta"}
# An import takes over both of two arguments of which one must be left out, as the real bridge does.
_NOT_IMPORTED_OF = {"ApplicationPassword": {"value"}, "DirectoryRole": {"displayName"}}


@pytest.mark.slow
@pytest.mark.parametrize("quirks", [{}, {"throttle_next": 5, "retry_after": 0}])
def test_every_resource_lives_and_dies_quietly(emulated: Any, entra: EntraEmulator, quirks: dict[str, Any]) -> None:
    before = objects(entra)
    entra.set_quirks(**quirks)
    resources = list(every_resource(emulated, entra))
    assert {state.token for state, _ in resources} == {resource.name for resource in RESOURCES.values()}
    for state, news in resources:
        assert emulated.changes(state, **news) == {}, state.token
        outputs = state.outputs
        assert emulated.refresh(state), state.token
        changed = {name for name in outputs if outputs[name] != state.outputs[name]}
        # Entries of an application's lists show in the application, and what is empty was absent before.
        assert all(not reveal(outputs[name]) for name in changed) or state.token == "ApplicationRegistration"
        assert emulated.changes(state, **news) == {}, state.token

        found = emulated.bring_in(state.token, state.id)
        assert found is not None, state.token
        lost = _NOT_IMPORTED | _NOT_IMPORTED_OF.get(state.token, set())
        different = {name for name in found.outputs if reveal(found.outputs[name]) != reveal(state.outputs[name])}
        assert different <= lost, state.token
        inputs = {name: value for name, value in found.inputs.items() if name not in lost}
        assert emulated.changes(found, **inputs) == {}, state.token
    for state, _ in reversed(resources):
        emulated.delete(state)
        if state.token not in ("DirectoryRole", "ApplicationOptionalClaims"):  # part of something that stays
            assert not emulated.refresh(state), state.token
    assert objects(entra) == before


def test_what_is_not_there_yet_is_awaited_where_the_real_provider_does(emulated: Any, entra: EntraEmulator) -> None:
    entra.set_quirks(replication_lag=0.3)
    app = emulated.create("Application", displayName="late")
    entra.set_quirks(replication_lag=0.0)
    assert emulated.changes(app, displayName="late") == {}
    entra.set_quirks(replication_lag=0.3)
    with pytest.raises(grpc.RpcError, match="Timed out whilst waiting for new service principal to be replicated"):
        emulated.create("ServicePrincipal", clientId=app["clientId"])
    entra.set_quirks(replication_lag=0.0)
    emulated.delete(app)


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


ADOPTION = """
    import pulumi
    import pulumi_azuread as azuread

    config = pulumi.Config()
    known = config.get_object("import") or {}
    me = azuread.get_client_config()

    def adopted(name):
        return pulumi.ResourceOptions(import_=known.get(name))

    app = azuread.Application("app", display_name="adopted", owners=[me.object_id], opts=adopted("app"))
    principal = azuread.ServicePrincipal(
        "principal", client_id=app.client_id, owners=[me.object_id], opts=adopted("principal")
    )
    group = azuread.Group(
        "group", display_name="adopters", security_enabled=True, owners=[me.object_id], opts=adopted("group")
    )
    member = azuread.GroupMember(
        "member",
        group_object_id=group.object_id,
        member_object_id=principal.object_id,
        opts=adopted("member"),
    )
    credential = azuread.ApplicationFederatedIdentityCredential(
        "credential",
        application_id=app.id,
        display_name="main",
        issuer="https://issuer.example",
        subject=config.get("subject") or "repo:acme/shop",
        audiences="api://AzureADTokenExchange",
        opts=adopted("credential"),
    )
    found = azuread.Group.get("found", group.id)
    looked_up = azuread.get_service_principal_output(client_id=principal.client_id)
    pulumi.export("found", found.display_name)
    pulumi.export("looked_up", looked_up.display_name)
    ids = {"app": app, "principal": principal, "group": group, "member": member, "credential": credential}
    pulumi.export("ids", {name: resource.id for name, resource in ids.items()})
"""


@pytest.mark.build
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_stack_adopts_loses_and_fails(entra: EntraEmulator, stack: Callable[[str], Project]) -> None:
    before = objects(entra)
    project = stack(ADOPTION)
    project.up()
    outputs = project.outputs()
    assert (outputs["found"], outputs["looked_up"]) == ("adopters", "adopted")

    # Forgotten and adopted again, by IDs alone.
    project.pulumi("state", "delete", "--all", "--yes", "--force")
    for name, identifier in outputs["ids"].items():
        project.pulumi("config", "set", "--path", f"import.{name}", identifier)
    planned = project.planned()
    assert planned["import"] == 5
    assert "update" not in planned
    project.up()
    project.pulumi("config", "rm", "import")
    assert set(project.planned()) == {"same"}

    # What somebody else deleted is found out and made again, with what hangs on it.
    group = entra.core.directory.find_by("group", "displayName", "adopters")
    assert group is not None
    entra.core.directory.delete(group)
    project.refresh()
    assert project.planned()["create"] == 2
    project.up()
    assert "adopters" in objects(entra)

    # A refused change leaves the state as it was, and says what Graph said.
    project.pulumi("config", "set", "subject", "x" * 700)
    failed = project.pulumi("up", "--yes", "--skip-preview", check=False)
    assert failed.code != 0
    assert "credential" in failed.text
    project.pulumi("config", "rm", "subject")
    project.refresh()
    assert set(project.planned()) == {"same"}
    project.destroy()
    assert objects(entra) == before
