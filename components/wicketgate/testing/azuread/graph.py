"""Requests to Microsoft Graph as the real provider makes them, with its retries.

How this works: a request is repeated with growing pauses (1, 2, 4 … 61 s, or what `Retry-After` says) on 408,
424, 429, server errors but 501, and whatever the operation itself finds worth repeating, as often as fits
into what is left of the operation's time. The last answer stands then. Lists follow `@odata.nextLink`.
Source: go-azure-sdk `sdk/client/client.go`, `sdk/client/msgraph/client.go`, go-retryablehttp.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import quote_plus

import httpx2

from wicketgate.testing.azuread.errors import GraphError

V1: Final = "v1.0"
BETA: Final = "beta"
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 61.0
_CONTENT_TYPE: Final = "application/json; charset=utf-8"
_HEADERS: Final = {
    "Accept": "application/json; charset=utf-8; IEEE754Compatible=false",
    "Odata-Maxversion": "4.0",
    "Odata-Version": "4.0",
    "Content-Type": _CONTENT_TYPE,
    "User-Agent": "wicketgate-azuread-stand-in/6.11.1",
}
_OK: Final[Mapping[str, frozenset[int]]] = {
    "GET": frozenset({200}),
    "POST": frozenset({200, 201, 202, 204}),
    "PATCH": frozenset({200, 202, 204}),
    "PUT": frozenset({200, 202, 204}),
    "DELETE": frozenset({200, 204}),
}

Retry = Callable[[int, str], bool]
"""Whether an operation wants to repeat a request that was answered with this status and this error."""


@dataclass(frozen=True)
class Graph:
    """A Graph endpoint and how to sign requests to it."""

    endpoint: str
    token: Callable[[], str]
    http: httpx2.Client
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def reference(self, version: str, identifier: str) -> str:
        """The URL by which a directory object is named in relations."""
        return f"{self.endpoint}/{version}/directoryObjects/{identifier}"

    def send(
        self,
        method: str,
        version: str,
        path: str,
        *,
        deadline: float,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        retry: Retry | None = None,
    ) -> Any:
        """The answer's JSON, None if it has none. Raises GraphError."""
        url = f"{self.endpoint}/{version}{path}"
        if query:
            url += "?" + "&".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in query.items())
        content = None if body is None else json.dumps(body).encode()
        return self._json(self._request(method, url, content, deadline, retry))

    def items(
        self, version: str, path: str, *, deadline: float, query: Mapping[str, str] | None = None
    ) -> list[dict[str, Any]]:
        """All items of a list. Raises GraphError."""
        page: Any = self.send("GET", version, path, deadline=deadline, query=query)
        out: list[dict[str, Any]] = []
        while True:
            document = cast(dict[str, Any], page) if isinstance(page, dict) else {}
            out.extend(cast(list[dict[str, Any]], document.get("value") or []))
            link = document.get("@odata.nextLink")
            if not isinstance(link, str) or not link:
                return out
            if not link.startswith(f"{self.endpoint}/"):
                raise GraphError(200, "OK", "the next page of a list is on another host", "")
            page = self._json(self._request("GET", link, None, deadline, None))

    def _request(
        self, method: str, url: str, content: bytes | None, deadline: float, retry: Retry | None
    ) -> httpx2.Response:
        attempts = _retries(deadline - self.now())
        for attempt in range(attempts + 1):
            headers = {**_HEADERS, "Authorization": f"Bearer {self.token()}"}
            try:
                answer = self.http.request(method, url, content=content, headers=headers)
            except httpx2.ConnectError:
                raise
            except httpx2.TransportError:
                if method != "GET" or attempt == attempts:
                    raise
                self.sleep(_pause(attempt, None))
                continue
            if attempt == attempts or not _again(answer, retry):
                break
            self.sleep(_pause(attempt, answer))
        else:  # pragma: no cover  the loop always runs once and leaves by break or raise
            raise RuntimeError("a request was never made")
        if answer.status_code not in _OK[method]:
            raise GraphError(answer.status_code, answer.reason_phrase, error_text(answer), answer.text)
        return answer

    @staticmethod
    def _json(answer: httpx2.Response) -> Any:
        if not answer.content:
            return None
        if "application/json" not in answer.headers.get("Content-Type", "").lower():
            raise GraphError(
                answer.status_code, answer.reason_phrase, "could not determine Content-Type for response", ""
            )
        return json.loads(answer.content.removeprefix(b"\xef\xbb\xbf"))


def error_text(answer: httpx2.Response) -> str:
    """Graph's error as `code: message`, with that of each inner error; empty if there is none."""
    try:
        document: Any = answer.json()
    except ValueError:
        return ""
    if not isinstance(document, dict):
        return ""
    found = cast(dict[str, Any], document)
    return _error(found.get("error", found.get("odata.error")))


def _error(error: Any) -> str:
    if not isinstance(error, dict):
        return ""
    fields = cast(dict[str, Any], error)
    message: Any = fields.get("message")
    if isinstance(message, dict):
        message = cast(dict[str, Any], message).get("value")
    inner = _error(fields.get("innerError"))
    said = [fields.get("code"), message, inner or None]
    return ": ".join(str(part) for part in said if part is not None)


def _again(answer: httpx2.Response, retry: Retry | None) -> bool:
    status = answer.status_code
    if status in (408, 424, 429) or (status >= 500 and status != 501):
        return True
    return retry is not None and not answer.is_success and retry(status, error_text(answer))


def _pause(attempt: int, answer: httpx2.Response | None) -> float:
    after = answer.headers.get("Retry-After", "") if answer is not None else ""
    if after.isdecimal():
        return float(after)
    return min(FIRST_PAUSE_SECONDS * 2**attempt, LONGEST_PAUSE_SECONDS)


def _retries(seconds: float) -> int:
    """How many repetitions fit into the time that is left."""
    if seconds <= 63:
        return max(0, math.floor(math.log2(max(seconds, 0.0) + 1)) - 1)
    return (int(seconds) - 63) // 61 + 6
