"""Schemathesis against a described service through the gateway: what was decided is what was forwarded, each time.

Requests are made from the service's OpenAPI document, good ones and bad ones, always the same. Three sources must agree
on each: what was sent, what the audit says was allowed, and the bytes that the service got, read by h11 and routed by
Werkzeug, neither of which the gateway uses. That the check can fail is shown with forwarders that are wrong.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import h11
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

import tests.web
from tests.web import web_in
from wicketgate_gateway.audit.events import Operation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
EXAMPLES = 12
"""Requests of each kind for each operation."""
_OK = {"200": {"description": "as it is"}}
_ITEM = {
    "type": "object",
    "required": ["currency", "amount"],
    "properties": {
        "currency": {"enum": ["EUR", "USD", "GBP"]},
        "amount": {"type": "integer", "minimum": 0, "maximum": 150},
        "note": {"type": "string"},
    },
}
_BODY = {"required": True, "content": {"application/json": {"schema": _ITEM}}}
_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1, "maxLength": 12}}
_LIMIT = {"name": "limit", "in": "query", "schema": {"type": "integer"}}
_TAG = {"name": "tag", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}}
_KIND = {"name": "X-Kind", "in": "header", "required": True, "schema": {"enum": ["a", "b", "c"]}}
DOCUMENT: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "items", "version": "1"},
    "paths": {
        "/items": {
            "get": {"operationId": "listItems", "parameters": [_LIMIT, _TAG], "responses": _OK},
            "post": {"operationId": "createItem", "requestBody": _BODY, "responses": _OK},
        },
        "/items/{id}": {
            "get": {"operationId": "getItem", "parameters": [_ID], "responses": _OK},
            "put": {
                "operationId": "replaceItem",
                "parameters": [_ID, _KIND],
                "requestBody": _BODY,
                "responses": _OK,
            },
            "delete": {"operationId": "deleteItem", "parameters": [_ID], "responses": _OK},
        },
        "/items/{id}/parts/{part}": {
            "patch": {
                "operationId": "changePart",
                "parameters": [_ID, {**_ID, "name": "part"}, _LIMIT],
                "responses": _OK,
            },
        },
    },
}
POLICY: dict[str, Any] = {
    "policy": "described",
    "targets": ["described-api"],
    "rules": [
        {"allow": {"http": {"operations": ["listItems", "getItem", "changePart"]}}},
        {
            "allow": {
                "http": {"operations": "createItem", "json": {"$.currency": ["EUR", "USD"]}},
                "when": "op.body.amount < 100",
            }
        },
        {"allow": {"http": {"operations": "replaceItem", "headers": {"X-Kind": ["a", "b"]}}}},
        {"deny": {"http": {"operations": "deleteItem"}}},
    ],
}
FIRST: dict[str, Any] = {
    "policy": "first",
    "targets": ["orders-api"],
    "rules": [{"allow": {"http": {"routes": "/**"}}}],
}
ROUTES = Map(
    [
        Rule(path.replace("{", "<").replace("}", ">"), methods=[method.upper()], endpoint=found["operationId"])
        for path, methods in DOCUMENT["paths"].items()
        for method, found in methods.items()
    ],
    merge_slashes=False,
)


class DifferenceError(AssertionError):
    """What was forwarded is not what was decided, or not what was sent."""


@dataclass(frozen=True)
class Sent:
    """A request as it was sent, the status that came back, and what the service had got before and after it."""

    method: str
    path: str
    query: str
    body: bytes
    status: int
    before: int
    after: int


@dataclass(frozen=True)
class Got:
    """A request as h11 reads what the service got."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @classmethod
    def of(cls, raw: bytes) -> Got:
        """Raises DifferenceError for what is not exactly one request."""
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        try:
            connection.receive_data(raw)
            request = connection.next_event()
            body = b""
            while isinstance(event := connection.next_event(), h11.Data):
                body += event.data
        except h11.RemoteProtocolError as error:
            raise DifferenceError(f"no request: {error}") from None
        if not isinstance(request, h11.Request) or not isinstance(event, h11.EndOfMessage):
            raise DifferenceError("not a whole request")
        if connection.trailing_data[0]:
            raise DifferenceError("more than one request")
        path, _, query = request.target.decode("ascii").partition("?")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        return cls(request.method.decode(), path, query, headers, body)

    @property
    def operation(self) -> str:
        """What a framework takes it for; empty if it is none of the document's."""
        try:
            endpoint, _ = ROUTES.bind("api").match(unquote(self.path, errors="strict"), method=self.method)
        except HTTPException:
            return ""
        return endpoint


def check(sent: list[Sent], allowed: list[Operation], seen: list[bytes]) -> None:
    """Whether the three agree. Raises DifferenceError."""
    if len(allowed) != len(seen):
        raise DifferenceError(f"{len(allowed)} were allowed, {len(seen)} forwarded")
    got = [Got.of(raw) for raw in seen]
    for one, decided in zip(got, allowed, strict=True):
        shown = f"{one.method} {unquote(one.path, errors='strict')}" + (f"?{one.query}" if one.query else "")
        if shown != decided.statement.removesuffix("?"):
            raise DifferenceError(f"decided was {decided.statement!r}, forwarded {shown!r}")
        if [one.operation] != decided.relations:
            raise DifferenceError(f"decided was {decided.relations}, the service runs {one.operation!r}")
        _by_the_rules(one)
    position = 0
    for each in sent:
        if each.before != position or each.after - each.before not in (0, 1):
            raise DifferenceError("requests that nobody sent")
        position = each.after
        if each.after == each.before:
            if each.status == 200:
                raise DifferenceError("an answer of the service that it never gave")
            continue
        one = got[each.before]
        as_sent = (each.method, unquote(each.path, errors="strict"), each.query, each.body)
        if as_sent != (one.method, unquote(one.path, errors="strict"), one.query, one.body):
            raise DifferenceError(f"sent was {as_sent}, forwarded {one}")
    if position != len(got):
        raise DifferenceError("requests that nobody sent")


def _by_the_rules(one: Got) -> None:
    if one.operation in ("listItems", "getItem", "changePart"):
        return
    if one.operation == "createItem":
        body = json.loads(one.body)
        amount = body.get("amount")
        if body.get("currency") not in ("EUR", "USD") or not isinstance(amount, int | float) or amount >= 100:
            raise DifferenceError(f"no rule allows the body {body}")
    elif one.operation != "replaceItem" or one.headers.get("x-kind") not in ("a", "b"):
        raise DifferenceError(f"no rule allows {one}")


@dataclass
class Run:
    """All that was sent, decided and forwarded."""

    sent: list[Sent]
    decided: list[Operation]
    seen: list[bytes]

    @property
    def allowed(self) -> list[Operation]:
        """What went out, as the audit has it."""
        return [each for each in self.decided if each.effect == "allow"]


@pytest.fixture(scope="module")
def run(web_cloud: Any) -> Iterator[Run]:
    """One run of Schemathesis through a gateway of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="wicketgate-schemathesis-") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(tests.web, "OPENAPI", json.dumps(DOCUMENT, indent=1))
        with web_in(Path(folder), web_cloud, POLICY, FIRST) as web:
            web.wait(lambda: b"200" in web.curl("-i", "/items", target="described-api").stdout, 60)
            known, base = len(web.operations()), len(web.upstream.seen)
            sent = list(_sent(web, base))
            web.wait(lambda: len(web.operations()) - known >= sum(each.status in (200, 403) for each in sent), 60)
            yield Run(sent, web.operations()[known:], list(web.upstream.seen[base:]))


def _sent(web: Any, base: int) -> Iterator[Sent]:
    session = requests.Session()
    session.verify = str(web.ca_file)
    for made in _requests(web.url("", "described-api")):
        made.headers["X-Wicketgate-Token"] = web.cloud.bot_token()
        before = len(web.upstream.seen) - base
        try:
            status = session.send(made, timeout=60, allow_redirects=False).status_code
        except requests.ConnectionError:
            status = 0
        parts = urlsplit(str(made.url))
        body = made.body.encode() if isinstance(made.body, str) else made.body or b""
        path = parts.path.removeprefix("/t/described-api")
        after = len(web.upstream.seen) - base
        yield Sent(str(made.method), path, parts.query, bytes(body), status, before, after)
    session.close()


def _requests(base_url: str) -> list[requests.PreparedRequest]:
    made: list[requests.PreparedRequest] = []
    for result in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations():
        operation = result.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(
                max_examples=EXAMPLES,
                derandomize=True,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate],
            )
            def make(case: Any) -> None:
                arguments = case.as_transport_kwargs(base_url=base_url)
                known = ("method", "url", "params", "data", "json", "headers", "cookies", "files")
                try:
                    made.append(requests.Request(**{n: arguments[n] for n in known if n in arguments}).prepare())
                except (requests.RequestException, UnicodeError):
                    return  # what the client itself cannot send

            make()
    return made


def test_decided_is_what_is_forwarded(run: Run) -> None:
    """Each request; and both verdicts are met often, for each rule."""
    check(run.sent, run.allowed, run.seen)
    assert len(run.sent) >= 100
    ran = {operation for each in run.allowed for operation in each.relations}
    assert ran == {"listItems", "getItem", "createItem", "replaceItem", "changePart"}
    assert {each.rule for each in run.decided} >= {
        "described#1",
        "described#2",
        "described#3",
        "described#4",
        "default",
    }
    assert any(each.status == 403 and each.method == "POST" for each in run.sent)
    assert any(each.status == 400 for each in run.sent)


def _first(change: Callable[[bytes], bytes]) -> Callable[[list[bytes]], list[bytes]]:
    def changed(seen: list[bytes]) -> list[bytes]:
        number = next(i for i, raw in enumerate(seen) if change(raw) != raw)
        return [*seen[:number], change(seen[number]), *seen[number + 1 :]]

    return changed


def _with_target(change: Callable[[bytes], bytes]) -> Callable[[list[bytes]], list[bytes]]:
    def changed(raw: bytes) -> bytes:
        method, target, rest = raw.split(b" ", 2)
        return b" ".join((method, change(target), rest))

    return _first(changed)


WRONG: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "another method": _first(lambda raw: raw.replace(b"GET /items/", b"DELETE /items/", 1)),
    "method override": _first(lambda raw: raw.replace(b"PUT ", b"PATCH ", 1)),
    "decoded twice": _with_target(lambda t: unquote(t.decode()).encode("utf-8")),
    "another item": _with_target(lambda t: t.replace(b"/items/", b"/items/x", 1)),
    "a slash at the end": _with_target(lambda t: t + b"/" if b"?" not in t else t),
    "no query": _with_target(lambda t: t.partition(b"?")[0]),
    "a parameter more": _with_target(lambda t: t + b"&limit=1" if b"?" in t else t),
    "the body of another": _first(lambda raw: raw.replace(b'"amount":', b'"amounT":', 1)),
    "a header that decides": _first(lambda raw: raw.replace(b"X-Kind: ", b"X-Kind: c", 1)),
    "a body cut": _first(lambda raw: raw if raw.endswith(b"\r\n\r\n") else raw[:-1]),
    "one twice": lambda seen: [seen[0], *seen],
    "one not at all": lambda seen: seen[1:],
    "two in the wrong order": lambda seen: [*seen[1:], seen[0]],
    "one that was denied": lambda seen: [*seen, b"DELETE /items/1 HTTP/1.1\r\nHost: x\r\n\r\n"],
    "one behind another": lambda seen: [seen[0] + b"DELETE /items/1 HTTP/1.1\r\nHost: x\r\n\r\n", *seen[1:]],
}  # fmt: skip


@pytest.mark.parametrize("name", list(WRONG))
def test_a_wrong_forwarder_is_caught(run: Run, name: str) -> None:
    """The check sees each planted difference."""
    seen = WRONG[name](run.seen)
    assert seen != run.seen
    with pytest.raises(DifferenceError):
        check(run.sent, run.allowed, seen)
