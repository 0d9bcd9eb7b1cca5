"""A small engine that talks gRPC to the plugin in this process, and two worlds behind it: the emulator, and a script.

`Engine` does for one resource what Pulumi's engine does: Check, then Create, Diff, Update, Read and Delete, with the
state in between. `Script` is a Graph that answers from a list and remembers every request.
"""

import base64
import json
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx2
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2

from wicketgate.provider.server import start_provider
from wicketgate.provider.values import UNKNOWN, Secret, decode, encode, reveal
from wicketgate.testing.azuread.provider import AzureadProvider
from wicketgate.testing.entra.server import EntraEmulator

TENANT = "6f1c9a52-7a53-4c0e-9a55-3f2e6b1d8c40"
CLIENT = "11111111-2222-4333-8444-555555555555"
CALLER = "99999999-8888-4777-8666-555555555555"


def token_for(oid: str) -> str:
    """An access token as the plugin looks at it: three parts, an `oid`, no signature."""
    parts = ({"alg": "none"}, {"oid": oid, "tid": TENANT, "appid": CLIENT, "aud": "graph", "exp": 1, "iat": 0})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "c2ln"])


@dataclass
class State:
    """A resource as the engine remembers it."""

    token: str
    name: str
    id: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return reveal(self.outputs[name])


@dataclass
class Engine:
    """One provider instance, and what the engine asks of it."""

    stub: provider_pb2_grpc.ResourceProviderStub
    states: list[State] = field(default_factory=list)

    def urn(self, token: str, name: str) -> str:
        return f"urn:pulumi:test::project::{token_of(token)}::{name}"

    def configure(self, **args: Any) -> None:
        checked = self.stub.CheckConfig(provider_pb2.CheckRequest(news=encode(args)))
        assert not checked.failures, [failure.reason for failure in checked.failures]
        self.stub.Configure(provider_pb2.ConfigureRequest(args=checked.inputs, acceptSecrets=True))

    def check(self, token: str, name: str, news: dict[str, Any], olds: dict[str, Any] | None = None) -> dict[str, Any]:
        """The checked inputs; fails with the reasons if there are failures."""
        answer = self.check_raw(token, name, news, olds)
        assert not answer.failures, [failure.reason for failure in answer.failures]
        return decode(answer.inputs)

    def check_raw(self, token: str, name: str, news: dict[str, Any], olds: dict[str, Any] | None = None) -> Any:
        request = provider_pb2.CheckRequest(urn=self.urn(token, name), news=encode(news))
        if olds is not None:
            request.olds.CopyFrom(encode(olds))
        return self.stub.Check(request)

    def failures(self, token: str, **news: Any) -> list[str]:
        """What is wrong with these inputs of a resource named `res`."""
        return sorted(failure.reason for failure in self.check_raw(token, "res", news).failures)

    def preview(self, token: str, name: str, **news: Any) -> dict[str, Any]:
        inputs = self.check(token, name, news)
        request = provider_pb2.CreateRequest(urn=self.urn(token, name), properties=encode(inputs), preview=True)
        return decode(self.stub.Create(request).properties)

    def create(self, token: str, name: str = "res", **news: Any) -> State:
        inputs = self.check(token, name, news)
        request = provider_pb2.CreateRequest(urn=self.urn(token, name), properties=encode(inputs))
        answer = self.stub.Create(request)
        state = State(token, name, answer.id, inputs, decode(answer.properties))
        self.states.append(state)
        return state

    def diff(self, state: State, **news: Any) -> Any:
        inputs = self.check(state.token, state.name, news, state.inputs)
        return self.stub.Diff(
            provider_pb2.DiffRequest(
                id=state.id,
                urn=self.urn(state.token, state.name),
                olds=encode(reveal(state.outputs)),
                news=encode(inputs),
                old_inputs=encode(state.inputs),
            )
        )

    def changes(self, state: State, **news: Any) -> dict[str, str]:
        """Kinds of changes by path; empty if there are none."""
        kinds = provider_pb2.PropertyDiff.Kind
        answer = self.diff(state, **news)
        found = {path: kinds.Name(change.kind) for path, change in answer.detailedDiff.items()}
        expected = provider_pb2.DiffResponse.DIFF_SOME if found else provider_pb2.DiffResponse.DIFF_NONE
        assert answer.changes == expected
        return found

    def update(self, state: State, *, preview: bool = False, **news: Any) -> dict[str, Any]:
        inputs = self.check(state.token, state.name, news, state.inputs)
        request = provider_pb2.UpdateRequest(
            id=state.id,
            urn=self.urn(state.token, state.name),
            olds=encode(reveal(state.outputs)),
            news=encode(inputs),
            preview=preview,
        )
        outputs = decode(self.stub.Update(request).properties)
        if not preview:
            state.inputs, state.outputs = inputs, outputs
        return outputs

    def refresh(self, state: State) -> bool:
        """Reads again; False if it is gone."""
        answer = self.stub.Read(
            provider_pb2.ReadRequest(
                id=state.id,
                urn=self.urn(state.token, state.name),
                properties=encode(reveal(state.outputs)),
                inputs=encode(state.inputs),
            )
        )
        if not answer.id:
            return False
        state.outputs, state.inputs = decode(answer.properties), decode(answer.inputs)
        return True

    def bring_in(self, token: str, identifier: str, name: str = "res") -> State | None:
        """Imports; None if there is no such thing."""
        answer = self.stub.Read(provider_pb2.ReadRequest(id=identifier, urn=self.urn(token, name)))
        if not answer.id:
            return None
        return State(token, name, answer.id, decode(answer.inputs), decode(answer.properties))

    def delete(self, state: State) -> None:
        self.stub.Delete(
            provider_pb2.DeleteRequest(
                id=state.id, urn=self.urn(state.token, state.name), properties=encode(reveal(state.outputs))
            )
        )
        self.states = [other for other in self.states if other is not state]

    def invoke(self, function: str, **args: Any) -> dict[str, Any]:
        answer = self.stub.Invoke(
            provider_pb2.InvokeRequest(tok=f"azuread:index/{function}:{function}", args=encode(args))
        )
        assert not answer.failures, [failure.reason for failure in answer.failures]
        return decode(getattr(answer, "return"))

    def close(self) -> None:
        self.stub.Cancel(empty_pb2.Empty())


def token_of(name: str) -> str:
    return f"azuread:index/{name[0].lower()}{name[1:]}:{name}"


def rich_details(error: grpc.RpcError) -> provider_pb2.ErrorResourceInitFailed | None:
    """What a failure says to exist nevertheless."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = status_pb2.Status.FromString(value)
            detail = provider_pb2.ErrorResourceInitFailed()
            assert status.details[0].Unpack(detail)
            return detail
    return None


@dataclass
class Request:
    """A request as it reached Graph, without its host."""

    method: str
    path: str
    body: Any

    @property
    def line(self) -> str:
        return f"{self.method} {self.path}"


@dataclass
class Script:
    """A Graph that answers in order. Answers are (status, JSON) or (status, JSON, headers)."""

    answers: list[tuple[Any, ...]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    token_requests: list[dict[str, str]] = field(default_factory=list)
    oid: str = CALLER
    host: str = "entra.test:8443"

    @property
    def graph(self) -> str:
        return f"https://{self.host}"

    def expect(self, *answers: tuple[Any, ...]) -> None:
        self.answers.extend(answers)

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.raw_path.decode()
        if path.startswith("/metadata/"):
            return httpx2.Response(
                200,
                json={
                    "name": "EmulatedCloud",
                    "resourceManager": f"{self.graph}/arm",
                    "microsoftGraphResourceId": f"{self.graph}/",
                    "authentication": {"loginEndpoint": self.graph},
                },
            )
        if path.endswith("/oauth2/v2.0/token"):
            pairs = httpx2.QueryParams(request.content.decode())
            self.token_requests.append(dict(pairs))
            return httpx2.Response(200, json={"access_token": token_for(self.oid), "expires_in": 3600})
        body = json.loads(request.content) if request.content else None
        self.requests.append(Request(request.method, path, body))
        if not self.answers:
            return httpx2.Response(501, json={"error": {"code": "Unscripted", "message": f"{request.method} {path}"}})
        status, answer, *headers = self.answers.pop(0)
        if answer is None:
            return httpx2.Response(status, headers=headers[0] if headers else {})
        return httpx2.Response(status, json=answer, headers=headers[0] if headers else {})

    def lines(self) -> list[str]:
        """All requests so far, and forget them."""
        lines = [request.line for request in self.requests]
        self.requests.clear()
        return lines

    def bodies(self, method: str) -> list[Any]:
        return [request.body for request in self.requests if request.method == method]


def _engine(provider: AzureadProvider) -> Iterator[Engine]:
    server, port = start_provider(provider)
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    try:
        yield Engine(provider_pb2_grpc.ResourceProviderStub(channel))
    finally:
        channel.close()
        server.stop(0).wait()


@pytest.fixture
def script() -> Script:
    """A scripted Graph."""
    return Script()


@pytest.fixture
def scripted(script: Script) -> Iterator[Engine]:
    """An engine whose provider talks to the script, and does not wait."""
    http = httpx2.Client(transport=httpx2.MockTransport(script.handle))
    environ = {"WICKETGATE_AZUREAD_WAIT_SECONDS": "0"}
    for engine in _engine(AzureadProvider(http=http, environ=environ)):
        engine.configure(metadataHost=script.host, tenantId=TENANT, clientId=CLIENT, clientSecret="s3cret")
        yield engine
        assert not script.answers, f"answers never asked for: {script.answers}"


@pytest.fixture(scope="module")
def entra() -> Iterator[EntraEmulator]:
    """An emulator with a deployer, a person and nothing else."""
    seed = {
        "users": [{"displayName": "Ada", "mail": "ada@contoso.example"}],
        "deployer": {
            "secrets": [{"secretText": "deployer-secret"}],
            "graphRoles": ["Application.ReadWrite.All", "Group.ReadWrite.All", "Directory.ReadWrite.All"],
        },
    }
    with EntraEmulator(seed=seed) as emulator:
        yield emulator


@pytest.fixture
def emulated(entra: EntraEmulator) -> Iterator[Engine]:
    """An engine whose provider talks to the emulator with short waits."""
    deployer = entra.core.directory.find_by("application", "displayName", "wicketgate-deployer")
    assert deployer is not None
    context = ssl.create_default_context(cafile=str(entra.ca_file))
    environ = {"WICKETGATE_AZUREAD_WAIT_SECONDS": "0.01"}
    with httpx2.Client(verify=context, trust_env=False) as http:
        for engine in _engine(AzureadProvider(http=http, environ=environ)):
            engine.configure(
                metadataHost=entra.metadata_host,
                tenantId=entra.tenant,
                clientId=deployer["appId"],
                clientSecret="deployer-secret",
            )
            yield engine


@pytest.fixture
def details() -> Callable[[grpc.RpcError], provider_pb2.ErrorResourceInitFailed | None]:
    """Reads what a failed operation says to exist."""
    return rich_details


@pytest.fixture
def values() -> Any:
    """The special values, for tests without imports of their own."""
    return {"unknown": UNKNOWN, "secret": Secret}
