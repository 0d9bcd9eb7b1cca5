"""`wicketgate ssh-proxy TARGET`: an OpenSSH client's way to the gateway, as its `ProxyCommand`.

How this works: TLS to the gateway (verified), the target and a fresh token ahead of the SSH protocol
(`wire.ssh.preface`), then bytes both ways. SSH runs end to end through it between the client and the gateway, which the
client verifies once more by its host key's authority. Only the standard library is loaded: this runs before every
connection. OpenSSL's objects are for one thread, so that one loop moves both directions.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
from pathlib import Path
from typing import Any

from wicketgate_gateway.cli import client
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.wire.ssh import preface

SECONDS = 20.0
_CHUNK = 64 * 1024
_MAX_BUFFER = 1024 * 1024


def ssh_proxy(target: str, /, *, config: Path | None = None) -> None:
    """Connect standard input and output with the gateway's SSH server, for OpenSSH's ProxyCommand.

    `wicketgate ssh-config` writes it where it belongs.

    Parameters
    ----------
    target
        The target's name.
    config
        client.yaml; else WICKETGATE_CONFIG, else ~/.config/wicketgate/client.yaml.
    """
    where, host, port, ca_file, settings = _settings(config)
    if not target.isascii() or not target.isprintable() or " " in target:
        raise WicketgateError("that is no target's name", code="target-unknown", remedy="check its name")
    token = client.fetch_token(settings).token
    connection = dial(host, port, ca_file)
    _, rest = ask(connection, preface.request(target, token), where)
    relay(connection, rest)


def authority(config: Path | None) -> str:
    """The gateway's host key authority, as in known_hosts. Raises WicketgateError."""
    where, host, port, ca_file, _ = _settings(config)
    connection = dial(host, port, ca_file)
    with contextlib.closing(connection):
        _, rest = ask(connection, preface.request("", ""), where)
        connection.settimeout(SECONDS)
        while b"\n" not in rest and len(rest) < preface.MAX_ANSWER:
            more = connection.recv(_CHUNK)
            if not more:
                break
            rest += more
    line = rest.partition(b"\n")[0].decode("ascii", "replace")
    parts = line.split(" ")
    if len(parts) != 2 or not parts[0].startswith("ssh-"):
        raise WicketgateError(f"`{where}` gave no host key authority", code="gateway-broken")
    return line


def _settings(config: Path | None) -> tuple[str, str, int, str | None, client.Settings]:
    path = client.config_path(config)
    if path is None:
        raise WicketgateError(
            "there is no client.yaml", code="client-config-missing", remedy="give it by --config, or WICKETGATE_CONFIG"
        )
    settings = client.settings(path)
    endpoint = _endpoint(path)
    if endpoint is None:
        raise WicketgateError(
            "the gateway has no SSH address", code="ssh-off", remedy="set `ssh` in client.yaml: host, port, caFile"
        )
    host, port, ca_file = endpoint
    return f"{host}:{port}", host, port, ca_file, settings


def _endpoint(path: Path) -> tuple[str, int, str | None] | None:
    """`ssh` of client.yaml, without the strict reader, which takes longer to load than the rest of this."""
    from wicketgate_gateway.contract import yaml

    data: Any = yaml.parse(path.read_text("utf-8"), str(path)).data
    found = data.get("ssh") if isinstance(data, dict) else None
    if isinstance(found, dict):
        host, port, ca_file = found.get("host"), found.get("port"), found.get("caFile")
        if isinstance(host, str) and isinstance(port, int) and (ca_file is None or isinstance(ca_file, str)):
            return host, port, ca_file
    return None


def dial(host: str, port: int, ca_file: str | None) -> ssl.SSLSocket:
    """A TLS connection to the gateway. Raises WicketgateError."""
    where = f"{host}:{port}"
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise WicketgateError(
            f"`{ca_file}` cannot be read: {getattr(error, 'strerror', None) or 'no PEM'}",
            code="ca-file-invalid",
            remedy="check `ssh.caFile`",
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        plain = socket.create_connection((host, port), timeout=SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return context.wrap_socket(plain, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise WicketgateError(
            f"the certificate of `{where}` was refused: {error.verify_message}",
            code="gateway-certificate-refused",
            remedy="check `ssh.caFile` and `ssh.host` in client.yaml",
        ) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise WicketgateError(f"`{where}` cannot be reached: {reason}", code="gateway-unreachable") from None


def ask(connection: ssl.SSLSocket, request: bytes, where: str) -> tuple[str, bytes]:
    """Send the preface; the answer's first word, and what came behind its line. Raises WicketgateError."""
    try:
        connection.sendall(request)
        answer = b""
        while b"\n" not in answer and len(answer) < preface.MAX_ANSWER:
            more = connection.recv(_CHUNK)
            if not more:
                break
            answer += more
    except OSError:
        raise WicketgateError(f"`{where}` did not answer", code="gateway-unreachable") from None
    line, found, rest = answer.partition(b"\n")
    words = line.decode("ascii", "replace").split(" ", 2)
    if found and words[0] == "ok":
        return "ok", rest
    if found and words[0] == "no" and len(words) == 3:
        raise WicketgateError(words[2], code=words[1])
    raise WicketgateError(f"`{where}` is no gateway's SSH address", code="gateway-broken")


def relay(connection: ssl.SSLSocket, first: bytes) -> None:
    """Bytes both ways between standard input and output and the gateway, until either ends."""
    connection.setblocking(False)
    inward, outward = bytearray(), bytearray(first)
    stdin_open = True
    stdin, stdout = 0, 1
    while True:
        _drain(connection, inward)
        reading: list[Any] = [connection] if len(outward) < _MAX_BUFFER else []
        if stdin_open and len(inward) < _MAX_BUFFER:
            reading.append(stdin)
        writing: list[Any] = [stdout] if outward else []
        if inward:
            writing.append(connection)
        readable: list[Any]
        readable, writable, _ = select.select(reading, writing, [], 0 if connection.pending() else None)
        if stdin in readable:
            data = os.read(stdin, _CHUNK)
            stdin_open = bool(data)
            inward += data
        if connection in readable or (connection.pending() and len(outward) < _MAX_BUFFER):
            try:
                data = connection.recv(_CHUNK)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                data = None
            except OSError:
                data = b""
            if data is not None:
                outward += data
                if not data:
                    _finish(outward)
                    return
        if stdout in writable or outward:
            with contextlib.suppress(BlockingIOError):
                del outward[: os.write(stdout, outward[:_CHUNK])]
        if not stdin_open and not inward:
            connection.close()
            return


def _drain(connection: ssl.SSLSocket, inward: bytearray) -> None:
    while inward:
        try:
            sent = connection.send(bytes(inward[:_CHUNK]))
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            inward.clear()
            return
        del inward[:sent]


def _finish(outward: bytearray) -> None:
    while outward:
        del outward[: os.write(1, outward)]
