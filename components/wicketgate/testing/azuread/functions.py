"""Invoke: the functions of the plugin that look things up (`getApplication`, `getGroup`, …).

How this works: each function has the properties that may be given, and a body that gets an `Operation` and
gives the answer, with its `id`. Nothing found is an error, as in the real provider. Source:
terraform-provider-azuread `*_data_source.go`.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from wicketgate.testing.azuread import validators as v
from wicketgate.testing.azuread.errors import GraphError, OperationError
from wicketgate.testing.azuread.graph import BETA, V1
from wicketgate.testing.azuread.names import named
from wicketgate.testing.azuread.operation import Operation
from wicketgate.testing.azuread.published_apps import PUBLISHED_APPS
from wicketgate.testing.azuread.resources import group, service_principal
from wicketgate.testing.azuread.resources.application_body import (
    flat_api,
    flat_group_claims,
    flat_optional_claims,
    flat_resource_access,
    flat_web,
)
from wicketgate.testing.azuread.resources.common import (
    app_role_ids,
    app_roles,
    part,
    permission_scopes,
    required_id,
    same_text,
    tags_to_features,
)
from wicketgate.testing.azuread.schema import COMPUTED, OPTIONAL, Block, flag, text, texts


@dataclass(frozen=True)
class Function:
    """A function: its name, what may be given, and what it does. Raises OperationError if nothing is found."""

    name: str
    block: Block
    call: Callable[[Operation], dict[str, Any]]

    @property
    def token(self) -> str:
        """The token, as in `azuread:index/getGroup:getGroup`."""
        return f"azuread:index/{self.name}:{self.name}"


def _quoted(value: str) -> str:
    return value.replace("'", "''")


def _listed(op: Operation, path: str, filtered: str, kind: str, *, version: str = V1) -> list[dict[str, Any]]:
    with op.attempting(f'Listing {kind} for filter "{filtered}"'):
        return op.graph_list(path, version=version, filtered=filtered)


def _client_config(op: Operation) -> dict[str, Any]:
    session = op.session
    return {
        "clientId": session.client,
        "tenantId": session.tenant,
        "objectId": session.caller,
        "id": f"{session.tenant}-{session.client}-{session.caller}",
    }


def _published(_op: Operation) -> dict[str, Any]:
    return {"result": dict(PUBLISHED_APPS), "id": "appIds"}


# Applications.

_APPLICATION_KEYS: Final = ("client_id", "display_name", "object_id", "identifier_uri")


def _find_application(op: Operation) -> dict[str, Any]:
    object_id = op.get("objectId")
    if object_id:
        with op.attempting(f'Retrieving Application with object ID "{object_id}"'):
            app = op.graph_find(f"/applications/{object_id}")
        if app is None:
            raise OperationError(f'Application with object ID "{object_id}" was not found')
        return app
    client, name, uri = op.get("clientId"), op.get("displayName"), op.get("identifierUri")
    if client:
        filtered, key, value = f"appId eq '{client}'", "appId", client
    elif name:
        filtered, key, value = f"displayName eq '{name}'", "displayName", name
    else:
        filtered, key, value = f"identifierUris/any(uri:uri eq '{uri}')", "", uri
    apps = _listed(op, "/applications", filtered, "applications")
    if not apps:
        raise OperationError("Application not found", f'no applications found matching filter: "{filtered}"')
    if len(apps) > 1:
        raise OperationError(
            "Multiple applications found", f'found multiple applications matching filter: "{filtered}"'
        )
    if key and not same_text(apps[0].get(key), value):
        raise OperationError("Bad API Response", f'{key} does not match for applications matching filter: "{filtered}"')
    return apps[0]


def _application(op: Operation) -> dict[str, Any]:
    app = _find_application(op)
    object_id = required_id(app, "nil object ID returned for application")
    path = f"/applications/{object_id}"
    with op.attempting(f"Retrieving additional properties for {named(path)}"):
        more = op.graph_get(path, version=BETA, select="oauth2RequirePostResponse")
    with op.attempting(f"Could not retrieve owners for {named(path)}"):
        owners = op.ids(f"{path}/owners")
    scopes = permission_scopes(part(app, "api", "oauth2PermissionScopes"))
    api = flat_api(app.get("api"))
    if api is not None:
        # Lists here, in Graph's order.
        api |= {
            "knownClientApplications": list(part(app, "api", "knownClientApplications") or []),
            "oauth2PermissionScopes": scopes,
        }
    web = flat_web(app.get("web"))
    webs = [] if web is None else [_as_list_block(web, part(app, "web", "redirectUris"))]
    texts_of = {
        "clientId": app.get("appId"),
        "disabledByMicrosoft": app.get("disabledByMicrosoftStatus"),
        "displayName": app.get("displayName"),
        "logoUrl": part(app, "info", "logoUrl"),
        "marketingUrl": part(app, "info", "marketingUrl"),
        "notes": app.get("notes"),
        "objectId": object_id,
        "privacyStatementUrl": part(app, "info", "privacyStatementUrl"),
        "publisherDomain": app.get("publisherDomain"),
        "serviceManagementReference": app.get("serviceManagementReference"),
        "signInAudience": app.get("signInAudience"),
        "supportUrl": part(app, "info", "supportUrl"),
        "termsOfServiceUrl": part(app, "info", "termsOfServiceUrl"),
    }
    claims = flat_optional_claims(app.get("optionalClaims"))
    return {
        **{name: value or "" for name, value in texts_of.items()},
        "apis": [] if api is None else [api],
        "appRoleIds": app_role_ids(app.get("appRoles")),
        "appRoles": app_roles(app.get("appRoles")),
        "description": None,  # never filled in
        "deviceOnlyAuthEnabled": bool(app.get("isDeviceOnlyAuthSupported")),
        "fallbackPublicClientEnabled": bool(app.get("isFallbackPublicClient")),
        "featureTags": tags_to_features(app.get("tags")),
        "groupMembershipClaims": flat_group_claims(app.get("groupMembershipClaims")),
        "identifierUri": op.get("identifierUri") or None,
        "identifierUris": list(app.get("identifierUris") or []),
        "oauth2PermissionScopeIds": {item["value"]: item["id"] for item in scopes if item["value"] and item["id"]},
        "oauth2PostResponseRequired": bool(more.get("oauth2RequirePostResponse")),
        "optionalClaims": [] if claims is None else [claims],
        "owners": owners,
        "publicClients": _redirects(app, "publicClient"),
        "requiredResourceAccesses": flat_resource_access(app.get("requiredResourceAccess")),
        "singlePageApplications": _redirects(app, "spa"),
        "tags": sorted(app.get("tags") or []),
        "webs": webs,
        "id": path,
    }


def _as_list_block(web: dict[str, Any], redirects: Any) -> dict[str, Any]:
    grant = web.pop("implicitGrant")
    return {**web, "redirectUris": list(redirects or []), "implicitGrants": [] if grant is None else [grant]}


def _redirects(app: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    if not isinstance(app.get(name), Mapping):
        return []
    return [{"redirectUris": list(part(app, name, "redirectUris") or [])}]


# Service principals.

_PRINCIPAL_KEYS: Final = ("client_id", "display_name", "object_id")


def _find_principal(op: Operation) -> dict[str, Any]:
    object_id, name, client = op.get("objectId"), op.get("displayName"), op.get("clientId")
    if object_id:
        path = f"/servicePrincipals/{object_id}"
        with op.attempting(f"Retrieving {named(path)}"):
            found = op.graph_find(path)
        if found is None:
            raise OperationError(f"{named(path)} was not found")
        return found
    if name:
        filtered, key, value = f"displayName eq '{_quoted(name)}'", "displayName", name
    else:
        filtered, key, value = f"appId eq '{_quoted(client)}'", "appId", client
    listed = _listed(op, "/servicePrincipals", filtered, "service principals")
    if name and not listed:
        raise OperationError(
            "Service principal not found", f'no service principals found matching filter: "{filtered}"'
        )
    if name and len(listed) > 1:
        raise OperationError(
            "Multiple service principals found", f'found multiple service principals matching filter: "{filtered}"'
        )
    match = next((item for item in listed if same_text(item.get(key), value)), None)
    if match is None:
        raise OperationError("No service principal found", "no service principal found")
    return match


def _service_principal(op: Operation) -> dict[str, Any]:
    found = _find_principal(op)
    object_id = required_id(found, "API returned service principal with nil object ID", summary="Bad API Response")
    path = f"/servicePrincipals/{object_id}"
    with op.attempting(f"Retrieving {named(path)} (beta API)"):
        more = op.graph_get(path, version=BETA, select="samlMetadataUrl")
    values = service_principal.values_of(found, more)
    single = values.pop("samlSingleSignOn")
    flags = {name: bool(values.pop(name)) for name in ("accountEnabled", "appRoleAssignmentRequired")}
    return {
        **{name: "" if value is None else value for name, value in values.items()},
        **flags,
        "samlSingleSignOns": [] if single is None else [single],
        "id": path,
    }


# Groups.

_GROUP_KEYS: Final = ("display_name", "object_id", "mail_nickname")
_GROUP_FLAGS: Final = ("assignableToRole", "mailEnabled", "onpremisesSyncEnabled", "securityEnabled")


def _find_group(op: Operation) -> dict[str, Any]:
    wanted = {"mailEnabled": "mail_enabled", "securityEnabled": "security_enabled"}
    name, nickname, object_id = op.get("displayName"), op.get("mailNickname"), op.get("objectId")
    if name or nickname:
        filtered = f"displayName eq '{name}'" if name else f"mailNickname eq '{nickname}'"
        for key in wanted:
            if op.exists(key):
                filtered += f" and {key} eq {'true' if op.get(key) else 'false'}"
        listed = _listed(op, "/groups", filtered, "groups", version=BETA)
        if not listed:
            raise OperationError(f"No group found matching specified filter ({filtered})")
        if len(listed) > 1:
            raise OperationError(f"More than one group found matching specified filter ({filtered})")
        return listed[0]
    with op.attempting(f'Retrieving group with object ID: "{object_id}"'):
        found = op.graph_find(f"/groups/{object_id}", version=BETA)
    if found is None:
        raise OperationError(f'No group found with object ID: "{object_id}"')
    for key, said in wanted.items():
        if op.exists(key) and bool(found.get(key)) != op.get(key):
            expected, actual = str(op.get(key)).lower(), str(bool(found.get(key))).lower()
            raise OperationError(
                f'Group with object ID "{object_id}" does not have the specified {said} setting '
                f"(expected: {expected}, actual: {actual})"
            )
    return found


def _group(op: Operation) -> dict[str, Any]:
    found = _find_group(op)
    object_id = required_id(found, "API returned group with nil object ID", summary="Bad API Response")
    path = f"/groups/{object_id}"
    values = group.values_of(found)
    dynamic = values.pop("dynamicMembership")
    if dynamic is None and "membershipRule" in found:
        # Unlike the resource, the function takes an explicit null for a rule.
        paused = found.get("membershipRuleProcessingState") == "Paused"
        dynamic = {"enabled": not paused, "rule": found.get("membershipRule") or ""}
    extra = group.extra_of(op, found, path)
    transitive = bool(op.get("includeTransitiveMembers"))
    with op.attempting(f'Could not retrieve group members for group with object ID: "{path}"'):
        members = op.ids(f"{path}/{'transitiveMembers' if transitive else 'members'}", version=BETA)
    with op.attempting(f'Could not retrieve group owners for group with object ID: "{path}"'):
        owners = op.ids(f"{path}/owners", version=BETA)
    flags = {name: bool(values.pop(name)) for name in _GROUP_FLAGS}
    extras = ("autoSubscribeNewMembers", "externalSendersAllowed", "hideFromAddressLists", "hideFromOutlookClients")
    return {
        "writebackEnabled": False,
        "onpremisesGroupType": "",
        **{name: "" if value is None else value for name, value in values.items()},
        **flags,
        **{name: extra.get(name, False) for name in extras},
        "dynamicMemberships": [] if dynamic is None else [dynamic],
        "includeTransitiveMembers": transitive,
        "members": members,
        "owners": owners,
        "id": path,
    }


# Users.

_USER_KEYS: Final = ("employee_id", "mail", "mail_nickname", "object_id", "user_principal_name")
_USER_FILTERS: Final = (
    ("userPrincipalName", "UPN"),
    ("objectId", ""),
    ("mail", "mail"),
    ("mailNickname", "email alias"),
    ("employeeId", "employee ID"),
)
_USER_TEXTS: Final[Mapping[str, str]] = {
    "ageGroup": "ageGroup",
    "city": "city",
    "companyName": "companyName",
    "consentProvidedForMinor": "consentProvidedForMinor",
    "country": "country",
    "creationType": "creationType",
    "department": "department",
    "displayName": "displayName",
    "employeeHireDate": "employeeHireDate",
    "employeeId": "employeeId",
    "employeeType": "employeeType",
    "externalUserState": "externalUserState",
    "faxNumber": "faxNumber",
    "givenName": "givenName",
    "jobTitle": "jobTitle",
    "mail": "mail",
    "mailNickname": "mailNickname",
    "mobilePhone": "mobilePhone",
    "officeLocation": "officeLocation",
    "onpremisesDistinguishedName": "onPremisesDistinguishedName",
    "onpremisesDomainName": "onPremisesDomainName",
    "onpremisesImmutableId": "onPremisesImmutableId",
    "onpremisesSamAccountName": "onPremisesSamAccountName",
    "onpremisesSecurityIdentifier": "onPremisesSecurityIdentifier",
    "onpremisesUserPrincipalName": "onPremisesUserPrincipalName",
    "postalCode": "postalCode",
    "preferredLanguage": "preferredLanguage",
    "state": "state",
    "streetAddress": "streetAddress",
    "surname": "surname",
    "usageLocation": "usageLocation",
    "userPrincipalName": "userPrincipalName",
    "userType": "userType",
}
_USER_LISTS: Final = ("businessPhones", "imAddresses", "otherMails", "proxyAddresses")
_USER_FLAGS: Final = {
    "accountEnabled": "accountEnabled",
    "onpremisesSyncEnabled": "onPremisesSyncEnabled",
    "showInAddressList": "showInAddressList",
}
_USER_SELECT: Final = ",".join(
    sorted([*_USER_TEXTS.values(), *_USER_LISTS, *_USER_FLAGS.values(), "employeeOrgData", "id"], key=str.casefold)
)


def _user_id(op: Operation) -> str:
    for name, said in _USER_FILTERS:
        value = op.get(name)
        if not value:
            continue
        if name == "objectId":
            with op.attempting(f'Retrieving user with object ID: "{value}"'):
                found = op.graph_find(f"/users/{value}")
            if found is None:
                raise OperationError(f'User not found with object ID: "{value}"')
            return required_id(found, "API returned user with nil object ID", summary="Bad API Response")
        with op.attempting(f'Finding user with {said}: "{value}"'):
            listed = op.graph_list("/users", filtered=f"{name} eq '{_quoted(value)}'")
        if len(listed) > 1:
            raise OperationError(f'More than one user found with {said}: "{value}"')
        if not listed:
            missing = f'User with UPN "{value}" was not found' if said == "UPN" else ""
            raise OperationError(missing or f'User not found with {said}: "{value}"')
        return required_id(listed[0], "API returned user with nil object ID", summary="Bad API Response")
    raise OperationError("One of `object_id`, `user_principal_name`, `mail_nickname` or `employee_id` must be supplied")


def _user(op: Operation) -> dict[str, Any]:
    object_id = _user_id(op)
    path = f"/users/{object_id}"
    with op.attempting(f"Retrieving {named(path)}"):
        found = op.graph_get(path, select=_USER_SELECT)
    try:
        manager = op.graph_get(f"{path}/manager").get("id") or ""
    except GraphError as error:
        if not error.not_found:
            raise OperationError(f"Could not retrieve manager for {named(path)}", str(error)) from None
        manager = ""
    return {
        **{name: found.get(graph) or "" for name, graph in _USER_TEXTS.items()},
        **{name: list(found.get(name) or []) for name in _USER_LISTS},
        **{name: bool(found.get(graph)) for name, graph in _USER_FLAGS.items()},
        "costCenter": part(found, "employeeOrgData", "costCenter") or "",
        "division": part(found, "employeeOrgData", "division") or "",
        "managerId": manager,
        "objectId": object_id,
        "id": path,
    }


# Domains.

_DOMAIN_FLAGS: Final = {
    "adminManaged": "isAdminManaged",
    "default": "isDefault",
    "initial": "isInitial",
    "root": "isRoot",
    "verified": "isVerified",
}


def _domains(op: Operation) -> dict[str, Any]:
    with op.attempting("listing domains"):
        listed = op.graph_list("/domains")
    only = {
        "adminManaged": "isAdminManaged",
        "onlyDefault": "isDefault",
        "onlyInitial": "isInitial",
        "onlyRoot": "isRoot",
    }
    services: list[str] = op.get("supportsServices")

    def fits(domain: Mapping[str, Any]) -> bool:
        if any(op.get(name) and domain.get(graph) is False for name, graph in only.items()):
            return False
        if not op.get("includeUnverified") and domain.get("isVerified") is False:
            return False
        supported: Any = domain.get("supportedServices")
        return supported is None or set(services) <= set(supported)

    chosen = [domain for domain in listed if domain.get("id") and fits(domain)]
    if not chosen:
        raise OperationError("no domains found for the provided filters", "no domains found for the provided filters")
    digest = hashlib.sha1("/".join(domain["id"] for domain in chosen).encode(), usedforsecurity=False).digest()
    return {
        **{name: bool(op.get(name)) for name in (*only, "includeUnverified")},
        "supportsServices": services,
        "domains": [
            {
                **{name: bool(domain.get(graph)) for name, graph in _DOMAIN_FLAGS.items()},
                "authenticationType": domain.get("authenticationType") or "",
                "domainName": domain["id"],
                "supportedServices": list(domain.get("supportedServices") or []),
            }
            for domain in chosen
        ],
        "id": f"domains#{op.session.tenant}#{base64.urlsafe_b64encode(digest).decode()}",
    }


def _keys(names: Mapping[str, Any], one_of: tuple[str, ...]) -> Block:
    return {name: text(OPTIONAL | COMPUTED, check=check, one_of=one_of) for name, check in names.items()}


FUNCTIONS: Final[Mapping[str, Function]] = {
    function.token: function
    for function in (
        Function("getClientConfig", {}, _client_config),
        Function("getApplicationPublishedAppIds", {}, _published),
        Function(
            "getApplication",
            _keys(
                {"clientId": v.uuid, "displayName": v.not_empty, "identifierUri": v.not_empty, "objectId": v.uuid},
                _APPLICATION_KEYS,
            ),
            _application,
        ),
        Function(
            "getServicePrincipal",
            _keys({"clientId": v.uuid, "displayName": v.not_empty, "objectId": v.uuid}, _PRINCIPAL_KEYS),
            _service_principal,
        ),
        Function(
            "getGroup",
            {
                **_keys({"displayName": v.not_empty, "mailNickname": None, "objectId": v.uuid}, _GROUP_KEYS),
                "includeTransitiveMembers": flag(OPTIONAL, default=False),
                "mailEnabled": flag(OPTIONAL | COMPUTED),
                "securityEnabled": flag(OPTIONAL | COMPUTED),
            },
            _group,
        ),
        Function(
            "getUser",
            _keys(
                {
                    "employeeId": v.not_empty,
                    "mail": v.not_empty,
                    "mailNickname": v.not_empty,
                    "objectId": v.uuid,
                    "userPrincipalName": v.not_empty,
                },
                _USER_KEYS,
            ),
            _user,
        ),
        Function(
            "getDomains",
            {
                **{
                    name: flag(OPTIONAL)
                    for name in ("adminManaged", "includeUnverified", "onlyDefault", "onlyInitial", "onlyRoot")
                },
                "supportsServices": texts(OPTIONAL, ordered=True),
            },
            _domains,
        ),
    )
}
