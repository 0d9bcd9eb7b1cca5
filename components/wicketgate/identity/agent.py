"""The identity of an agent."""

import pulumi

from wicketgate.args import AgentIdentityArgs
from wicketgate.identity import roles
from wicketgate.identity.workload import principal_with_role


class AgentIdentity(pulumi.ComponentResource):
    """Application, service principal and the role `Agent.Connect`; no stored key."""

    client_id: pulumi.Output[str]
    """Client id, with which the agent asks for tokens."""
    object_id: pulumi.Output[str]
    """Object id of the service principal: how the gateway knows the agent."""

    def __init__(self, name: str, args: AgentIdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("wicketgate:index:AgentIdentity", name, dict(args), opts)
        principal = principal_with_role(
            name,
            self,
            display_name=args["display_name"],
            deployer_object_id=args["deployer_object_id"],
            gateway_object_id=args["gateway_object_id"],
            role_id=roles.AGENT_ROLE_ID,
            credentials=args.get("credentials", []),
            notes="Wicketgate agent; managed by Pulumi.",
            adopt=args.get("adopt"),
        )
        self.client_id = principal.client_id
        self.object_id = principal.object_id
        self.register_outputs({"clientId": self.client_id, "objectId": self.object_id})
