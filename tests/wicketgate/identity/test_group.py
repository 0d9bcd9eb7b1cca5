"""A group leaves its members to the bots."""

from collections.abc import Callable
from typing import Any

from wicketgate.identity.group import BotGroup


def test_a_group_is_a_security_group_without_members_of_its_own(under_mocks: Callable[..., Any]) -> None:
    made = under_mocks(lambda: BotGroup("group-r", {"display_name": "wicketgate-r", "deployer_object_id": "deployer"}))
    (group,) = made.of("Group").values()
    assert group["securityEnabled"] is True
    assert group["owners"] == ["deployer"]
    assert group["preventDuplicateNames"] is True
    assert "members" not in group
