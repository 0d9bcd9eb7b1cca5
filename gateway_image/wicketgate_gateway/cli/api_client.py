"""Calls of the gateway's API, as the person who is signed in."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2

from wicketgate_gateway.cli import people
from wicketgate_gateway.cli.people import Settings
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.identity.http import tls_context

SECONDS = 20.0
MAX_ANSWER = 64 * 1024 * 1024
STREAM_SECONDS = 60.0
"""A stream says something each quarter minute."""


class ApiError(WicketgateError):
    """What the API refused, in its own words."""


class Api:
    """The API of one gateway. Every method raises WicketgateError."""

    def __init__(self, settings: Settings) -> None:
        self._host = urlsplit(settings.url).netloc
        token = people.kept(settings).token
        self._http = httpx2.Client(
            base_url=settings.url.rstrip("/"),
            verify=tls_context(settings.ca_file),
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            timeout=SECONDS,
            follow_redirects=False,
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """GET; `query` without what is None or empty."""
        wanted = {name: value for name, value in query.items() if value not in (None, "", ())}
        return self._answer("GET", path, params=wanted)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST."""
        return self._answer("POST", path, json=dict(body))

    def stream(self, path: str) -> Generator[tuple[str, dict[str, Any]]]:
        """Server-sent events, as name and data."""
        try:
            timeout = httpx2.Timeout(SECONDS, read=STREAM_SECONDS)
            with self._http.stream("GET", path, timeout=timeout) as response:
                if response.status_code != 200:
                    response.read()
                    self._refused(response)
                name = ""
                for line in response.iter_lines():
                    if line.startswith("event: "):
                        name = line.removeprefix("event: ")
                    elif line.startswith("data: "):
                        yield name, json.loads(line.removeprefix("data: "))
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from None

    def _answer(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        try:
            response = self._http.request(method, path, **more)
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from None
        if response.status_code != 200:
            self._refused(response)
        data = _object(response)
        if data is None:
            raise ApiError(f"`{self._host}` does not answer as the API does", code="api-unreadable")
        return data

    def _refused(self, response: httpx2.Response) -> None:
        data = _object(response) or {}
        detail, code, remedy = (data.get(name) for name in ("detail", "code", "remedy"))
        if not isinstance(detail, str) or not isinstance(code, str):
            raise ApiError(
                f"`{self._host}` answered HTTP {response.status_code}", code="api-unreadable", remedy="check `--api`"
            )
        for wrong in data.get("errors", []) if isinstance(data.get("errors"), list) else []:
            detail += f"; `{wrong.get('at')}`: {wrong.get('why')}"
        raise ApiError(detail, code=code, remedy=remedy if isinstance(remedy, str) else "")

    def _unreachable(self, error: Exception) -> WicketgateError:
        return ApiError(
            f"the API at `{self._host}` cannot be reached ({type(error).__name__})",
            code="api-unreachable",
            remedy="check the address, the network and `caFile`",
        )


def _object(response: httpx2.Response) -> dict[str, Any] | None:
    try:
        data = response.json()
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


@contextmanager
def api(settings: Settings) -> Generator[Api]:
    """The API, closed at the end."""
    client = Api(settings)
    try:
        yield client
    finally:
        client.close()
