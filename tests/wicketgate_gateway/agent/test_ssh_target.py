"""The agent at a real sshd: key, certificate, pinned host key, and what is told when it cannot log in."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from tests.ssh import Sshd, keygen
from wicketgate_gateway.agent.ssh_target import SshTarget
from wicketgate_gateway.agent.target import TargetError
from wicketgate_gateway.contract.targets import SshTarget as Config

pytestmark = pytest.mark.anyio


def target(sshd: Sshd, **changed: Any) -> SshTarget:
    return SshTarget("web-1", Config.model_validate({**sshd.target(), **changed}))


async def uname(made: SshTarget) -> str:
    try:
        async with await made.link("session-1", "some-bot") as connection:
            done = await connection.run("uname", check=True)
            return str(done.stdout).strip()
    finally:
        made.close()


async def test_by_key(sshd: Sshd) -> None:
    assert await uname(target(sshd)) == "Linux"


async def test_the_cipher_is_the_fast_one(sshd: Sshd) -> None:
    made = target(sshd)
    async with await made.link("session-1", "some-bot") as connection:
        assert connection.get_extra_info("send_cipher") == "aes128-gcm@openssh.com"
        assert connection.get_extra_info("recv_cipher") == "aes128-gcm@openssh.com"
    made.close()


async def test_by_password(tmp_path: Path) -> None:
    """OpenSSH checks passwords by PAM or /etc/shadow, which tests leave alone; asyncssh's server does it here."""
    key = asyncssh.generate_private_key("ssh-ed25519")

    class Server(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == ("app", "correct horse")

    def run(process: Any) -> None:
        process.stdout.write("Linux\n")
        process.exit(0)

    server = await asyncssh.create_server(Server, "127.0.0.1", 0, server_host_keys=[key], process_factory=run)
    config = {
        "kind": "ssh", "address": f"127.0.0.1:{server.get_port()}", "user": "app", "credential": str(tmp_path),
        "hostKeys": [key.export_public_key().decode().strip()],
    }  # fmt: skip
    (tmp_path / "password").write_text("correct horse\n")
    assert await uname(SshTarget("web-1", Config.model_validate(config))) == "Linux"
    (tmp_path / "password").write_text("wrong horse\n")
    with pytest.raises(TargetError) as told:
        await SshTarget("web-1", Config.model_validate(config)).link("s", "b")
    assert told.value.code == "target-login-refused"
    assert "horse" not in str(told.value)
    server.close()
    await server.wait_closed()


async def test_by_a_certificate_that_names_the_bot(sshd: Sshd, tmp_path: Path) -> None:
    shutil.copy(sshd.folder / "user_ca", tmp_path / "ca_key")
    assert await uname(target(sshd, credential=str(tmp_path))) == "Linux"
    assert "wicketgate some-bot session-1" in sshd.log()


async def test_the_second_session_finds_a_connection_ready(sshd: Sshd, eventually: Any) -> None:
    made = target(sshd)
    first = await made.link("a", "b")
    await eventually(lambda: made._spare is not None)
    spare = made._spare
    second = await made.link("c", "d")
    assert second is spare
    assert second is not first
    for connection in (first, second):
        connection.close()
    made.close()


async def test_another_host_key_is_refused(sshd: Sshd, tmp_path: Path) -> None:
    with pytest.raises(TargetError) as told:
        await target(sshd, hostKeys=[keygen(tmp_path / "other")]).link("s", "b")
    assert told.value.code == "host-key-refused"


async def test_what_is_wrong_is_told(sshd: Sshd, tmp_path: Path) -> None:
    with pytest.raises(TargetError) as told:
        await target(sshd, credential=str(tmp_path)).link("s", "b")
    assert told.value.code == "credential-unreadable"
    (tmp_path / "key").write_text("damaged")
    with pytest.raises(TargetError) as told:
        await target(sshd, credential=str(tmp_path)).link("s", "b")
    assert told.value.code == "credential-invalid"
    (tmp_path / "key").unlink()
    keygen(tmp_path / "key")
    with pytest.raises(TargetError) as told:
        await target(sshd, credential=str(tmp_path)).link("s", "b")
    assert told.value.code == "target-login-refused"
    with pytest.raises(TargetError) as told:
        await target(sshd, address="127.0.0.1:1").link("s", "b")
    assert told.value.code == "target-unreachable"


def test_a_host_key_that_is_none(sshd: Sshd) -> None:
    with pytest.raises(TargetError) as told:
        target(sshd, hostKeys=["nonsense"])
    assert told.value.code == "host-key-invalid"
