"""What every tenant has."""

import uuid

from wicketgate.testing.entra.builtin import DIRECTORY_ROLES, GRAPH_ROLES, GRAPH_SCOPES, furnish
from wicketgate.testing.entra.directory import GRAPH_APP_ID, Directory


def test_graphs_principal_and_the_roles_templates(directory: Directory) -> None:
    graph = directory.principal_of(GRAPH_APP_ID)
    assert graph is not None
    assert {role["value"]: role["id"] for role in graph["appRoles"]} == GRAPH_ROLES
    assert len(list(directory.all("directoryRoleTemplate"))) == len(DIRECTORY_ROLES)
    [organization] = directory.all("organization")
    assert organization["id"] == directory.tenant
    for key in (*GRAPH_ROLES.values(), *GRAPH_SCOPES.values(), *DIRECTORY_ROLES.values()):
        assert str(uuid.UUID(key)) == key


def test_furnishing_again_changes_nothing(directory: Directory) -> None:
    graph = directory.principal_of(GRAPH_APP_ID)
    assert graph is not None
    directory.save(graph | {"notes": "kept"})
    furnish(directory)
    again = directory.principal_of(GRAPH_APP_ID)
    assert again is not None
    assert again["notes"] == "kept"


def test_built_in_objects_are_not_subject_to_lag(directory: Directory) -> None:
    directory.quirks.update({"replication_lag": 3600})
    assert directory.principal_of(GRAPH_APP_ID) is not None
