"""How the real provider names objects in its messages: each ID type's `String()`, from the ID as a path.

Source: go-azure-sdk `microsoft-graph/common-types/stable/id_*.go`, terraform-provider-azuread
`internal/services/applications/parse`.
"""

from typing import Final

_OBJECT: Final = "Directory Object"
_SDK: Final[dict[tuple[str, ...], tuple[str, ...]]] = {
    ("applications",): ("Application", "Application"),
    ("servicePrincipals",): ("Service Principal", "Service Principal"),
    ("groups",): ("Group", "Group"),
    ("users",): ("User", "User"),
    ("directoryObjects",): (_OBJECT, _OBJECT),
    ("directoryRoles",): ("Directory Role", "Directory Role"),
    ("applications", "federatedIdentityCredentials"): (
        "Application Id Federated Identity Credential",
        "Application",
        "Federated Identity Credential",
    ),
    ("applications", "owners"): ("Application Id Owner", "Application", _OBJECT),
    ("groups", "members"): ("Group Id Member", "Group", _OBJECT),
    ("groups", "owners"): ("Group Id Owner", "Group", _OBJECT),
    ("servicePrincipals", "appRoleAssignedTo"): (
        "Service Principal Id App Role Assigned To",
        "Service Principal",
        "App Role Assignment",
    ),
    ("roleManagement", "roleAssignments"): ("Role Management Directory Role Assignment", "", "Unified Role Assignment"),
}
_OWN: Final[dict[str, tuple[str, str]]] = {
    "appRoles": ("App Role", "Role ID"),
    "permissionScopes": ("Permission Scope", "Scope ID"),
    "identifierUris": ("Application IdentifierUri", "IdentifierUri ID"),
    "apiAccess": ("Application API Access", "API Client ID"),
}


def named(path: str) -> str:
    """The name of the object at a path such as `/applications/…`; the path itself if its kind has no name."""
    parts = path.removeprefix("/").split("/")
    kinds, keys = tuple(parts[0::2]), parts[1::2]
    if len(kinds) != len(keys):
        return path
    if kinds in _SDK:
        title, *labels = _SDK[kinds]
        shown = [f'{label}: "{key}"' for label, key in zip(labels, keys, strict=True) if label]
        return title + " (" + "\n".join(shown) + ")"
    if len(kinds) == 2 and kinds[1] in _OWN:
        title, label = _OWN[kinds[1]]
        return f'{title} (Application ID: "{keys[0]}", {label}: "{keys[1]}")'
    return path


def claims_named(path: str) -> str:
    """The name of an application's optional claims, whose ID is the application's."""
    return f'Application Optional Claims (Application ID: "{path.rpartition("/")[2]}")'
