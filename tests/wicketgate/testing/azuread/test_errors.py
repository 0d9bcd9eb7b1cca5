"""Errors in the form of the bridge."""

from wicketgate.testing.azuread.errors import (
    GraphError,
    NotInStandInError,
    OperationError,
    already_exists,
    duplicate_name,
    requires_import,
)


def test_an_error_is_a_list_of_one() -> None:
    assert str(OperationError("Doing", "why")) == "1 error occurred:\n\t* Doing: why\n\n"
    assert str(OperationError("Doing")) == "1 error occurred:\n\t* Doing\n\n"


def test_graphs_answers() -> None:
    assert GraphError(404, "Not Found", "A: b", "").not_found
    assert (
        str(GraphError(400, "Bad Request", "A: b", "x")) == "unexpected status 400 (400 Bad Request) with error: A: b"
    )
    assert str(GraphError(400, "Bad Request", "", "x")) == "unexpected status 400 (400 Bad Request) with response: x"


def test_what_exists_has_to_be_imported() -> None:
    assert 'A resource with the ID "i" already exists: To be managed via Terraform' in str(already_exists("t", "i"))
    assert 'a resource with the ID "i" already exists - to be managed' in str(requires_import("t", "i"))
    found = duplicate_name("azuread_group", "i", "n")
    assert found.summary == (
        'An existing "azuread_group" with name "n" (ID: "i") was found and `prevent_duplicate_names` was specified'
    )


def test_what_the_stand_in_lacks() -> None:
    said = str(NotInStandInError("the resource `azuread:index/user:User`"))
    assert said.startswith("the stand-in for the azuread plugin does not have the resource `azuread:index/user:User`")
