"""The Compose deployment: `compose.yaml` and the files that its containers mount, as resources of the stack."""

from __future__ import annotations

from pathlib import Path

import pulumi

from wicketgate.deploy import compose_file, description
from wicketgate.deploy.description import Identities, Place
from wicketgate.deploy.inputs import DeploymentArgs, rendered
from wicketgate.deploy.localfile import File
from wicketgate.places import ComposeDeploy


class ComposeDeployment(pulumi.ComponentResource):
    """Writes `compose.yaml`, `gateway/{gateway.yaml,bundle.json}`, `agents/NAME/agent.yaml`, `clients/NAME.yaml` and
    `people.yaml` below its folder.

    The gateway's folder is mounted, not its files: so it sees a new bundle without a restart.
    """

    folder: pulumi.Output[str]
    """The folder of the rendered files."""

    def __init__(self, name: str, args: DeploymentArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("wicketgate:index:ComposeDeployment", name, {}, opts)
        config = args["config"]
        deploy = config.gateway.deploy
        assert isinstance(deploy, ComposeDeploy)
        folder = Path(deploy.folder).absolute()
        inside = compose_file.within(config)
        # What bots and people get names files of this machine.
        outside = Place(
            state="",
            bundle_file="",
            certificate_file="",
            key_file="",
            ca_file=str(Path(deploy.ca_file).absolute()),
            listen_host="",
            token_folder=str(Path(deploy.token_folder).absolute()),
            secret_folder="",
        )

        def file(slug: str, path: str, content: pulumi.Input[str]) -> None:
            File(f"{name}-{slug}", path=str(folder / path), content=content, opts=pulumi.ResourceOptions(parent=self))

        def gateway(ids: Identities) -> str:
            made = description.gateway(inside, ids, compose_file.place(inside, "gateway"))
            return description.render(made, "The gateway")

        def agent(ids: Identities, agent_name: str) -> str:
            made = description.agent(inside, ids, compose_file.place(inside, agent_name), agent_name)
            return description.render(made, f"The agent `{agent_name}`")

        def whole(ids: Identities) -> str:
            settings = {"gateway": gateway(ids), **{n: agent(ids, n) for n in config.agents}}
            return compose_file.render(config, deploy, settings)

        file("bundle", "gateway/bundle.json", args["bundle"])
        file("gateway", "gateway/gateway.yaml", rendered(args, gateway))
        for one in sorted(args["agents"]):
            file(f"agent-{one}", f"agents/{one}/agent.yaml", rendered(args, lambda ids, one=one: agent(ids, one)))
        file("compose", "compose.yaml", rendered(args, whole))
        if config.gateway.api_port is not None:
            file(
                "people",
                "people.yaml",
                rendered(args, lambda ids: description.render(description.people(config, ids, outside), "People")),
            )
        for bot, client_id in sorted(args["bots"].items()):
            file(
                f"client-{bot}",
                f"clients/{bot}.yaml",
                rendered(
                    args,
                    lambda ids, bot=bot: description.render(
                        description.client(config, ids, outside, bot, args["policies"]), f"The bot `{bot}`"
                    ),
                    {bot: client_id},
                ),
            )
        self.folder = pulumi.Output.from_input(str(folder))
        self.register_outputs({"folder": self.folder})
