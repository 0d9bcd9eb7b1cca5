"""Ids of app roles are part of every tenant's state."""

from wicketgate.identity import roles


def test_role_ids_never_change() -> None:
    assert roles.BOT_ROLE_ID == roles.role_id("Bot.Connect") == "b7f84fff-c3fc-518c-8f3b-20fe049e7534"
    assert roles.AGENT_ROLE_ID == roles.role_id("Agent.Connect") == "81fc108e-b3d7-5394-b96e-52aaf479580b"
