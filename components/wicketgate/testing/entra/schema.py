"""The one table of what Graph knows here: entities, their properties and how they hang together.

A row says where an entity lives, what a new one looks like in full (Graph tells null from absent, and so do its
clients), which keys find it besides `id`, and which navigations lead on from it. The routes are derived from it.
Source: Graph's resource reference, v1.0 and beta.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Via(StrEnum):
    """How a navigation finds its targets."""

    LINK = "link"  # targets of the link
    BACK = "back"  # sources of the link
    CLOSURE = "closure"  # targets of the link, of their targets, and so on
    BACK_CLOSURE = "back closure"
    CHILD = "child"  # documents of a kind whose `key` property holds this object's id
    NOTHING = "nothing"  # exists in Graph, always empty here


@dataclass(frozen=True)
class Navigation:
    """A step from an object to others: `name` of the link, or kind and property of children."""

    via: Via
    name: str = ""
    key: str = ""
    polymorphic: bool = True
    expands: bool = False


@dataclass(frozen=True)
class Entity:
    """A kind of object. `defaults` is a new one in full; `beta` and `select_only` name what is left out otherwise."""

    kind: str
    collection: str
    defaults: Mapping[str, Any]
    navigations: Mapping[str, Navigation] = field(default_factory=dict[str, Navigation])
    alternate_keys: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    read_only: frozenset[str] = frozenset()
    beta: frozenset[str] = frozenset()
    select_only: frozenset[str] = frozenset()
    also: frozenset[str] = frozenset()
    directory: bool = True
    recoverable: bool = False
    writable: bool = True

    @property
    def odata_type(self) -> str:
        """The `@odata.type` of an object of this kind."""
        return f"#microsoft.graph.{self.kind}"

    def knows(self, name: str) -> bool:
        """Whether a body may name this property."""
        return name in self.defaults or name in self.also or "@odata." in name or name.startswith("@")


_OWNERS = Navigation(Via.LINK, "owners", expands=True)
_OWNED = Navigation(Via.BACK, "owners")
_MEMBER_OF = Navigation(Via.BACK, "members", expands=True)
_TRANSITIVE_MEMBER_OF = Navigation(Via.BACK_CLOSURE, "members")
_ASSIGNED = Navigation(Via.CHILD, "appRoleAssignment", key="principalId", polymorphic=False, expands=True)
_NOTHING = Navigation(Via.NOTHING)

_PUBLISHER = {"displayName": None, "verifiedPublisherId": None, "addedDateTime": None}
_INFO = {
    "logoUrl": None,
    "marketingUrl": None,
    "privacyStatementUrl": None,
    "supportUrl": None,
    "termsOfServiceUrl": None,
}
_FIXED = frozenset({"id", "appId", "createdDateTime", "deletedDateTime", "passwordCredentials", "publisherDomain"})

APPLICATION = Entity(
    kind="application",
    collection="applications",
    alternate_keys=("appId", "uniqueName"),
    required=("displayName",),
    read_only=_FIXED,
    recoverable=True,
    beta=frozenset({"oauth2RequirePostResponse"}),
    also=frozenset({"logo", "isDisabled", "authenticationBehaviors", "createdByAppId", "passwordCredentials"}),
    defaults={
        "id": None,
        "deletedDateTime": None,
        "appId": None,
        "applicationTemplateId": None,
        "disabledByMicrosoftStatus": None,
        "createdDateTime": None,
        "displayName": None,
        "description": None,
        "groupMembershipClaims": None,
        "identifierUris": [],
        "isDeviceOnlyAuthSupported": None,
        "isFallbackPublicClient": None,
        "nativeAuthenticationApisEnabled": None,
        "notes": None,
        "publisherDomain": None,
        "serviceManagementReference": None,
        "signInAudience": "AzureADMyOrg",
        "tags": [],
        "tokenEncryptionKeyId": None,
        "uniqueName": None,
        "samlMetadataUrl": None,
        "defaultRedirectUri": None,
        "certification": None,
        "optionalClaims": None,
        "requestSignatureVerification": None,
        "servicePrincipalLockConfiguration": None,
        "addIns": [],
        "api": {
            "acceptMappedClaims": None,
            "knownClientApplications": [],
            "requestedAccessTokenVersion": None,
            "oauth2PermissionScopes": [],
            "preAuthorizedApplications": [],
        },
        "appRoles": [],
        "info": _INFO,
        "keyCredentials": [],
        "parentalControlSettings": {"countriesBlockedForMinors": [], "legalAgeGroupRule": "Allow"},
        "passwordCredentials": [],
        "publicClient": {"redirectUris": []},
        "requiredResourceAccess": [],
        "verifiedPublisher": _PUBLISHER,
        "web": {
            "homePageUrl": None,
            "logoutUrl": None,
            "redirectUris": [],
            "implicitGrantSettings": {"enableAccessTokenIssuance": False, "enableIdTokenIssuance": False},
            "redirectUriSettings": [],
        },
        "spa": {"redirectUris": []},
        "oauth2RequirePostResponse": False,
    },
    navigations={
        "owners": _OWNERS,
        "federatedIdentityCredentials": Navigation(
            Via.CHILD, "federatedIdentityCredential", key="_parent", polymorphic=False, expands=True
        ),
        "appManagementPolicies": _NOTHING,
        "extensionProperties": _NOTHING,
        "tokenIssuancePolicies": _NOTHING,
        "tokenLifetimePolicies": _NOTHING,
        "homeRealmDiscoveryPolicies": _NOTHING,
    },
)

SERVICE_PRINCIPAL = Entity(
    kind="servicePrincipal",
    collection="servicePrincipals",
    alternate_keys=("appId",),
    required=("appId",),
    read_only=_FIXED | {"appDisplayName", "appOwnerOrganizationId"},
    recoverable=True,
    beta=frozenset({"samlMetadataUrl"}),
    also=frozenset({"customSecurityAttributes", "isDisabled", "errorUrl", "publisherName", "createdByAppId"}),
    defaults={
        "id": None,
        "deletedDateTime": None,
        "accountEnabled": True,
        "alternativeNames": [],
        "appDisplayName": None,
        "appDescription": None,
        "appId": None,
        "applicationTemplateId": None,
        "appOwnerOrganizationId": None,
        "appRoleAssignmentRequired": False,
        "createdDateTime": None,
        "description": None,
        "disabledByMicrosoftStatus": None,
        "displayName": None,
        "homepage": None,
        "loginUrl": None,
        "logoutUrl": None,
        "notes": None,
        "notificationEmailAddresses": [],
        "preferredSingleSignOnMode": None,
        "preferredTokenSigningKeyThumbprint": None,
        "replyUrls": [],
        "servicePrincipalNames": [],
        "servicePrincipalType": "Application",
        "signInAudience": None,
        "tags": [],
        "tokenEncryptionKeyId": None,
        "samlSingleSignOnSettings": None,
        "samlMetadataUrl": None,
        "addIns": [],
        "appRoles": [],
        "info": _INFO,
        "keyCredentials": [],
        "oauth2PermissionScopes": [],
        "passwordCredentials": [],
        "resourceSpecificApplicationPermissions": [],
        "verifiedPublisher": _PUBLISHER,
    },
    navigations={
        "owners": _OWNERS,
        "ownedObjects": _OWNED,
        "createdObjects": _NOTHING,
        "memberOf": _MEMBER_OF,
        "transitiveMemberOf": _TRANSITIVE_MEMBER_OF,
        "appRoleAssignedTo": Navigation(
            Via.CHILD, "appRoleAssignment", key="resourceId", polymorphic=False, expands=True
        ),
        "appRoleAssignments": _ASSIGNED,
        "oauth2PermissionGrants": Navigation(Via.CHILD, "oAuth2PermissionGrant", key="clientId", polymorphic=False),
        "claimsMappingPolicies": _NOTHING,
        "delegatedPermissionClassifications": _NOTHING,
        "homeRealmDiscoveryPolicies": _NOTHING,
        "tokenIssuancePolicies": _NOTHING,
        "tokenLifetimePolicies": _NOTHING,
        "appManagementPolicies": _NOTHING,
    },
)

GROUP = Entity(
    kind="group",
    collection="groups",
    alternate_keys=("uniqueName",),
    required=("displayName", "mailEnabled", "mailNickname", "securityEnabled"),
    read_only=frozenset({"id", "createdDateTime", "deletedDateTime", "mail", "securityIdentifier", "renewedDateTime"}),
    recoverable=True,
    beta=frozenset({"organizationId", "createdByAppId", "infoCatalogs", "writebackConfiguration"}),
    also=frozenset(
        {
            "allowExternalSenders",
            "autoSubscribeNewMembers",
            "hideFromAddressLists",
            "hideFromOutlookClients",
            "assignedLabels",
            "assignedLicenses",
        }
    ),
    defaults={
        "id": None,
        "deletedDateTime": None,
        "classification": None,
        "createdDateTime": None,
        "createdByAppId": None,
        "organizationId": None,
        "description": None,
        "displayName": None,
        "expirationDateTime": None,
        "groupTypes": [],
        "infoCatalogs": [],
        "isAssignableToRole": None,
        "isManagementRestricted": None,
        "mail": None,
        "mailEnabled": False,
        "mailNickname": None,
        "membershipRule": None,
        "membershipRuleProcessingState": None,
        "onPremisesDomainName": None,
        "onPremisesLastSyncDateTime": None,
        "onPremisesNetBiosName": None,
        "onPremisesSamAccountName": None,
        "onPremisesSecurityIdentifier": None,
        "onPremisesSyncEnabled": None,
        "onPremisesProvisioningErrors": [],
        "preferredDataLocation": None,
        "preferredLanguage": None,
        "proxyAddresses": [],
        "renewedDateTime": None,
        "resourceBehaviorOptions": [],
        "resourceProvisioningOptions": [],
        "securityEnabled": True,
        "securityIdentifier": None,
        "serviceProvisioningErrors": [],
        "theme": None,
        "uniqueName": None,
        "visibility": None,
        "writebackConfiguration": {"isEnabled": None, "onPremisesGroupType": None},
    },
    navigations={
        "members": Navigation(Via.LINK, "members", expands=True),
        "owners": _OWNERS,
        "transitiveMembers": Navigation(Via.CLOSURE, "members"),
        "memberOf": _MEMBER_OF,
        "transitiveMemberOf": _TRANSITIVE_MEMBER_OF,
        "appRoleAssignments": _ASSIGNED,
        "groupLifecyclePolicies": _NOTHING,
        "settings": _NOTHING,
    },
)

USER = Entity(
    kind="user",
    collection="users",
    alternate_keys=("userPrincipalName",),
    required=("displayName", "userPrincipalName", "accountEnabled", "mailNickname"),
    read_only=frozenset({"id", "createdDateTime", "deletedDateTime"}),
    recoverable=True,
    select_only=frozenset(
        {"accountEnabled", "createdDateTime", "deletedDateTime", "mailNickname", "userType", "securityIdentifier"}
    ),
    also=frozenset({"passwordProfile", "employeeId", "companyName", "usageLocation", "department", "otherMails"}),
    defaults={
        "id": None,
        "deletedDateTime": None,
        "accountEnabled": True,
        "businessPhones": [],
        "createdDateTime": None,
        "displayName": None,
        "givenName": None,
        "jobTitle": None,
        "mail": None,
        "mailNickname": None,
        "mobilePhone": None,
        "officeLocation": None,
        "preferredLanguage": None,
        "securityIdentifier": None,
        "surname": None,
        "userPrincipalName": None,
        "userType": "Member",
    },
    navigations={
        "memberOf": _MEMBER_OF,
        "transitiveMemberOf": _TRANSITIVE_MEMBER_OF,
        "ownedObjects": _OWNED,
        "appRoleAssignments": _ASSIGNED,
        "oauth2PermissionGrants": Navigation(Via.CHILD, "oAuth2PermissionGrant", key="principalId", polymorphic=False),
    },
)

DIRECTORY_ROLE = Entity(
    kind="directoryRole",
    collection="directoryRoles",
    alternate_keys=("roleTemplateId",),
    required=("roleTemplateId",),
    read_only=frozenset({"id", "deletedDateTime"}),
    defaults={"id": None, "deletedDateTime": None, "description": None, "displayName": None, "roleTemplateId": None},
    navigations={"members": Navigation(Via.LINK, "members", expands=True)},
)

FEDERATED_CREDENTIAL = Entity(
    kind="federatedIdentityCredential",
    collection="",
    alternate_keys=("name",),
    required=("name", "issuer", "audiences"),
    read_only=frozenset({"id"}),
    beta=frozenset({"claimsMatchingExpression"}),
    directory=False,
    defaults={
        "id": None,
        "name": None,
        "issuer": None,
        "subject": None,
        "description": None,
        "audiences": [],
        "claimsMatchingExpression": None,
    },
)

APP_ROLE_ASSIGNMENT = Entity(
    kind="appRoleAssignment",
    collection="",
    required=("principalId", "resourceId", "appRoleId"),
    read_only=frozenset({"id", "createdDateTime", "deletedDateTime"}),
    directory=False,
    defaults={
        "id": None,
        "deletedDateTime": None,
        "appRoleId": None,
        "createdDateTime": None,
        "principalDisplayName": None,
        "principalId": None,
        "principalType": None,
        "resourceDisplayName": None,
        "resourceId": None,
    },
)

PERMISSION_GRANT = Entity(
    kind="oAuth2PermissionGrant",
    collection="oauth2PermissionGrants",
    required=("clientId", "consentType", "resourceId"),
    read_only=frozenset({"id"}),
    directory=False,
    also=frozenset({"startTime", "expiryTime"}),
    defaults={
        "id": None,
        "clientId": None,
        "consentType": None,
        "principalId": None,
        "resourceId": None,
        "scope": None,
    },
)

ROLE_ASSIGNMENT = Entity(
    kind="unifiedRoleAssignment",
    collection="roleManagement/directory/roleAssignments",
    required=("principalId", "roleDefinitionId"),
    read_only=frozenset({"id"}),
    directory=False,
    also=frozenset({"appScopeId", "condition"}),
    defaults={"id": None, "principalId": None, "directoryScopeId": "/", "roleDefinitionId": None},
)

ROLE_DEFINITION = Entity(
    kind="unifiedRoleDefinition",
    collection="roleManagement/directory/roleDefinitions",
    directory=False,
    writable=False,
    defaults={
        "id": None,
        "description": None,
        "displayName": None,
        "isBuiltIn": True,
        "isEnabled": True,
        "resourceScopes": ["/"],
        "templateId": None,
        "version": "1",
        "rolePermissions": [],
    },
)

ROLE_TEMPLATE = Entity(
    kind="directoryRoleTemplate",
    collection="directoryRoleTemplates",
    writable=False,
    defaults={"id": None, "deletedDateTime": None, "description": None, "displayName": None},
)

ORGANIZATION = Entity(
    kind="organization",
    collection="organization",
    writable=False,
    defaults={
        "id": None,
        "deletedDateTime": None,
        "displayName": None,
        "tenantType": "AAD",
        "createdDateTime": None,
        "countryLetterCode": None,
        "verifiedDomains": [],
        "assignedPlans": [],
        "technicalNotificationMails": [],
    },
)

DOMAIN = Entity(
    kind="domain",
    collection="domains",
    directory=False,
    writable=False,
    defaults={
        "id": None,
        "authenticationType": "Managed",
        "isAdminManaged": True,
        "isDefault": True,
        "isInitial": True,
        "isRoot": True,
        "isVerified": True,
        "supportedServices": [],
    },
)

ENTITIES: dict[str, Entity] = {
    entity.kind: entity
    for entity in (
        APPLICATION,
        SERVICE_PRINCIPAL,
        GROUP,
        USER,
        DIRECTORY_ROLE,
        FEDERATED_CREDENTIAL,
        APP_ROLE_ASSIGNMENT,
        PERMISSION_GRANT,
        ROLE_ASSIGNMENT,
        ROLE_DEFINITION,
        ROLE_TEMPLATE,
        ORGANIZATION,
        DOMAIN,
    )
}
COLLECTIONS: dict[str, Entity] = {entity.collection: entity for entity in ENTITIES.values() if entity.collection}
DIRECTORY_KINDS: tuple[str, ...] = ("application", "servicePrincipal", "group", "user", "directoryRole")
OBJECT_LISTS: frozenset[str] = frozenset(
    {
        "addIns",
        "appRoles",
        "keyCredentials",
        "oauth2PermissionScopes",
        "passwordCredentials",
        "preAuthorizedApplications",
        "redirectUriSettings",
        "requiredResourceAccess",
    }
)
"""Properties whose lists hold objects; all others hold strings."""
COMPLEX: frozenset[str] = frozenset(
    {
        "authenticationBehaviors",
        "certification",
        "claimsMatchingExpression",
        "customSecurityAttributes",
        "logo",
        "optionalClaims",
        "otherMails",
        "passwordProfile",
        "requestSignatureVerification",
        "samlSingleSignOnSettings",
        "servicePrincipalLockConfiguration",
        "assignedLabels",
        "assignedLicenses",
    }
)
"""Properties that are null by default and may become an object or a list; all others hold plain values."""
MEMBER_KINDS: frozenset[str] = frozenset({"servicePrincipal", "group", "user"})
