"""`ApplicationFederatedIdentityCredential`, `ApplicationFlexibleFederatedIdentityCredential`,
`ApplicationPassword`.

All of them write to one application in turns. Source: terraform-provider-azuread
`application_{federated_identity_credential,flexible_federated_identity_credential,password}_resource.go`.
"""

import base64
from typing import Any, Final

from wicketgate.testing.azuread import validators as v
from wicketgate.testing.azuread.errors import GoneError, OperationError
from wicketgate.testing.azuread.graph import BETA
from wicketgate.testing.azuread.names import named
from wicketgate.testing.azuread.operation import Operation
from wicketgate.testing.azuread.resource import Resource
from wicketgate.testing.azuread.resources.application import application_path
from wicketgate.testing.azuread.resources.application_body import password_body
from wicketgate.testing.azuread.resources.common import APPLICATION, dicts, required_id, same_text, typed
from wicketgate.testing.azuread.schema import (
    COMPUTED,
    FORCE_NEW,
    OPTIONAL,
    REQUIRED,
    SENSITIVE,
    Block,
    mapping,
    text,
    texts,
)

_TIMEOUTS: Final = {"create": 15, "read": 5, "update": 5, "delete": 5}
_APPLICATION_ID: Final = text(REQUIRED | FORCE_NEW, check=v.application_id)


def _credential_path(object_id: str, credential: str) -> str:
    return f"/applications/{object_id}/federatedIdentityCredentials/{credential}"


# Federated identity credentials.

_FEDERATED_BLOCK: Final[Block] = {
    "applicationId": _APPLICATION_ID,
    "audiences": texts(REQUIRED, ordered=True, max_items=1, check=v.not_empty),
    "displayName": text(REQUIRED | FORCE_NEW, check=v.length(1, 120)),
    "issuer": text(REQUIRED),
    "subject": text(REQUIRED),
    "description": text(OPTIONAL),
    "credentialId": text(COMPUTED),
}


def _federated_parts(identifier: str) -> tuple[str, str]:
    return v.parse_sub_id(identifier, "federatedIdentityCredential", "Federated Identity Credential ID")


def _federated_body(op: Operation) -> dict[str, Any]:
    audience = op.get("audiences")
    return {
        "audiences": [] if audience is None else [audience],
        "description": op.get("description"),
        "issuer": op.get("issuer"),
        "name": op.get("displayName"),
        "subject": op.get("subject"),
    }


def _create_federated(op: Operation) -> None:
    path = application_path(op.get("applicationId"))
    object_id = path.rpartition("/")[2]
    with op.locked(APPLICATION, object_id):
        with op.attempting(f"retrieving {named(path)}"):
            op.graph_get(path)
        with op.attempting(f"Adding federated identity credential for {named(path)}"):
            made = op.graph_post(
                f"{path}/federatedIdentityCredentials", typed("federatedIdentityCredential", _federated_body(op))
            )
        what = f"API error adding federated identity credential for {named(path)}"
        credential = required_id(made, "nil or empty ID received", summary=what)
        where = _credential_path(object_id, credential)
        op.wait_until(
            lambda: True if op.graph_find(where) is not None else None, f"Waiting for {named(where)}", seconds=1.0
        )
        op.id = f"{object_id}/federatedIdentityCredential/{credential}"
        _read_federated(op)


def _read_federated(op: Operation) -> None:
    object_id, credential = _federated_parts(op.id)
    with op.attempting(
        f'Retrieving federated identity credential with ID "{credential}" for application with object ID "{object_id}"'
    ):
        read = op.graph_find(_credential_path(object_id, credential))
    if read is None:
        raise GoneError
    audiences: list[Any] = list(read.get("audiences") or [])
    op.put("applicationId", f"/applications/{object_id}")
    op.put("credentialId", credential)
    op.put("audiences", audiences[0] if audiences else None)
    op.put("description", read.get("description"))
    op.put("displayName", read.get("name"))
    op.put("issuer", read.get("issuer"))
    op.put("subject", read.get("subject"))


def _update_federated(op: Operation) -> None:
    object_id, credential = _federated_parts(op.id)
    with op.locked(APPLICATION, object_id):
        what = (
            f'Updating federated identity credential with ID "{credential}" '
            f'for application with object ID "{object_id}"'
        )
        body = typed("federatedIdentityCredential", {"id": credential, **_federated_body(op)})
        with op.attempting(what):
            op.graph_patch(_credential_path(object_id, credential), body)
        _read_federated(op)


def _delete_federated(op: Operation) -> None:
    object_id, credential = _federated_parts(op.id)
    where = _credential_path(object_id, credential)
    with op.locked(APPLICATION, object_id):
        with op.attempting(f"Removing {named(where)}"):
            op.graph_delete(where)
        op.wait_gone(where, f"Waiting for deletion of {named(where)}")


def _check_federated_id(identifier: str) -> None:
    _federated_parts(identifier)


FEDERATED: Final = Resource(
    name="ApplicationFederatedIdentityCredential",
    tf="azuread_application_federated_identity_credential",
    block=_FEDERATED_BLOCK,
    create=_create_federated,
    read=_read_federated,
    update=_update_federated,
    delete=_delete_federated,
    check_id=_check_federated_id,
    timeouts=_TIMEOUTS,
)

# Flexible ones: on beta, by an expression over claims.

_FLEXIBLE_SEGMENTS: Final = (
    "applications",
    "{applicationId}",
    "federatedIdentityCredentials",
    "{federatedIdentityCredentialId}",
)
_FLEXIBLE_BLOCK: Final[Block] = {
    "applicationId": _APPLICATION_ID,
    "audience": text(REQUIRED, check=v.length(1, 600)),
    "claimsMatchingExpression": text(REQUIRED, check=v.not_blank),
    "displayName": text(REQUIRED | FORCE_NEW, check=v.length(1, 120)),
    "issuer": text(REQUIRED, check=v.not_blank),
    "description": text(OPTIONAL, check=v.length(0, 600)),
    "credentialId": text(COMPUTED),
}


def _flexible_parts(identifier: str) -> tuple[str, str]:
    parts = v.parse_id(identifier, *_FLEXIBLE_SEGMENTS)
    return parts["applicationId"], parts["federatedIdentityCredentialId"]


def _flexible_body(op: Operation) -> dict[str, Any]:
    return {
        "audiences": [op.get("audience")],
        "claimsMatchingExpression": {"languageVersion": 1, "value": op.get("claimsMatchingExpression")},
        "description": op.get("description"),
        "issuer": op.get("issuer"),
        "name": op.get("displayName"),
    }


def _create_flexible(op: Operation) -> None:
    path = application_path(op.get("applicationId"))
    object_id = path.rpartition("/")[2]
    with op.locked(APPLICATION, object_id):
        with op.attempting(f"retrieving {named(path)}"):
            op.graph_get(path, version=BETA)
        body = typed("federatedIdentityCredential", _flexible_body(op))
        with op.attempting(f"adding flexible federated identity credential for {named(path)}"):
            made = op.graph_post(f"{path}/federatedIdentityCredentials", body, version=BETA)
        what = f"api error adding flexible federated identity credential for {named(path)}"
        credential = required_id(made, "nil or empty ID received", summary=what)
        where = _credential_path(object_id, credential)
        op.session.waits.pause(10.0)
        op.wait_until(
            lambda: op.graph_find(where, version=BETA) is not None, f"waiting for {named(where)}", times=1, seconds=1.0
        )
    op.id = where
    _read_flexible(op)


def _read_flexible(op: Operation) -> None:
    object_id, credential = _flexible_parts(op.id)
    with op.attempting(f"retrieving {named(op.id)}"):
        read = op.graph_find(_credential_path(object_id, credential), version=BETA)
    if read is None:
        raise GoneError
    audiences: list[Any] = list(read.get("audiences") or [])
    expression: Any = read.get("claimsMatchingExpression")
    op.put("applicationId", f"/applications/{object_id}")
    op.put("credentialId", credential)
    op.put("claimsMatchingExpression", expression.get("value") if isinstance(expression, dict) else "")
    op.put("audience", audiences[0] if audiences else "")
    op.put("description", read.get("description"))
    op.put("displayName", read.get("name"))
    op.put("issuer", read.get("issuer"))


def _update_flexible(op: Operation) -> None:
    object_id, credential = _flexible_parts(op.id)
    body = typed("federatedIdentityCredential", {"id": credential, **_flexible_body(op)})
    with op.locked(APPLICATION, object_id), op.attempting(f"updating {named(op.id)}"):
        op.graph_patch(_credential_path(object_id, credential), body, version=BETA)
    _read_flexible(op)


def _delete_flexible(op: Operation) -> None:
    object_id, credential = _flexible_parts(op.id)
    where = _credential_path(object_id, credential)
    with op.locked(APPLICATION, object_id):
        with op.attempting(f"deleting {named(op.id)}"):
            op.graph_delete(where, version=BETA)
        op.wait_gone(where, f"waiting for deletion of {named(op.id)}", version=BETA)


def _check_flexible_id(identifier: str) -> None:
    _flexible_parts(identifier)


FLEXIBLE: Final = Resource(
    name="ApplicationFlexibleFederatedIdentityCredential",
    tf="azuread_application_flexible_federated_identity_credential",
    block=_FLEXIBLE_BLOCK,
    create=_create_flexible,
    read=_read_flexible,
    update=_update_flexible,
    delete=_delete_flexible,
    check_id=_check_flexible_id,
    timeouts=_TIMEOUTS,
)

# Passwords.

_PASSWORD_BLOCK: Final[Block] = {
    "applicationId": _APPLICATION_ID,
    "displayName": text(OPTIONAL | COMPUTED | FORCE_NEW),
    "startDate": text(OPTIONAL | COMPUTED | FORCE_NEW, check=v.rfc3339),
    "endDate": text(OPTIONAL | COMPUTED | FORCE_NEW, check=v.rfc3339, conflicts=("end_date_relative",)),
    "endDateRelative": text(
        OPTIONAL | FORCE_NEW,
        check=v.not_empty,
        conflicts=("end_date",),
        deprecated=(
            "The `end_date_relative` property is deprecated and will be removed in a future version of the AzureAD "
            "provider. Please instead use the Terraform `timeadd()` function to calculate a value for the `end_date` "
            "property."
        ),
    ),
    "rotateWhenChanged": mapping(OPTIONAL | FORCE_NEW),
    "keyId": text(COMPUTED),
    "value": text(COMPUTED | SENSITIVE),
}


def _password_parts(identifier: str) -> tuple[str, str]:
    return v.parse_sub_id(identifier, "password", "Password ID")


def _credential(op: Operation, path: str, key: str) -> dict[str, Any] | None:
    listed = dicts(op.graph_get(path).get("passwordCredentials"))
    return next((item for item in listed if same_text(item.get("keyId"), key)), None)


def _create_password(op: Operation) -> None:
    path = application_path(op.get("applicationId"))
    object_id = path.rpartition("/")[2]
    wanted = {name: op.get(name) for name in ("displayName", "startDate", "endDate") if op.given(name)}
    body = password_body(wanted)
    if "displayName" not in wanted:
        del body["displayName"]
    with op.locked(APPLICATION, object_id):
        with op.attempting(f"Retrieving {named(path)}"):
            if op.graph_find(path) is None:
                raise OperationError(f"{named(path)} was not found")
        with op.attempting(f"Adding password for {named(path)}"):
            made = op.graph_post(f"{path}/addPassword", {"passwordCredential": body})
        key, secret = made.get("keyId"), made.get("secretText")
        if not isinstance(key, str) or not key:
            raise OperationError(f"API error adding password for {named(path)}", "nil or empty keyId received")
        if not secret:
            raise OperationError(f"API error adding password for {named(path)}", "nil or empty password received")
        what = f"Waiting for password credential for {named(path)}"
        op.wait_until(lambda: True if _credential(op, path, key) else None, what, seconds=1.0)
        op.id = f"{object_id}/password/{key}"
        op.put("value", secret)
        _read_password(op)


def _read_password(op: Operation) -> None:
    object_id, key = _password_parts(op.id)
    path = f"/applications/{object_id}"
    with op.attempting(f"Retrieving {named(path)}"):
        app = op.graph_find(path)
    listed = dicts((app or {}).get("passwordCredentials"))
    found = next((item for item in listed if same_text(item.get("keyId"), key)), None)
    if found is None:
        raise GoneError
    op.put("applicationId", path)
    if found.get("displayName") is not None:
        op.put("displayName", found["displayName"])
    elif found.get("customKeyIdentifier"):
        op.put("displayName", base64.b64decode(found["customKeyIdentifier"]).decode(errors="replace"))
    op.put("keyId", key)
    op.put("startDate", found.get("startDateTime"))
    op.put("endDate", found.get("endDateTime"))


def _delete_password(op: Operation) -> None:
    object_id, key = _password_parts(op.id)
    path = f"/applications/{object_id}"
    with op.locked(APPLICATION, object_id):
        with op.attempting(f'Removing password credential "{key}" from {named(path)}'):
            op.graph_post(f"{path}/removePassword", {"keyId": key})
        what = f'Waiting for deletion of password credential "{key}" from {named(path)}'
        op.wait_until(lambda: _credential(op, path, key) is None, what, target="Deleted")


def _check_password_id(identifier: str) -> None:
    _password_parts(identifier)


PASSWORD: Final = Resource(
    name="ApplicationPassword",
    tf="azuread_application_password",
    block=_PASSWORD_BLOCK,
    create=_create_password,
    read=_read_password,
    delete=_delete_password,
    check_id=_check_password_id,
    timeouts=_TIMEOUTS,
    version=1,
)
