"""Running components under Pulumi's mocks: what would be registered, without an engine."""

import asyncio
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pytest
from pulumi.runtime.mocks import MockMonitor


@dataclass
class Recorder(pulumi.runtime.Mocks):
    """Remembers each resource and answers as Entra would, with ids that follow from the name."""

    resources: list[pulumi.runtime.MockResourceArgs] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    """The registrations as the engine would get them: parent, dependencies."""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.resources.append(args)
        outputs = dict(args.inputs)
        if args.typ.startswith("azuread:"):
            client_id = args.inputs.get("clientId", self.id_of(f"client of {args.name}"))
            outputs |= {"objectId": self.id_of(args.name), "clientId": client_id}
        return f"/id/{args.name}", outputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> Any:
        kind = args.token.rsplit(":", 1)[-1]
        assert kind in ("getServicePrincipal", "getGroup", "getUser", "getApplication")
        if kind == "getServicePrincipal":
            return {"objectId": self.id_of("graph"), **args.args}
        if kind == "getApplication":
            return {"objectId": self.id_of("application"), "signInAudience": "AzureADMyOrg", **args.args}
        if "objectId" in args.args:
            return {"securityEnabled": True, "types": [], **args.args}
        name = args.args.get("displayName") or args.args.get("mail")
        return {"objectId": self.id_of(f"{kind} {name}"), **args.args}

    def id_of(self, name: str) -> str:
        """The object id that the directory gives to the resource `name`."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, name))

    def of(self, typ: str) -> dict[str, dict[str, Any]]:
        """Inputs by resource name of all resources whose type token ends with `typ`."""
        return {r.name: r.inputs for r in self.resources if r.typ.rsplit(":", 1)[-1] == typ}


class Monitor(MockMonitor):
    """The mock engine, remembering requests."""

    def RegisterResource(self, request: Any) -> Any:
        assert isinstance(self.mocks, Recorder)
        self.mocks.requests.append(request)
        return super().RegisterResource(request)


@pytest.fixture
def under_mocks() -> Iterator[Callable[[Callable[[], Any]], Recorder]]:
    """Call it with a program; gives what the program registered. The program's outputs may be awaited by it."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)

    def run(program: Callable[[], Any]) -> Recorder:
        recorder = Recorder()
        # What a program that failed left undone belongs to a loop that is closed; waiting for it would never end.
        pulumi.runtime.settings.SETTINGS.rpc_manager.clear()
        pulumi.runtime.settings.SETTINGS.outputs.clear()
        pulumi.runtime.set_mocks(recorder, preview=False, monitor=Monitor(recorder))

        async def body() -> None:
            result = program()
            if isinstance(result, pulumi.Output):
                await result.future()
            await pulumi.runtime.stack.wait_for_rpcs()

        loop.run_until_complete(body())
        return recorder

    yield run
    loop.close()
    asyncio.set_event_loop(None)
