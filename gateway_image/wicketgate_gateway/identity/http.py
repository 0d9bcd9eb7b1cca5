"""HTTPS to Entra and Graph: verified, bounded, without redirects."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeAlias

import httpx2

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import Entra

Fetcher: TypeAlias = Callable[[str], Awaitable[bytes]]
"""GETs an https address and gives the body of a 200 answer; raises WicketgateError for anything else."""

SECONDS = 10.0
MAX_BODY = 1024 * 1024


class UnreachableError(WicketgateError):
    """No answer, or none that can be read. The text names the host and never what was sent."""

    code = "entra-unreachable"


class Answer(NamedTuple):
    """An HTTP answer with its body, at most MAX_BODY bytes."""

    status: int
    body: bytes
    retry_after: str | None


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """A verifying client context: the system's CAs, and those of `ca_file` beside them. Raises WicketgateError."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            raise WicketgateError(
                f"the CA certificates in `{ca_file}` cannot be read: {error}",
                code="ca-file-invalid",
                remedy="give a PEM file",
            ) from None
    return context


def client(entra: Entra) -> httpx2.AsyncClient:
    """The one client of a process for Entra and Graph; the caller closes it."""
    return httpx2.AsyncClient(
        verify=tls_context(entra.ca_file),
        timeout=SECONDS,
        follow_redirects=False,
        limits=httpx2.Limits(max_connections=20, max_keepalive_connections=4),
    )


async def send(http: httpx2.AsyncClient, method: str, url: str, **more: Any) -> Answer:
    """Sends one request and reads the whole answer. Raises UnreachableError."""
    try:
        async with http.stream(method, url, **more) as response:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_BODY:
                    raise UnreachableError(f"the answer of `{httpx2.URL(url).host}` is over {MAX_BODY} bytes")
            return Answer(response.status_code, bytes(body), response.headers.get("retry-after"))
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
        # The exception's own text can hold the request's parts: its type says enough.
        raise UnreachableError(
            f"`{httpx2.URL(url).host}` did not answer ({type(error).__name__})", remedy="check network, proxy and CA"
        ) from None


def fetcher(http: httpx2.AsyncClient) -> Fetcher:
    """GETs an https address and gives the body of a 200 answer; raises UnreachableError for anything else."""

    async def fetch(url: str) -> bytes:
        answer = await send(http, "GET", url, headers={"Accept": "application/json"})
        if answer.status != 200:
            raise UnreachableError(f"`{httpx2.URL(url).host}` answered HTTP {answer.status}")
        return answer.body

    return fetch
