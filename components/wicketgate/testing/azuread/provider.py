"""The plugin's gRPC service: each request of the engine as a call on the table of resources.

How this works: the bridge's provider seen from outside. Inputs are planned against the prior state, previews
answer with the plan, real operations run the resource's functions against Graph. A failure after something exists
answers with what exists (`ErrorResourceInitFailed`), so that the engine records it. Source: bridge
`pkg/tfbridge/provider.go`.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn, cast

import grpc
import httpx2
from google.protobuf import any_pb2, empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from wicketgate.provider.values import decode, encode, reveal
from wicketgate.testing.azuread import check as checks
from wicketgate.testing.azuread import config
from wicketgate.testing.azuread.config import ConfigError, Settings
from wicketgate.testing.azuread.connection import Tokens, discover, http_client, object_id
from wicketgate.testing.azuread.diff import difference
from wicketgate.testing.azuread.errors import GoneError, GraphError, NotInStandInError, OperationError
from wicketgate.testing.azuread.functions import FUNCTIONS, Function
from wicketgate.testing.azuread.graph import Graph
from wicketgate.testing.azuread.imports import imported, refreshed
from wicketgate.testing.azuread.operation import MINUTE, Operation, Session
from wicketgate.testing.azuread.package_schema import VERSION, package_schema
from wicketgate.testing.azuread.plan import Plan, plan
from wicketgate.testing.azuread.resource import Resource
from wicketgate.testing.azuread.resources.table import RESOURCES
from wicketgate.testing.azuread.waits import WAIT_VARIABLE, Waits

_FAILURES: Final = (ConfigError, GraphError, NotInStandInError, OperationError, ValueError, httpx2.HTTPError)
_CUSTOMISE_SECONDS: Final = 5 * MINUTE


def connect(settings: Settings, http: httpx2.Client) -> Session:
    """Sign in with this configuration. Raises ConfigError."""
    credentials = config.credentials(settings)
    tokens = Tokens(discover(settings.metadata_host, http), credentials, http)
    graph = Graph(tokens.endpoints.graph, tokens.get, http)
    caller = object_id(tokens.get())
    return Session(graph, credentials.tenant, credentials.client, caller, waits=_waits(settings.environ))


def _waits(environ: Mapping[str, str]) -> Waits:
    said = environ.get(WAIT_VARIABLE, "")
    try:
        cap = float(said) if said else None
    except ValueError:
        cap = -1.0
    if cap is not None and not cap >= 0:
        raise ConfigError(f"`{WAIT_VARIABLE}` must be a number of seconds")
    return Waits(cap=cap)


class AzureadProvider(provider_pb2_grpc.ResourceProviderServicer):
    """The service. `http` and `environ` are for tests; else the process's own."""

    def __init__(self, *, http: httpx2.Client | None = None, environ: Mapping[str, str] | None = None) -> None:
        self._http = http
        self._environ = os.environ if environ is None else environ
        self._session: Session | None = None

    # The provider itself.

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:  # noqa: N802
        """The version that this stands in for."""
        return plugin_pb2.PluginInfo(version=VERSION)

    def GetSchema(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.GetSchemaResponse:  # noqa: N802
        """The package's schema, as far as the stand-in goes."""
        return provider_pb2.GetSchemaResponse(schema=package_schema())

    def GetMapping(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.GetMappingResponse:  # noqa: N802
        """No mapping of Terraform programs."""
        return provider_pb2.GetMappingResponse()

    def Attach(self, request: Any, context: grpc.ServicerContext) -> empty_pb2.Empty:  # noqa: N802
        """Nothing: the engine's address is not needed."""
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> empty_pb2.Empty:  # noqa: N802
        """Nothing, as in the bridge: the process is ended by a signal."""
        return empty_pb2.Empty()

    def CheckConfig(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.CheckResponse:  # noqa: N802
        """The configuration with secrets marked, or what is wrong with it."""
        try:
            inputs, failures = config.check(decode(request.news), self._environ)
        except ConfigError as error:
            _fail(context, str(error))
        return provider_pb2.CheckResponse(
            inputs=encode(inputs), failures=[provider_pb2.CheckFailure(reason=reason) for reason in failures]
        )

    def DiffConfig(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:  # noqa: N802
        """Which keys differ; no change of the configuration replaces the provider."""
        olds, news = reveal(decode(request.old_inputs)), reveal(decode(request.news))
        kinds = provider_pb2.PropertyDiff
        changes: dict[str, int] = {}
        for name in sorted({*olds, *news}):
            if olds.get(name) != news.get(name) and name not in request.ignoreChanges:
                changes[name] = kinds.ADD if name not in olds else kinds.DELETE if name not in news else kinds.UPDATE
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if changes else provider_pb2.DiffResponse.DIFF_NONE,
            diffs=list(changes),
            detailedDiff={
                name: provider_pb2.PropertyDiff(kind=cast(Any, kind), inputDiff=True) for name, kind in changes.items()
            },
            hasDetailedDiff=True,
        )

    def Configure(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.ConfigureResponse:  # noqa: N802
        """Sign in."""
        try:
            self._http = self._http or http_client()
            self._session = connect(Settings(decode(request.args), self._environ), self._http)
        except (ConfigError, OSError) as error:
            _fail(context, str(error))
        return provider_pb2.ConfigureResponse(supportsPreview=True, supports_autonaming_configuration=True)

    # Resources.

    def Check(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.CheckResponse:  # noqa: N802
        """The inputs with defaults, or what is wrong with them."""
        resource = _resource(context, request.urn)
        inputs, failures = checks.check(resource.block, reveal(decode(request.news)), reveal(decode(request.olds)))
        name = request.urn.rpartition("::")[2]
        return provider_pb2.CheckResponse(
            inputs=encode(inputs),
            failures=[provider_pb2.CheckFailure(reason=failure.text(name)) for failure in failures],
        )

    def Diff(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:  # noqa: N802
        """What an update would change, and whether it needs a new resource."""
        resource = _resource(context, request.urn)
        inputs = reveal(decode(request.news))
        planned = self._plan(context, request, resource, _state(resource, request.olds), inputs)
        return difference(planned, inputs).response()

    def Create(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.CreateResponse:  # noqa: N802
        """Create a resource, or say what it would look like."""
        resource = _resource(context, request.urn)
        planned = self._plan(context, request, resource, None, reveal(decode(request.properties)))
        if request.preview:
            return provider_pb2.CreateResponse(properties=encode(resource.outputs(planned.values, "")))
        op = self._operation(resource, "create", request.timeout, {}, planned=planned)
        try:
            resource.create(op)
        except GoneError:
            _fail(context, f"expected non-nil error with nil state during Create of {request.urn}")
        except _FAILURES as error:
            if not op.id:
                _fail(context, str(error))
            _fail_initialising(context, op, resource, f"creating {request.urn}: {error}")
        return provider_pb2.CreateResponse(id=op.id, properties=encode(resource.outputs(op.state(), op.id)))

    def Read(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.ReadResponse:  # noqa: N802
        """Read a resource again, or for the first time (import, get); an empty answer if there is none."""
        resource = _resource(context, request.urn)
        prior = _state(resource, request.properties)
        importing = not request.properties.fields
        op = self._operation(resource, "read", 0.0, prior, identifier=request.id)
        try:
            if importing:
                resource.check_id(request.id)
        except ValueError:
            # The bridge takes an ID that cannot be imported for a resource that does not exist.
            return provider_pb2.ReadResponse()
        try:
            resource.read(op)
        except GoneError:
            return provider_pb2.ReadResponse()
        except _FAILURES as error:
            _fail(context, f"refreshing {request.urn}: {error}")
        outputs = resource.outputs(op.state(), op.id)
        if importing:
            inputs = imported(resource.block, outputs)
        else:
            inputs = refreshed(resource.block, reveal(decode(request.inputs)), outputs)
        return provider_pb2.ReadResponse(id=op.id, properties=encode(outputs), inputs=encode(inputs))

    def Update(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.UpdateResponse:  # noqa: N802
        """Change a resource, or say what it would look like."""
        resource = _resource(context, request.urn)
        prior = _state(resource, request.olds)
        planned = self._plan(context, request, resource, prior, reveal(decode(request.news)))
        if planned.replaces():
            _fail(
                context,
                f"internal: expected diff to not require deletion or replacement during Update of {request.urn}",
            )
        if request.preview:
            return provider_pb2.UpdateResponse(properties=encode(resource.outputs(planned.values, request.id)))
        op = self._operation(resource, "update", request.timeout, prior, planned=planned, identifier=request.id)
        try:
            resource.update(op)
        except GoneError:
            _fail(
                context,
                f"Resource provider reported that the resource did not exist while updating {request.urn}.\n\n"
                "This is usually a result of the resource having been deleted outside of Pulumi, and can often be "
                "fixed by running `pulumi refresh` before updating.",
            )
        except _FAILURES as error:
            _fail_initialising(context, op, resource, f"updating {request.urn}: {error}")
        return provider_pb2.UpdateResponse(properties=encode(resource.outputs(op.state(), op.id)))

    def Delete(self, request: Any, context: grpc.ServicerContext) -> empty_pb2.Empty:  # noqa: N802
        """Delete a resource."""
        resource = _resource(context, request.urn)
        prior = _state(resource, request.properties)
        op = self._operation(resource, "delete", request.timeout, prior, identifier=request.id)
        try:
            resource.delete(op)
        except _FAILURES as error:
            _fail(context, f"deleting {request.urn}: {error}")
        return empty_pb2.Empty()

    # Functions.

    def Invoke(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.InvokeResponse:  # noqa: N802
        """Look something up."""
        function = FUNCTIONS.get(request.tok)
        if function is None:
            _fail(context, str(NotInStandInError(f"the function `{request.tok}`")))
        given, failures = checks.check(function.block, reveal(decode(request.args)), {})
        if failures:
            reasons = [provider_pb2.CheckFailure(reason=failure.reason) for failure in failures]
            return provider_pb2.InvokeResponse(failures=reasons)
        try:
            answer = self._call(function, given)
        except _FAILURES as error:
            _fail(context, f"invoking {request.tok}: {error}")
        response = provider_pb2.InvokeResponse()
        getattr(response, "return").CopyFrom(encode(answer))  # `return` is no name in Python
        return response

    def _call(self, function: Function, given: Mapping[str, Any]) -> dict[str, Any]:
        session = self._connected()
        deadline = session.graph.now() + 5 * MINUTE
        return function.call(Operation(session, function.block, deadline, prior=given))

    # What they share.

    def _connected(self) -> Session:
        if self._session is None:
            raise ConfigError("the provider is not configured")
        return self._session

    def _plan(
        self,
        context: grpc.ServicerContext,
        request: Any,
        resource: Resource,
        prior: Mapping[str, Any] | None,
        inputs: Mapping[str, Any],
    ) -> Plan:
        ignored = _ignored(list(request.ignoreChanges) if hasattr(request, "ignoreChanges") else [])
        planned = plan(resource.block, prior, inputs, ignored=ignored)
        identifier = request.id if hasattr(request, "id") else ""
        try:
            session = self._connected()
            resource.customise(session, planned, identifier, session.graph.now() + _CUSTOMISE_SECONDS)
        except OperationError as error:
            _fail(context, f"diffing {request.urn}: {error}")
        except _FAILURES as error:
            _fail(context, f"diffing {request.urn}: {OperationError(str(error))}")
        return planned

    def _operation(
        self,
        resource: Resource,
        kind: str,
        timeout: float,
        prior: Mapping[str, Any],
        *,
        planned: Plan | None = None,
        identifier: str = "",
    ) -> Operation:
        session = self._connected()
        seconds = timeout or resource.timeouts.get(kind, 5) * MINUTE
        deadline = session.graph.now() + seconds
        return Operation(session, resource.block, deadline, prior, planned=planned, id=identifier)


def _resource(context: grpc.ServicerContext, urn: str) -> Resource:
    token = urn.split("::")[2].rpartition("$")[2]
    resource = RESOURCES.get(token)
    if resource is None:
        _fail(context, str(NotInStandInError(f"the resource `{token}`")))
    return resource


def _state(resource: Resource, struct: Any) -> dict[str, Any]:
    values = reveal(decode(struct))
    return {name: values.get(name) for name in resource.block}


def _ignored(paths: list[str]) -> Callable[[str], bool]:
    tops = {path.split(".", 1)[0].split("[", 1)[0] for path in paths}
    return lambda name: name in tops or "*" in tops


def _fail(context: grpc.ServicerContext, message: str) -> NoReturn:
    context.abort(grpc.StatusCode.UNKNOWN, message)
    raise AssertionError  # `abort` raises; this is for readers and type checkers


class _Status(grpc.Status):
    """A status with details, as gRPC's rich error model has it."""

    def __init__(self, message: str, detail: Any) -> None:
        packed = any_pb2.Any()
        packed.Pack(detail)
        code, _ = grpc.StatusCode.UNKNOWN.value
        status = status_pb2.Status(code=code, message=message, details=[packed])
        self.code = grpc.StatusCode.UNKNOWN
        self.details = message
        self.trailing_metadata = (("grpc-status-details-bin", status.SerializeToString()),)


def _fail_initialising(context: grpc.ServicerContext, op: Operation, resource: Resource, reason: str) -> NoReturn:
    """Fail, and tell what exists nevertheless."""
    detail = provider_pb2.ErrorResourceInitFailed(
        id=op.id, properties=encode(resource.outputs(op.state(), op.id)), reasons=[reason]
    )
    context.abort_with_status(_Status(reason, detail))
    raise AssertionError  # as above
