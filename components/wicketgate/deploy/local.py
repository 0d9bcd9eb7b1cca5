"""The local deployment: files for a gateway, its agents and its bots' clients as processes on this machine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import pulumi

from wicketgate.config import StackConfig
from wicketgate.deploy import description
from wicketgate.deploy.description import Identities, Place
from wicketgate.deploy.localfile import File
from wicketgate_gateway.contract.policy import Policy


class LocalDeploymentArgs(TypedDict):
    """What a local deployment is rendered from."""

    config: StackConfig
    """The stack's settings."""
    tenant_id: pulumi.Input[str]
    """The tenant's id."""
    gateway_client_id: pulumi.Input[str]
    """Client id of the gateway's registration."""
    agents: dict[str, pulumi.Input[list[str]]]
    """Per agent: client id and object id."""
    bots: dict[str, pulumi.Input[str]]
    """Per bot: client id."""
    bundle: pulumi.Input[str]
    """The rendered policy bundle."""
    policies: Mapping[str, Policy]
    """The policies by name: they say which targets a bot's client file lists."""
    cli_client_id: NotRequired[pulumi.Input[str]]
    """Client id of the public client that people sign in with, where there is an API."""


class LocalDeployment(pulumi.ComponentResource):
    """Writes `gateway.yaml`, `bundle.json`, `people.yaml`, `agents/NAME.yaml`, `clients/NAME.yaml` below its folder.

    A file is a resource of its own, so that adding a bot touches that bot's file and the bundle, and nothing else.
    """

    folder: pulumi.Output[str]
    """The folder of the rendered files."""

    def __init__(self, name: str, args: LocalDeploymentArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("wicketgate:index:LocalDeployment", name, {}, opts)
        config = args["config"]
        settings = config.gateway.deploy
        folder = Path(settings.folder).absolute()
        place = Place(
            state=str(folder / "state"),
            bundle_file=str(folder / "bundle.json"),
            certificate_file=str(Path(settings.certificate_file).absolute()),
            key_file=str(Path(settings.key_file).absolute()),
            ca_file=str(Path(settings.ca_file).absolute()),
            listen_host=config.gateway.host,
            token_folder=str(Path(settings.token_folder).absolute()),
            secret_folder=str(Path(settings.secret_folder).absolute()),
        )
        base = {
            "tenant": args["tenant_id"],
            "gateway": args["gateway_client_id"],
            "agents": args["agents"],
            "cli": args.get("cli_client_id", ""),
        }

        def identities(values: dict[str, Any]) -> Identities:
            return Identities(
                tenant=values["tenant"],
                gateway_client_id=values["gateway"],
                agents={k: (v[0], v[1]) for k, v in values["agents"].items()},
                bots=values.get("bots", {}),
                cli_client_id=values["cli"],
            )

        def file(slug: str, path: str, content: pulumi.Input[str]) -> None:
            File(
                f"{name}-{slug}",
                path=str(folder / path),
                content=content,
                opts=pulumi.ResourceOptions(parent=self),
            )

        file("bundle", "bundle.json", args["bundle"])
        file(
            "gateway",
            "gateway.yaml",
            pulumi.Output.all(**base).apply(
                lambda v: description.render(description.gateway(config, identities(v), place), "The gateway")
            ),
        )
        if config.gateway.api_port is not None:
            file(
                "people",
                "people.yaml",
                pulumi.Output.all(**base).apply(
                    lambda v: description.render(description.people(config, identities(v), place), "People")
                ),
            )
        for agent in sorted(args["agents"]):
            file(
                f"agent-{agent}",
                f"agents/{agent}.yaml",
                pulumi.Output.all(**base).apply(
                    lambda v, agent=agent: description.render(
                        description.agent(config, identities(v), place, agent), f"The agent `{agent}`"
                    )
                ),
            )
        for bot, client_id in sorted(args["bots"].items()):
            file(
                f"client-{bot}",
                f"clients/{bot}.yaml",
                pulumi.Output.all(**base, bots={bot: client_id}).apply(
                    lambda v, bot=bot: description.render(
                        description.client(config, identities(v), place, bot, args["policies"]), f"The bot `{bot}`"
                    )
                ),
            )
        self.folder = pulumi.Output.from_input(str(folder))
        self.register_outputs({"folder": self.folder})
