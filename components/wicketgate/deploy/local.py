"""The local deployment: files for a gateway, its agents and its bots' clients as processes on this machine."""

from pathlib import Path

import pulumi

from wicketgate.deploy import description
from wicketgate.deploy.description import Place
from wicketgate.deploy.inputs import DeploymentArgs, rendered
from wicketgate.deploy.localfile import File
from wicketgate.places import LocalDeploy


class LocalDeployment(pulumi.ComponentResource):
    """Writes `gateway.yaml`, `bundle.json`, `people.yaml`, `agents/NAME.yaml`, `clients/NAME.yaml` below its folder.

    A file is a resource of its own, so that adding a bot touches that bot's file and the bundle, and nothing else.
    """

    folder: pulumi.Output[str]
    """The folder of the rendered files."""

    def __init__(self, name: str, args: DeploymentArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("wicketgate:index:LocalDeployment", name, {}, opts)
        config = args["config"]
        settings = config.gateway.deploy
        assert isinstance(settings, LocalDeploy)
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
            rendered(args, lambda ids: description.render(description.gateway(config, ids, place), "The gateway")),
        )
        if config.gateway.api_port is not None:
            file(
                "people",
                "people.yaml",
                rendered(args, lambda ids: description.render(description.people(config, ids, place), "People")),
            )
        for agent in sorted(args["agents"]):
            file(
                f"agent-{agent}",
                f"agents/{agent}.yaml",
                rendered(
                    args,
                    lambda ids, agent=agent: description.render(
                        description.agent(config, ids, place, agent), f"The agent `{agent}`"
                    ),
                ),
            )
        for bot, client_id in sorted(args["bots"].items()):
            file(
                f"client-{bot}",
                f"clients/{bot}.yaml",
                rendered(
                    args,
                    lambda ids, bot=bot: description.render(
                        description.client(config, ids, place, bot, args["policies"]), f"The bot `{bot}`"
                    ),
                    {bot: client_id},
                ),
            )
        self.folder = pulumi.Output.from_input(str(folder))
        self.register_outputs({"folder": self.folder})
