"""What the agent proves itself by: from files that may change, or asked for; never in a text of an error."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import Any

import pytest

from wicketgate_gateway.agent.http_credential import Credential
from wicketgate_gateway.agent.target import TargetError
from wicketgate_gateway.contract.gateway import HttpTarget

pytestmark = pytest.mark.anyio


def credential(folder: Path, auth: str, **more: Any) -> Credential:
    """Of a target with this way to prove."""
    config = HttpTarget.model_validate(
        {"kind": "http", "address": "https://api", "auth": auth, "credential": str(folder), **more}
    )
    return Credential(config, ssl.create_default_context)


async def test_files(tmp_path: Path) -> None:
    """Each way its headers and its secrets; a file that changed is read again."""
    (tmp_path / "token").write_text("tok-1-secret\n")
    bearer = credential(tmp_path, "bearer")
    assert await bearer.headers() == [("Authorization", "Bearer tok-1-secret")]
    assert b"tok-1-secret" in bearer.secrets()
    (tmp_path / "new").write_text("tok-2-secret")
    (tmp_path / "new").replace(tmp_path / "token")
    assert await bearer.headers() == [("Authorization", "Bearer tok-2-secret")]
    (tmp_path / "username").write_text("ann")
    (tmp_path / "password").write_text("pass/word+1")
    basic = credential(tmp_path, "basic")
    encoded = base64.b64encode(b"ann:pass/word+1").decode()
    assert await basic.headers() == [("Authorization", f"Basic {encoded}")]
    assert {b"pass/word+1", b"pass%2Fword%2B1", encoded.encode()} <= set(basic.secrets())
    (tmp_path / "value").write_text("key-of-the-api")
    header = credential(tmp_path, "header", header="X-Api-Key")
    assert await header.headers() == [("X-Api-Key", "key-of-the-api")]
    assert "x-api-key" in header.names
    certificate = credential(tmp_path, "client-certificate")
    assert await certificate.headers() == []
    assert certificate.certificate == (str(tmp_path / "tls.crt"), str(tmp_path / "tls.key"))


async def test_what_is_missing_or_broken(tmp_path: Path) -> None:
    """Named by its file, without its content."""
    with pytest.raises(TargetError, match="`token` cannot be read"):
        await credential(tmp_path, "bearer").headers()
    (tmp_path / "token").write_text("secret\r\nX-Evil: 1")
    with pytest.raises(TargetError, match="`token` is empty or broken") as failed:
        await credential(tmp_path, "bearer").headers()
    assert "secret" not in str(failed.value)


async def test_a_token_is_kept_until_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Client credentials (RFC 6749 section 4.4), asked for once."""
    (tmp_path / "client_id").write_text("me")
    (tmp_path / "client_secret").write_text("client-secret-1")
    asked: list[Any] = []
    answers = [b'{"access_token": "at-%d", "token_type": "Bearer", "expires_in": 300}' % i for i in (1, 2)]

    async def send(_http: Any, method: str, url: str, **more: Any) -> Any:
        asked.append((method, url, more))
        from wicketgate_gateway.identity.http import Answer

        return Answer(200, answers.pop(0), None)

    monkeypatch.setattr("wicketgate_gateway.agent.http_credential.send", send)
    oauth = credential(tmp_path, "oauth-client", tokenUrl="https://idp/token", scope="read")
    assert await oauth.headers() == [("Authorization", "Bearer at-1")]
    assert await oauth.headers() == [("Authorization", "Bearer at-1")]
    assert asked[0][2]["data"] == {"grant_type": "client_credentials", "scope": "read"}
    assert not oauth.refused([("Authorization", "Bearer at-1")])  # it was never taken: another would fare no better
    oauth.taken()
    assert oauth.refused([("Authorization", "Bearer at-1")])
    assert oauth.refused([("Authorization", "Bearer at-1")])  # a request beside it: it is asked for only once
    assert await oauth.headers() == [("Authorization", "Bearer at-2")]
    assert b"client-secret-1" in oauth.secrets()
    assert {b"at-1", b"at-2"} <= set(oauth.secrets())


async def test_a_log_in_that_failed_waits_for_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bot that asks on and on does not lock an account."""
    (tmp_path / "client_id").write_text("me")
    (tmp_path / "client_secret").write_text("wrong-one")
    asked: list[str] = []

    async def send(_http: Any, method: str, url: str, **_: Any) -> Any:
        from wicketgate_gateway.identity.http import Answer

        asked.append(url)
        return Answer(401, b"{}", None)

    monkeypatch.setattr("wicketgate_gateway.agent.http_credential.send", send)
    oauth = credential(tmp_path, "oauth-client", tokenUrl="https://idp/token")
    for _ in range(3):
        with pytest.raises(TargetError, match="no bearer token") as failed:
            await oauth.headers()
        assert "wrong-one" not in str(failed.value)
    assert len(asked) == 1
    (tmp_path / "new").write_text("another")
    (tmp_path / "new").replace(tmp_path / "client_secret")
    with pytest.raises(TargetError):
        await oauth.headers()
    assert len(asked) == 2


async def test_a_secret_is_known_as_servers_write_it(tmp_path: Path) -> None:
    """Quoted for URLs, JSON and HTML; and after another has taken its place."""
    (tmp_path / "token").write_text("a/b+c&d<e'f\"g=")
    bearer = credential(tmp_path, "bearer")
    await bearer.headers()
    (tmp_path / "new").write_text("the-next-token")
    (tmp_path / "new").replace(tmp_path / "token")
    await bearer.headers()
    written = {
        b"a/b+c&d<e'f\"g=", b"a%2Fb%2Bc%26d%3Ce%27f%22g%3D", b"a/b%2Bc%26d%3Ce%27f%22g%3D", b"the-next-token",
        b"a\\/b+c&d<e'f\\\"g=", b"a/b+c\\u0026d\\u003ce'f\\\"g=", b"a/b+c&amp;d&lt;e&#x27;f&quot;g=",
        b"a/b&#43;c&amp;d&lt;e&#39;f&#34;g=",
    }  # fmt: skip
    assert written <= set(bearer.secrets())
