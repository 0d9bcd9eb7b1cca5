"""An application between the program's properties and Graph's JSON, in both directions.

Source: terraform-provider-azuread `internal/services/applications/applications.go` (`expand…`, `flatten…`).
"""

from collections.abc import Mapping
from typing import Any, Final, cast

from wicketgate.testing.azuread.operation import Operation
from wicketgate.testing.azuread.resources.application_schema import (
    APP_ROLE,
    APPLICATION_BLOCK,
    PERMISSION_SCOPE,
)
from wicketgate.testing.azuread.resources.common import (
    app_role_ids,
    app_roles,
    dicts,
    or_null,
    part,
    permission_scopes,
    tags_to_features,
)
from wicketgate.testing.azuread.schema import OPTIONAL, Block, objects, request_order, sort_set

_ROLES: Final = objects(OPTIONAL, APP_ROLE)
_SCOPES: Final = objects(OPTIONAL, PERMISSION_SCOPE)
_INFO: Final = {
    "marketingUrl": "marketingUrl",
    "privacyStatementUrl": "privacyStatementUrl",
    "supportUrl": "supportUrl",
    "termsOfServiceUrl": "termsOfServiceUrl",
}


def _block(op: Operation, name: str) -> Mapping[str, Any]:
    value = op.get(name)
    return cast(Mapping[str, Any], value) if isinstance(value, Mapping) else {}


def _sub_block(name: str) -> Block:
    return APPLICATION_BLOCK[name].block or {}


def _walk(block: Block, values: Mapping[str, Any], name: str) -> list[Any]:
    """A set inside a block, in the provider's order."""
    return request_order(block[name], values.get(name) or [])


def role_body(role: Mapping[str, Any]) -> dict[str, Any]:
    """An app role for Graph."""
    return {
        "id": role["id"],
        "allowedMemberTypes": _walk(APP_ROLE, role, "allowedMemberTypes"),
        "description": role["description"],
        "displayName": role["displayName"],
        "isEnabled": bool(role.get("enabled")),
        "value": role.get("value") or "",
    }


def roles_body(roles: list[Any]) -> list[dict[str, Any]]:
    """App roles for Graph."""
    return [role_body(role) for role in request_order(_ROLES, roles)]


def scopes_body(scopes: list[Any]) -> list[dict[str, Any]]:
    """Permission scopes for Graph."""
    return [
        {
            "adminConsentDescription": scope.get("adminConsentDescription") or "",
            "adminConsentDisplayName": scope.get("adminConsentDisplayName") or "",
            "id": scope["id"],
            "isEnabled": bool(scope.get("enabled")),
            "type": scope.get("type") or "",
            "userConsentDescription": scope.get("userConsentDescription") or "",
            "userConsentDisplayName": scope.get("userConsentDisplayName") or "",
            "value": scope.get("value") or "",
        }
        for scope in request_order(_SCOPES, scopes)
    ]


def api_body(op: Operation) -> dict[str, Any]:
    """The `api` part, whole."""
    api = _block(op, "api")
    version = api.get("requestedAccessTokenVersion")
    return {
        "acceptMappedClaims": bool(api.get("mappedClaimsEnabled")),
        "knownClientApplications": _walk(_sub_block("api"), api, "knownClientApplications"),
        "oauth2PermissionScopes": scopes_body(list(api.get("oauth2PermissionScopes") or [])),
        "requestedAccessTokenVersion": 1 if version is None else version,
    }


def claims_body(block: Mapping[str, Any]) -> dict[str, Any]:
    """Optional claims of an application; nothing for an empty block."""
    if not block:
        return {}
    return {
        "accessToken": [_claim(item) for item in dicts(block.get("accessTokens"))],
        "idToken": [_claim(item) for item in dicts(block.get("idTokens"))],
        "saml2Token": [_claim(item) for item in dicts(block.get("saml2Tokens"))],
    }


def _claim(claim: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {
        "name": claim["name"],
        "essential": bool(claim.get("essential")),
        "additionalProperties": list(claim.get("additionalProperties") or []),
    }
    if claim.get("source"):
        out["source"] = claim["source"]
    return out


def resource_access_body(op: Operation) -> list[dict[str, Any]]:
    """The API permissions that the application asks for."""
    return [
        {
            "resourceAppId": item["resourceAppId"],
            "resourceAccess": [
                {"id": access["id"], "type": access["type"]} for access in dicts(item.get("resourceAccesses"))
            ],
        }
        for item in op.ordered("requiredResourceAccesses")
    ]


def common_body(op: Operation, tags: list[str]) -> dict[str, Any]:
    """What a creation and every update of an application send."""
    web = _block(op, "web")
    grant = part(web, "implicitGrant") or {}
    return {
        "description": or_null(op.get("description")),
        "displayName": op.get("displayName"),
        "groupMembershipClaims": or_null(",".join(op.ordered("groupMembershipClaims"))),
        "info": {graph: or_null(op.get(name)) for name, graph in _INFO.items()},
        "isDeviceOnlyAuthSupported": bool(op.get("deviceOnlyAuthEnabled")),
        "isFallbackPublicClient": bool(op.get("fallbackPublicClientEnabled")),
        "notes": or_null(op.get("notes")),
        "publicClient": {"redirectUris": _redirects(op, "publicClient")},
        "serviceManagementReference": or_null(op.get("serviceManagementReference")),
        "signInAudience": op.get("signInAudience"),
        "spa": {"redirectUris": _redirects(op, "singlePageApplication")},
        "tags": tags,
        "web": {
            "homePageUrl": or_null(web.get("homepageUrl")),
            "logoutUrl": or_null(web.get("logoutUrl")),
            "redirectUris": _redirects(op, "web"),
            "implicitGrantSettings": {
                "enableAccessTokenIssuance": bool(grant.get("accessTokenIssuanceEnabled")),
                "enableIdTokenIssuance": bool(grant.get("idTokenIssuanceEnabled")),
            },
        },
    }


def _redirects(op: Operation, name: str) -> list[Any]:
    return _walk(_sub_block(name), _block(op, name), "redirectUris")


def password_body(block: Mapping[str, Any]) -> dict[str, Any]:
    """A password credential to be made."""
    names = {"displayName": "displayName", "startDate": "startDateTime", "endDate": "endDateTime"}
    out = {graph: block[name] for name, graph in names.items() if isinstance(block.get(name), str) and block[name]}
    return {"displayName": block.get("displayName") or "", **out}


def passwords(credentials: Any) -> list[dict[str, Any]]:
    """Password credentials in the provider's shape."""
    return [
        {
            "keyId": item.get("keyId") or "",
            "displayName": item.get("displayName") or "",
            "startDate": item.get("startDateTime") or "",
            "endDate": item.get("endDateTime") or "",
            "value": item.get("secretText") or "",
        }
        for item in dicts(credentials)
    ]


def flat_api(api: Any) -> dict[str, Any] | None:
    """The `api` block of an answer."""
    if not isinstance(api, Mapping):
        return None
    version = part(api, "requestedAccessTokenVersion")
    return {
        "knownClientApplications": sort_set(part(api, "knownClientApplications") or []),
        "mappedClaimsEnabled": bool(part(api, "acceptMappedClaims")),
        "oauth2PermissionScopes": sort_set(permission_scopes(part(api, "oauth2PermissionScopes"))),
        "requestedAccessTokenVersion": 1 if version is None else version,
    }


def flat_claims(claims: Any) -> list[dict[str, Any]]:
    """Optional claims of one kind of token in an answer."""
    return [
        {
            "name": item.get("name") or "",
            "essential": bool(item.get("essential")),
            "source": item.get("source") or "",
            "additionalProperties": list(item.get("additionalProperties") or []),
        }
        for item in dicts(claims)
    ]


def flat_optional_claims(claims: Any) -> dict[str, Any] | None:
    """The `optionalClaims` block of an answer."""
    if not isinstance(claims, Mapping):
        return None
    return {
        "accessTokens": flat_claims(part(claims, "accessToken")),
        "idTokens": flat_claims(part(claims, "idToken")),
        "saml2Tokens": flat_claims(part(claims, "saml2Token")),
    }


def flat_group_claims(claims: Any) -> list[str]:
    """The kinds of groups in the groups claim."""
    return [item.strip() for item in claims.split(",")] if isinstance(claims, str) else []


def flat_redirects(value: Any) -> dict[str, Any] | None:
    """A block of redirect URIs of an answer."""
    return {"redirectUris": sort_set(part(value, "redirectUris") or [])} if isinstance(value, Mapping) else None


def flat_web(web: Any) -> dict[str, Any] | None:
    """The `web` block of an answer."""
    if not isinstance(web, Mapping):
        return None
    grant = part(web, "implicitGrantSettings")
    return {
        "homepageUrl": part(web, "homePageUrl") or "",
        "logoutUrl": part(web, "logoutUrl") or "",
        "redirectUris": sort_set(part(web, "redirectUris") or []),
        "implicitGrant": None
        if not isinstance(grant, Mapping)
        else {
            "accessTokenIssuanceEnabled": bool(part(grant, "enableAccessTokenIssuance")),
            "idTokenIssuanceEnabled": bool(part(grant, "enableIdTokenIssuance")),
        },
    }


def flat_resource_access(value: Any) -> list[dict[str, Any]]:
    """The requested API permissions of an answer."""
    return [
        {
            "resourceAppId": item.get("resourceAppId") or "",
            "resourceAccesses": [
                {"id": access.get("id") or "", "type": access.get("type") or ""}
                for access in dicts(item.get("resourceAccess"))
            ],
        }
        for item in dicts(value)
    ]


def put_application(op: Operation, app: Mapping[str, Any]) -> None:
    """Record an application as Graph gave it."""
    op.put("api", flat_api(app.get("api")))
    op.put(
        "appRoles",
        [
            {**role, "allowedMemberTypes": sort_set(role["allowedMemberTypes"])}
            for role in app_roles(app.get("appRoles"))
        ],
    )
    op.put("appRoleIds", app_role_ids(app.get("appRoles")))
    op.put("clientId", app.get("appId"))
    op.put("description", app.get("description"))
    op.put("deviceOnlyAuthEnabled", app.get("isDeviceOnlyAuthSupported"))
    op.put("disabledByMicrosoft", app.get("disabledByMicrosoftStatus"))
    op.put("displayName", app.get("displayName"))
    op.put("fallbackPublicClientEnabled", app.get("isFallbackPublicClient"))
    op.put("featureTags", tags_to_features(app.get("tags")))
    op.put("groupMembershipClaims", flat_group_claims(app.get("groupMembershipClaims")))
    op.put("identifierUris", list(app.get("identifierUris") or []))
    op.put("notes", app.get("notes"))
    op.put("objectId", app.get("id"))
    op.put("optionalClaims", flat_optional_claims(app.get("optionalClaims")))
    op.put("publicClient", flat_redirects(app.get("publicClient")))
    op.put("publisherDomain", app.get("publisherDomain"))
    op.put("requiredResourceAccesses", flat_resource_access(app.get("requiredResourceAccess")))
    op.put("serviceManagementReference", app.get("serviceManagementReference"))
    op.put("signInAudience", app.get("signInAudience"))
    op.put("singlePageApplication", flat_redirects(app.get("spa")))
    op.put("tags", list(app.get("tags") or []))
    op.put("templateId", app.get("applicationTemplateId"))
    op.put("web", flat_web(app.get("web")))
    if isinstance(app.get("api"), Mapping):
        scopes = permission_scopes(part(app, "api", "oauth2PermissionScopes"))
        op.put(
            "oauth2PermissionScopeIds", {item["value"]: item["id"] for item in scopes if item["value"] and item["id"]}
        )
    if isinstance(app.get("info"), Mapping):
        op.put("logoUrl", part(app, "info", "logoUrl"))
        for name, graph in _INFO.items():
            op.put(name, part(app, "info", graph))
