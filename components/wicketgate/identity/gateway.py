"""The gateway's own registration: the one audience that it accepts, and the roles that let bots and agents in."""

import pulumi
import pulumi_azuread as azuread

from wicketgate.args import GatewayIdentityArgs
from wicketgate.identity import adoption, people, roles, saml
from wicketgate.identity.credentials import federate
from wicketgate_gateway.contract.gateway import ADMIN_ROLE, AGENT_ROLE, APPROVER_ROLE, AUDITOR_ROLE, BOT_ROLE


def _role(value: str, description: str, members: str) -> azuread.ApplicationAppRoleArgs:
    return azuread.ApplicationAppRoleArgs(
        id=roles.role_id(value),
        value=value,
        display_name=value,
        description=description,
        allowed_member_types=[members],
        enabled=True,
    )


class GatewayIdentity(pulumi.ComponentResource):
    """Application and service principal of the gateway.

    v2.0 tokens only; assignment required, so that no other client of the tenant gets a token for it; the claim `idtyp`
    in every app's token, so that its absence is an error.
    """

    client_id: pulumi.Output[str]
    """Client id: the audience of all tokens."""
    object_id: pulumi.Output[str]
    """Object id of the service principal, on which roles are assigned."""
    cli_client_id: pulumi.Output[str]
    """Client id of the public client that people sign in with; empty without `people`."""
    saml_client_id: pulumi.Output[str]
    """Client id of the registration for sign-in by SAML; empty without `saml_replies`."""

    def __init__(self, name: str, args: GatewayIdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("wicketgate:index:GatewayIdentity", name, dict(args), opts)
        child = pulumi.ResourceOptions(parent=self)
        app_roles = [
            _role(BOT_ROLE, "Open sessions with targets as a bot.", "Application"),
            _role(AGENT_ROLE, "Connect as an agent that holds target credentials.", "Application"),
            _role(AUDITOR_ROLE, "Search the audit trail and replay sessions.", "User"),
            _role(APPROVER_ROLE, "Approve or deny held operations.", "User"),
            _role(ADMIN_ROLE, "End sessions and administer the gateway.", "User"),
        ]
        adopt = args.get("adopt")
        application = azuread.Application(
            f"{name}-application",
            display_name=args["display_name"],
            sign_in_audience="AzureADMyOrg",
            prevent_duplicate_names=True,
            owners=[args["deployer_object_id"]],
            api=azuread.ApplicationApiArgs(
                requested_access_token_version=2,
                oauth2_permission_scopes=[people.scope()] if args.get("people", False) else None,
            ),
            optional_claims=azuread.ApplicationOptionalClaimsArgs(
                # `app` in every token of an app; a user's token lacks it (the provider knows no `include_user_token`).
                # `auth_time` in people's: deciding needs a recent sign-in, and `iat` is that of the last renewal.
                access_tokens=[
                    azuread.ApplicationOptionalClaimsAccessTokenArgs(name="idtyp"),
                    *people.optional_claims(args),
                ],
                id_tokens=people.optional_id_claims(args),
            ),
            web=people.web(args),
            app_roles=app_roles,
            opts=adoption.options(
                self,
                f"/applications/{adopt['application_object_id']}" if adopt else None,
                adoption.GATEWAY_APPLICATION,
                retained=adoption.retained(adopt),
            ),
        )
        principal = azuread.ServicePrincipal(
            f"{name}-principal",
            client_id=application.client_id,
            app_role_assignment_required=True,
            owners=[args["deployer_object_id"]],
            opts=adoption.options(
                self,
                f"/servicePrincipals/{adopt['principal_object_id']}" if adopt else None,
                adoption.GATEWAY_PRINCIPAL,
                retained=adoption.retained(adopt),
            ),
        )
        federate(name, application, args.get("credentials", []), self, adopt)
        if args.get("read_directory", True):
            graph = azuread.get_service_principal_output(
                client_id=roles.GRAPH_CLIENT_ID, opts=pulumi.InvokeOutputOptions(parent=self)
            )
            azuread.AppRoleAssignment(
                f"{name}-read-directory",
                app_role_id=roles.APPLICATION_READ_ALL,
                principal_object_id=principal.object_id,
                resource_object_id=graph.object_id,
                opts=child,
            )
        self.client_id = application.client_id
        self.object_id = principal.object_id
        self.cli_client_id = pulumi.Output.from_input("")
        if args.get("people", False):
            self.cli_client_id = people.public_client(name, self, args, application)
            people.grants(name, self, args, principal)
        self.saml_client_id = pulumi.Output.from_input("")
        if args.get("people", False) and args.get("saml_replies"):
            by_saml, answering = saml.registration(name, self, args, saml.people_roles(app_roles))
            people.assign(f"{name}-saml", self, args, answering)
            self.saml_client_id = by_saml.client_id
        self.register_outputs(
            {
                "clientId": self.client_id,
                "objectId": self.object_id,
                "cliClientId": self.cli_client_id,
                "samlClientId": self.saml_client_id,
            }
        )
