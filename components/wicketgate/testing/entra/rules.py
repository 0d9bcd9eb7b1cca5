"""What Graph demands of a body and does beside storing it, per kind of object.

`create_KIND` and `update_KIND` get the body's properties and raise GraphError with the real service's code and text:
clients retry on some of them. Everything common (unknown, read-only and missing properties) is in `writes`.
"""

import base64
import re
import secrets
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from wicketgate.testing import jws
from wicketgate.testing.entra import assertions, expressions
from wicketgate.testing.entra.directory import Directory, now_text
from wicketgate.testing.entra.errors import GraphError, bad_request, conflict, not_found
from wicketgate.testing.entra.keys import secret_digest
from wicketgate.testing.entra.store import Doc

_ZERO = "00000000-0000-0000-0000-000000000000"
_MAX_FEDERATED = 20
_FIC_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,119}")


def is_guid(text: Any) -> bool:
    """Whether it is a GUID in the usual form."""
    try:
        return isinstance(text, str) and len(text) == 36 and bool(uuid.UUID(text))
    except ValueError:
        return False


# --- applications


def create_application(directory: Directory, doc: Doc) -> None:
    """Fills in what the directory chooses."""
    doc["appId"] = doc["appId"] or str(uuid.uuid4())
    doc["publisherDomain"] = directory.domain
    update_application(directory, {}, doc)


def update_application(directory: Directory, before: Doc, doc: Doc) -> None:
    """Checks roles, scopes, URIs and keys of the application as it would become."""
    if not isinstance(doc["displayName"], str) or not 1 <= len(doc["displayName"]) <= 256:
        raise bad_request("Invalid value specified for property 'displayName' of resource 'Application'.")
    _check_roles(before.get("appRoles", []), doc["appRoles"], "appRoles")
    scopes = (before.get("api") or {}).get("oauth2PermissionScopes", [])
    _check_roles(scopes, doc["api"]["oauth2PermissionScopes"], "oauth2PermissionScopes")
    if doc["api"]["requestedAccessTokenVersion"] not in (None, 1, 2):
        raise bad_request(
            "Invalid value specified for property 'requestedAccessTokenVersion' of resource 'ApiApplication'."
        )
    claims = doc["optionalClaims"]
    lists = list(claims.values()) if isinstance(claims, dict) else []
    if claims is not None and not (isinstance(claims, dict) and all(_is_objects(one) for one in lists)):
        raise bad_request("Invalid value specified for property 'optionalClaims' of resource 'Application'.")
    if not isinstance(doc["groupMembershipClaims"], str | None):
        raise bad_request("Invalid value specified for property 'groupMembershipClaims' of resource 'Application'.")
    for uri in doc["identifierUris"]:
        for other in directory.all("application"):
            if other["id"] != doc["id"] and uri in other["identifierUris"]:
                raise bad_request("Another object with the same value for property identifierUris already exists.")
    doc["keyCredentials"] = [_key_credential(one, before.get("keyCredentials", [])) for one in doc["keyCredentials"]]


def _is_objects(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(one, dict) for one in value))


def _check_roles(before: list[Doc], after: list[Doc], name: str) -> None:
    strings = ("value", "displayName", "description")
    if any(not isinstance(role.get(one), str | None) for role in after for one in strings):
        raise bad_request(f"Invalid value specified for property '{name}' of resource 'Application'.")
    if any(not is_guid(role.get("id")) for role in after) or len({role["id"] for role in after}) != len(after):
        raise bad_request(f"Property {name} has entries with a missing, invalid or repeated id.")
    values = [role["value"] for role in after if role.get("value")]
    if len(set(values)) != len(values):
        raise bad_request("The request contains duplicate values for property 'value'.", "DuplicateValue")
    kept = {role["id"] for role in after}
    if any(role.get("isEnabled", True) and role["id"] not in kept for role in before):
        raise bad_request(
            "Property value cannot be deleted unless it is disabled first.", "CannotDeleteOrUpdateEnabledEntitlement"
        )
    for role in after:
        role.setdefault("isEnabled", True)
        allowed = role.get("allowedMemberTypes")
        if name == "appRoles" and not (
            isinstance(allowed, list) and {"User", "Application"} & {str(one) for one in allowed}
        ):
            raise bad_request("Property allowedMemberTypes of an app role must hold 'User' or 'Application'.")


def _key_credential(given: Doc, before: list[Doc]) -> Doc:
    """A key credential in full; an entry that names a known keyId without a key keeps that key."""
    old = next((one for one in before if one["keyId"] == given.get("keyId")), None)
    if old and not given.get("key"):
        return old | {name: value for name, value in given.items() if value is not None}
    certificate = assertions.load_certificate(given.get("key"))
    if certificate is None:
        raise bad_request(
            "Key credential is invalid: the key is no base64-encoded X.509 certificate.", "KeyCredentialsInvalid"
        )
    end = given.get("endDateTime") or f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    thumbprint = base64.b64encode(jws.unb64url(jws.certificate_thumbprint(certificate))).decode()
    return {
        "customKeyIdentifier": given.get("customKeyIdentifier") or thumbprint,
        "displayName": given.get("displayName") or certificate.subject.rfc4514_string(),
        "endDateTime": end,
        "key": given["key"],
        "keyId": given.get("keyId") or str(uuid.uuid4()),
        "startDateTime": given.get("startDateTime") or f"{certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
        "type": given.get("type") or "AsymmetricX509Cert",
        "usage": given.get("usage") or "Verify",
    }


def asked_password(given: Doc) -> Doc:
    """What a client may choose of a new client secret; its text is not among it."""
    return {name: given.get(name) for name in ("displayName", "endDateTime", "startDateTime")}


def add_password(directory: Directory, doc: Doc, given: Doc) -> Doc:
    """A new client secret: the answer holds `secretText`, the object only its digest and hint. Two years by default."""
    text = given.pop("_text", None) or f"{secrets.token_urlsafe(3)[:3]}8Q~{secrets.token_urlsafe(28)[:34]}"
    start = given.get("startDateTime") or now_text()
    end = given.get("endDateTime") or f"{datetime.now(UTC) + timedelta(days=730):%Y-%m-%dT%H:%M:%SZ}"
    try:
        datetime.fromisoformat(end)
    except (TypeError, ValueError):
        raise bad_request(
            "Invalid value specified for property 'endDateTime' of resource 'PasswordCredential'."
        ) from None
    credential = {
        "customKeyIdentifier": None,
        "displayName": given.get("displayName"),
        "endDateTime": end,
        "hint": text[:3],
        "keyId": str(uuid.uuid4()),
        "secretText": None,
        "startDateTime": start,
    }
    doc["passwordCredentials"].append(credential | {"_digest": secret_digest(text)})
    directory.save(doc)
    return credential | {"secretText": text}


def remove_password(directory: Directory, doc: Doc, key_id: Any) -> None:
    """Removes a client secret by `keyId`."""
    left = [one for one in doc["passwordCredentials"] if one["keyId"] != key_id]
    if len(left) == len(doc["passwordCredentials"]):
        raise bad_request("No password credential found with keyId.")
    doc["passwordCredentials"] = left
    directory.save(doc)


# --- service principals


def create_service_principal(directory: Directory, doc: Doc) -> None:
    """Needs an application, and no other principal of it."""
    if not is_guid(doc["appId"]):
        raise bad_request("Invalid value specified for property 'appId' of resource 'ServicePrincipal'.")
    app_id = doc["appId"] = doc["appId"].lower()
    application = directory.find_by("application", "appId", app_id)
    if application is None:
        raise bad_request(
            f"The appId '{app_id}' of the service principal does not reference a valid application object."
        )
    if any(one["appId"] == app_id and not one.get("_deleted") for one in directory.store.all("servicePrincipal")):
        raise conflict(
            "The service principal cannot be created, updated, or restored because the service principal name "
            f"{app_id} is already in use."
        )
    doc["appOwnerOrganizationId"] = directory.tenant
    doc["displayName"] = application["displayName"]


# --- groups and people


def create_group(directory: Directory, doc: Doc) -> None:
    """Security groups, Microsoft 365 groups and dynamic ones; mail-enabled security groups come from Exchange only."""
    unified = "Unified" in doc["groupTypes"]
    if doc["mailEnabled"] and not unified:
        raise bad_request(
            "The service does not currently support writes of mail-enabled groups. Please ensure that the "
            "mail-enablement property is unset and the security-enablement property is set."
        )
    if not doc["mailEnabled"] and not doc["securityEnabled"]:
        raise bad_request("Either mailEnabled or securityEnabled must be true.")
    doc["renewedDateTime"] = doc["createdDateTime"]
    doc["organizationId"] = directory.tenant
    numbers = uuid.UUID(doc["id"]).bytes_le
    parts = (int.from_bytes(numbers[at : at + 4], "little") for at in range(0, 16, 4))
    doc["securityIdentifier"] = "S-1-12-1-" + "-".join(str(part) for part in parts)
    if unified:
        doc["mail"] = f"{doc['mailNickname']}@{directory.domain}"
    update_group(directory, {}, doc)


def update_group(directory: Directory, before: Doc, doc: Doc) -> None:
    """Checks names."""
    if not isinstance(doc["displayName"], str) or not 1 <= len(doc["displayName"]) <= 256:
        raise bad_request("Invalid value specified for property 'displayName' of resource 'Group'.")
    nickname = doc["mailNickname"]
    if not isinstance(nickname, str) or not 1 <= len(nickname) <= 64 or re.search(r"[\s@()\\\[\]\";:<>,]", nickname):
        raise bad_request("Invalid value specified for property 'mailNickname' of resource 'Group'.")
    if before and before["isAssignableToRole"] != doc["isAssignableToRole"]:
        raise bad_request("The property 'isAssignableToRole' is read-only.")


def create_user(directory: Directory, doc: Doc) -> None:
    """User principal names are unique."""
    if directory.find_by("user", "userPrincipalName", str(doc["userPrincipalName"])):
        raise bad_request("Another object with the same value for property userPrincipalName already exists.")
    doc.pop("passwordProfile", None)


# --- federated credentials


def create_federated_credential(directory: Directory, doc: Doc) -> None:
    """Name, one audience, subject or expression, at most 20, unique."""
    if not isinstance(doc["name"], str) or not _FIC_NAME.fullmatch(doc["name"]):
        raise bad_request("Invalid value specified for property 'name' of resource 'FederatedIdentityCredential'.")
    if (
        sum(one["_parent"] == doc["_parent"] for one in directory.store.all("federatedIdentityCredential"))
        >= _MAX_FEDERATED
    ):
        raise bad_request(
            f"The number of FederatedIdentityCredentials on the object exceeds the maximum of {_MAX_FEDERATED}.",
            "Directory_QuotaExceeded",
        )
    update_federated_credential(directory, {}, doc)


def update_federated_credential(directory: Directory, before: Doc, doc: Doc) -> None:
    """As at creation; the name stays."""
    kind = "FederatedIdentityCredential"
    if before and before["name"] != doc["name"]:
        raise bad_request("Property 'name' is read-only and cannot be set.")
    if not isinstance(doc["issuer"], str) or not 1 <= len(doc["issuer"]) <= 600:
        raise bad_request(f"Invalid value specified for property 'issuer' of resource '{kind}'.")
    audiences = doc["audiences"]
    if not isinstance(audiences, list) or len(audiences) != 1 or not isinstance(audiences[0], str) or not audiences[0]:
        raise bad_request(f"Invalid value specified for property 'audiences' of resource '{kind}'.")
    expression = doc["claimsMatchingExpression"]
    if (expression is None) == (doc["subject"] is None):
        raise bad_request("Exactly one of 'subject' and 'claimsMatchingExpression' must be set.")
    if expression is not None:
        value = expression.get("value") if isinstance(expression, dict) else None
        try:
            expressions.parse_expression(value if isinstance(value, str) else "")
        except expressions.ExpressionError as error:
            raise bad_request(f"The claimsMatchingExpression is invalid: {error}.") from None
        expression.setdefault("languageVersion", 1)
    elif not isinstance(doc["subject"], str) or not 1 <= len(doc["subject"]) <= 600:
        raise bad_request(f"Invalid value specified for property 'subject' of resource '{kind}'.")
    for other in directory.store.all("federatedIdentityCredential"):
        if other["_parent"] != doc["_parent"] or other["id"] == doc["id"]:
            continue
        if other["name"] == doc["name"]:
            raise conflict(f"FederatedIdentityCredential with name {doc['name']} already exists.")
        if expression is None and (other["issuer"], other["subject"]) == (doc["issuer"], doc["subject"]):
            raise conflict(
                f"FederatedIdentityCredential with issuer {doc['issuer']} and subject {doc['subject']} already exists."
            )


# --- assignments


def create_app_role_assignment(directory: Directory, doc: Doc) -> None:
    """Principal and resource must exist, the role must be the resource's and open to this kind of principal."""
    if not all(is_guid(doc[name]) for name in ("principalId", "resourceId", "appRoleId")):
        raise bad_request("Invalid value specified for a GUID of resource 'AppRoleAssignment'.")
    resource = directory.find("servicePrincipal", doc["resourceId"])
    principal = directory.directory_object(doc["principalId"])
    if resource is None:
        raise not_found(doc["resourceId"])
    if principal is None or principal["_kind"] not in ("user", "group", "servicePrincipal"):
        raise bad_request("Not a valid reference update.")
    resource = directory.with_application(resource)
    needed = "Application" if principal["_kind"] == "servicePrincipal" else "User"
    roles = {role["id"]: role for role in resource["appRoles"]}
    role = roles.get(doc["appRoleId"])
    if role is None and (
        doc["appRoleId"] != _ZERO or any(needed in one["allowedMemberTypes"] for one in roles.values())
    ):
        raise bad_request("Permission being assigned was not found on application")
    if role is not None and (needed not in role["allowedMemberTypes"] or not role.get("isEnabled", True)):
        raise bad_request("Permission being assigned was not found on application")
    same = ("principalId", "resourceId", "appRoleId")
    if any(all(one[name] == doc[name] for name in same) for one in directory.store.all("appRoleAssignment")):
        raise bad_request("Permission being assigned already exists on the object")
    doc["id"] = jws.b64url(uuid.UUID(principal["id"]).bytes_le + uuid.uuid4().bytes)
    doc["principalDisplayName"] = principal["displayName"]
    doc["principalType"] = principal["_kind"][0].upper() + principal["_kind"][1:]
    doc["resourceDisplayName"] = resource["displayName"]


def create_role_assignment(directory: Directory, doc: Doc) -> None:
    """A directory role for a principal, tenant-wide or scoped to an object."""
    if directory.directory_object(str(doc["principalId"])) is None:
        raise not_found(str(doc["principalId"]))
    if directory.find("unifiedRoleDefinition", str(doc["roleDefinitionId"])) is None:
        raise not_found(str(doc["roleDefinitionId"]))
    same = ("principalId", "roleDefinitionId", "directoryScopeId")
    if any(all(one[name] == doc[name] for name in same) for one in directory.store.all("unifiedRoleAssignment")):
        raise bad_request("A conflicting object with one or more of the specified property values is present in the "
                          "directory.")  # fmt: skip
    doc["id"] = jws.b64url(uuid.uuid4().bytes + uuid.uuid4().bytes)[:38]


def create_directory_role(directory: Directory, doc: Doc) -> None:
    """Activates a role from its template."""
    template = directory.find("directoryRoleTemplate", str(doc["roleTemplateId"]))
    if template is None:
        raise not_found(str(doc["roleTemplateId"]))
    if directory.find_by("directoryRole", "roleTemplateId", template["id"]):
        raise GraphError(400, "Request_BadRequest", "A conflicting object with one or more of the specified property "
                         "values is present in the directory.")  # fmt: skip
    doc["displayName"], doc["description"] = template["displayName"], template["description"]


def create_permission_grant(directory: Directory, doc: Doc) -> None:
    """A delegated permission grant between two service principals."""
    for name in ("clientId", "resourceId"):
        if directory.find("servicePrincipal", str(doc[name])) is None:
            raise not_found(str(doc[name]))
    doc["id"] = jws.b64url(uuid.uuid4().bytes + uuid.uuid4().bytes)


CREATE: dict[str, Callable[[Directory, Doc], None]] = {
    "application": create_application,
    "servicePrincipal": create_service_principal,
    "group": create_group,
    "user": create_user,
    "federatedIdentityCredential": create_federated_credential,
    "appRoleAssignment": create_app_role_assignment,
    "unifiedRoleAssignment": create_role_assignment,
    "directoryRole": create_directory_role,
    "oAuth2PermissionGrant": create_permission_grant,
}
UPDATE: dict[str, Callable[[Directory, Doc, Doc], None]] = {
    "application": update_application,
    "group": update_group,
    "federatedIdentityCredential": update_federated_credential,
}
