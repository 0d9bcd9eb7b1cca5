"""Disabling app roles and permission scopes before they change or go, as Graph demands.

Source: terraform-provider-azuread `applications.go` (`applicationDisableAppRoles`,
`applicationDisableOauth2PermissionScopes`).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from wicketgate.testing.azuread.errors import GraphError, OperationError
from wicketgate.testing.azuread.operation import Operation
from wicketgate.testing.azuread.resources.common import application_body, dicts, part

_ROLE_KEYS: Final = ("allowedMemberTypes", "description", "displayName", "id", "isEnabled", "value")
_SCOPE_KEYS: Final = (
    "adminConsentDescription",
    "adminConsentDisplayName",
    "id",
    "isEnabled",
    "origin",
    "type",
    "userConsentDescription",
    "userConsentDisplayName",
    "value",
)


def roles_of(app: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An application's app roles as they may be sent back."""
    return [_only(_ROLE_KEYS, role) for role in dicts(app.get("appRoles"))]


def scopes_of(app: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An application's permission scopes as they may be sent back."""
    return [_only(_SCOPE_KEYS, scope) for scope in dicts(part(app, "api", "oauth2PermissionScopes"))]


def _only(keys: tuple[str, ...], item: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item[key] for key in keys if key in item}


def _role_changed(existing: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    plain = ("allowedMemberTypes", "description", "displayName")
    if any(existing.get(key) != new.get(key) for key in plain):
        return True
    return (existing.get("value") or "") != (new.get("value") or "")


def disable_roles(op: Operation, path: str, desired: list[dict[str, Any]], what: str) -> None:
    """Disable the app roles that are about to change or go, and wait until that shows."""

    def body(app: Mapping[str, Any], roles: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": app.get("id"), "appRoles": roles}

    _disable(op, path, desired, roles_of, _role_changed, body, what, "App Roles")


def disable_scopes(op: Operation, path: str, desired: list[dict[str, Any]], what: str) -> None:
    """Disable the permission scopes that are about to change or go, and wait until that shows."""

    def body(_app: Mapping[str, Any], scopes: list[dict[str, Any]]) -> dict[str, Any]:
        return {"api": {"oauth2PermissionScopes": scopes}}

    _disable(op, path, desired, scopes_of, _differs, body, what, "OAuth2 Permission Scopes")


def _differs(existing: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return existing != new


def _disable(
    op: Operation,
    path: str,
    desired: list[dict[str, Any]],
    of: Callable[[Mapping[str, Any]], list[dict[str, Any]]],
    changed: Callable[[Mapping[str, Any], Mapping[str, Any]], bool],
    body: Callable[[Mapping[str, Any], list[dict[str, Any]]], dict[str, Any]],
    what: str,
    plural: str,
) -> None:
    try:
        app = op.graph_get(path)
        existing = of(app)
        if existing == desired:
            return
        wanted = {item["id"]: item for item in desired}
        disabled: set[Any] = set()
        for item in existing:
            new = wanted.get(item.get("id"))
            if new is None or (item.get("isEnabled") and changed(item, new)):
                item["isEnabled"] = False
                disabled.add(item.get("id"))
        if not disabled:
            return
        op.graph_patch(path, application_body(body(app, existing)))
    except GraphError as error:
        raise OperationError(what, f"disabling {plural}: {error}") from None

    off = {item.get("id") for item in existing if item.get("isEnabled") is False}

    def shows() -> bool:
        return not any(item.get("isEnabled") for item in of(op.graph_get(path)) if item.get("id") in off)

    op.wait_until(shows, what, times=1, seconds=1.0, target="Disabled")
