"""Sign-in by SAML: a registration of its own, beside the gateway's.

Beside, not the same: an application with a SAML signing certificate has all its tokens signed with that one, also those
that bots get for the gateway, and then no key of the tenant's would verify them. It has the roles of people alone, the
same groups hold them, and nobody gets an answer without one. Its identifier URI is `api://` and its client id, which
needs no verified domain. The certificate is Entra's to make and to renew, by an administrator; until there is one,
Entra signs with the tenant's keys, and the gateway follows the metadata either way. Sources: Graph resource
`servicePrincipal`, `preferredSingleSignOnMode`; Microsoft identity platform, "Signing key rollover".
"""

import pulumi
import pulumi_azuread as azuread

from wicketgate.args import GatewayIdentityArgs
from wicketgate.identity import roles


def entity_id(client_id: str) -> str:
    """The registration's identifier URI: what assertions are for."""
    return f"api://{client_id}"


def registration(
    name: str,
    parent: pulumi.Resource,
    args: GatewayIdentityArgs,
    app_roles: list[azuread.ApplicationAppRoleArgs],
) -> tuple[azuread.Application, azuread.ServicePrincipal]:
    """Application and service principal that answer at `saml_replies`."""
    child = pulumi.ResourceOptions(parent=parent)
    application = azuread.Application(
        f"{name}-saml-application",
        display_name=f"{args['display_name']}-saml",
        sign_in_audience="AzureADMyOrg",
        prevent_duplicate_names=True,
        owners=[args["deployer_object_id"]],
        notes="Wicketgate's sign-in by SAML; managed by Pulumi.",
        web=azuread.ApplicationWebArgs(redirect_uris=args.get("saml_replies", [])),
        app_roles=app_roles,
        # The URI holds the client id, which is known once the application is there.
        opts=pulumi.ResourceOptions(parent=parent, ignore_changes=["identifierUris"]),
    )
    azuread.ApplicationIdentifierUri(
        f"{name}-saml-entity",
        application_id=application.id,
        identifier_uri=application.client_id.apply(entity_id),
        opts=child,
    )
    principal = azuread.ServicePrincipal(
        f"{name}-saml-principal",
        client_id=application.client_id,
        app_role_assignment_required=True,
        preferred_single_sign_on_mode="saml",
        owners=[args["deployer_object_id"]],
        opts=child,
    )
    return application, principal


def people_roles(made: list[azuread.ApplicationAppRoleArgs]) -> list[azuread.ApplicationAppRoleArgs]:
    """Of the gateway's roles those that people hold."""
    return [role for role in made if role.value in roles.PERSON_ROLES]
