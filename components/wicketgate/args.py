"""The arguments of the components, as Pulumi's schema inference reads them (also from TypeScript, Go and YAML)."""

from enum import StrEnum
from typing import NotRequired, TypedDict

import pulumi


class CredentialIssuer(StrEnum):
    """Who vouches for a workload."""

    GITHUB = "github"
    GITLAB = "gitlab"
    KUBERNETES = "kubernetes"
    TERRAFORM = "terraform"
    GOOGLE = "google"
    SPIFFE = "spiffe"
    MANAGED_IDENTITY = "managed-identity"
    EXPRESSION = "expression"
    OIDC = "oidc"


class FederatedCredentialArgs(TypedDict):
    """One federated credential: a workload that may act as the application without any stored key."""

    kind: CredentialIssuer
    """Which platform issues the workload's token; names the credential."""
    issuer: str
    """The token's `iss`, byte for byte."""
    subject: NotRequired[str]
    """The token's `sub`, byte for byte; upper and lower case differ. Left out with `expression` alone."""
    expression: NotRequired[str]
    """A pattern over claims (`claimsMatchingExpression` of a flexible federated credential) instead of a subject."""
    audience: str
    """The token's only `aud`; `api://AzureADTokenExchange` in the public cloud."""
    adopt: NotRequired[str]
    """Id of the federated credential of an adopted application that is there already, and is the same."""


class AdoptApplicationArgs(TypedDict):
    """An application that exists, with its service principal, taken into the stack by import."""

    application_object_id: str
    """Object id of the application."""
    principal_object_id: str
    """Object id of its service principal."""
    members: NotRequired[dict[str, str]]
    """Object ids of groups that it is a member of already, by their short names."""
    delete_with_stack: NotRequired[bool]
    """Whether it is deleted when the stack lets go of it; false if left out."""


class AdoptGroupArgs(TypedDict):
    """A group that exists, taken into the stack by import."""

    object_id: str
    """Its object id."""
    delete_with_stack: NotRequired[bool]
    """Whether it is deleted when the stack lets go of it; false if left out."""


class GatewayIdentityArgs(TypedDict):
    """The gateway's own registration: the audience of every token that it accepts."""

    display_name: str
    """Name of the application in Entra; unique in the tenant."""
    deployer_object_id: pulumi.Input[str]
    """Object id of the identity that runs `pulumi up`; stays an owner, else it could not change what it made."""
    credentials: NotRequired[list[FederatedCredentialArgs]]
    """How the gateway's process proves who it is when it asks Graph for groups."""
    adopt: NotRequired[AdoptApplicationArgs]
    """The registration that it is, if it exists already; it gets the roles, claims and addresses that it needs."""
    read_directory: NotRequired[bool]
    """Grant `Application.Read.All` on Microsoft Graph, which resolving groups needs; true if left out. Where another
    team grants it, say false."""
    people: NotRequired[bool]
    """Register the public client that people sign in with (device code, PKCE), and let it use the gateway for them."""
    sign_in_redirects: NotRequired[list[str]]
    """Where Entra sends browsers back to after a sign-in: the API's address with `/ui/signed-in`. Counts with `people`
    alone."""
    saml_replies: NotRequired[list[str]]
    """Where Entra posts SAML answers to: the API's address with `/ui/saml/acs`; registers sign-in by SAML, beside the
    gateway's own registration. Counts with `people` alone."""
    read_people: NotRequired[bool]
    """Grant `User.Read.All` and `GroupMember.Read.All` on Microsoft Graph, which knowing approvers' groups needs; true
    if left out. Where another team grants them, say false. Counts with `people` alone."""
    approver_group_ids: NotRequired[dict[str, pulumi.Input[str]]]
    """Object ids of the groups whose members get the role `Approval.Decide`, by short names."""
    auditor_group_ids: NotRequired[dict[str, pulumi.Input[str]]]
    """Object ids of the groups whose members get the role `Session.Read`, by short names."""
    administrator_group_ids: NotRequired[dict[str, pulumi.Input[str]]]
    """Object ids of the groups whose members get the role `Gateway.Admin`, by short names."""


class AgentIdentityArgs(TypedDict):
    """The identity of one agent."""

    display_name: str
    """Name of the application in Entra; unique in the tenant."""
    deployer_object_id: pulumi.Input[str]
    """Object id of the identity that runs `pulumi up`."""
    gateway_object_id: pulumi.Input[str]
    """Object id of the gateway's service principal."""
    credentials: NotRequired[list[FederatedCredentialArgs]]
    """How the agent's process proves who it is."""
    adopt: NotRequired[AdoptApplicationArgs]
    """The application that it is, if it exists already."""


class BotGroupArgs(TypedDict):
    """A group of bots, which policies name as their subject."""

    display_name: str
    """Name of the group in Entra; unique in the tenant."""
    deployer_object_id: pulumi.Input[str]
    """Object id of the identity that runs `pulumi up`."""
    description: NotRequired[str]
    """What the group is for."""
    adopt: NotRequired[AdoptGroupArgs]
    """The group that it is, if it exists already."""


class BotArgs(TypedDict):
    """One bot."""

    display_name: str
    """Name of the application in Entra; unique in the tenant."""
    owner: str
    """Who answers for the bot, as `group:NAME` or `person:MAIL`; written into the application's notes."""
    deployer_object_id: pulumi.Input[str]
    """Object id of the identity that runs `pulumi up`."""
    gateway_object_id: pulumi.Input[str]
    """Object id of the gateway's service principal."""
    group_object_ids: NotRequired[list[pulumi.Input[str]]]
    """Object ids of the bot's groups, in the order of `group_names`."""
    group_names: NotRequired[list[str]]
    """Short names of the bot's groups: they name the membership resources."""
    credentials: list[FederatedCredentialArgs]
    """The workloads that may act as this bot."""
    enabled: NotRequired[bool]
    """False disables the service principal: no new tokens, and the gateway ends its sessions. True if left out."""
    adopt: NotRequired[AdoptApplicationArgs]
    """The application that it is, if it exists already."""


class PolicyBundleArgs(TypedDict):
    """All policies of a stack, rendered for the gateway."""

    tenant_id: pulumi.Input[str]
    """The tenant's id."""
    folder: str
    """Folder of the policy files."""
    policies: list[str]
    """Names of the policies to include, each in a file `NAME.yaml`."""
    groups: dict[str, list[str]]
    """Per policy, the short names of the groups that it applies to."""
    group_object_ids: dict[str, pulumi.Input[str]]
    """Object id per short name of a group."""
    bots: dict[str, dict[str, str]]
    """Per bot: `owner` and, where it has one, `expires`."""
    target_kinds: NotRequired[dict[str, str]]
    """The kind of each target: rules of another protocol are mistakes."""
    target_labels: NotRequired[dict[str, dict[str, str]]]
    """The labels of each target, of which `target_kinds` has the kind."""
    target_openapi: NotRequired[dict[str, str]]
    """The OpenAPI document (a file) of each target that has one: its operations go into the bundle."""
    bot_object_ids: dict[str, pulumi.Input[str]]
    """Object id of the service principal per bot."""
    owner_object_ids: NotRequired[dict[str, pulumi.Input[str]]]
    """Object id of the group or person that answers for each bot; without it nothing that the bot does can be held."""
    approver_object_ids: NotRequired[dict[str, pulumi.Input[str]]]
    """Object ids of the groups of people that `hold` rules name, by those names."""
    access: NotRequired[str]
    """Who may do what, by names (`wicketgate.policy.access`): what `wicketgate access diff` reads in a preview."""


class FederatedIdentity(TypedDict):
    """Ids of an application in Entra."""

    client_id: pulumi.Output[str]
    """The application's client id."""
    object_id: pulumi.Output[str]
    """Object id of its service principal."""
