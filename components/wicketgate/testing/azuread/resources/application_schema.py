"""The properties of `Application`. Source: terraform-provider-azuread `application_resource.go`, `schema.go`."""

from typing import Final

from wicketgate.testing.azuread import validators as v
from wicketgate.testing.azuread.schema import (
    COMPUTED,
    FORCE_NEW,
    OPTIONAL,
    REQUIRED,
    SENSITIVE,
    Block,
    flag,
    mapping,
    objects,
    one,
    text,
    texts,
    whole,
)

MEMBER_TYPES: Final = v.one_of("Application", "User")
SCOPE_TYPES: Final = v.one_of("Admin", "User")
GROUP_CLAIMS: Final = v.one_of("All", "None", "ApplicationGroup", "DirectoryRole", "SecurityGroup")
PERSONAL_AUDIENCES: Final = ("AzureADandPersonalMicrosoftAccount", "PersonalMicrosoftAccount")
AUDIENCES: Final = v.one_of("AzureADMyOrg", "AzureADMultipleOrgs", *PERSONAL_AUDIENCES)

OPTIONAL_CLAIM: Final[Block] = {
    "name": text(REQUIRED),
    "source": text(OPTIONAL, check=v.one_of("user")),
    "essential": flag(OPTIONAL, default=False),
    "additionalProperties": texts(
        OPTIONAL,
        ordered=True,
        check=v.one_of(
            "cloud_displayname",
            "dns_domain_and_sam_account_name",
            "emit_as_roles",
            "include_externally_authenticated_upn_without_hash",
            "include_externally_authenticated_upn",
            "max_size_limit",
            "netbios_domain_and_sam_account_name",
            "on_premise_security_identifier",
            "sam_account_name",
            "use_guid",
        ),
    ),
}

OPTIONAL_CLAIMS: Final[Block] = {
    "accessTokens": objects(OPTIONAL, OPTIONAL_CLAIM, ordered=True, tf="access_token"),
    "idTokens": objects(OPTIONAL, OPTIONAL_CLAIM, ordered=True, tf="id_token"),
    "saml2Tokens": objects(OPTIONAL, OPTIONAL_CLAIM, ordered=True, tf="saml2_token"),
}

PERMISSION_SCOPE: Final[Block] = {
    "id": text(REQUIRED, check=v.uuid),
    "adminConsentDescription": text(OPTIONAL, check=v.not_empty),
    "adminConsentDisplayName": text(OPTIONAL, check=v.not_empty),
    "enabled": flag(OPTIONAL, default=True),
    "type": text(OPTIONAL, default="User", check=SCOPE_TYPES),
    "userConsentDescription": text(OPTIONAL, check=v.not_empty),
    "userConsentDisplayName": text(OPTIONAL, check=v.not_empty),
    "value": text(OPTIONAL, check=v.claim_value),
}

APP_ROLE: Final[Block] = {
    "id": text(REQUIRED, check=v.uuid),
    "allowedMemberTypes": texts(REQUIRED, min_items=1, check=MEMBER_TYPES),
    "description": text(REQUIRED, check=v.not_empty),
    "displayName": text(REQUIRED, check=v.not_empty),
    "enabled": flag(OPTIONAL, default=True),
    "value": text(OPTIONAL, check=v.claim_value),
}

FEATURE_TAGS: Final[Block] = {
    "customSingleSignOn": flag(OPTIONAL),
    "enterprise": flag(OPTIONAL),
    "gallery": flag(OPTIONAL),
    "hide": flag(OPTIONAL),
}

APPLICATION_BLOCK: Final[Block] = {
    "displayName": text(REQUIRED, check=v.not_empty),
    "api": one(
        OPTIONAL,
        {
            "knownClientApplications": texts(OPTIONAL, check=v.uuid),
            "mappedClaimsEnabled": flag(OPTIONAL),
            "oauth2PermissionScopes": objects(OPTIONAL, PERMISSION_SCOPE, tf="oauth2_permission_scope"),
            "requestedAccessTokenVersion": whole(OPTIONAL, default=1, check=v.token_version),
        },
        quiet=True,
    ),
    "appRoles": objects(OPTIONAL, APP_ROLE, tf="app_role"),
    "appRoleIds": mapping(COMPUTED),
    "clientId": text(COMPUTED),
    "description": text(OPTIONAL, check=v.length(0, 1024)),
    "deviceOnlyAuthEnabled": flag(OPTIONAL),
    "disabledByMicrosoft": text(COMPUTED),
    "fallbackPublicClientEnabled": flag(OPTIONAL),
    "featureTags": objects(OPTIONAL | COMPUTED, FEATURE_TAGS, ordered=True, conflicts=("tags",)),
    "groupMembershipClaims": texts(OPTIONAL, check=GROUP_CLAIMS),
    "identifierUris": texts(OPTIONAL, check=v.not_empty),
    "logoImage": text(OPTIONAL, check=v.base64_text),
    "logoUrl": text(COMPUTED),
    "marketingUrl": text(OPTIONAL),
    "notes": text(OPTIONAL, check=v.not_empty),
    "oauth2PermissionScopeIds": mapping(COMPUTED),
    "oauth2PostResponseRequired": flag(OPTIONAL),
    "objectId": text(COMPUTED),
    "optionalClaims": one(OPTIONAL, OPTIONAL_CLAIMS, quiet=True),
    "owners": texts(OPTIONAL, max_items=100, check=v.uuid, plain_hash=True),
    "password": objects(
        OPTIONAL,
        {
            "displayName": text(REQUIRED),
            "startDate": text(OPTIONAL | COMPUTED, check=v.rfc3339),
            "endDate": text(OPTIONAL | COMPUTED, check=v.rfc3339),
            "keyId": text(COMPUTED),
            "value": text(COMPUTED | SENSITIVE),
        },
        max_items=1,
    ),
    "preventDuplicateNames": flag(OPTIONAL, default=False),
    "privacyStatementUrl": text(OPTIONAL),
    "publicClient": one(
        OPTIONAL,
        {"redirectUris": texts(OPTIONAL, max_items=256, check=v.redirect_uri(urn=True, any_scheme=True))},
        quiet=True,
    ),
    "publisherDomain": text(COMPUTED),
    "requiredResourceAccesses": objects(
        OPTIONAL,
        {
            "resourceAppId": text(REQUIRED),
            "resourceAccesses": objects(
                REQUIRED,
                {
                    "id": text(REQUIRED, check=v.uuid),
                    "type": text(REQUIRED, check=v.one_of("Role", "Scope")),
                },
                ordered=True,
                tf="resource_access",
            ),
        },
        tf="required_resource_access",
    ),
    "serviceManagementReference": text(OPTIONAL),
    "signInAudience": text(OPTIONAL, default="AzureADMyOrg", check=AUDIENCES),
    "singlePageApplication": one(
        OPTIONAL,
        {"redirectUris": texts(OPTIONAL, max_items=256, check=v.redirect_uri(urn=False, any_scheme=False))},
        quiet=True,
    ),
    "supportUrl": text(OPTIONAL),
    "tags": texts(OPTIONAL | COMPUTED, conflicts=("feature_tags",), plain_hash=True),
    "templateId": text(OPTIONAL | COMPUTED | FORCE_NEW, check=v.uuid),
    "termsOfServiceUrl": text(OPTIONAL),
    "web": one(
        OPTIONAL,
        {
            "homepageUrl": text(OPTIONAL, check=v.web_url),
            "logoutUrl": text(OPTIONAL, check=v.logout_url),
            "redirectUris": texts(OPTIONAL, max_items=256, check=v.redirect_uri(urn=True, any_scheme=False)),
            "implicitGrant": one(
                OPTIONAL,
                {
                    "accessTokenIssuanceEnabled": flag(OPTIONAL),
                    "idTokenIssuanceEnabled": flag(OPTIONAL),
                },
                quiet=True,
            ),
        },
        quiet=True,
    ),
}
