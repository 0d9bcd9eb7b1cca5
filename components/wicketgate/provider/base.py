"""What every provider of ours answers alike: handshake, plugin info, schema, configuration, and errors."""

import functools
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, ParamSpec, TypeVar, cast

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, plugin_pb2, provider_pb2, provider_pb2_grpc

from wicketgate.provider.values import decode, encode

_LOG_SECONDS: Final = 5.0


class ProviderError(Exception):
    """A call that cannot be carried out; the text, which must hold no secret, is shown to the user as it is."""


P = ParamSpec("P")
R = TypeVar("R")


def reported(method: Callable[P, R]) -> Callable[P, R]:
    """Decorates a call of a servicer: a ProviderError becomes the call's error, with its text alone."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        context = cast(grpc.ServicerContext, args[2])  # (self, request, context): gRPC passes them by position
        try:
            return method(*args, **kwargs)
        except ProviderError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except OSError as error:
            context.abort(grpc.StatusCode.UNKNOWN, f"{error.strerror or type(error).__name__}: `{error.filename}`")
        raise AssertionError("abort raises")

    return call


class EngineLog:
    """The engine's own log: what is written here appears beside the resource in `pulumi up`."""

    def __init__(self, address: str = "") -> None:
        self._address = address
        self._lock = threading.Lock()
        self._stub: engine_pb2_grpc.EngineStub | None = None

    def attach(self, address: str) -> None:
        """Log to the engine at `address` from now on."""
        with self._lock:
            if address and address != self._address:
                self._address, self._stub = address, None

    def warn(self, urn: str, message: str) -> None:
        """A warning about the resource `urn`. Lost if there is no engine: it is no reason to fail."""
        with self._lock:
            if self._stub is None and self._address:
                self._stub = engine_pb2_grpc.EngineStub(grpc.insecure_channel(self._address))
            stub = self._stub
        if stub is None:
            return
        request = engine_pb2.LogRequest(severity=engine_pb2.LogSeverity.WARNING, message=message, urn=urn)
        try:
            stub.Log(request, timeout=_LOG_SECONDS)
        except grpc.RpcError:
            return


class BaseProvider(provider_pb2_grpc.ResourceProviderServicer):
    """A provider without configuration of its own; subclasses add the resources' calls.

    Secrets are asked for as such, so that a subclass can tell them from other values.
    """

    version: ClassVar[str]
    """The plugin's version, as in its schema."""

    def __init__(self, engine_address: str = "") -> None:
        self.log: Final = EngineLog(engine_address)

    def schema(self) -> Mapping[str, Any]:
        """The package schema, as the Pulumi documentation's "Pulumi package schema" describes it."""
        raise NotImplementedError

    def Handshake(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """The engine says where it listens, and is told what we understand."""
        self.log.attach(request.engine_address)
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True)

    def Attach(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """The same of an engine that did not start us (`PULUMI_DEBUG_PROVIDERS`)."""
        self.log.attach(request.address)
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """The plugin's version."""
        return plugin_pb2.PluginInfo(version=self.version)

    def GetSchema(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """The package schema as JSON."""
        return provider_pb2.GetSchemaResponse(schema=json.dumps(self.schema()))

    def CheckConfig(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """There is nothing to configure: any setting but the engine's own `version` is a mistake."""
        news = decode(request.news)
        failures = [
            provider_pb2.CheckFailure(property=key, reason=f"`{key}` is no setting of this provider")
            for key in sorted(news)
            if key not in ("version", "pluginDownloadURL", "pluginChecksums", "__internal")
        ]
        return provider_pb2.CheckResponse(inputs=encode(news), failures=failures)

    def DiffConfig(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Another version of the provider manages the same resources."""
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Nothing is kept; the answer repeats the handshake's."""
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Calls in flight end by themselves soon."""
        return empty_pb2.Empty()
