"""Calls of the API, and what an address that is none of ours answers."""

import http.server
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from wicketgate_gateway.cli import people
from wicketgate_gateway.cli.api_client import ApiError, api
from wicketgate_gateway.cli.people import Settings
from wicketgate_gateway.contract.gateway import Entra
from wicketgate_gateway.identity.exchange import AccessToken

ID = "00000000-0000-4000-8000-000000000001"


class Other(http.server.BaseHTTPRequestHandler):
    answers: tuple[int, dict[str, str], bytes] = (200, {}, b"")
    seen: list[str] = []  # noqa: RUF012 - reset by the fixture

    def do_GET(self) -> None:
        status, headers, body = self.answers
        self.seen.append(self.path)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def settings(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Other.seen = []
    made = Settings(Entra(tenant=ID), ID, ID, f"http://127.0.0.1:{server.server_port}", None)
    people.keep(made, AccessToken("a.b.c", time.time() + 3600))
    yield made
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((200, {}, b"<html>"), "api-unreadable"),
        ((200, {}, b"[]"), "api-unreadable"),
        ((502, {}, b"bad gateway"), "api-unreadable"),
        ((302, {"Location": "/elsewhere"}, b""), "api-unreadable"),
        ((403, {}, b'{"detail": "no", "code": "role-missing", "remedy": "ask"}'), "role-missing"),
        ((403, {}, b'{"detail": {}, "code": []}'), "api-unreadable"),
    ],
)
def test_answers(settings: Settings, answer: tuple[int, dict[str, str], bytes], code: str) -> None:
    Other.answers = answer
    with api(settings) as gateway:
        with pytest.raises(ApiError) as error:
            gateway.get("/v1/me")
        assert error.value.code == code
        with pytest.raises(ApiError):
            list(gateway.stream("/v1/me")) if answer[0] != 200 else gateway.get("/v1/me")
    assert "/elsewhere" not in Other.seen  # a redirect would take the token along
    assert "a.b.c" not in str(error.value)


def test_nobody_there(settings: Settings) -> None:
    gone = Settings(settings.entra, ID, ID, "http://127.0.0.1:9", None)
    people.keep(gone, AccessToken("a.b.c", time.time() + 3600))
    with api(gone) as gateway, pytest.raises(ApiError) as error:
        gateway.get("/v1/me")
    assert error.value.code == "api-unreachable"


def test_validation_errors_say_where(settings: Settings) -> None:
    Other.answers = (
        422,
        {},
        b'{"detail": "bad", "code": "request-invalid", "errors": [{"at": "query.limit", "why": "too large"}]}',
    )
    with api(settings) as gateway, pytest.raises(ApiError, match=r"`query\.limit`: too large"):
        gateway.get("/v1/approvals", limit=10**6)
