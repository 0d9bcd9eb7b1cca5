"""The program: settings in, components, outputs. `pulumi up` gives the whole access stack."""

from pathlib import Path

import pulumi
import pulumi_azuread as azuread

from wicketgate.stack import access_stack, settings

stack_file = Path(__file__).parent / f"Pulumi.{pulumi.get_stack()}.yaml"
stack = access_stack(settings(stack_file), Path(__file__).parent.parent, azuread.get_client_config())

pulumi.export("tenant", stack.tenant)
pulumi.export("audience", stack.audience)
pulumi.export("bots", stack.bots)
pulumi.export("policy", stack.policy)
pulumi.export("folder", stack.folder)
