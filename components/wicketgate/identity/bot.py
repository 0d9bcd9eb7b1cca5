"""A bot's identity and its groups."""

import pulumi
import pulumi_azuread as azuread

from wicketgate.args import BotArgs
from wicketgate.identity import adoption, roles
from wicketgate.identity.workload import principal_with_role


class Bot(pulumi.ComponentResource):
    """Application, service principal, federated credentials, the role `Bot.Connect`, and group memberships."""

    client_id: pulumi.Output[str]
    """Client id, with which the bot asks for tokens."""
    object_id: pulumi.Output[str]
    """Object id of the service principal: how the gateway knows the bot."""

    def __init__(self, name: str, args: BotArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("wicketgate:index:Bot", name, dict(args), opts)
        principal = principal_with_role(
            name,
            self,
            display_name=args["display_name"],
            deployer_object_id=args["deployer_object_id"],
            gateway_object_id=args["gateway_object_id"],
            role_id=roles.BOT_ROLE_ID,
            credentials=args["credentials"],
            notes=f"Wicketgate bot of {args['owner']}; managed by Pulumi.",
            enabled=args.get("enabled", True),
            adopt=args.get("adopt"),
        )
        names, ids = args.get("group_names", []), args.get("group_object_ids", [])
        for group, object_id in zip(names, ids, strict=True):
            azuread.GroupMember(
                f"{name}-in-{group}",
                group_object_id=object_id,
                member_object_id=principal.object_id,
                opts=adoption.options(
                    self,
                    adoption.member_import(args.get("adopt"), group),
                    retained=adoption.retained(args.get("adopt")),
                ),
            )
        self.client_id = principal.client_id
        self.object_id = principal.object_id
        self.register_outputs({"clientId": self.client_id, "objectId": self.object_id})
