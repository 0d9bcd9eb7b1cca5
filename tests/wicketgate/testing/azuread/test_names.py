"""Names of objects in messages."""

import pytest

from wicketgate.testing.azuread.names import claims_named, named


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/applications/a", 'Application (Application: "a")'),
        ("/servicePrincipals/s", 'Service Principal (Service Principal: "s")'),
        ("/users/u", 'User (User: "u")'),
        ("/groups/g/members/m", 'Group Id Member (Group: "g"\nDirectory Object: "m")'),
        (
            "/applications/a/federatedIdentityCredentials/f",
            'Application Id Federated Identity Credential (Application: "a"\nFederated Identity Credential: "f")',
        ),
        (
            "/roleManagement/directory/roleAssignments/r",
            'Role Management Directory Role Assignment (Unified Role Assignment: "r")',
        ),
        ("/applications/a/appRoles/r", 'App Role (Application ID: "a", Role ID: "r")'),
        ("/applications/a/apiAccess/c", 'Application API Access (Application ID: "a", API Client ID: "c")'),
        # Nothing known of these.
        ("/applications", "/applications"),
        ("/things/t", "/things/t"),
        ("/applications/a/things/t", "/applications/a/things/t"),
        ("", ""),
    ],
)
def test_named(path: str, name: str) -> None:
    assert named(path) == name


def test_claims_are_named_after_their_application() -> None:
    assert claims_named("/applications/a") == 'Application Optional Claims (Application ID: "a")'
