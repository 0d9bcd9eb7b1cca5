"""What every provider answers alike, over gRPC."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, plugin_pb2, provider_pb2, provider_pb2_grpc

from wicketgate.provider.base import BaseProvider, EngineLog, ProviderError, reported
from wicketgate.provider.server import start, start_provider
from wicketgate.provider.values import decode, encode

SECONDS = 10


class _Provider(BaseProvider):
    version = "1.2.3"

    def schema(self) -> Mapping[str, Any]:
        return {"name": "mine"}

    @reported
    def Create(self, request: Any, context: grpc.ServicerContext) -> Any:
        what = decode(request.properties)["what"]
        if what == "error":
            raise ProviderError("that does not go")
        if what == "file":
            raise PermissionError(13, "Permission denied", "/etc/x")
        self.log.warn(request.urn, "made")
        return provider_pb2.CreateResponse(id="1")


class _Engine(engine_pb2_grpc.EngineServicer):
    def __init__(self) -> None:
        self.logged: list[tuple[int, str, str]] = []

    def Log(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.logged.append((request.severity, request.urn, request.message))
        return empty_pb2.Empty()


@pytest.fixture
def stub() -> Iterator[provider_pb2_grpc.ResourceProviderStub]:
    server, port = start_provider(_Provider())
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield provider_pb2_grpc.ResourceProviderStub(channel)
    server.stop(0).wait()


@pytest.fixture
def engine() -> Iterator[tuple[_Engine, str]]:
    servicer = _Engine()

    def register(server: grpc.Server) -> None:
        engine_pb2_grpc.add_EngineServicer_to_server(servicer, server)

    server, port = start(register)
    yield servicer, f"127.0.0.1:{port}"
    server.stop(0).wait()


def _create(what: str) -> provider_pb2.CreateRequest:
    return provider_pb2.CreateRequest(urn="urn:x", properties=encode({"what": what}))


def test_what_the_engine_asks_first(stub: provider_pb2_grpc.ResourceProviderStub) -> None:
    assert stub.Handshake(provider_pb2.ProviderHandshakeRequest(), timeout=SECONDS).accept_secrets
    assert stub.GetPluginInfo(empty_pb2.Empty(), timeout=SECONDS).version == "1.2.3"
    schema = stub.GetSchema(provider_pb2.GetSchemaRequest(), timeout=SECONDS).schema
    assert json.loads(schema) == {"name": "mine"}
    configured = stub.Configure(provider_pb2.ConfigureRequest(), timeout=SECONDS)
    assert (configured.acceptSecrets, configured.supportsPreview) == (True, True)
    assert stub.Cancel(empty_pb2.Empty(), timeout=SECONDS) == empty_pb2.Empty()
    diff = stub.DiffConfig(provider_pb2.DiffRequest(), timeout=SECONDS)
    assert diff.changes == provider_pb2.DiffResponse.DIFF_NONE


def test_a_setting_is_a_mistake(stub: provider_pb2_grpc.ResourceProviderStub) -> None:
    request = provider_pb2.CheckRequest(news=encode({"version": "1.2.3", "region": "x"}))
    answer = stub.CheckConfig(request, timeout=SECONDS)
    assert [failure.property for failure in answer.failures] == ["region"]
    assert decode(answer.inputs) == {"version": "1.2.3", "region": "x"}


@pytest.mark.parametrize(
    ("what", "code", "details"),
    [
        ("error", grpc.StatusCode.INVALID_ARGUMENT, "that does not go"),
        ("file", grpc.StatusCode.UNKNOWN, "Permission denied: `/etc/x`"),
    ],
)
def test_errors_are_their_text(
    stub: provider_pb2_grpc.ResourceProviderStub, what: str, code: grpc.StatusCode, details: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Create(_create(what), timeout=SECONDS)
    assert (caught.value.code(), caught.value.details()) == (code, details)


@pytest.mark.parametrize("how", ["handshake", "attach"])
def test_warnings_reach_the_engine(
    stub: provider_pb2_grpc.ResourceProviderStub, engine: tuple[_Engine, str], how: str
) -> None:
    servicer, address = engine
    if how == "handshake":
        stub.Handshake(provider_pb2.ProviderHandshakeRequest(engine_address=address), timeout=SECONDS)
    else:
        stub.Attach(plugin_pb2.PluginAttach(address=address), timeout=SECONDS)
    stub.Create(_create("it"), timeout=SECONDS)
    assert servicer.logged == [(engine_pb2.LogSeverity.WARNING, "urn:x", "made")]


def test_without_an_engine_a_warning_is_no_failure() -> None:
    EngineLog().warn("urn:x", "lost")
    EngineLog("127.0.0.1:1").warn("urn:x", "lost too")
