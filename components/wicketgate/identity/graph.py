"""Microsoft Graph through msgraph-sdk, for what is no Pulumi resource: asked with bounds, and telling how often.

How this works: msgraph-sdk's request adapter signs and sends (azure-identity gives the tokens); its own retries are
off, because they are silent. Here a request is repeated on 429 and 502-504 after what `Retry-After` says (else 1, 2,
4 … s), on 409 where the caller says that only another write was in the way, on 404 where an object may not be
everywhere yet; never more than `ATTEMPTS` times and `LONGEST` seconds in sum. Each repetition is kept in `repeated`,
to be said.
Source: Microsoft Graph, "Throttling guidance"; kiota's HttpxRequestAdapter.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlsplit

from wicketgate.identity.signin import Cloud, SignInError
from wicketgate_gateway.contract.errors import WicketgateError

if TYPE_CHECKING:
    import httpx
    from azure.core.credentials import TokenCredential
    from msgraph.graph_request_adapter import GraphRequestAdapter

ATTEMPTS = 6
LONGEST = 60.0
"""Seconds of waiting for one request, in sum."""
MAX_PAGES = 200
_BUSY = frozenset({429, 502, 503, 504})
_TIMEOUT = 30.0


class GraphError(WicketgateError):
    """Graph refused, or could not be reached; `status` is 0 then."""

    code = "graph-refused"

    def __init__(self, message: str, status: int, *, word: str = "", code: str | None = None, remedy: str = "") -> None:
        super().__init__(message, code=code, remedy=remedy)
        self.status = status
        self.word = word
        """Graph's own error code, such as `Authorization_RequestDenied`."""


class Graph:
    """Graph of one tenant. Use `connect`."""

    def __init__(
        self,
        adapter: GraphRequestAdapter,
        root: str,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.root = root.rstrip("/")
        self.repeated: Counter[str] = Counter()
        """How often requests were repeated, by why."""
        self.waited = 0.0
        self._adapter = adapter
        self.sleep = sleep

    async def get(self, path: str, *, version: str = "v1.0") -> dict[str, Any]:
        """One object. Raises GraphError, SignInError."""
        return await self.send("GET", path, version=version)

    async def find(self, path: str, *, version: str = "v1.0") -> dict[str, Any] | None:
        """One object, or None if there is none. Raises GraphError, SignInError."""
        try:
            return await self.send("GET", path, version=version)
        except GraphError as error:
            if error.status == 404:
                return None
            raise

    async def items(self, path: str, *, version: str = "v1.0") -> list[dict[str, Any]]:
        """All items of a list, page by page. Raises GraphError, SignInError."""
        found: list[dict[str, Any]] = []
        url = self.url(path, version)
        for _ in range(MAX_PAGES):
            page = await self._send("GET", url, None, frozenset(), {})
            value = page.get("value")
            found += [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
            link = page.get("@odata.nextLink")
            if not isinstance(link, str) or not link:
                return found
            if not link.startswith(f"{self.root}/"):
                # The token must go nowhere else.
                raise GraphError("the next page of a list is on another host", 0, code="graph-malformed")
            url = link
        raise GraphError(f"`{path}` has more than {MAX_PAGES} pages", 0, code="graph-malformed")

    async def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        version: str = "v1.0",
        again: frozenset[int] = frozenset(),
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """One request; what it answers, empty if nothing. `again` are further statuses that time alone may heal (404,
        409). Raises GraphError, SignInError.
        """
        return await self._send(method, self.url(path, version), body, again, headers or {})

    def url(self, path: str, version: str = "v1.0") -> str:
        """The address of a path with its query."""
        return f"{self.root}/{version}/{path.lstrip('/')}"

    async def _send(
        self, method: str, url: str, body: Mapping[str, Any] | None, again: frozenset[int], headers: Mapping[str, str]
    ) -> dict[str, Any]:
        waited = 0.0
        for attempt in range(ATTEMPTS):
            try:
                return await self._once(method, url, body, headers)
            except _RefusedError as refused:
                error = refused.error
                pause = refused.after if refused.after is not None else float(2**attempt)
                if error.status not in _BUSY | again or attempt == ATTEMPTS - 1 or waited + pause > LONGEST:
                    raise error from None
                self.repeated[str(error.status)] += 1
                self.waited += pause
                waited += pause
                await self.sleep(pause)
        raise AssertionError("the loop ends by return or raise")

    async def _once(
        self, method: str, url: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        import httpx
        from azure.core.exceptions import AzureError, ClientAuthenticationError

        try:
            answer = await self._answer(method, url, body, headers)
        except ClientAuthenticationError as error:
            raise SignInError(f"no token for Graph: {first_line(error)}", remedy=_SIGN_IN) from None
        except AzureError as error:
            said = f"Entra cannot be reached: {first_line(error)}"
            raise GraphError(said, 0, code="unreachable", remedy=_NETWORK) from None
        except httpx.TransportError as error:
            said = f"Graph cannot be reached: {first_line(error) or type(error).__name__}"
            raise GraphError(said, 0, code="unreachable", remedy=_NETWORK) from None
        if answer.is_success:
            return _object(answer)
        raise _refused(answer)

    async def _answer(
        self, method: str, url: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]
    ) -> httpx.Response:
        from kiota_abstractions.method import Method
        from kiota_abstractions.request_information import RequestInformation
        from kiota_http.middleware.options import ResponseHandlerOption

        request = RequestInformation(Method(method))
        request.url = url
        for name, value in ({"Accept": "application/json", "OData-Version": "4.0"} | dict(headers)).items():
            request.headers.add(name, value)
        if body is not None:
            request.content = json.dumps(body).encode()
            request.headers.add("Content-Type", "application/json")
        # Kiota's classes are imported late, so ours derives from none of them; it is called by its one method.
        option: Any = ResponseHandlerOption(cast(Any, _AsItIs()))
        request.add_request_options([option])
        answer: Any = await self._adapter.send_primitive_async(request, "bytes", {})
        return answer


class _AsItIs:
    """Kiota's way to leave an answer to the caller."""

    async def handle_response_async(self, response: httpx.Response, error_map: object) -> httpx.Response:
        return response


class _RefusedError(Exception):
    """An answer that is an error, and the pause that it asks for."""

    def __init__(self, error: GraphError, after: float | None) -> None:
        super().__init__()
        self.error = error
        self.after = after


_SIGN_IN = "check the tenant, the client id and the proof that the environment names"
_NETWORK = "check the network, a proxy, and `wicketgate:entra` (`authority`, `graph`, `caFile`)"


def _object(answer: httpx.Response) -> dict[str, Any]:
    if not answer.content:
        return {}
    try:
        value: Any = answer.json()
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise GraphError("the answer is not Graph's", answer.status_code, code="graph-malformed", remedy=_NETWORK)
    return value


def _refused(answer: httpx.Response) -> _RefusedError:
    try:
        told: Any = answer.json()["error"]
        word, said = str(told["code"]), first_line(told["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        word, said = "", "no reason given"
    status = answer.status_code
    message = f"Graph says {status} to `{answer.request.method} {_path(answer)}`: {said or word}"
    after = answer.headers.get("Retry-After", "")
    error = GraphError(message, status, word=word, code="not-allowed" if status == 403 else None)
    return _RefusedError(error, float(after) if after.isdecimal() else None)


def _path(answer: httpx.Response) -> str:
    return answer.request.url.path


def first_line(said: object) -> str:
    """The first line of what somebody else said, of a bearable length."""
    lines = str(said).strip().splitlines()
    return "".join(c if c.isprintable() else "?" for c in lines[0][:300]) if lines else ""


def quoted(text: str) -> str:
    """A text as a literal of `$filter`, fit for an address."""
    return quote("'" + text.replace("'", "''") + "'", safe="")


@asynccontextmanager
async def connect(cloud: Cloud, credential: TokenCredential) -> AsyncGenerator[Graph, None]:
    """Graph of `cloud`, signed in by `credential`. Raises GraphError if the CA cannot be read."""
    import httpx
    from kiota_authentication_azure.azure_identity_authentication_provider import AzureIdentityAuthenticationProvider
    from msgraph.graph_request_adapter import GraphRequestAdapter

    context = ssl.create_default_context()
    if cloud.ca_file is not None:
        try:
            context.load_verify_locations(cafile=cloud.ca_file)
        except OSError as error:
            what = f"the CA `{cloud.ca_file}` cannot be used: {error.strerror or type(error).__name__}"
            raise GraphError(what, 0, code="ca-unreadable", remedy="correct `wicketgate:entra.caFile`") from None
    host = urlsplit(cloud.graph).hostname or ""
    provider = AzureIdentityAuthenticationProvider(
        credential,
        scopes=[f"{cloud.graph.rstrip('/')}/.default"],
        allowed_hosts=[host],  # without a port; to any other host no token goes
    )
    async with httpx.AsyncClient(verify=context, timeout=_TIMEOUT, follow_redirects=False) as client:
        adapter = GraphRequestAdapter(provider, client)
        adapter.base_url = f"{cloud.graph.rstrip('/')}/v1.0"
        yield Graph(adapter, cloud.graph)
