"""The resources that are entries of an application's lists: `ApplicationAppRole`, `ApplicationPermissionScope`,
`ApplicationIdentifierUri`, `ApplicationApiAccess`, `ApplicationPreAuthorized`.

How this works: Graph keeps each list as one property, so every change reads the application, changes one entry
and writes the whole list back, in turns per application. Source: terraform-provider-azuread
`application_{app_role,permission_scope,identifier_uri,api_access,pre_authorized}_resource.go`.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any, Final

from wicketgate.testing.azuread import validators as v
from wicketgate.testing.azuread.errors import (
    GoneError,
    OperationError,
    already_exists,
    requires_import,
)
from wicketgate.testing.azuread.names import named
from wicketgate.testing.azuread.operation import Operation
from wicketgate.testing.azuread.resource import Resource
from wicketgate.testing.azuread.resources.application import application_path
from wicketgate.testing.azuread.resources.application_parts import (
    disable_roles,
    disable_scopes,
    roles_of,
    scopes_of,
)
from wicketgate.testing.azuread.resources.application_schema import MEMBER_TYPES, SCOPE_TYPES
from wicketgate.testing.azuread.resources.common import APPLICATION, application_body, dicts, part, same_text
from wicketgate.testing.azuread.schema import FORCE_NEW, OPTIONAL, REQUIRED, Block, text, texts

_TIMEOUTS: Final = {"create": 10, "read": 5, "update": 10, "delete": 5}
_APPLICATION_ID: Final = text(REQUIRED | FORCE_NEW, check=v.application_id)

Entry = dict[str, Any]


class _List:
    """One list of an application: how its entries are read, told apart, made and written."""

    def __init__(
        self,
        *,
        tf: str,
        kind: str,
        segment: str,
        key_name: str,
        of: Callable[[Mapping[str, Any]], list[Entry]],
        key: Callable[[Entry], Any],
        body: Callable[[list[Entry], str], dict[str, Any]],
        make: Callable[[Operation], Entry],
        put: Callable[[Operation, Entry], None],
        disable: Callable[[Operation, str, list[Entry], str], None] | None = None,
    ) -> None:
        self.tf = tf
        self.kind = kind
        self.segments = ("applications", "{applicationId}", segment, "{key}")
        self.segment = segment
        self.key_name = key_name
        self.of = of
        self.key = key
        self.body = body
        self.make = make
        self.put = put
        self.disable = disable

    def parse(self, identifier: str) -> tuple[str, str]:
        """The application's object ID and the entry's key. Raises ValueError."""
        parts = v.parse_id(identifier, *self.segments)
        return parts["applicationId"], parts["key"]

    def check_id(self, identifier: str) -> None:
        """Raises ValueError for an ID that is none of these."""
        _, key = self.parse(identifier)
        if not v.is_uuid_text(key):
            raise ValueError(f'expected "ID" to be a valid UUID, got {key}')

    def create(self, op: Operation) -> None:
        """Add the entry."""
        path = application_path(op.get("applicationId"))
        object_id = path.rpartition("/")[2]
        key = op.get(self.key_name)
        identifier = f"{path}/{self.segment}/{key}"
        with op.locked(APPLICATION, object_id):
            with op.attempting(f"retrieving {named(path)}"):
                entries = self.of(op.graph_get(path))
            if any(same_text(self.key(entry), key) for entry in entries):
                raise requires_import(self.tf, identifier)
            with op.attempting(f"creating {self.kind} {named(identifier)}"):
                op.graph_patch(path, application_body(self.body([*entries, self.make(op)], object_id)))
        op.id = identifier
        self.read(op)

    def read(self, op: Operation) -> None:
        """Find the entry."""
        object_id, key = self.parse(op.id)
        path = f"/applications/{object_id}"
        with op.locked(APPLICATION, object_id), op.attempting(f"retrieving {named(path)}"):
            app = op.graph_find(path)
        entry = next((item for item in self.of(app or {}) if same_text(self.key(item), key)), None)
        if entry is None:
            raise GoneError
        op.put("applicationId", path)
        op.put(self.key_name, key)
        self.put(op, entry)

    def update(self, op: Operation) -> None:
        """Replace the entry."""
        self._write(op, "updating", [self.make(op)])
        self.read(op)

    def delete(self, op: Operation) -> None:
        """Take the entry out."""
        self._write(op, "deleting", [])

    def _write(self, op: Operation, doing: str, new: list[Entry]) -> None:
        object_id, key = self.parse(op.id)
        path = f"/applications/{object_id}"
        with op.locked(APPLICATION, object_id):
            with op.attempting(f"retrieving {named(path)}"):
                entries = self.of(op.graph_get(path))
            if not any(same_text(self.key(entry), key) for entry in entries):
                raise OperationError(f"{doing} {named(op.id)}: could not identify existing {self.kind}")
            after: list[Entry] = []
            for entry in entries:
                after.extend(new if same_text(self.key(entry), key) else [entry])
            if self.disable is not None:
                purpose = "update" if new else "deletion"
                self.disable(op, path, after, f"disabling {named(op.id)} in preparation for {purpose}")
            with op.attempting(f"{doing} {named(op.id)}"):
                op.graph_patch(path, application_body(self.body(after, object_id)))

    def resource(self, name: str, block: Block) -> Resource:
        """The row of the table."""
        return Resource(
            name=name,
            tf=self.tf,
            block=block,
            create=self.create,
            read=self.read,
            update=self.update,
            delete=self.delete,
            check_id=self.check_id,
            timeouts=_TIMEOUTS,
        )


# App roles.

_ROLE_BLOCK: Final[Block] = {
    "applicationId": _APPLICATION_ID,
    "roleId": text(REQUIRED | FORCE_NEW, check=v.uuid),
    "allowedMemberTypes": texts(REQUIRED, min_items=1, check=MEMBER_TYPES),
    "description": text(REQUIRED, check=v.not_empty),
    "displayName": text(REQUIRED, check=v.not_empty),
    "value": text(OPTIONAL, check=v.claim_value),
}


def _make_role(op: Operation) -> Entry:
    return {
        "id": op.get("roleId"),
        "isEnabled": True,
        "allowedMemberTypes": op.ordered("allowedMemberTypes"),
        "description": op.get("description"),
        "displayName": op.get("displayName"),
        "value": op.get("value"),
    }


def _put_role(op: Operation, role: Entry) -> None:
    op.put("allowedMemberTypes", list(role.get("allowedMemberTypes") or []))
    for name in ("description", "displayName", "value"):
        op.put(name, role.get(name))


_ROLES: Final = _List(
    tf="azuread_application_app_role",
    kind="app role",
    segment="appRoles",
    key_name="roleId",
    of=roles_of,
    key=lambda entry: entry.get("id"),
    body=lambda entries, object_id: {"id": object_id, "appRoles": entries},
    make=_make_role,
    put=_put_role,
    disable=disable_roles,
)
APP_ROLE: Final = _ROLES.resource("ApplicationAppRole", _ROLE_BLOCK)

# Permission scopes.

_SCOPE_TEXTS: Final = (
    "adminConsentDescription",
    "adminConsentDisplayName",
    "type",
    "userConsentDescription",
    "userConsentDisplayName",
    "value",
)
_SCOPE_BLOCK: Final[Block] = {
    "applicationId": _APPLICATION_ID,
    "scopeId": text(REQUIRED | FORCE_NEW, check=v.uuid),
    "adminConsentDescription": text(REQUIRED, check=v.not_empty),
    "adminConsentDisplayName": text(REQUIRED, check=v.not_empty),
    "value": text(REQUIRED, check=v.claim_value),
    "type": text(OPTIONAL, default="User", check=SCOPE_TYPES),
    "userConsentDescription": text(OPTIONAL, check=v.not_empty),
    "userConsentDisplayName": text(OPTIONAL, check=v.not_empty),
}


def _put_scope(op: Operation, scope: Entry) -> None:
    for name in _SCOPE_TEXTS:
        op.put(name, scope.get(name))


_SCOPES: Final = _List(
    tf="azuread_application_permission_scope",
    kind="permission scope",
    segment="permissionScopes",
    key_name="scopeId",
    of=scopes_of,
    key=lambda entry: entry.get("id"),
    body=lambda entries, _: {"api": {"oauth2PermissionScopes": entries}},
    make=lambda op: {
        "id": op.get("scopeId"),
        "isEnabled": True,
        **{name: op.get(name) for name in _SCOPE_TEXTS},
    },
    put=_put_scope,
    disable=disable_scopes,
)
PERMISSION_SCOPE: Final = _SCOPES.resource("ApplicationPermissionScope", _SCOPE_BLOCK)

# API access.

_ACCESS_BLOCK: Final[Block] = {
    "applicationId": _APPLICATION_ID,
    "apiClientId": text(REQUIRED | FORCE_NEW, check=v.uuid),
    "roleIds": texts(OPTIONAL, check=v.uuid, some_of=("role_ids", "scope_ids")),
    "scopeIds": texts(OPTIONAL, check=v.uuid, some_of=("role_ids", "scope_ids")),
}


def _make_access(op: Operation) -> Entry:
    return {
        "resourceAppId": op.get("apiClientId"),
        "resourceAccess": [
            *({"id": item, "type": "Role"} for item in op.ordered("roleIds")),
            *({"id": item, "type": "Scope"} for item in op.ordered("scopeIds")),
        ],
    }


def _put_access(op: Operation, access: Entry) -> None:
    entries = dicts(access.get("resourceAccess"))
    op.put("apiClientId", access.get("resourceAppId"))
    op.put("roleIds", [item["id"] for item in entries if item.get("type") == "Role"])
    op.put("scopeIds", [item["id"] for item in entries if item.get("type") == "Scope"])


_ACCESSES: Final = _List(
    tf="azuread_application_api_access",
    kind="API",
    segment="apiAccess",
    key_name="apiClientId",
    of=lambda app: dicts(app.get("requiredResourceAccess")),
    key=lambda entry: entry.get("resourceAppId"),
    body=lambda entries, object_id: {"id": object_id, "requiredResourceAccess": entries},
    make=_make_access,
    put=_put_access,
)
API_ACCESS: Final = _ACCESSES.resource("ApplicationApiAccess", _ACCESS_BLOCK)

# Identifier URIs: plain texts, told apart by case, and base64 in the ID.

_URI_SEGMENTS: Final = ("applications", "{applicationId}", "identifierUris", "{identifierUri}")


def _uri_of(identifier: str) -> tuple[str, str]:
    parts = v.parse_id(identifier, *_URI_SEGMENTS)
    try:
        uri = base64.b64decode(parts["identifierUri"], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError(f"failed to decode identifierUri from resource ID: {error}") from None
    return f"/applications/{parts['applicationId']}", uri


def _create_uri(op: Operation) -> None:
    path = application_path(op.get("applicationId"))
    uri = op.get("identifierUri")
    identifier = f"{path}/identifierUris/{base64.b64encode(uri.encode()).decode()}"
    with op.locked(APPLICATION, path.rpartition("/")[2]):
        with op.attempting(f"retrieving {named(path)}"):
            uris = list(op.graph_get(path).get("identifierUris") or [])
        if uri in uris:
            raise requires_import("azuread_application_identifier_uri", identifier)
        with op.attempting(f"creating {named(identifier)}"):
            op.graph_patch(path, application_body({"identifierUris": [*uris, uri]}))
    op.id = identifier
    _read_uri(op)


def _read_uri(op: Operation) -> None:
    path, uri = _uri_of(op.id)
    with op.locked(APPLICATION, path.rpartition("/")[2]), op.attempting(f"retrieving {named(op.id)}"):
        app = op.graph_find(path)
    if app is None or uri not in (app.get("identifierUris") or []):
        raise GoneError
    op.put("applicationId", path)
    op.put("identifierUri", uri)


def _delete_uri(op: Operation) -> None:
    path, uri = _uri_of(op.id)
    with op.locked(APPLICATION, path.rpartition("/")[2]):
        with op.attempting(f"retrieving {named(path)}"):
            uris = list(op.graph_get(path).get("identifierUris") or [])
        if uri not in uris:
            raise OperationError(f"deleting {named(op.id)}: could not identify existing identifier URI")
        with op.attempting(f"deleting {named(op.id)}"):
            op.graph_patch(path, application_body({"identifierUris": [item for item in uris if item != uri]}))


def _check_uri_id(identifier: str) -> None:
    v.parse_id(identifier, *_URI_SEGMENTS)


IDENTIFIER_URI: Final = Resource(
    name="ApplicationIdentifierUri",
    tf="azuread_application_identifier_uri",
    block={
        "applicationId": _APPLICATION_ID,
        "identifierUri": text(REQUIRED | FORCE_NEW, check=v.not_empty),
    },
    create=_create_uri,
    read=_read_uri,
    delete=_delete_uri,
    check_id=_check_uri_id,
    timeouts={"create": 10, "read": 5, "delete": 5},
)

# Pre-authorized applications: an older kind of ID, and an update in place.

_PRE_TF: Final = "azuread_application_pre_authorized"


def _pre_parts(identifier: str) -> tuple[str, str]:
    return v.parse_sub_id(identifier, "preAuthorizedApplication", "Pre-Authorized Application ID")


def _pre_of(app: Mapping[str, Any]) -> list[Entry]:
    return [
        {key: item[key] for key in ("appId", "delegatedPermissionIds") if key in item}
        for item in dicts(part(app, "api", "preAuthorizedApplications"))
    ]


def _pre_body(entries: list[Entry]) -> dict[str, Any]:
    return application_body({"api": {"preAuthorizedApplications": entries}})


def _create_pre(op: Operation) -> None:
    path = application_path(op.get("applicationId"))
    object_id, client = path.rpartition("/")[2], op.get("authorizedClientId")
    identifier = f"{object_id}/preAuthorizedApplication/{client}"
    with op.locked(APPLICATION, object_id):
        with op.attempting(f"Retrieving {named(path)}"):
            entries = _pre_of(op.graph_get(path))
        if any(same_text(entry.get("appId"), client) for entry in entries):
            raise already_exists(_PRE_TF, identifier)
        new = {"appId": client, "delegatedPermissionIds": op.ordered("permissionIds")}
        with op.attempting(f'Adding pre-authorized application "{client}" for {named(path)}'):
            op.graph_patch(path, _pre_body([*entries, new]))
        op.id = identifier
        _read_pre(op)


def _read_pre(op: Operation) -> None:
    object_id, client = _pre_parts(op.id)
    path = f"/applications/{object_id}"
    with op.attempting(f"Retrieving {named(path)}"):
        app = op.graph_find(path)
    entry = next((item for item in _pre_of(app or {}) if same_text(item.get("appId"), client)), None)
    if entry is None:
        raise GoneError
    op.put("applicationId", path)
    op.put("authorizedClientId", client)
    op.put("permissionIds", list(entry.get("delegatedPermissionIds") or []))


def _update_pre(op: Operation) -> None:
    object_id, client = _pre_parts(op.id)
    path = f"/applications/{object_id}"
    with op.locked(APPLICATION, object_id):
        with op.attempting(f"Retrieving {named(path)}"):
            entries = _pre_of(op.graph_get(path))
        entry = next((item for item in entries if same_text(item.get("appId"), client)), None)
        if entry is None:
            detail = f'could not match an existing preAuthorizedApplication for "{client}"'
            raise OperationError(f"retrieving {named(path)}", detail)
        entry["delegatedPermissionIds"] = op.ordered("permissionIds")
        with op.attempting(f'Updating pre-authorized application "{client}" for {named(path)}'):
            op.graph_patch(path, _pre_body(entries))
        _read_pre(op)


def _delete_pre(op: Operation) -> None:
    object_id, client = _pre_parts(op.id)
    path = f"/applications/{object_id}"
    with op.locked(APPLICATION, object_id):
        with op.attempting(f"Retrieving {named(path)}"):
            app = op.graph_find(path)
        if app is None:
            return
        kept = [item for item in _pre_of(app) if not same_text(item.get("appId"), client)]
        with op.attempting(f'Removing pre-authorized application "{client}" from {named(path)}'):
            op.graph_patch(path, _pre_body(kept))


def _check_pre_id(identifier: str) -> None:
    _pre_parts(identifier)


PRE_AUTHORIZED: Final = Resource(
    name="ApplicationPreAuthorized",
    tf=_PRE_TF,
    block={
        "applicationId": _APPLICATION_ID,
        "authorizedClientId": text(REQUIRED | FORCE_NEW, check=v.uuid),
        "permissionIds": texts(REQUIRED, check=v.uuid),
    },
    create=_create_pre,
    read=_read_pre,
    update=_update_pre,
    delete=_delete_pre,
    check_id=_check_pre_id,
    timeouts={"create": 5, "read": 5, "update": 5, "delete": 5},
    version=0,
)
