import json
from urllib.parse import parse_qs

import pytest

from wicketgate_gateway.identity import exchange
from wicketgate_gateway.identity.exchange import ExchangeError

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"


def test_the_request() -> None:
    request = exchange.request("https://login.example/", "ten/ant", "client", "aud/.default", TOKEN)
    assert request.url == "https://login.example/ten%2Fant/oauth2/v2.0/token"
    assert parse_qs(request.body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["client"],
        "scope": ["aud/.default"],
        "client_assertion_type": ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"],
        "client_assertion": [TOKEN],
    }
    assert TOKEN not in repr(request) + str(request)


def test_a_good_answer() -> None:
    body = json.dumps({"token_type": "Bearer", "expires_in": 3599, "access_token": TOKEN}).encode()
    assert exchange.answer(200, body, now=1000.0) == (TOKEN, 4599.0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b'{"access_token": "x"}',
        b'{"access_token": 5, "expires_in": 5}',
        b'{"access_token": "", "expires_in": 5}',
        b'{"access_token": "x", "expires_in": "5"}',
        b'{"access_token": "x", "expires_in": true}',
        b"{" + b" " * exchange.MAX_ANSWER + b"}",
        b"[" * 100_000,
    ],
)
def test_answers_that_are_none(body: bytes) -> None:
    with pytest.raises(ExchangeError) as error:
        exchange.answer(200, body)
    assert not error.value.transient


@pytest.mark.parametrize(
    ("status", "number", "code", "transient"),
    [
        (400, "700213", "subject-unknown", True),
        (400, "700211", "issuer-unknown", True),
        (400, "7002138", "subject-case", False),
        (401, "7000215", "token-exchange-failed", False),
        (400, "90002", "tenant-unknown", False),
        (429, "90000", "token-exchange-failed", True),
        (503, "1", "token-exchange-failed", True),
    ],
)
def test_refusals(status: int, number: str, code: str, transient: bool) -> None:
    description = f"AADSTS{number}: It went wrong.\r\nTrace ID: secret-looking"
    body = json.dumps({"error": "invalid_client", "error_description": description}).encode()
    with pytest.raises(ExchangeError) as error:
        exchange.answer(status, body)
    assert (error.value.code, error.value.transient) == (code, transient)
    assert f"AADSTS{number}: It went wrong." in str(error.value)
    assert "Trace" not in str(error.value)


def test_a_refusal_without_words() -> None:
    for body in (b'{"error": "invalid_request"}', b"{}", b'{"error_description": ""}', b'{"error": 5}'):
        with pytest.raises(ExchangeError, match="HTTP 400"):
            exchange.answer(400, body)


def test_assertions_are_checked_for_shape() -> None:
    assert exchange.assertion(f" {TOKEN}\n", "file") == TOKEN
    for text in ("", "  ", "abc", f"{TOKEN} {TOKEN}", "a.b.c.d", "a.b.ü"):
        with pytest.raises(ExchangeError) as error:
            exchange.assertion(text, "the-file")
        assert "the-file" in str(error.value)
