"""What the resources share: names of kinds, bodies of objects, and the ways in which Graph tells nothing."""

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from wicketgate.testing.azuread.errors import GraphError, OperationError
from wicketgate.testing.azuread.graph import V1
from wicketgate.testing.azuread.operation import Operation

APPLICATION: Final = "azuread_application"
GROUP: Final = "azuread_group"
FIRST_OWNERS: Final = 20
_FEATURES: Final[tuple[tuple[str, str, str], ...]] = (
    ("customSingleSignOn", "customSingleSignOnApp", "WindowsAzureActiveDirectoryCustomSingleSignOnApplication"),
    ("enterprise", "enterpriseApplication", "WindowsAzureActiveDirectoryIntegratedApp"),
    ("gallery", "galleryApplication", "WindowsAzureActiveDirectoryGalleryApplicationNonPrimaryV1"),
    ("hide", "", "HideApp"),
)


def or_null(value: Any) -> Any:
    """The value, or null for what says nothing: Graph clears a property only by null."""
    return value or None


def typed(kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """A body with its type, as the provider sends it."""
    return {**body, "@odata.type": f"#microsoft.graph.{kind}"}


def application_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of an application."""
    return typed("application", body)


def part(value: Any, *names: str) -> Any:
    """What is at a path of names in an answer, None if it ends before."""
    for name in names:
        if not isinstance(value, Mapping):
            return None
        value = cast(Mapping[str, Any], value).get(name)
    return value


def dicts(value: Any) -> list[dict[str, Any]]:
    """A list of objects from an answer, empty for null."""
    return cast(list[dict[str, Any]], value) if isinstance(value, list) else []


def temporary_name(prefix: str = "TERRAFORM_UPDATE") -> str:
    """A name that nothing else has."""
    return f"{prefix}_{uuid.uuid4()}"


def required_id(answer: Mapping[str, Any], what: str, *, summary: str = "Bad API response") -> str:
    """The ID of what was created. Raises OperationError if the answer has none."""
    found = answer.get("id")
    if not isinstance(found, str) or not found:
        raise OperationError(summary, what)
    return found


def same_text(left: Any, right: Any) -> bool:
    """Whether two texts are equal but for case."""
    return str(left or "").casefold() == str(right or "").casefold()


def features_to_tags(features: Any) -> list[str]:
    """The magic tags that a block of features (of either spelling) stands for."""
    if not isinstance(features, list) or not features or not isinstance(features[0], Mapping):
        return []
    block = cast(Mapping[str, Any], features[0])
    tags = [tag for name, old, tag in _FEATURES if block.get(name) or (old and block.get(old))]
    if block.get("visibleToUsers") is False and "HideApp" not in tags:
        tags.append("HideApp")
    return tags


def tags_to_features(tags: Any, *, deprecated: bool = False) -> list[dict[str, bool]]:
    """The block of features that an object's tags stand for."""
    present = {str(tag).casefold() for tag in cast(list[Any], tags or [])}
    if deprecated:
        old = {name: tag.casefold() in present for _, name, tag in _FEATURES if name}
        return [{**old, "visibleToUsers": "hideapp" not in present}]
    return [{name: tag.casefold() in present for name, _, tag in _FEATURES}]


def app_role_ids(roles: Any) -> dict[str, str]:
    """App role IDs by their values."""
    return {str(role["value"]): str(role["id"]) for role in dicts(roles) if role.get("value") and role.get("id")}


def app_roles(roles: Any) -> list[dict[str, Any]]:
    """App roles in the provider's shape."""
    return [
        {
            "id": role.get("id") or "",
            "allowedMemberTypes": list(role.get("allowedMemberTypes") or []),
            "description": role.get("description") or "",
            "displayName": role.get("displayName") or "",
            "enabled": bool(role.get("isEnabled")),
            "value": role.get("value") or "",
        }
        for role in dicts(roles)
    ]


def permission_scopes(scopes: Any) -> list[dict[str, Any]]:
    """Delegated permission scopes in the provider's shape."""
    return [
        {
            "adminConsentDescription": scope.get("adminConsentDescription") or "",
            "adminConsentDisplayName": scope.get("adminConsentDisplayName") or "",
            "id": scope.get("id") or "",
            "enabled": bool(scope.get("isEnabled")),
            "type": scope.get("type") or "",
            "userConsentDescription": scope.get("userConsentDescription") or "",
            "userConsentDisplayName": scope.get("userConsentDisplayName") or "",
            "value": scope.get("value") or "",
        }
        for scope in dicts(scopes)
    ]


def split_owners(op: Operation, *, version: str = V1) -> tuple[list[str], list[str], bool]:
    """Owners for a creation: the first twenty as URLs (the caller always among them), the IDs of the rest, and
    whether the caller has to go afterwards.
    """
    caller = op.session.caller
    reference = op.session.graph.reference
    first, rest, remove = [reference(version, caller)], list[str](), True
    for owner in op.ordered("owners"):
        if same_text(owner, caller):
            remove = False
        elif len(first) < FIRST_OWNERS:
            first.append(reference(version, owner))
        else:
            rest.append(owner)
    return first, rest, remove


def settle_owners(op: Operation, path: str, rest: list[str], *, remove_caller: bool, what: str) -> None:
    """After a creation: add the owners that did not fit, and remove the caller unless it is one."""
    for owner in rest:
        with op.attempting(f"Could not add owners to {what}"):
            op.graph_post(f"{path}/owners/$ref", op.reference(owner))
    if remove_caller:
        with op.attempting(f"Could not remove initial owner from {what}"):
            op.graph_delete(f"{path}/owners/{op.session.caller}/$ref")


def update_owners(op: Operation, path: str, what: str, *, read: str = "") -> None:
    """Bring an object's owners to the desired set: add first, then remove. `read` names it when reading fails."""
    with op.attempting(f"Could not retrieve owners for {read or what}"):
        existing = op.ids(f"{path}/owners")
    desired = cast(list[str], op.ordered("owners"))
    with op.attempting(f"Could not add owners to {what}"):
        for owner in desired:
            if owner not in existing:
                op.graph_post(f"{path}/owners/$ref", op.reference(owner))
        for owner in existing:
            if owner not in desired:
                op.graph_delete(f"{path}/owners/{owner}/$ref")


def retry_missing(status: int, _error: str) -> bool:
    """Repeat while the object is not there yet."""
    return status == 404


def retry_application(status: int, error: str) -> bool:
    """Repeat a change of an application that is not everywhere yet, or of something not disabled everywhere."""
    not_disabled = "Permission (scope or role) cannot be deleted or updated unless disabled first"
    return status in (404, 409) or (status == 400 and not_disabled in error)


def found(call: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    """The answer, None if Graph says that there is no such thing."""
    try:
        return call()
    except GraphError as error:
        if error.not_found:
            return None
        raise
