"""The plugin `wicketgate`: the components for programs in any language of Pulumi's (YAML, TypeScript, Go, …).

The engine starts it as `python components [flags] ENGINE_ADDRESS`. Its schema is inferred from the components' argument
types and their docstrings; `components/schema.json` is its snapshot.
"""

import pulumi
from pulumi.provider.experimental import component_provider_host

from wicketgate.identity.agent import AgentIdentity
from wicketgate.identity.bot import Bot
from wicketgate.identity.gateway import GatewayIdentity
from wicketgate.identity.group import BotGroup
from wicketgate.policy.bundle import PolicyBundle

NAME = "wicketgate"
VERSION = "0.1.0"
COMPONENTS: list[type[pulumi.ComponentResource]] = [AgentIdentity, Bot, BotGroup, GatewayIdentity, PolicyBundle]

if __name__ == "__main__":
    component_provider_host(name=NAME, components=COMPONENTS, version=VERSION)
