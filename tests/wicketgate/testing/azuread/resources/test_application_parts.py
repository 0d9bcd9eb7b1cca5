"""What is sent back of an application's lists, and what is never."""

from typing import Any

from wicketgate.testing.azuread.resources.application_parts import roles_of, scopes_of

APP = "aaaaaaaa-0000-4000-8000-000000000001"
ID = f"/applications/{APP}"
PATH = f"/v1.0{ID}"
SCOPE = "aaaaaaaa-0000-4000-8000-00000000000c"


def test_origin_goes_back_for_scopes_alone() -> None:
    assert roles_of({"appRoles": [{"id": "r", "origin": "Application", "@odata.type": "x"}]}) == [{"id": "r"}]
    found = scopes_of({"api": {"oauth2PermissionScopes": [{"id": "s", "origin": "Application", "x": 1}]}})
    assert found == [{"id": "s", "origin": "Application"}]
    assert roles_of({}) == scopes_of({"api": None}) == []


def test_a_scope_is_disabled_before_it_goes(scripted: Any, script: Any) -> None:
    scope = {"id": SCOPE, "isEnabled": True, "value": "act", "adminConsentDescription": "d", "type": "User"}
    app = {"id": APP, "api": {"oauth2PermissionScopes": [scope]}}
    off = {"id": APP, "api": {"oauth2PermissionScopes": [{**scope, "isEnabled": False}]}}
    script.expect((200, app))
    state = scripted.bring_in("ApplicationPermissionScope", f"{ID}/permissionScopes/{SCOPE}")
    assert state is not None
    script.lines()
    script.expect((200, app), (200, app), (204, None), (200, off), (204, None))
    scripted.delete(state)
    disabling, removal = script.bodies("PATCH")
    assert disabling["api"]["oauth2PermissionScopes"] == [{**scope, "isEnabled": False}]
    assert "id" not in disabling
    assert removal["api"]["oauth2PermissionScopes"] == []
    assert script.lines() == [f"{verb} {PATH}" for verb in ("GET", "GET", "PATCH", "GET", "PATCH")]
