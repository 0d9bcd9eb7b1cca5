"""How people reach a gateway: a delegated permission, the one public client that has it, and roles for their groups.

The client is public (it runs on people's machines and can keep no secret): it proves a person, never itself. It is
authorised in advance for `Gateway.Use` alone, so that nobody is asked to consent, and no other program can come by that
permission without an administrator. Source: Microsoft identity platform, "Public client applications".
"""

from collections.abc import Mapping

import pulumi
import pulumi_azuread as azuread

from wicketgate.args import GatewayIdentityArgs
from wicketgate.identity import roles
from wicketgate_gateway.contract.gateway import ADMIN_ROLE, APPROVER_ROLE, AUDITOR_ROLE, PEOPLE_SCOPE

REDIRECT = "http://127.0.0.1/"
"""Of a sign-in in a browser; Entra takes any port of it (RFC 8252, section 7.3)."""


def scope() -> azuread.ApplicationApiOauth2PermissionScopeArgs:
    """The delegated permission of the gateway's registration. `Admin`: people cannot give it to programs themselves."""
    return azuread.ApplicationApiOauth2PermissionScopeArgs(
        id=roles.SCOPE_ID,
        value=PEOPLE_SCOPE,
        type="Admin",
        enabled=True,
        admin_consent_display_name="Use the gateway",
        admin_consent_description="Look at sessions and held operations, and decide, as the person who is signed in.",
    )


def optional_claims(args: GatewayIdentityArgs) -> list[azuread.ApplicationOptionalClaimsAccessTokenArgs]:
    """`auth_time`, where people come: deciding needs a recent sign-in, and `iat` is that of the last renewal."""
    return [azuread.ApplicationOptionalClaimsAccessTokenArgs(name="auth_time")] if args.get("people", False) else []


def optional_id_claims(args: GatewayIdentityArgs) -> list[azuread.ApplicationOptionalClaimsIdTokenArgs] | None:
    """`auth_time` in ID tokens too, which browsers sign in with."""
    if not (args.get("people", False) and args.get("sign_in_redirects")):
        return None
    return [azuread.ApplicationOptionalClaimsIdTokenArgs(name="auth_time")]


def web(args: GatewayIdentityArgs) -> azuread.ApplicationWebArgs | None:
    """Browsers sign in at the gateway itself, which proves itself by its federated credential: there is no secret."""
    redirects = args.get("sign_in_redirects", [])
    if not (args.get("people", False) and redirects):
        return None
    return azuread.ApplicationWebArgs(redirect_uris=redirects)


def public_client(
    name: str, parent: pulumi.Resource, args: GatewayIdentityArgs, gateway: azuread.Application
) -> pulumi.Output[str]:
    """The public client; gives its client id."""
    child = pulumi.ResourceOptions(parent=parent)
    application = azuread.Application(
        f"{name}-cli-application",
        display_name=f"{args['display_name']}-cli",
        sign_in_audience="AzureADMyOrg",
        prevent_duplicate_names=True,
        owners=[args["deployer_object_id"]],
        notes="Wicketgate's command line, for people; managed by Pulumi.",
        public_client=azuread.ApplicationPublicClientArgs(redirect_uris=[REDIRECT]),
        # The device code flow has no redirect by which Entra could tell that this client is public.
        fallback_public_client_enabled=True,
        required_resource_accesses=[
            azuread.ApplicationRequiredResourceAccessArgs(
                resource_app_id=gateway.client_id,
                resource_accesses=[
                    azuread.ApplicationRequiredResourceAccessResourceAccessArgs(id=roles.SCOPE_ID, type="Scope")
                ],
            )
        ],
        opts=child,
    )
    azuread.ServicePrincipal(
        f"{name}-cli-principal",
        client_id=application.client_id,
        owners=[args["deployer_object_id"]],
        opts=child,
    )
    azuread.ApplicationPreAuthorized(
        f"{name}-cli-authorized",
        application_id=gateway.id,
        authorized_client_id=application.client_id,
        permission_ids=[roles.SCOPE_ID],
        opts=child,
    )
    return application.client_id


def grants(name: str, parent: pulumi.Resource, args: GatewayIdentityArgs, principal: azuread.ServicePrincipal) -> None:
    """Roles for groups of people, and what the gateway may ask Graph of people."""
    assign(name, parent, args, principal)
    if not args.get("read_people", True):
        return
    child = pulumi.ResourceOptions(parent=parent)
    graph = azuread.get_service_principal_output(
        client_id=roles.GRAPH_CLIENT_ID, opts=pulumi.InvokeOutputOptions(parent=parent)
    )
    for slug, permission in (("users", roles.USER_READ_ALL), ("members", roles.GROUP_MEMBER_READ_ALL)):
        azuread.AppRoleAssignment(
            f"{name}-read-{slug}",
            app_role_id=permission,
            principal_object_id=principal.object_id,
            resource_object_id=graph.object_id,
            opts=child,
        )


def assign(name: str, parent: pulumi.Resource, args: GatewayIdentityArgs, principal: azuread.ServicePrincipal) -> None:
    """The groups' roles at a registration that has the roles of people."""
    child = pulumi.ResourceOptions(parent=parent)
    given: tuple[tuple[str, str, Mapping[str, pulumi.Input[str]]], ...] = (
        ("approvers", APPROVER_ROLE, args.get("approver_group_ids", {})),
        ("auditors", AUDITOR_ROLE, args.get("auditor_group_ids", {})),
        ("administrators", ADMIN_ROLE, args.get("administrator_group_ids", {})),
    )
    for what, role, groups in given:
        for short, object_id in sorted(groups.items()):
            azuread.AppRoleAssignment(
                f"{name}-{what}-{short}",
                app_role_id=roles.role_id(role),
                principal_object_id=object_id,
                resource_object_id=principal.object_id,
                opts=child,
            )
