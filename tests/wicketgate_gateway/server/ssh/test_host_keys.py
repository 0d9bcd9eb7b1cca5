"""Host keys: made once, kept to their owner, certified for the gateway's names."""

from __future__ import annotations

from pathlib import Path

import pytest

from wicketgate.testing.certs import CertificateAuthority
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.server.ssh.host_keys import CA_FILE, FOLDER, KEY_FILE, certificate_names, host_keys


@pytest.fixture
def certificate(tmp_path: Path) -> str:
    leaf = CertificateAuthority.open(tmp_path / "ca").issue_files(tmp_path, "server", ["gate.example.com", "127.0.0.1"])
    return str(leaf.cert_file)


def test_they_are_made_once(tmp_path: Path, certificate: str) -> None:
    first = host_keys(tmp_path, certificate, "gate")
    again = host_keys(tmp_path, certificate, "gate")
    assert first.authority == again.authority
    assert first.key.export_public_key() == again.key.export_public_key()
    assert first.names == ("gate.example.com", "127.0.0.1", "gate")
    assert first.authority.startswith("ssh-ed25519 ")
    for name in (CA_FILE, KEY_FILE):
        assert (tmp_path / FOLDER / name).stat().st_mode & 0o777 == 0o600


def test_the_certificate_is_for_these_names_and_for_hosts(tmp_path: Path, certificate: str) -> None:
    keys = host_keys(tmp_path, certificate, "gate")
    keys.certificate.validate(2, "gate.example.com")
    with pytest.raises(ValueError, match=r"."):
        keys.certificate.validate(2, "other.example.com")
    with pytest.raises(ValueError, match=r"."):
        keys.certificate.validate(1, "gate.example.com")


def test_what_others_may_read_is_refused(tmp_path: Path, certificate: str) -> None:
    host_keys(tmp_path, certificate, "gate")
    (tmp_path / FOLDER / CA_FILE).chmod(0o644)
    with pytest.raises(WicketgateError, match="others may read"):
        host_keys(tmp_path, certificate, "gate")


def test_a_damaged_key_is_told(tmp_path: Path, certificate: str) -> None:
    host_keys(tmp_path, certificate, "gate")
    (tmp_path / FOLDER / KEY_FILE).write_text("damaged")
    with pytest.raises(WicketgateError) as told:
        host_keys(tmp_path, certificate, "gate")
    assert told.value.code == "ssh-host-keys"


def test_names_of_a_certificate(certificate: str) -> None:
    assert certificate_names(Path(certificate)) == ["gate.example.com", "127.0.0.1"]
