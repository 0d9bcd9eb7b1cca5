"""The gateway's own SSH keys: a host key, and the certificate authority that clients trust for it.

How this works: both keys are made once and kept in the state folder, readable by its owner alone. At each start the
authority signs a certificate of the host key (PROTOCOL.certkeys of OpenSSH) for the names that the gateway's TLS
certificate is for. Clients pin the authority (`@cert-authority` in known_hosts), so that a host key can be replaced,
and so that gateways which share the file `host_ca` are one to them.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import asyncssh
from cryptography import x509

from wicketgate_gateway.contract.errors import WicketgateError

FOLDER = "ssh"
CA_FILE, KEY_FILE, PUBLIC_FILE = "host_ca", "host_key", "host_ca.pub"
VALID_SECONDS = 400 * 86400
"""For as long as a process may run; it signs anew at each start."""
_BACK_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class HostKeys:
    """What the server presents, and what clients need to check it."""

    key: asyncssh.SSHKey
    certificate: asyncssh.SSHCertificate
    authority: str
    """The authority's public key, as in known_hosts: `ssh-ed25519 AAAA…`."""
    names: tuple[str, ...]


def host_keys(state: Path, certificate_file: str, name: str) -> HostKeys:
    """The keys of the gateway `name`, made if they are not there. Raises WicketgateError."""
    folder = state / FOLDER
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        authority = _key(folder / CA_FILE, f"wicketgate host CA of {name}")
        key = _key(folder / KEY_FILE, f"wicketgate host key of {name}")
        names = (*certificate_names(Path(certificate_file)), name)
        now = int(time.time())
        certificate = authority.generate_host_certificate(
            key, f"gateway {name}", principals=list(names), valid_after=now - _BACK_SECONDS,
            valid_before=now + VALID_SECONDS,
        )  # fmt: skip
        public = authority.export_public_key().decode().split(" ")
        line = " ".join(public[:2]).strip()
        _write(folder / PUBLIC_FILE, (line + "\n").encode(), 0o644)
    except (OSError, asyncssh.KeyImportError, ValueError) as error:
        raise WicketgateError(
            f"the SSH host keys in `{folder}` cannot be used: {getattr(error, 'strerror', None) or error}",
            code="ssh-host-keys",
            remedy="give the gateway's account the folder, or remove a file that is damaged: it is made anew, and "
            "clients must then run `wicketgate ssh-config` again",
        ) from None
    return HostKeys(key, certificate, line, names)


def certificate_names(path: Path) -> list[str]:
    """The DNS names and addresses that a TLS certificate (PEM) is for. Raises OSError, ValueError."""
    certificate = x509.load_pem_x509_certificates(path.read_bytes())[0]
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    names = [name for name in found.get_values_for_type(x509.DNSName) if "*" not in name]
    return names + [str(address) for address in found.get_values_for_type(x509.IPAddress)]


def _key(path: Path, comment: str) -> asyncssh.SSHKey:
    if not path.exists():
        made = asyncssh.generate_private_key("ssh-ed25519", comment)
        _write(path, made.export_private_key(), 0o600)
    if path.stat().st_mode & 0o077:
        raise ValueError(f"others may read `{path.name}`")
    return asyncssh.read_private_key(path)


def _write(path: Path, data: bytes, mode: int) -> None:
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(data)
    os.chmod(new, mode)
    new.replace(path)
