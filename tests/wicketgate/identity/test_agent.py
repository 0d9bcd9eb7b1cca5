"""An agent's identity lets it connect as an agent and as nothing else."""

from collections.abc import Callable
from typing import Any

from wicketgate.args import AgentIdentityArgs
from wicketgate.identity import roles
from wicketgate.identity.agent import AgentIdentity

ARGS: AgentIdentityArgs = {
    "display_name": "wicketgate-agent-desk",
    "deployer_object_id": "deployer",
    "gateway_object_id": "oid-gateway",
}


def test_an_agent_holds_the_agents_role_alone(under_mocks: Callable[..., Any]) -> None:
    made = under_mocks(lambda: AgentIdentity("agent-desk", ARGS))
    (role,) = made.of("AppRoleAssignment").values()
    assert role["appRoleId"] == roles.AGENT_ROLE_ID
    assert made.of("GroupMember") == {}
