"""`wicketgate ssh-config`: what makes stock OpenSSH clients go through the gateway.

How this works: a `Host` block for each target of the bot, in a folder of its own that `~/.ssh/config` includes, and a
known_hosts file with the gateway's host key authority, which is fetched over TLS that `client.yaml` pins. A block's
`ProxyCommand` proves who the bot is by a fresh token for each connection; no key of the bot exists, on disk or in an
agent. One connection serves several commands for a minute (`ControlMaster`), since starting one takes longer than most
commands do; `--no-sharing` leaves that out.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from wicketgate_gateway.cli import client
from wicketgate_gateway.cli.ssh_proxy import authority
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import ClientConfig, TargetKind
from wicketgate_gateway.contract.model import read

CONFIG, KNOWN_HOSTS = "config", "known_hosts"
PERSIST_SECONDS = 60


def ssh_config(
    *, config: Path | None = None, folder: Path | None = None, no_sharing: bool = False, json: bool = False
) -> None:
    """Write Host blocks for ssh, scp, sftp, rsync, git and Ansible, and the gateway's host key authority.

    Parameters
    ----------
    config
        client.yaml; else WICKETGATE_CONFIG, else ~/.config/wicketgate/client.yaml.
    folder
        Where to write `config` and `known_hosts`; else ~/.ssh/wicketgate.
    no_sharing
        Leave out that one connection serves several commands.
    json
        Print one object with `config`, `known_hosts` and `targets`.
    """
    path = client.config_path(config)
    if path is None:
        raise WicketgateError(
            "there is no client.yaml", code="client-config-missing", remedy="give it by --config, or WICKETGATE_CONFIG"
        )
    document = read(ClientConfig, path)
    targets = sorted(name for name, kind in document.targets.items() if kind is TargetKind.SSH)
    if document.ssh is None or not targets:
        raise WicketgateError(
            "this bot has no SSH target", code="ssh-off", remedy="client.yaml needs `ssh`, and a target of kind `ssh`"
        )
    key = authority(path)
    where = (folder or Path.home() / ".ssh" / "wicketgate").absolute()
    try:
        where.mkdir(mode=0o700, parents=True, exist_ok=True)
        alias = document.ssh.host
        _write(where / KNOWN_HOSTS, f"@cert-authority {alias} {key}\n")
        blocks = [
            host_block(name, document, where, command(path.absolute(), name), sharing=not no_sharing)
            for name in targets
        ]
        _write(where / CONFIG, "# Written by `wicketgate ssh-config`; do not edit.\n" + "\n".join(blocks))
    except OSError as error:
        raise WicketgateError(f"`{where}` cannot be written: {error.strerror}", code="ssh-config-unwritable") from None
    if json:
        from wicketgate_gateway.cli.output import print_json

        print_json({"config": str(where / CONFIG), "known_hosts": str(where / KNOWN_HOSTS), "targets": targets})
    else:
        print(f"wrote {where / CONFIG} for {', '.join(targets)}")
        print(f"first line of ~/.ssh/config: Include {where / CONFIG}")


def command(config: Path, target: str) -> str:
    """The ProxyCommand. ssh hands it to a shell with `exec`, and expands `%`."""
    program = Path(sys.argv[0])
    words = (
        [str(program.absolute())] if program.name == "wicketgate" else [sys.executable, "-m", "wicketgate_gateway.cli"]
    )
    words += ["ssh-proxy", target, "--config", str(config)]
    return " ".join(shlex.quote(word).replace("%", "%%") for word in words)


def host_block(name: str, document: ClientConfig, folder: Path, proxy: str, *, sharing: bool) -> str:
    """One target's block."""
    assert document.ssh is not None
    lines = [
        f"HostName {document.ssh.host}",
        f"Port {document.ssh.port}",
        f"HostKeyAlias {document.ssh.host}",
        f"ProxyCommand {proxy}",
        f"UserKnownHostsFile {_quoted(folder / KNOWN_HOSTS)}",
        "GlobalKnownHostsFile none",
        "StrictHostKeyChecking yes",
        "UpdateHostKeys no",
        "CheckHostIP no",
        "PubkeyAuthentication no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "GSSAPIAuthentication no",
        "HostbasedAuthentication no",
        "ForwardAgent no",
        "ForwardX11 no",
        # OpenSSH begins with ChaCha20, which costs the gateway four times as much; what it would take stays as it is.
        "Ciphers ^aes128-gcm@openssh.com,aes256-gcm@openssh.com",
        "ServerAliveInterval 30",
    ]
    if sharing:
        lines += [
            "ControlMaster auto",
            f"ControlPath {_quoted(folder)}/cm-%C",
            f"ControlPersist {PERSIST_SECONDS}",
        ]
    return f"Host {name}\n" + "".join(f"  {line}\n" for line in lines)


def _quoted(path: Path) -> str:
    text = str(path).replace("%", "%%")
    if '"' in text or "\n" in text:
        raise WicketgateError(f"`{text}` cannot stand in ssh's configuration", code="ssh-config-unwritable")
    return f'"{text}"' if " " in text else text


def _write(path: Path, text: str) -> None:
    new = path.with_name(path.name + ".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    new.replace(path)
