"""A group of bots."""

import pulumi
import pulumi_azuread as azuread

from wicketgate.args import BotGroupArgs


class BotGroup(pulumi.ComponentResource):
    """A security group that policies apply to. Its members are set bot by bot, so bots don't touch each other."""

    object_id: pulumi.Output[str]
    """Object id of the group."""

    def __init__(self, name: str, args: BotGroupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("wicketgate:index:BotGroup", name, dict(args), opts)
        group = azuread.Group(
            f"{name}-group",
            display_name=args["display_name"],
            description=args.get("description", "Bots of Wicketgate; managed by Pulumi."),
            security_enabled=True,
            prevent_duplicate_names=True,
            owners=[args["deployer_object_id"]],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.object_id = group.object_id
        self.register_outputs({"objectId": self.object_id})
