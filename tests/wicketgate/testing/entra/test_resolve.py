"""Paths to targets."""

from collections.abc import Callable

import pytest

from wicketgate.testing.entra.errors import GraphError
from wicketgate.testing.entra.paths import parse_path
from wicketgate.testing.entra.resolve import Target, members, resolve
from wicketgate.testing.entra.server import EntraEmulator

ObjectId = Callable[[str, str], str]
Walk = Callable[[str], Target]


@pytest.fixture
def walk(entra: EntraEmulator, object_id: ObjectId) -> Walk:
    def go(path: str) -> Target:
        return resolve(entra.core, parse_path(path), object_id("user", "Ada"), is_user=True)

    return go


def test_objects_by_every_key(walk: Walk, app_id: Callable[[str], str], object_id: ObjectId) -> None:
    bot = object_id("application", "bot")
    for path in (f"applications/{bot}", f"applications('{bot}')", f"applications(appId='{app_id('bot')}')",
                 f"applications/{bot.upper()}"):  # fmt: skip
        item = walk(path).item
        assert item is not None
        assert item["id"] == bot
    for path in ("users/ada@contoso.example", "users(userPrincipalName='ADA@contoso.example')", "me"):
        item = walk(path).item
        assert item is not None
        assert item["displayName"] == "Ada"


def test_relations_and_casts(entra: EntraEmulator, walk: Walk, object_id: ObjectId) -> None:
    group, bot = object_id("group", "reviewers"), object_id("servicePrincipal", "bot")
    for cast, names in (("", {"Ada", "bot"}), ("/microsoft.graph.user", {"Ada"}), ("/graph.servicePrincipal", {"bot"}),
                        ("/microsoft.graph.directoryObject", {"Ada", "bot"}), ("/graph.group", set())):  # fmt: skip
        target = walk(f"groups/{group}/members{cast}")
        assert {one["displayName"] for one in members(entra.core, target)} == names
        assert target.polymorphic is (cast in ("", "/microsoft.graph.directoryObject"))
    transitive = walk(f"servicePrincipals/{bot}/transitiveMemberOf/graph.group")
    assert {one["displayName"] for one in members(entra.core, transitive)} == {"reviewers", "everyone"}
    direct = walk(f"servicePrincipals/{bot}/memberOf")
    assert {one["displayName"] for one in members(entra.core, direct)} == {"reviewers"}


def test_suffixes(walk: Walk, object_id: ObjectId) -> None:
    group, bot = object_id("group", "reviewers"), object_id("servicePrincipal", "bot")
    reference = walk(f"groups/{group}/members/{bot}/$ref")
    assert reference.ref
    assert reference.item is not None
    assert walk(f"groups/{group}/members/$count").count
    assert walk(f"servicePrincipals/{bot}/microsoft.graph.checkMemberGroups").action == "checkMemberGroups"
    item = walk(f"directoryObjects/{bot}/microsoft.graph.servicePrincipal").item
    assert item is not None


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("nothing", 400),
        ("applications/0f0e0d0c-0000-4000-8000-00000000000a", 404),
        ("applications(displayName='bot')", 400),
        ("groups/{group}/nothing", 400),
        ("groups/{group}/members/{gate}", 404),
        ("groups/{group}/members/graph.device", 400),
        ("groups/{group}/$ref", 400),
        ("groups/{group}/$count", 400),
        ("groups/{group}/members/$ref/more", 400),
        ("servicePrincipals/{gate}/graph.group", 404),
        ("directory", 400),
        ("roleManagement/directory", 400),
        ("deletedItems/{gate}", 404),
    ],
)
def test_what_is_not_there(walk: Walk, object_id: ObjectId, path: str, status: int) -> None:
    filled = path.format(group=object_id("group", "reviewers"), gate=object_id("servicePrincipal", "gate"))
    with pytest.raises(GraphError) as refused:
        walk(filled)
    assert refused.value.status == status


def test_me_is_for_people(entra: EntraEmulator, object_id: ObjectId) -> None:
    with pytest.raises(GraphError, match="delegated"):
        resolve(entra.core, parse_path("me"), object_id("servicePrincipal", "bot"), is_user=False)
