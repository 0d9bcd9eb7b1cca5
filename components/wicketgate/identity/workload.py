"""What bots and agents have in common: an application without keys, its principal, one role on the gateway."""

from collections.abc import Sequence

import pulumi
import pulumi_azuread as azuread

from wicketgate.args import AdoptApplicationArgs, FederatedCredentialArgs
from wicketgate.identity import adoption
from wicketgate.identity.credentials import federate


def principal_with_role(
    name: str,
    parent: pulumi.Resource,
    *,
    display_name: str,
    deployer_object_id: pulumi.Input[str],
    gateway_object_id: pulumi.Input[str],
    role_id: str,
    credentials: Sequence[FederatedCredentialArgs],
    notes: str,
    enabled: bool = True,
    adopt: AdoptApplicationArgs | None = None,
) -> azuread.ServicePrincipal:
    """Application, service principal, federated credentials and the app role, all children of `parent`.

    The role is assigned to the principal itself: one held through a group would not appear in its tokens. With `adopt`,
    application and principal are imported, and stay as they are but for `account_enabled`.
    """
    child = pulumi.ResourceOptions(parent=parent)
    stays = adoption.retained(adopt)
    application = azuread.Application(
        f"{name}-application",
        display_name=display_name,
        sign_in_audience="AzureADMyOrg",
        prevent_duplicate_names=True,
        owners=[deployer_object_id],
        notes=notes,
        opts=adoption.options(
            parent,
            f"/applications/{adopt['application_object_id']}" if adopt else None,
            adoption.APPLICATION,
            retained=stays,
        ),
    )
    principal = azuread.ServicePrincipal(
        f"{name}-principal",
        client_id=application.client_id,
        account_enabled=enabled,
        owners=[deployer_object_id],
        notes=notes,
        opts=adoption.options(
            parent,
            f"/servicePrincipals/{adopt['principal_object_id']}" if adopt else None,
            adoption.PRINCIPAL,
            retained=stays,
        ),
    )
    federate(name, application, credentials, parent, adopt)
    azuread.AppRoleAssignment(
        f"{name}-role",
        app_role_id=role_id,
        principal_object_id=principal.object_id,
        resource_object_id=gateway_object_id,
        opts=child,
    )
    return principal
