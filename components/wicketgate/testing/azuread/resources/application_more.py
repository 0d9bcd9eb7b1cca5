"""`ApplicationRegistration`, `ApplicationOwner` and `ApplicationOptionalClaims`.

Source: terraform-provider-azuread `application_{registration,owner,optional_claims}_resource.go`.
"""

from collections.abc import Mapping
from typing import Any, Final

from wicketgate.testing.azuread import validators as v
from wicketgate.testing.azuread.errors import GoneError, OperationError, requires_import
from wicketgate.testing.azuread.names import claims_named, named
from wicketgate.testing.azuread.operation import Operation
from wicketgate.testing.azuread.resource import Resource
from wicketgate.testing.azuread.resources.application import (
    SEGMENTS,
    application_path,
    check_id,
)
from wicketgate.testing.azuread.resources.application_body import flat_claims, flat_group_claims
from wicketgate.testing.azuread.resources.application_schema import AUDIENCES, GROUP_CLAIMS, OPTIONAL_CLAIM
from wicketgate.testing.azuread.resources.common import (
    APPLICATION,
    application_body,
    dicts,
    or_null,
    part,
    required_id,
    retry_missing,
    same_text,
)
from wicketgate.testing.azuread.schema import (
    COMPUTED,
    FORCE_NEW,
    OPTIONAL,
    REQUIRED,
    Block,
    flag,
    objects,
    text,
    texts,
    whole,
)

_TIMEOUTS: Final = {"create": 10, "read": 5, "update": 10, "delete": 5}

# Registration.

_PLAIN: Final = (
    "description",
    "displayName",
    "notes",
    "publisherDomain",
    "serviceManagementReference",
    "signInAudience",
)
_INFO: Final = ("marketingUrl", "privacyStatementUrl", "supportUrl", "termsOfServiceUrl")
_GRANTS: Final = {
    "implicitAccessTokenIssuanceEnabled": "enableAccessTokenIssuance",
    "implicitIdTokenIssuanceEnabled": "enableIdTokenIssuance",
}
_WEB: Final = {"homepageUrl": "homePageUrl", "logoutUrl": "logoutUrl"}

REGISTRATION_BLOCK: Final[Block] = {
    "displayName": text(REQUIRED, check=v.not_empty),
    "description": text(OPTIONAL, check=v.length(0, 1024)),
    "groupMembershipClaims": texts(OPTIONAL, check=GROUP_CLAIMS),
    "homepageUrl": text(OPTIONAL, check=v.web_url),
    "implicitAccessTokenIssuanceEnabled": flag(OPTIONAL),
    "implicitIdTokenIssuanceEnabled": flag(OPTIONAL),
    "logoutUrl": text(OPTIONAL, check=v.logout_url),
    "marketingUrl": text(OPTIONAL, check=v.web_url),
    "notes": text(OPTIONAL, check=v.not_empty),
    "privacyStatementUrl": text(OPTIONAL, check=v.web_url),
    "requestedAccessTokenVersion": whole(OPTIONAL, default=2, check=v.between(1, 2)),
    "serviceManagementReference": text(OPTIONAL, check=v.not_empty),
    "signInAudience": text(OPTIONAL, default="AzureADMyOrg", check=AUDIENCES),
    "supportUrl": text(OPTIONAL, check=v.web_url),
    "termsOfServiceUrl": text(OPTIONAL, check=v.web_url),
    "clientId": text(COMPUTED),
    "disabledByMicrosoft": text(COMPUTED),
    "objectId": text(COMPUTED),
    "publisherDomain": text(COMPUTED),
}


def _group_claims(op: Operation) -> Any:
    return or_null(",".join(op.ordered("groupMembershipClaims")))


def _create_registration(op: Operation) -> None:
    body = {
        "description": or_null(op.get("description")),
        "displayName": op.get("displayName"),
        "groupMembershipClaims": _group_claims(op),
        "notes": or_null(op.get("notes")),
        "serviceManagementReference": or_null(op.get("serviceManagementReference")),
        "signInAudience": op.get("signInAudience"),
        "api": {"requestedAccessTokenVersion": op.get("requestedAccessTokenVersion")},
        "info": {name: or_null(op.get(name)) for name in _INFO},
        "web": {
            **{graph: or_null(op.get(name)) for name, graph in _WEB.items()},
            "implicitGrantSettings": {graph: bool(op.get(name)) for name, graph in _GRANTS.items()},
        },
    }
    with op.attempting("creating application"):
        app = op.graph_post("/applications", application_body(body))
    missing = "creating application: object ID returned for application is nil/empty"
    op.id = f"/applications/{required_id(app, missing, summary=missing)}"
    _read_registration(op)


def _read_registration(op: Operation) -> None:
    with op.attempting(f"retrieving {named(op.id)}"):
        app = op.graph_find(op.id)
    if app is None:
        raise GoneError
    op.put("clientId", app.get("appId"))
    for name in _PLAIN:
        op.put(name, app.get(name))
    op.put("groupMembershipClaims", flat_group_claims(app.get("groupMembershipClaims")))
    op.put("objectId", app.get("id"))
    op.put("requestedAccessTokenVersion", part(app, "api", "requestedAccessTokenVersion"))
    for name in _INFO:
        op.put(name, part(app, "info", name))
    for name, graph in _WEB.items():
        op.put(name, part(app, "web", graph))
    for name, graph in _GRANTS.items():
        op.put(name, part(app, "web", "implicitGrantSettings", graph))
    if "disabledByMicrosoftStatus" in app:
        # Printed with Go's `%v` out of a nullable type, which is a map.
        status = app["disabledByMicrosoftStatus"]
        op.put("disabledByMicrosoft", "map[false:]" if status is None else f"map[true:{status}]")


def _update_registration(op: Operation) -> None:
    object_id = v.parse_id(op.id, *SEGMENTS)["applicationId"]
    with op.locked(APPLICATION, object_id), op.attempting(f"updating {named(op.id)}"):
        op.graph_patch(op.id, application_body(_registration_changes(op)))
    _read_registration(op)


def _registration_changes(op: Operation) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for name in ("displayName", "signInAudience"):
        if op.changed(name):
            body[name] = op.get(name)
    for name in ("description", "notes", "serviceManagementReference"):
        if op.changed(name):
            body[name] = or_null(op.get(name))
    if op.changed("groupMembershipClaims"):
        body["groupMembershipClaims"] = _group_claims(op)
    if op.changed("requestedAccessTokenVersion"):
        body["api"] = {"requestedAccessTokenVersion": op.get("requestedAccessTokenVersion")}
    info = {name: or_null(op.get(name)) for name in _INFO if op.changed(name)}
    if info:
        body["info"] = info
    web: dict[str, Any] = {graph: or_null(op.get(name)) for name, graph in _WEB.items() if op.changed(name)}
    grants = {graph: bool(op.get(name)) for name, graph in _GRANTS.items() if op.changed(name)}
    if grants:
        web["implicitGrantSettings"] = grants
    if web:
        body["web"] = web
    return body


def _delete_registration(op: Operation) -> None:
    with op.attempting(f"deleting {named(op.id)}"):
        op.graph_delete(op.id)
    op.wait_gone(op.id, f"waiting for deletion of {named(op.id)}")


REGISTRATION: Final = Resource(
    name="ApplicationRegistration",
    tf="azuread_application_registration",
    block=REGISTRATION_BLOCK,
    create=_create_registration,
    read=_read_registration,
    update=_update_registration,
    delete=_delete_registration,
    check_id=check_id,
    timeouts=_TIMEOUTS,
)

# Owners, one by one.

_OWNER_SEGMENTS: Final = ("applications", "{applicationId}", "owners", "{ownerId}")


def _owner_of(identifier: str) -> tuple[str, str]:
    parts = v.parse_id(identifier, *_OWNER_SEGMENTS)
    return parts["applicationId"], parts["ownerId"]


def _is_owner(op: Operation, object_id: str, owner: str) -> bool:
    with op.attempting(f"unable to list Owners with filter \"id eq '{owner}'\""):
        answer = op.graph_list(f"/applications/{object_id}/owners", filtered=f"id eq '{owner}'")
    return any(same_text(item.get("id"), owner) for item in answer)


def _create_owner(op: Operation) -> None:
    path = application_path(op.get("applicationId"))
    object_id, owner = path.rpartition("/")[2], op.get("ownerObjectId")
    identifier = f"{path}/owners/{owner}"
    with op.locked(APPLICATION, object_id):
        if _is_owner(op, object_id, owner):
            raise requires_import("azuread_application_owner", identifier)
        with op.attempting(f"adding {named(identifier)}"):
            op.graph_post(f"{path}/owners/$ref", op.reference(owner), retry=retry_missing)
    op.id = identifier
    _read_owner(op)


def _read_owner(op: Operation) -> None:
    object_id, owner = _owner_of(op.id)
    with op.locked(APPLICATION, object_id):
        if not _is_owner(op, object_id, owner):
            raise GoneError
    op.put("applicationId", f"/applications/{object_id}")
    op.put("ownerObjectId", owner)


def _delete_owner(op: Operation) -> None:
    object_id, owner = _owner_of(op.id)
    with op.locked(APPLICATION, object_id), op.attempting(f"removing {named(op.id)}"):
        op.graph_delete(f"/applications/{object_id}/owners/{owner}/$ref")


def _check_owner_id(identifier: str) -> None:
    _owner_of(identifier)


OWNER: Final = Resource(
    name="ApplicationOwner",
    tf="azuread_application_owner",
    block={
        "applicationId": text(REQUIRED | FORCE_NEW, check=v.application_id),
        "ownerObjectId": text(REQUIRED | FORCE_NEW, check=v.uuid),
    },
    create=_create_owner,
    read=_read_owner,
    delete=_delete_owner,
    check_id=_check_owner_id,
    timeouts={"create": 10, "read": 5, "delete": 5},
)

# Optional claims.

_KINDS: Final = {"accessTokens": "accessToken", "idTokens": "idToken", "saml2Tokens": "saml2Token"}
_SOME: Final = ("access_token", "id_token", "saml2_token")


def _claims(value: Any) -> list[dict[str, Any]]:
    return [
        {
            "name": item["name"],
            "source": item.get("source") or "",
            "essential": bool(item.get("essential")),
            "additionalProperties": list(item.get("additionalProperties") or []),
        }
        for item in dicts(value)
    ]


def _has_claims(claims: Any) -> bool:
    return any(part(claims, graph) for graph in _KINDS.values())


def _claims_path(identifier: str) -> tuple[str, str]:
    object_id = v.parse_id(identifier, *SEGMENTS)["applicationId"]
    return object_id, f"/applications/{object_id}"


def _create_claims(op: Operation) -> None:
    path = application_path(op.get("applicationId"))
    identifier = path
    with op.locked(APPLICATION, path.rpartition("/")[2]):
        with op.attempting(f"retrieving {named(path)}"):
            app = op.graph_get(path)
        if _has_claims(app.get("optionalClaims")):
            raise requires_import("azuread_application_optional_claims", identifier)
        claims = {graph: _claims(op.get(name)) for name, graph in _KINDS.items() if op.get(name)}
        with op.attempting(f"creating {claims_named(identifier)}"):
            op.graph_patch(path, application_body({"optionalClaims": claims}))
    op.id = identifier
    _read_claims(op)


def _read_claims(op: Operation) -> None:
    object_id, path = _claims_path(op.id)
    with op.locked(APPLICATION, object_id), op.attempting(f"retrieving {claims_named(op.id)}"):
        app = op.graph_find(path)
    claims: Any = (app or {}).get("optionalClaims")
    if not _has_claims(claims):
        raise GoneError
    op.put("applicationId", path)
    for name, graph in _KINDS.items():
        op.put(name, flat_claims(part(claims, graph)))


def _update_claims(op: Operation) -> None:
    object_id, path = _claims_path(op.id)
    with op.locked(APPLICATION, object_id):
        with op.attempting(f"retrieving {named(path)}"):
            claims: Any = op.graph_get(path).get("optionalClaims")
        if not isinstance(claims, Mapping):
            raise OperationError(f"retrieving {named(path)}: optionalClaims was nil")
        new: dict[str, Any] = {
            graph: part(claims, graph) for graph in _KINDS.values() if part(claims, graph) is not None
        }
        new |= {graph: _claims(op.get(name)) for name, graph in _KINDS.items() if op.changed(name)}
        with op.attempting(f"updating {claims_named(op.id)}"):
            op.graph_patch(path, application_body({"optionalClaims": new}))
    _read_claims(op)


def _delete_claims(op: Operation) -> None:
    object_id, path = _claims_path(op.id)
    with op.locked(APPLICATION, object_id), op.attempting(f"deleting {claims_named(op.id)}"):
        op.graph_patch(path, application_body({"optionalClaims": {}}))


def _check_claims_id(identifier: str) -> None:
    _claims_path(identifier)


OPTIONAL_CLAIMS: Final = Resource(
    name="ApplicationOptionalClaims",
    tf="azuread_application_optional_claims",
    block={
        "applicationId": text(REQUIRED | FORCE_NEW, check=v.application_id),
        "accessTokens": objects(OPTIONAL, OPTIONAL_CLAIM, ordered=True, tf="access_token", some_of=_SOME),
        "idTokens": objects(OPTIONAL, OPTIONAL_CLAIM, ordered=True, tf="id_token", some_of=_SOME),
        "saml2Tokens": objects(OPTIONAL, OPTIONAL_CLAIM, ordered=True, tf="saml2_token", some_of=_SOME),
    },
    create=_create_claims,
    read=_read_claims,
    update=_update_claims,
    delete=_delete_claims,
    check_id=_check_claims_id,
    timeouts=_TIMEOUTS,
)
