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
    oauth.refused()
    assert await oauth.headers() == [("Authorization", "Bearer at-2")]
    assert b"client-secret-1" in oauth.secrets()
    assert b"at-2" in oauth.secrets()
