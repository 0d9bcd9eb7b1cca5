"""A group of bots."""

import pulumi
import pulumi_azuread as azuread

from wicketgate.args import BotGroupArgs
from wicketgate.identity import adoption


class BotGroup(pulumi.ComponentResource):
    """A security group that policies apply to. Its members are set bot by bot, so bots don't touch each other."""

    object_id: pulumi.Output[str]
    """Object id of the group."""

    def __init__(self, name: str, args: BotGroupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("wicketgate:index:BotGroup", name, dict(args), opts)
        adopt = args.get("adopt")
        group = azuread.Group(
            f"{name}-group",
            display_name=args["display_name"],
            description=args.get("description", "Bots of Wicketgate; managed by Pulumi."),
            security_enabled=True,
            prevent_duplicate_names=True,
            # Of an adopted group nothing is said: it keeps those that it has.
            owners=None if adopt else [args["deployer_object_id"]],
            opts=adoption.options(
                self,
                f"/groups/{adopt['object_id']}" if adopt else None,
                adoption.GROUP,
                retained=adoption.retained(adopt),
            ),
        )
        self.object_id = group.object_id
        self.register_outputs({"objectId": self.object_id})
