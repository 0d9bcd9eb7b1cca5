"""What bots and agents have in common: an application without keys, its principal, one role on the gateway."""

from collections.abc import Sequence

import pulumi
import pulumi_azuread as azuread

from wicketgate.args import FederatedCredentialArgs
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
) -> azuread.ServicePrincipal:
    """Application, service principal, federated credentials and the app role, all children of `parent`.

    The role is assigned to the principal itself: one held through a group would not appear in its tokens.
    """
    child = pulumi.ResourceOptions(parent=parent)
    application = azuread.Application(
        f"{name}-application",
        display_name=display_name,
        sign_in_audience="AzureADMyOrg",
        prevent_duplicate_names=True,
        owners=[deployer_object_id],
        notes=notes,
        opts=child,
    )
    principal = azuread.ServicePrincipal(
        f"{name}-principal",
        client_id=application.client_id,
        account_enabled=enabled,
        owners=[deployer_object_id],
        notes=notes,
        opts=child,
    )
    federate(name, application, credentials, parent)
    azuread.AppRoleAssignment(
        f"{name}-role",
        app_role_id=role_id,
        principal_object_id=principal.object_id,
        resource_object_id=gateway_object_id,
        opts=child,
    )
    return principal
