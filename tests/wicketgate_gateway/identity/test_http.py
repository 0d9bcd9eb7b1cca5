from pathlib import Path
from typing import Any

import httpx2
import pytest

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import Entra
from wicketgate_gateway.identity import http
from wicketgate_gateway.identity.http import UnreachableError

pytestmark = pytest.mark.anyio


def answering(response: httpx2.Response | Exception) -> httpx2.AsyncClient:
    def handle(request: httpx2.Request) -> httpx2.Response:
        if isinstance(response, Exception):
            raise response
        return response

    return httpx2.AsyncClient(transport=httpx2.MockTransport(handle))


async def test_the_body_is_bounded() -> None:
    with pytest.raises(UnreachableError, match="over 1048576 bytes"):
        await http.send(answering(httpx2.Response(200, content=b"x" * (http.MAX_BODY + 1))), "GET", "https://host/a?b")


async def test_an_error_names_the_host_and_nothing_that_was_sent() -> None:
    failing = answering(httpx2.ConnectError("secret in the library's text"))
    with pytest.raises(UnreachableError) as error:
        await http.send(failing, "POST", "https://host.example/path?query=secret", content=b"secret")
    assert "host.example" in str(error.value)
    assert "secret" not in str(error.value)
    assert error.value.__cause__ is None


@pytest.mark.parametrize("status", [204, 301, 302, 404, 500])
async def test_a_fetch_takes_200_alone(status: int) -> None:
    elsewhere = {"Location": "https://evil.example/"}
    with pytest.raises(UnreachableError):
        await http.fetcher(answering(httpx2.Response(status, headers=elsewhere)))("https://host/keys")
    assert await http.fetcher(answering(httpx2.Response(200, content=b"{}")))("https://host/keys") == b"{}"


async def test_the_client_verifies_and_follows_nothing(cloud: Any) -> None:
    async with http.client(Entra.model_validate(cloud.document())) as client:
        assert client.follow_redirects is False
        url = f"{cloud.entra.url}/{cloud.entra.tenant}/discovery/v2.0/keys"
        assert b'"keys"' in await http.fetcher(client)(url)
    async with http.client(Entra(tenant=cloud.entra.tenant)) as client:
        with pytest.raises(UnreachableError):
            await http.fetcher(client)(url)


def test_a_ca_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(WicketgateError, match="cannot be read"):
        http.tls_context(str(tmp_path / "none.pem"))
    (tmp_path / "bad.pem").write_text("no certificate")
    with pytest.raises(WicketgateError, match=r"bad\.pem"):
        http.tls_context(str(tmp_path / "bad.pem"))
