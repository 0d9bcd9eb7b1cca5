"""The metadata document, the token request to the letter, and what is read from a token."""

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from wicketgate.testing.azuread.config import ConfigError, Credentials
from wicketgate.testing.azuread.connection import (
    ASSERTION_TYPE,
    Endpoints,
    Tokens,
    discover,
    http_client,
    object_id,
)

DOCUMENT: dict[str, Any] = {
    "name": "EmulatedCloud",
    "resourceManager": "https://arm.test",
    "microsoftGraphResourceId": "http://127.0.0.1:8080/",
    "authentication": {"loginEndpoint": "http://127.0.0.1:8080"},
}


def client(handle: Callable[[httpx2.Request], httpx2.Response]) -> httpx2.Client:
    return httpx2.Client(transport=httpx2.MockTransport(handle))


def answering(status: int, content: Any) -> httpx2.Client:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return client(lambda _request: httpx2.Response(status, content=body))


def test_one_request_over_https_tells_where_everything_is() -> None:
    seen: list[str] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        seen.append(f"{request.method} {request.url}")
        return httpx2.Response(200, content=b"\xef\xbb\xbf" + json.dumps(DOCUMENT).encode())

    found = discover("entra.test:8443", client(handle))
    assert seen == ["GET https://entra.test:8443/metadata/endpoints?api-version=2022-09-01"]
    # Graph's slash goes, the log-in's would stay.
    assert found == Endpoints(graph="http://127.0.0.1:8080", login="http://127.0.0.1:8080")


@pytest.mark.parametrize(
    ("status", "content", "why"),
    [
        (500, {}, "expected 200 OK but got 500"),
        (200, b"<html>", "unmarshaling response"),
        (200, [], "no `name` was returned"),
        (200, {**DOCUMENT, "resourceManager": ""}, "no `resourceManager` was returned"),
        (200, {**DOCUMENT, "microsoftGraphResourceId": None}, "no `microsoftGraphResourceId` was returned"),
        (200, {**DOCUMENT, "authentication": {}}, "no `authentication.loginEndpoint` was returned"),
        (200, {**DOCUMENT, "microsoftGraphResourceId": "https://graph.microsoft.com/"}, "never talks to Microsoft"),
        (
            200,
            {**DOCUMENT, "authentication": {"loginEndpoint": "https://login.microsoftonline.com"}},
            "never talks to Microsoft",
        ),
    ],
)
def test_a_document_that_does_not_do(status: int, content: Any, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        discover("entra.test", answering(status, content))


def test_a_host_that_cannot_be_reached() -> None:
    def refuse(_request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    with pytest.raises(
        ConfigError, match=r'retrieving metadata from endpoint "https://entra.test": performing request'
    ):
        discover("entra.test", client(refuse))


class Login:
    """A token endpoint that remembers its requests."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.answers = list(answers)
        self.requests: list[httpx2.Request] = []
        self.time = 0.0

    def tokens(self, credentials: Credentials) -> Tokens:
        endpoints = Endpoints(graph="https://graph.test", login="https://login.test")
        return Tokens(endpoints, credentials, client(self.handle), now=lambda: self.time)

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        status, answer = self.answers.pop(0)
        return httpx2.Response(status, json=answer)

    def forms(self) -> list[dict[str, str]]:
        return [dict(httpx2.QueryParams(request.content.decode())) for request in self.requests]


GRANTED = (200, {"access_token": "one", "expires_in": 3600, "token_type": "Bearer"})


def test_a_secret_is_one_plain_form_post() -> None:
    login = Login(GRANTED)
    assert login.tokens(Credentials("t", "c", secret="s")).get() == "one"
    (request,) = login.requests
    assert str(request.url) == "https://login.test/t/oauth2/v2.0/token"
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert login.forms() == [
        {
            "client_id": "c",
            "client_secret": "s",
            "grant_type": "client_credentials",
            "scope": "https://graph.test/.default",
        }
    ]


def test_a_federated_token_goes_as_assertion() -> None:
    login = Login(GRANTED)
    login.tokens(Credentials("t", "c", assertion="jwt")).get()
    (form,) = login.forms()
    assert form["client_assertion"] == "jwt"
    assert form["client_assertion_type"] == ASSERTION_TYPE
    assert "client_secret" not in form


def test_a_token_is_renewed_twenty_minutes_before_it_ends() -> None:
    login = Login(GRANTED, (200, {"access_token": "two", "expires_in": "3600"}))
    tokens = login.tokens(Credentials("t", "c", secret="s"))
    assert tokens.get() == tokens.get() == "one"
    login.time = 3600 - 20 * 60 - 1
    assert tokens.get() == "one"
    login.time += 1
    assert tokens.get() == "two"
    assert len(login.requests) == 2


def test_a_short_token_is_renewed_on_every_call() -> None:
    short = (200, {"access_token": "x", "expires_in": 600})
    login = Login(short, short)
    tokens = login.tokens(Credentials("t", "c", secret="s"))
    tokens.get()
    tokens.get()
    assert len(login.requests) == 2


def test_a_refusal_is_told_and_the_secret_is_not() -> None:
    login = Login((401, {"error": "invalid_client", "error_description": "AADSTS7000215: no"}))
    with pytest.raises(ConfigError, match=r"received HTTP status 401 with response: .*AADSTS7000215") as caught:
        login.tokens(Credentials("t", "c", secret="s3cret")).get()
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"cannot unmarshal response$"):
        Login((200, ["token"])).tokens(Credentials("t", "c", secret="s")).get()


def token(payload: Any) -> str:
    encoded = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")
    return f"h.{encoded}.s"


def test_the_caller_is_read_from_the_token() -> None:
    assert object_id(token({"oid": "me"})) == "me"


@pytest.mark.parametrize("text", ["a.b", "a.!!.c", token([]), token({}), token({"oid": 1})])
def test_a_token_that_cannot_be_used(text: str) -> None:
    with pytest.raises(ConfigError):
        object_id(text)


def test_loopback_goes_past_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with http_client() as http:
        direct = http._transport_for_url(httpx2.URL("https://localhost:9/"))
        other = http._transport_for_url(httpx2.URL("https://entra.example/"))
        assert "HTTPProxy" not in type(direct._pool).__name__
        assert "HTTPProxy" in type(other._pool).__name__
