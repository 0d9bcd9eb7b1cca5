"""`Group` and `GroupMember` on beta, request by request."""

from typing import Any

import grpc
import pytest

from wicketgate.testing.azuread.resources.group import retry_create

GROUP = "aaaaaaaa-0000-4000-8000-000000000004"
MEMBER = "aaaaaaaa-0000-4000-8000-000000000003"
USER = "aaaaaaaa-0000-4000-8000-0000000000ff"
CALLER = "99999999-8888-4777-8666-555555555555"
PATH = f"/beta/groups/{GROUP}"
READ = [f"GET {PATH}", f"GET {PATH}/owners", f"GET {PATH}/members", f"GET {PATH}/memberOf"]
GONE = (404, {"error": {"code": "Request_ResourceNotFound", "message": "no"}})


def group(**more: Any) -> dict[str, Any]:
    return {
        "id": GROUP,
        "displayName": "g",
        "mailEnabled": False,
        "securityEnabled": True,
        "mailNickname": "12345678-9",
        "groupTypes": [],
        "membershipRule": None,
        "visibility": None,
        **more,
    }


def read(owners: list[str], members: list[str], **more: Any) -> list[tuple[Any, ...]]:
    lists = [[{"id": item} for item in items] for items in (owners, members, [])]
    return [(200, group(**more)), *[(200, {"value": items}) for items in lists]]


def created(script: Any, scripted: Any, **news: Any) -> Any:
    script.expect((201, group()), (204, None), (204, None), *[(200, group())] * 5, *read([CALLER], []))
    state = scripted.create("Group", displayName="g", securityEnabled=True, **news)
    return state


def test_creation_names_itself_twice_and_waits_for_its_name(scripted: Any, script: Any) -> None:
    script.expect((201, group()), (204, None), (204, None), GONE, (200, group(displayName="TERRAFORM_UPDATE_x")))
    script.expect(*[(200, group())] * 5, *read([CALLER], []))
    state = scripted.create("Group", displayName="g", securityEnabled=True)
    body = script.bodies("POST")[0]
    nickname = body.pop("mailNickname")
    assert len(nickname) == 10
    assert nickname[8] == "-"
    assert body == {
        "@odata.type": "#microsoft.graph.group",
        "description": None,
        "displayName": "g",
        "groupTypes": [],
        "isAssignableToRole": False,
        "mailEnabled": False,
        "membershipRule": None,
        "owners@odata.bind": [f"https://{script.host}/beta/directoryObjects/{CALLER}"],
        "resourceBehaviorOptions": [],
        "resourceProvisioningOptions": [],
        "securityEnabled": True,
    }
    assert script.lines() == ["POST /beta/groups", *[f"PATCH {PATH}"] * 2, *[f"GET {PATH}"] * 7, *READ]
    assert state.id == f"/groups/{GROUP}"
    assert state["owners"] == [CALLER]
    assert state["dynamicMembership"] is None
    assert scripted.changes(state, displayName="g", securityEnabled=True) == {}


def test_owners_are_asked_for_in_three_rounds_and_users_come_first(scripted: Any, script: Any) -> None:
    user = (200, {"id": USER, "@odata.type": "#microsoft.graph.user"})
    bot = (200, {"id": MEMBER, "@odata.type": "#microsoft.graph.servicePrincipal"})
    order = sorted([USER, MEMBER], key=lambda item: str(crc(item)))
    one_round = [user if item == USER else bot for item in order]
    script.expect(*one_round * 3, (201, group()), (204, None), (204, None), *[(200, group())] * 5)
    script.expect(*read([USER, MEMBER, CALLER], []))
    scripted.create("Group", displayName="g", securityEnabled=True, owners=[USER, MEMBER, CALLER])
    host = f"https://{script.host}/beta/directoryObjects"
    assert script.bodies("POST")[0]["owners@odata.bind"] == [f"{host}/{CALLER}", f"{host}/{USER}", f"{host}/{MEMBER}"]
    assert script.lines()[:6] == [f"GET /v1.0/directoryObjects/{item}" for item in order * 3]


def crc(text: str) -> int:
    import zlib

    return zlib.crc32(text.encode())


def test_members_are_added_by_reference(scripted: Any, script: Any) -> None:
    script.expect((201, group()), (204, None), (204, None), *[(200, group())] * 5, (204, None))
    script.expect(*read([CALLER], [MEMBER]))
    state = scripted.create("Group", displayName="g", securityEnabled=True, members=[MEMBER])
    assert script.bodies("POST")[1] == {"@odata.id": f"https://{script.host}/beta/directoryObjects/{MEMBER}"}
    assert script.lines()[8] == f"POST {PATH}/members/$ref"
    # Members are what the program says if it says so, and whatever there is if not.
    assert scripted.changes(state, displayName="g", securityEnabled=True) == {}
    assert scripted.changes(state, displayName="g", securityEnabled=True, members=[USER]) == {"members[0]": "UPDATE"}
    script.expect((204, None), (200, {"value": [{"id": MEMBER}]}), (204, None), (204, None), *read([CALLER], [USER]))
    scripted.update(state, displayName="g", securityEnabled=True, members=[USER])
    assert script.lines() == [
        f"PATCH {PATH}",
        f"GET {PATH}/members",
        f"DELETE {PATH}/members/{MEMBER}/$ref",
        f"POST {PATH}/members/$ref",
        *READ,
    ]


def test_owners_are_added_before_others_go(scripted: Any, script: Any) -> None:
    state = created(script, scripted)
    script.lines()
    script.expect((204, None), (200, {"value": [{"id": CALLER}]}), (204, None), (204, None), *read([USER], []))
    scripted.update(state, displayName="g", securityEnabled=True, owners=[USER])
    assert script.lines()[1:4] == [
        f"GET {PATH}/owners",
        f"POST {PATH}/owners/$ref",
        f"DELETE {PATH}/owners/{CALLER}/$ref",
    ]


def test_a_group_whose_caller_is_added_by_graph_is_tried_without(scripted: Any, script: Any) -> None:
    said = "Request contains a property with duplicate values."
    script.expect((400, {"error": {"code": "Request_BadRequest", "message": said}}), (201, group()))
    script.expect((204, None), (204, None), *[(200, group())] * 5, *read([CALLER], []))
    scripted.create("Group", displayName="g", securityEnabled=True)
    first, second = script.bodies("POST")
    assert "owners@odata.bind" in first
    assert "owners@odata.bind" not in second


def test_creation_is_repeated_while_owners_are_unknown() -> None:
    assert retry_create(404, "")
    assert retry_create(400, "Request_BadRequest: One or more property values specified are invalid.")
    missing = "Resource 'x' does not exist or one of its queried reference-property objects are not present."
    assert retry_create(400, missing)
    assert not retry_create(400, "Request_BadRequest: Request contains a property with duplicate values.")
    assert not retry_create(403, missing)


def test_deletion_looks_deletes_and_waits(scripted: Any, script: Any) -> None:
    state = created(script, scripted)
    script.lines()
    script.expect((200, group()), (204, None), *[GONE] * 5)
    scripted.delete(state)
    assert script.lines() == [f"GET {PATH}", f"DELETE {PATH}", *[f"GET {PATH}"] * 5]


def test_null_and_absent_rules_differ(scripted: Any, script: Any) -> None:
    """As the reference says: without an explicit null a group grows a block and a lasting diff."""
    state = created(script, scripted)
    answers = read([CALLER], [])
    del answers[0][1]["membershipRule"]
    script.expect(*answers)
    assert scripted.refresh(state)
    assert state["dynamicMembership"] == {"enabled": True, "rule": ""}


@pytest.mark.parametrize(
    ("news", "why"),
    [
        ({"mailEnabled": True}, '`types` must contain "Unified" for mail-enabled groups'),
        ({"securityEnabled": True, "types": ["Unified"]}, "`mail_enabled` must be true for unified groups"),
        ({"securityEnabled": True, "types": ["DynamicMembership"]}, "`dynamic_membership` must be specified"),
        ({"securityEnabled": False, "assignableToRole": True}, "only be `true` for security-enabled groups"),
        ({"securityEnabled": True, "theme": "Blue"}, "`theme` is only supported for unified groups"),
        ({"securityEnabled": True, "visibility": "Hiddenmembership"}, "can only be"),
    ],
)
def test_what_does_not_go_together_is_refused(scripted: Any, news: dict[str, Any], why: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        scripted.preview("Group", "res", displayName="g", **news)
    assert why in caught.value.details()


def test_a_group_is_for_security_or_mail(scripted: Any) -> None:
    assert len(scripted.failures("Group", displayName="g")) == 2
    assert scripted.failures("Group", displayName="g", securityEnabled=True) == []


def test_a_member_is_looked_for_added_and_found(scripted: Any, script: Any) -> None:
    found = f"GET {PATH}/members?%24filter=id+eq+%27{MEMBER}%27"
    script.expect((200, group()), (200, {"value": []}), (204, None), (200, {"value": [{"id": MEMBER}]}))
    state = scripted.create("GroupMember", groupObjectId=GROUP, memberObjectId=MEMBER)
    assert state.id == f"{GROUP}/member/{MEMBER}"
    assert script.lines() == [f"GET {PATH}", f"GET {PATH}/members", f"POST {PATH}/members/$ref", found]
    # Graph may ignore the filter: what counts is whether the member is in the answer.
    script.expect((200, {"value": [{"id": USER}]}))
    assert not scripted.refresh(state)
    script.lines()
    script.expect((204, None), (200, {"value": [{"id": MEMBER}]}), *[(200, {"value": []})] * 5)
    scripted.delete(state)
    assert script.lines() == [f"DELETE {PATH}/members/{MEMBER}/$ref", *[found] * 6]


def test_a_member_that_is_there_has_to_be_imported(scripted: Any, script: Any) -> None:
    script.expect((200, group()), (200, {"value": [{"id": MEMBER}]}))
    with pytest.raises(grpc.RpcError, match="already exists"):
        scripted.create("GroupMember", groupObjectId=GROUP, memberObjectId=MEMBER)
    script.expect((200, {"value": [{"id": MEMBER}]}))
    state = scripted.bring_in("GroupMember", f"{GROUP}/member/{MEMBER}")
    assert state is not None
    assert state.inputs == {"groupObjectId": GROUP, "memberObjectId": MEMBER, "__defaults": []}
