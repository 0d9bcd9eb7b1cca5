"""Small translations that several resources share."""

import pytest

from wicketgate.testing.azuread.errors import OperationError
from wicketgate.testing.azuread.resources.common import (
    app_role_ids,
    app_roles,
    features_to_tags,
    or_null,
    part,
    permission_scopes,
    required_id,
    retry_application,
    same_text,
    tags_to_features,
    temporary_name,
)

HIDE = "HideApp"
ENTERPRISE = "WindowsAzureActiveDirectoryIntegratedApp"


def test_features_and_tags_come_back() -> None:
    assert features_to_tags([{"hide": True, "enterprise": True}]) == [ENTERPRISE, HIDE]
    assert features_to_tags([{"enterpriseApplication": True, "visibleToUsers": False}]) == [ENTERPRISE, HIDE]
    assert features_to_tags([]) == features_to_tags(None) == []
    assert tags_to_features(["hideapp", "else"]) == [
        {"customSingleSignOn": False, "enterprise": False, "gallery": False, "hide": True}
    ]
    assert tags_to_features(None, deprecated=True) == [
        {
            "customSingleSignOnApp": False,
            "enterpriseApplication": False,
            "galleryApplication": False,
            "visibleToUsers": True,
        }
    ]


def test_only_roles_with_a_value_have_a_name() -> None:
    assert app_role_ids([{"id": "1", "value": "A"}, {"id": "2", "value": None}]) == {"A": "1"}
    assert app_roles(None) == permission_scopes(None) == []
    assert app_roles([{"id": "1"}])[0]["allowedMemberTypes"] == []


def test_what_is_not_there() -> None:
    assert part({"a": {"b": 1}}, "a", "b") == 1
    assert part({"a": None}, "a", "b") is None
    assert or_null("") is None
    assert or_null(False) is None
    assert same_text("A", "a")
    assert not same_text(None, "a")
    with pytest.raises(OperationError, match="Bad API response: no ID"):
        required_id({"id": ""}, "no ID")


def test_temporary_names_differ() -> None:
    assert temporary_name() != temporary_name()
    assert temporary_name().startswith("TERRAFORM_UPDATE_")


def test_application_changes_are_repeated_for_replication_alone() -> None:
    disabled = "Permission (scope or role) cannot be deleted or updated unless disabled first."
    assert retry_application(404, "")
    assert retry_application(409, "")
    assert retry_application(400, f"CannotDeleteOrUpdateEnabledEntitlement: {disabled}")
    assert not retry_application(400, "Request_BadRequest: invalid")
    assert not retry_application(403, "")
