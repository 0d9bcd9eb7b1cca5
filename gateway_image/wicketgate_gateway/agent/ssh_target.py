"""An SSH server as the agent knows it: its pinned host keys, and the credential that opens it.

How this works: each of a bot's sessions has a connection of its own, and so a process of its own at the server; nothing
is shared between bots. The credential is read from its folder for each log-in: a private key, a password, or the key of
a certificate authority that the server trusts. With the latter the agent makes a key that lives in memory, signs a
certificate for some minutes that names the bot and the session (so the server's own log does, too), and forgets both.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncssh
import structlog

from wicketgate_gateway.agent.target import TargetError
from wicketgate_gateway.contract.targets import SshTarget as SshConfig
from wicketgate_gateway.tunnel.messages import Open
from wicketgate_gateway.tunnel.mux import Stream

CONNECT_SECONDS = 15.0
CERTIFICATE_SECONDS = 300
_BACK_SECONDS = 60
CIPHERS = (
    "aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr", "aes128-ctr",
)  # fmt: skip
"""The client's order decides. asyncssh's own begins with ChaCha20, which costs four times as much here as AES-GCM."""
SPARE_SECONDS = 60.0
"""How long a connection that nobody uses is kept ready."""

log = structlog.get_logger("wicketgate.agent")


class SshTarget:
    """A target of kind `ssh`. `name` is what policies call it. Raises TargetError for keys that are none."""

    def __init__(self, name: str, config: SshConfig) -> None:
        self.name = name
        self.config = config
        self.links: dict[str, asyncssh.SSHClientConnection] = {}
        """The connection of each of the gateway's sessions."""
        host, _, port = config.address.rpartition(":")
        self.host, self.port = host.strip("[]"), int(port)
        try:
            self._pinned = [asyncssh.import_public_key(_key_of(line)) for line in config.host_keys]
        except asyncssh.KeyImportError:
            raise TargetError(
                f"a host key of `{name}` is none", code="host-key-invalid", remedy="write it as `ssh-ed25519 AAAA…`"
            ) from None
        self._spare: asyncssh.SSHClientConnection | None = None
        self._spare_timer: asyncio.TimerHandle | None = None
        self._making: asyncio.Task[None] | None = None

    def serve(self, stream: Stream, opening: Open, on_done: Callable[[Any], None]) -> object:
        """See `kinds.Serves`."""
        from wicketgate_gateway.agent.ssh import SshSession  # which imports this module

        return SshSession(stream, opening, self, on_done)

    async def link(self, session: str, bot: str) -> asyncssh.SSHClientConnection:
        """A connection for a session, logged in. Raises TargetError."""
        spare, self._spare = self._spare, None
        if self._spare_timer is not None:
            self._spare_timer.cancel()
        named = self._file("ca_key").exists()
        connection = spare if spare is not None and not spare.is_closed() else await self._connect(session, bot)
        if not named and self._making is None:
            # A connection takes the server tens of milliseconds: the next session finds one.
            self._making = asyncio.get_running_loop().create_task(self._prepare())
        return connection

    async def _prepare(self) -> None:
        try:
            self._spare = await self._connect("", "")
        except TargetError as error:
            log.warning("no spare connection", target=self.name, reason=str(error))
            return
        finally:
            self._making = None
        self._spare_timer = asyncio.get_running_loop().call_later(SPARE_SECONDS, self._drop_spare)

    def _drop_spare(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.close()

    def close(self) -> None:
        """Let the spare connection go."""
        if self._making is not None:
            self._making.cancel()
        self._drop_spare()

    async def _connect(self, session: str, bot: str) -> asyncssh.SSHClientConnection:
        what = f"`{self.name}`"
        try:
            proof = await asyncio.to_thread(self._proof, session, bot)
        except OSError as error:
            raise TargetError(
                f"the credential of {what} cannot be read: {error.strerror}",
                code="credential-unreadable",
                remedy="the folder needs one of `key`, `password`, `ca_key`",
            ) from None
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError):
            raise TargetError(f"the credential of {what} is no usable key", code="credential-invalid") from None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await asyncssh.connect(
                    self.host,
                    self.port,
                    config=None,
                    username=self.config.user,
                    known_hosts=(self._pinned, [], []),
                    agent_path=None,
                    gss_host=None,
                    compression_algs=["none"],
                    encryption_algs=CIPHERS,
                    keepalive_interval=15,
                    keepalive_count_max=3,
                    **proof,
                )
        except asyncssh.HostKeyNotVerifiable:
            raise TargetError(
                f"{what} has none of the host keys that it should have",
                code="host-key-refused",
                remedy="find out why before anything else; if the server was replaced, set `hostKeys`",
            ) from None
        except asyncssh.PermissionDenied:
            raise TargetError(f"{what} refuses the agent's credential", code="target-login-refused") from None
        except TimeoutError:
            raise TargetError(f"{what} did not answer in time", code="target-timeout") from None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise TargetError(f"{what} cannot be reached: {reason}", code="target-unreachable") from None
        except asyncssh.Error as error:
            raise TargetError(f"{what} broke the log-in: {type(error).__name__}", code="target-broken") from None

    def _file(self, name: str) -> Path:
        return Path(self.config.credential) / name

    def _proof(self, session: str, bot: str) -> dict[str, Any]:
        """Arguments of asyncssh that log in. Raises OSError, KeyImportError."""
        if self._file("ca_key").exists():
            authority = asyncssh.read_private_key(self._file("ca_key"))
            key = asyncssh.generate_private_key("ssh-ed25519")
            now = int(time.time())
            certificate = authority.generate_user_certificate(
                key,
                f"wicketgate {bot} {session}"[:200],
                principals=[self.config.user],
                valid_after=now - _BACK_SECONDS,
                valid_before=now + CERTIFICATE_SECONDS,
                permit_x11_forwarding=False,
                permit_agent_forwarding=False,
                permit_user_rc=False,
            )
            return {"client_keys": [(key, certificate)], "preferred_auth": ["publickey"]}
        if self._file("key").exists():
            key = asyncssh.read_private_key(self._file("key"))
            return {"client_keys": [key], "client_certs": [], "preferred_auth": ["publickey"]}
        password = self._file("password").read_text("utf-8").rstrip("\r\n")
        return {
            "client_keys": None,
            "password": password,
            "preferred_auth": ["password", "keyboard-interactive"],
        }


def _key_of(line: str) -> str:
    """A public key, also with the host names of a known_hosts line before it."""
    parts = line.split()
    start = next((i for i, part in enumerate(parts) if part.startswith(("ssh-", "ecdsa-", "sk-"))), 0)
    return " ".join(parts[start : start + 2])
