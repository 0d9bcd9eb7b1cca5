"""`Application`. Source: terraform-provider-azuread `application_resource.go`."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final, cast

from wicketgate.provider.values import UNKNOWN
from wicketgate.testing.azuread import validators as v
from wicketgate.testing.azuread.errors import GoneError, GraphError, NotInStandInError, OperationError, duplicate_name
from wicketgate.testing.azuread.graph import BETA, V1
from wicketgate.testing.azuread.names import named
from wicketgate.testing.azuread.operation import Operation, Session
from wicketgate.testing.azuread.plan import Plan
from wicketgate.testing.azuread.resource import Resource
from wicketgate.testing.azuread.resources.application_body import (
    api_body,
    claims_body,
    common_body,
    password_body,
    passwords,
    put_application,
    resource_access_body,
    roles_body,
    scopes_body,
)
from wicketgate.testing.azuread.resources.application_parts import disable_roles, disable_scopes
from wicketgate.testing.azuread.resources.application_schema import APPLICATION_BLOCK, PERSONAL_AUDIENCES
from wicketgate.testing.azuread.resources.common import (
    APPLICATION,
    application_body,
    dicts,
    features_to_tags,
    part,
    required_id,
    retry_application,
    same_text,
    settle_owners,
    split_owners,
    temporary_name,
    update_owners,
)

SEGMENTS: Final = ("applications", "{applicationId}")


def application_path(identifier: str) -> str:
    """The Graph path of an application, from its resource ID. Raises ValueError if it is none."""
    return f"/applications/{v.parse_id(identifier, *SEGMENTS)['applicationId']}"


def _object_id(op: Operation) -> str:
    return v.parse_id(op.id, *SEGMENTS)["applicationId"]


def _with_name(op: Operation, name: str) -> list[dict[str, Any]]:
    with op.attempting("Could not check for existing application(s)"):
        listed = op.graph_list("/applications", filtered=f"displayName eq '{name}'")
    return [app for app in listed if app.get("displayName") == name]


def _logo(op: Operation) -> None:
    image = op.get("logoImage")
    if image:
        try:
            base64.b64decode(image.strip(), validate=True)
        except (binascii.Error, ValueError) as error:
            raise OperationError("Could not decode image data", str(error)) from None
        raise NotInStandInError("the upload of an application's logo (`logoImage`)")


def create(op: Operation) -> None:
    """Create an application: see the module's source for the order of requests."""
    name = op.get("displayName")
    if op.get("preventDuplicateNames"):
        existing = _with_name(op, name)
        if existing:
            raise duplicate_name(APPLICATION, str(existing[0].get("id")), name)
    _logo(op)
    if op.get("templateId"):
        raise NotInStandInError("applications made from a template of the gallery (`templateId`)")
    tags = features_to_tags(op.get("featureTags")) if op.given("featureTags") else list(op.ordered("tags"))
    api = api_body(op)
    mapped_claims = api["acceptMappedClaims"]
    first, rest, remove_caller = split_owners(op)
    body = {
        **common_body(op, tags),
        "api": {key: value for key, value in api.items() if not (mapped_claims and key == "acceptMappedClaims")},
        "appRoles": roles_body(op.get("appRoles")),
        "identifierUris": op.ordered("identifierUris"),
        "optionalClaims": claims_body(op.get("optionalClaims") or {}),
        "requiredResourceAccess": resource_access_body(op),
        "owners@odata.bind": first,
    }
    password = op.get("password")
    if password:
        body["passwordCredentials"] = [password_body(password)]
    with op.attempting("Could not create application"):
        app = op.graph_post("/applications", application_body(body))
    object_id = required_id(app, "Object ID returned for application is nil/empty")
    op.id = f"/applications/{object_id}"
    made = passwords(app.get("passwordCredentials"))
    if password and len(made) == 1:
        op.put("password", {**password, "keyId": made[0]["keyId"], "value": made[0]["value"]})
    _settle(op, object_id, name, api)
    settle_owners(
        op,
        op.id,
        rest,
        remove_caller=remove_caller,
        what=f'application with object ID: "{object_id}"',
    )
    read(op)


def _settle(op: Operation, object_id: str, name: str, api: dict[str, Any]) -> None:
    """Change the new application until Graph has it everywhere."""
    for shown in (temporary_name(), name):
        try:
            op.graph_patch(op.id, application_body({"displayName": shown}), retry=retry_application)
        except GraphError as error:
            what = (
                "Timed out whilst waiting for new application to be replicated in Azure AD"
                if error.not_found
                else f'Failed to patch application with object ID "{object_id}" after creating'
            )
            raise OperationError(what, str(error)) from None
    if op.exists("oauth2PostResponseRequired"):
        _post_response(op)
    if api["acceptMappedClaims"]:
        with op.attempting("Failed to patch application after creating to set `api.0.mapped_claims_enabled` property"):
            op.graph_patch(op.id, application_body({"api": api}), retry=retry_application)


def _post_response(op: Operation) -> None:
    wanted = bool(op.get("oauth2PostResponseRequired"))
    with op.attempting(f"Failed to set `oauth2_post_response_required` for {named(op.id)}"):
        # v1.0 does not know this property.
        op.graph_patch(
            op.id, application_body({"oauth2RequirePostResponse": wanted}), version=BETA, retry=retry_application
        )


def update(op: Operation) -> None:
    """Change an application."""
    object_id = _object_id(op)
    what = f'application with object ID "{object_id}"'
    with op.locked(APPLICATION, object_id):
        name = op.get("displayName")
        if op.get("preventDuplicateNames"):
            other = next((app for app in _with_name(op, name) if app.get("id") != object_id), None)
            if other is not None:
                raise duplicate_name(APPLICATION, str(other.get("id")), name)
        if op.changed("logoImage"):
            _logo(op)
        if op.changed("password"):
            _replace_password(op, object_id)
        with op.attempting(f"Could not update {what}"):
            op.graph_patch(op.id, application_body(_update_body(op, what)))
        if op.changed("oauth2PostResponseRequired"):
            _post_response(op)
        if op.changed("owners"):
            update_owners(op, op.id, what)
        read(op)


def _update_body(op: Operation, what: str) -> dict[str, Any]:
    use_features = op.given("featureTags") and op.changed("featureTags")
    tags = features_to_tags(op.get("featureTags")) if use_features else list(op.ordered("tags"))
    body = common_body(op, tags)
    api = api_body(op)
    if op.changed("appRoles"):
        roles = roles_body(op.get("appRoles"))
        disable_roles(op, op.id, roles, f"Could not disable App Roles for {what}")
        body["appRoles"] = roles
    if _scopes(op.prior) != _scopes(op.planned.values if op.planned else {}):
        scopes = scopes_body(_scopes(op.planned.values if op.planned else {}))
        disable_scopes(op, op.id, scopes, f"Could not disable OAuth2 Permission Scopes for {what}")
    else:
        del api["oauth2PermissionScopes"]
    if op.changed("identifierUris"):
        body["identifierUris"] = op.ordered("identifierUris")
    if op.changed("optionalClaims"):
        body["optionalClaims"] = claims_body(op.get("optionalClaims") or {})
    if op.changed("requiredResourceAccesses"):
        body["requiredResourceAccess"] = resource_access_body(op)
    body["api"] = api
    return body


def _scopes(values: Mapping[str, Any]) -> list[Any]:
    found = part(values, "api", "oauth2PermissionScopes")
    return cast(list[Any], found) if isinstance(found, list) else []


def _replace_password(op: Operation, object_id: str) -> None:
    what = f'application with object ID "{object_id}"'
    old_key = part(op.prior, "password", "keyId")

    def listed(key: str) -> bool:
        credentials = dicts(op.graph_get(op.id).get("passwordCredentials"))
        return any(same_text(item.get("keyId"), key) for item in credentials)

    if old_key:
        with op.attempting(f'Removing password credential "{old_key}" from {what}'):
            op.graph_post(f"{op.id}/removePassword", {"keyId": old_key})
        op.wait_until(
            lambda: not listed(old_key),
            f'Waiting for deletion of password credential "{old_key}" from {what}',
            target="Deleted",
        )
    wanted = op.get("password")
    if not wanted:
        return
    with op.attempting(f"Adding password for {what}"):
        made = op.graph_post(f"{op.id}/addPassword", {"passwordCredential": password_body(wanted)})
    key, secret = made.get("keyId"), made.get("secretText")
    if not key or not secret:
        raise OperationError(f"API error adding password for {what}", "nil or empty keyId or password received")
    op.wait_until(
        lambda: True if listed(str(key)) else None, f"Waiting for password credential for {what}", seconds=1.0
    )
    op.put("password", {**wanted, "keyId": key, "value": secret})


def read(op: Operation) -> None:
    """Read an application."""
    with op.attempting(f"Retrieving {named(op.id)}"):
        app = op.graph_find(op.id)
    if app is None:
        raise GoneError
    current = op.get("password")
    put_application(op, app)
    if app.get("passwordCredentials") is not None:
        kept = None
        if current:
            for item in passwords(app.get("passwordCredentials")):
                if item["keyId"] == current.get("keyId"):
                    kept = {**item, "value": current.get("value") or ""}
        op.put("password", kept)
    with op.attempting(f"Retrieving additional properties for {named(op.id)}"):
        more = op.graph_get(op.id, version=BETA, select="oauth2RequirePostResponse")
    op.put("oauth2PostResponseRequired", bool(more.get("oauth2RequirePostResponse")))
    op.put("logoImage", op.get("logoImage"))
    op.put("preventDuplicateNames", bool(op.get("preventDuplicateNames")))
    with op.attempting(f"Could not retrieve owners for {named(op.id)}"):
        op.put("owners", op.ids(f"{op.id}/owners"))


def delete(op: Operation) -> None:
    """Delete an application and wait until it is gone."""
    with op.attempting(f"deleting {named(op.id)}"):
        op.graph_delete(op.id)
    op.wait_gone(op.id, f'Waiting for deletion of application with object ID "{_object_id(op)}"')


def customise(session: Session, plan: Plan, identifier: str, deadline: float) -> None:
    """The provider's `CustomizeDiff`: names, roles and scopes, and what personal accounts do not allow."""
    name = plan.values.get("displayName")
    old = (plan.prior or {}).get("displayName") or ""
    if plan.known("preventDuplicateNames") and name and name is not UNKNOWN and name != old:
        listed = session.graph.items(
            V1, "/applications", deadline=deadline, query={"$filter": f"displayName eq '{name}'"}
        )
        for app in listed:
            if app.get("displayName") == name and identifier in ("", app.get("id")):
                problem = duplicate_name(APPLICATION, str(app.get("id")), str(name))
                raise ValueError(f"{problem.summary}. {problem.detail}")
    _check_roles_and_scopes(plan)
    if plan.changed("appRoles"):
        plan.values["appRoleIds"] = UNKNOWN
    if _scopes(plan.prior or {}) != _scopes(plan.values):
        plan.values["oauth2PermissionScopeIds"] = UNKNOWN
    if plan.changed("logoImage"):
        plan.values["logoUrl"] = UNKNOWN
    audience = plan.known("signInAudience")
    if audience in PERSONAL_AUDIENCES:
        _check_personal(plan)


def _check_roles_and_scopes(plan: Plan) -> None:
    roles = [
        (role.get("id"), role.get("displayName"), role.get("description"), role.get("enabled"), role.get("value"))
        for role in dicts(plan.known("appRoles"))
    ]
    scopes = [
        (
            scope.get("id"),
            scope.get("adminConsentDisplayName") or "",
            scope.get("adminConsentDescription") or "",
            scope.get("enabled"),
            scope.get("value"),
        )
        for scope in dicts(_scopes(plan.values))
    ]
    prefix = "checking for duplicate app roles / OAuth2.0 permission scopes: validation failed: "
    seen: list[tuple[Any, ...]] = []
    for one in roles + scopes:
        if not one[0] or not one[4] or UNKNOWN in one:
            continue
        for other in seen:
            if one[0] == other[0] and one[4] != other[4]:
                raise ValueError(f'{prefix}duplicate ID found: "{one[0]}"')
            if one[4] == other[4] and one[0] != other[0]:
                raise ValueError(f'{prefix}duplicate value found: "{one[4]}"')
            if one != other and one[0] == other[0]:
                raise ValueError(
                    f"{prefix}the values of an app role and a permission scope with the same identifier "
                    f'"{one[0]}" must match: description, display name, enabled and value'
                )
        seen.append(one)


def _check_personal(plan: Plan) -> None:
    either = " or ".join(f'"{name}"' for name in PERSONAL_AUDIENCES)
    suffix = f"when `sign_in_audience` is {either}"
    if (part(plan.values, "api", "requestedAccessTokenVersion") or 1) == 1:
        raise ValueError(f"`requested_access_token_version` must be 2 {suffix}")
    scopes = dicts(_scopes(plan.values))
    if len(scopes) > 100:
        raise ValueError(f"maximum of 100 `oauth2_permission_scope` blocks are supported {suffix}")
    if any(isinstance(scope.get("value"), str) and len(scope["value"]) > 40 for scope in scopes):
        raise ValueError(
            f"`value` property in the `oauth2_permission_scope` block must be 40 characters or less {suffix}"
        )
    uris = [item for item in plan.known("identifierUris") if isinstance(item, str)]
    if any(
        v.uri(item, "identifier_uris", schemes=("http", "https", "api", "ms-appx"), urn=False, bare_slash=False)
        for item in uris
    ):
        raise ValueError(f"`identifier_uris` is invalid. The URN scheme is not supported {suffix}")
    if len(uris) > 50:
        raise ValueError(f"`identifier_uris` must have no more than 50 URIs {suffix}")
    for name in ("publicClient", "singlePageApplication", "web"):
        redirects = part(plan.values, name, "redirectUris")
        listed = cast(list[Any], redirects) if isinstance(redirects, list) else []
        if len(listed) > 100:
            raise ValueError(f"`redirect_uris` must have no more than 100 URIs {suffix}")
        if any(isinstance(item, str) and "*" in item.partition("//")[2].partition("/")[0] for item in listed):
            raise ValueError(f"`redirect_uris` having wildcard hosts are not supported {suffix}")
    wanted = dicts(plan.known("requiredResourceAccesses"))
    counts = [len(dicts(item.get("resourceAccesses"))) for item in wanted]
    if len(wanted) > 50:
        raise ValueError(f"maximum of 50 `required_resource_access` blocks are supported {suffix}")
    if any(count > 30 for count in counts):
        raise ValueError(
            "maximum of 30 `resource_access` blocks for each `required_resource_access` block are supported " + suffix
        )
    if sum(counts) > 200:
        raise ValueError(f"maximum of 30 `resource_access` blocks per application are supported {suffix}")


def check_id(identifier: str) -> None:
    """Raises ValueError unless it is `/applications/{applicationId}`."""
    v.parse_id(identifier, *SEGMENTS)


RESOURCE: Final = Resource(
    name="Application",
    tf=APPLICATION,
    block=APPLICATION_BLOCK,
    create=create,
    read=read,
    update=update,
    delete=delete,
    customise=customise,
    check_id=check_id,
    timeouts={"create": 10, "read": 5, "update": 10, "delete": 5},
    version=2,
)
