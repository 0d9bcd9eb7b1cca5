"""Taking what exists in Entra into a stack: Pulumi imports that change nothing and that a destroy leaves alone.

How this works: after an import the engine makes the resource what the program says of it; so everything that the stack
does not need to rule is ignored (`ignore_changes`), and what it needs it adds by resources of its own: federated
credentials, the role on the gateway, memberships. What was there before the stack outlives it: adopted resources are
retained when the stack lets go of them (`retain_on_delete`), unless `deleteWithStack` is said. They are not protected:
`protect` would stop every `destroy`, and the removal of one bot's lines, until somebody edits the state.
Sources: Pulumi, "Import"; azuread provider, "Import" of each resource.
"""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
from pydantic import Field

from wicketgate.args import AdoptApplicationArgs, AdoptGroupArgs, FederatedCredentialArgs
from wicketgate_gateway.contract import model
from wicketgate_gateway.contract.values import Name, Uuid

# What the stack leaves as it is. `appId` of the principal stays compared: it must be the application's.
APPLICATION = (
    "api",
    "appRoles",
    "description",
    "deviceOnlyAuthEnabled",
    "displayName",
    "fallbackPublicClientEnabled",
    "featureTags",
    "groupMembershipClaims",
    "identifierUris",
    "logoImage",
    "marketingUrl",
    "notes",
    "oauth2PostResponseRequired",
    "optionalClaims",
    "owners",
    "preventDuplicateNames",
    "privacyStatementUrl",
    "publicClient",
    "requiredResourceAccesses",
    "serviceManagementReference",
    "singlePageApplication",
    "supportUrl",
    "tags",
    "termsOfServiceUrl",
    "web",
)
PRINCIPAL = (
    "alternativeNames",
    "appRoleAssignmentRequired",
    "description",
    "featureTags",
    "features",
    "loginUrl",
    "notes",
    "notificationEmailAddresses",
    "owners",
    "preferredSingleSignOnMode",
    "samlSingleSignOn",
    "tags",
)
GROUP = (
    "administrativeUnitIds",
    "assignableToRole",
    "autoSubscribeNewMembers",
    "behaviors",
    "description",
    "displayName",
    "externalSendersAllowed",
    "hideFromAddressLists",
    "hideFromOutlookClients",
    "mailEnabled",
    "mailNickname",
    "onpremisesGroupType",
    "preventDuplicateNames",
    "provisioningOptions",
    "theme",
    "types",
    "visibility",
    "writebackEnabled",
)
"""Without `members` and `owners`: the stack says nothing of them, so the provider leaves them as they are."""
GATEWAY_APPLICATION = tuple(name for name in APPLICATION if name not in ("api", "appRoles", "optionalClaims", "web"))
GATEWAY_PRINCIPAL = tuple(name for name in PRINCIPAL if name != "appRoleAssignmentRequired")
"""Of the gateway's registration the stack does rule roles, token version, claims, addresses, and who gets tokens."""
CREDENTIAL = ("description", "displayName")


class AdoptApplication(model.Model):
    """An application that exists, with its service principal, taken into the stack."""

    application: Uuid
    """Its client id."""
    groups: list[Name] = Field(default_factory=list[Name])
    """Adopted groups that it is a member of already."""
    delete_with_stack: bool = False
    """Whether it is deleted when the stack lets go of it."""


class AdoptGroup(model.Model):
    """A group that exists, taken into the stack."""

    group: Uuid
    """Its object id."""
    delete_with_stack: bool = False
    """Whether it is deleted when the stack lets go of it."""


def options(
    parent: pulumi.Resource,
    import_id: str | None,
    ignored: Sequence[str] = (),
    *,
    retained: bool = True,
    depends_on: Sequence[pulumi.Resource] = (),
) -> pulumi.ResourceOptions:
    """Options of a child that is imported if there is an `import_id`, and an ordinary one if not."""
    if import_id is None:
        return pulumi.ResourceOptions(parent=parent, depends_on=list(depends_on))
    return pulumi.ResourceOptions(
        parent=parent,
        depends_on=list(depends_on),
        import_=import_id,
        ignore_changes=list(ignored),
        retain_on_delete=retained,
    )


def application_args(given: AdoptApplication, members: dict[str, str]) -> AdoptApplicationArgs:
    """The arguments of a component that adopts; asks Entra for object ids. `members` are adopted groups by name.

    Raises pulumi.RunError if the application cannot be what the stack needs.
    """
    import pulumi_azuread as azuread

    found = azuread.get_application(client_id=given.application)
    if found.sign_in_audience != "AzureADMyOrg":
        raise pulumi.RunError(
            f"the application `{given.application}` is open to other tenants ({found.sign_in_audience}), and is not "
            f"adopted; close it: az ad app update --id {given.application} --sign-in-audience AzureADMyOrg"
        )
    principal = azuread.get_service_principal(client_id=given.application)
    return {
        "application_object_id": found.object_id,
        "principal_object_id": principal.object_id,
        "members": {name: members[name] for name in given.groups},
        "delete_with_stack": given.delete_with_stack,
    }


def group_args(given: AdoptGroup) -> AdoptGroupArgs:
    """The same for a group. Raises pulumi.RunError."""
    import pulumi_azuread as azuread

    found = azuread.get_group(object_id=given.group)
    wrong = ""
    if not found.security_enabled:
        wrong = "is no security group"
    elif "DynamicMembership" in (found.types or []):
        wrong = "has members by a rule of Entra's, so no bot can be put into it"
    if wrong:
        raise pulumi.RunError(f"the group `{given.group}` {wrong}, and is not adopted; use another group")
    return {"object_id": given.group, "delete_with_stack": given.delete_with_stack}


def member_import(given: AdoptApplicationArgs | None, group: str) -> str | None:
    """The import id of a membership that exists, or None."""
    if given is None or group not in given.get("members", {}):
        return None
    return f"{given.get('members', {})[group]}/member/{given['principal_object_id']}"


def retained(given: AdoptApplicationArgs | AdoptGroupArgs | None) -> bool:
    """Whether what was adopted stays when the stack lets go of it."""
    return given is None or not given.get("delete_with_stack", False)


def credential_import(given: AdoptApplicationArgs | None, credential: FederatedCredentialArgs) -> str | None:
    """The import id of a federated credential that exists, or None. Raises ValueError without its application."""
    key = credential.get("adopt")
    if key is None:
        return None
    if given is None:
        raise ValueError(f"the federated credential `{key}` can be adopted only with its application")
    return f"{given['application_object_id']}/federatedIdentityCredential/{key}"
