"""`ServicePrincipal`. Source: terraform-provider-azuread `service_principal_resource.go`."""

from typing import Any, Final

from wicketgate.testing.azuread import validators as v
from wicketgate.testing.azuread.errors import GoneError, GraphError, OperationError, already_exists
from wicketgate.testing.azuread.graph import BETA
from wicketgate.testing.azuread.names import named
from wicketgate.testing.azuread.operation import Operation
from wicketgate.testing.azuread.resource import Resource
from wicketgate.testing.azuread.resources.application_schema import FEATURE_TAGS
from wicketgate.testing.azuread.resources.common import (
    app_role_ids,
    app_roles,
    features_to_tags,
    or_null,
    part,
    permission_scopes,
    required_id,
    same_text,
    settle_owners,
    split_owners,
    tags_to_features,
    temporary_name,
    typed,
    update_owners,
)
from wicketgate.testing.azuread.schema import (
    COMPUTED,
    FORCE_NEW,
    OPTIONAL,
    REQUIRED,
    Block,
    flag,
    mapping,
    objects,
    one,
    text,
    texts,
)

TF: Final = "azuread_service_principal"
SEGMENTS: Final = ("servicePrincipals", "{servicePrincipalId}")

ROLE_BLOCK: Final[Block] = {
    "id": text(COMPUTED),
    "allowedMemberTypes": texts(COMPUTED, ordered=True),
    "description": text(COMPUTED),
    "displayName": text(COMPUTED),
    "enabled": flag(COMPUTED),
    "value": text(COMPUTED),
}
SCOPE_BLOCK: Final[Block] = {
    "id": text(COMPUTED),
    "adminConsentDescription": text(COMPUTED),
    "adminConsentDisplayName": text(COMPUTED),
    "enabled": flag(COMPUTED),
    "type": text(COMPUTED),
    "userConsentDescription": text(COMPUTED),
    "userConsentDisplayName": text(COMPUTED),
    "value": text(COMPUTED),
}
_UNKNOWN_APP: Final = "of the service principal does not reference a valid application object"
_OTHER_TENANT: Final = (
    "When using this permission, the backing application of the service principal being created must in the "
    "local tenant"
)
_RENAMED: Final = "This block has been renamed to `feature_tags` and will be removed in version 3.0 of the provider"

BLOCK: Final[Block] = {
    "clientId": text(REQUIRED | FORCE_NEW, check=v.uuid),
    "accountEnabled": flag(OPTIONAL, default=True),
    "alternativeNames": texts(OPTIONAL, check=v.not_empty),
    "appRoleAssignmentRequired": flag(OPTIONAL),
    "appRoleIds": mapping(COMPUTED),
    "appRoles": objects(COMPUTED, ROLE_BLOCK, ordered=True),
    "applicationTenantId": text(COMPUTED),
    "description": text(OPTIONAL, check=v.length(0, 1024)),
    "displayName": text(COMPUTED),
    "featureTags": objects(OPTIONAL | COMPUTED, FEATURE_TAGS, ordered=True, conflicts=("features", "tags")),
    "features": objects(
        OPTIONAL | COMPUTED,
        {
            "customSingleSignOnApp": flag(OPTIONAL),
            "enterpriseApplication": flag(OPTIONAL),
            "galleryApplication": flag(OPTIONAL),
            "visibleToUsers": flag(OPTIONAL, default=True),
        },
        ordered=True,
        conflicts=("feature_tags", "tags"),
        deprecated=_RENAMED,
    ),
    "homepageUrl": text(COMPUTED),
    "loginUrl": text(OPTIONAL, check=v.web_url),
    "logoutUrl": text(COMPUTED),
    "notes": text(OPTIONAL, check=v.length(0, 1024)),
    "notificationEmailAddresses": texts(OPTIONAL, check=v.not_empty),
    "oauth2PermissionScopeIds": mapping(COMPUTED),
    "oauth2PermissionScopes": objects(COMPUTED, SCOPE_BLOCK, ordered=True),
    "objectId": text(COMPUTED),
    "owners": texts(OPTIONAL, check=v.uuid, plain_hash=True),
    "preferredSingleSignOnMode": text(OPTIONAL, check=v.one_of("", "notSupported", "oidc", "password", "saml")),
    "redirectUris": texts(COMPUTED, ordered=True),
    "samlMetadataUrl": text(COMPUTED),
    "samlSingleSignOn": one(OPTIONAL, {"relayState": text(OPTIONAL, check=v.not_empty)}, quiet=True),
    "servicePrincipalNames": texts(COMPUTED, ordered=True),
    "signInAudience": text(COMPUTED),
    "tags": texts(OPTIONAL | COMPUTED, conflicts=("features", "feature_tags"), plain_hash=True),
    "type": text(COMPUTED),
    "useExisting": flag(OPTIONAL),
}


def check_id(identifier: str) -> None:
    """Raises ValueError unless it is `/servicePrincipals/{servicePrincipalId}`."""
    v.parse_id(identifier, *SEGMENTS)


def _body(op: Operation, tags: list[str]) -> dict[str, Any]:
    relay = part(op.get("samlSingleSignOn"), "relayState")
    return {
        "accountEnabled": bool(op.get("accountEnabled")),
        "alternativeNames": op.ordered("alternativeNames"),
        "appRoleAssignmentRequired": bool(op.get("appRoleAssignmentRequired")),
        "description": or_null(op.get("description")),
        "loginUrl": or_null(op.get("loginUrl")),
        "notes": or_null(op.get("notes")),
        "notificationEmailAddresses": op.ordered("notificationEmailAddresses"),
        "preferredSingleSignOnMode": or_null(op.get("preferredSingleSignOnMode")),
        "samlSingleSignOnSettings": {} if op.get("samlSingleSignOn") is None else {"relayState": relay or ""},
        "tags": tags,
    }


def retry_create(status: int, error: str) -> bool:
    """Repeat while the application is not everywhere yet."""
    if status == 400:
        return "The appId '" in error and _UNKNOWN_APP in error
    return status == 403 and _OTHER_TENANT in error


def create(op: Operation) -> None:
    """Create a service principal, or adopt the existing one with `useExisting`."""
    client = op.get("clientId")
    with op.attempting("Could not list existing service principals"):
        listed = op.graph_list("/servicePrincipals", filtered=f"appId eq '{client.replace(chr(39), chr(39) * 2)}'")
    if len(listed) > 1:
        raise OperationError(
            "Could not list existing service principals",
            f"unexpected number of service principals returned (expected: 1, received: {len(listed)}",
        )
    if listed:
        object_id = required_id(
            listed[0], "service principal returned with nil or empty object ID", summary="API error"
        )
        if not op.get("useExisting"):
            raise already_exists(TF, object_id)
        op.id = f"/servicePrincipals/{object_id}"
        update(op)
        return
    if op.given("featureTags"):
        tags = features_to_tags(op.get("featureTags"))
    elif op.given("features"):
        tags = features_to_tags(op.get("features"))
    else:
        tags = list(op.ordered("tags"))
    first, rest, remove_caller = split_owners(op)
    body = {
        **_body(op, tags),
        "appId": client,
        "description": temporary_name(),
        "owners@odata.bind": first,
    }
    with op.attempting("Could not create service principal"):
        made = op.graph_post("/servicePrincipals", typed("servicePrincipal", body), retry=retry_create)
    op.id = f"/servicePrincipals/{required_id(made, 'object ID returned for service principal is nil')}"
    try:
        op.graph_patch(op.id, typed("servicePrincipal", {"description": or_null(op.get("description"))}))
    except GraphError as error:
        what = (
            "Timed out whilst waiting for new service principal to be replicated in Azure AD"
            if error.not_found
            else "Failed to patch service principal after creating"
        )
        raise OperationError(what, str(error)) from None
    settle_owners(op, op.id, rest, remove_caller=remove_caller, what=named(op.id))
    read(op)


def update(op: Operation) -> None:
    """Change a service principal."""
    if op.given("featureTags") and op.changed("featureTags"):
        tags = features_to_tags(op.get("featureTags"))
    elif op.given("features") and op.changed("features"):
        tags = features_to_tags(op.get("features"))
    else:
        tags = list(op.ordered("tags"))
    with op.attempting(f"Updating {named(op.id)}"):
        op.graph_patch(op.id, typed("servicePrincipal", _body(op, tags)))
    if op.changed("owners"):
        update_owners(op, op.id, named(op.id), read=f'service principal with object ID: "{op.id}"')
    read(op)


def read(op: Operation) -> None:
    """Read a service principal."""
    with op.attempting(f"Retrieving {named(op.id)}"):
        found = op.graph_find(op.id)
    if found is None:
        raise GoneError
    with op.attempting(f"Retrieving {named(op.id)} (beta API)"):
        more = op.graph_get(op.id, version=BETA, select="samlMetadataUrl")
    for name, value in values_of(found, more).items():
        op.put(name, value)
    with op.attempting(f"Could not retrieve owners for {named(op.id)}"):
        op.put("owners", op.ids(f"{op.id}/owners"))


def values_of(found: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """A service principal's properties from Graph's answers on v1.0 and beta."""
    settings = found.get("samlSingleSignOnSettings")
    scopes = permission_scopes(found.get("oauth2PermissionScopes"))
    names: list[Any] = list(found.get("servicePrincipalNames") or [])
    return {
        "accountEnabled": found.get("accountEnabled"),
        "alternativeNames": list(found.get("alternativeNames") or []),
        "appRoleAssignmentRequired": found.get("appRoleAssignmentRequired"),
        "appRoleIds": app_role_ids(found.get("appRoles")),
        "appRoles": app_roles(found.get("appRoles")),
        "applicationTenantId": found.get("appOwnerOrganizationId"),
        "clientId": found.get("appId"),
        "description": found.get("description"),
        "displayName": found.get("displayName"),
        "featureTags": tags_to_features(found.get("tags")),
        "features": tags_to_features(found.get("tags"), deprecated=True),
        "homepageUrl": found.get("homepage"),
        "logoutUrl": found.get("logoutUrl"),
        "loginUrl": found.get("loginUrl"),
        "notes": found.get("notes"),
        "notificationEmailAddresses": list(found.get("notificationEmailAddresses") or []),
        "oauth2PermissionScopeIds": {item["value"]: item["id"] for item in scopes if item["value"] and item["id"]},
        "oauth2PermissionScopes": scopes,
        "objectId": found.get("id"),
        "preferredSingleSignOnMode": found.get("preferredSingleSignOnMode"),
        "redirectUris": list(found.get("replyUrls") or []),
        "samlMetadataUrl": more.get("samlMetadataUrl"),
        "samlSingleSignOn": {"relayState": settings.get("relayState") or ""} if isinstance(settings, dict) else None,
        "servicePrincipalNames": [name for name in names if not same_text(name, found.get("appId"))],
        "signInAudience": found.get("signInAudience"),
        "tags": list(found.get("tags") or []),
        "type": found.get("servicePrincipalType"),
    }


def delete(op: Operation) -> None:
    """Delete a service principal and wait until it is gone; with `useExisting`, whatever comes of it."""
    if op.get("useExisting"):
        try:
            op.graph_delete(op.id)
        except GraphError:
            return
        return
    with op.attempting(f"Deleting {named(op.id)}"):
        op.graph_delete(op.id)
    op.wait_gone(op.id, f"Waiting for deletion of {named(op.id)}")


RESOURCE: Final = Resource(
    name="ServicePrincipal",
    tf=TF,
    block=BLOCK,
    create=create,
    read=read,
    update=update,
    delete=delete,
    check_id=check_id,
    timeouts={"create": 10, "read": 5, "update": 10, "delete": 5},
    version=1,
)
