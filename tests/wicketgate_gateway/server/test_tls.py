"""The server's TLS: no old versions, and a certificate that cannot be used says so."""

import ssl
from pathlib import Path

import pytest

from wicketgate.testing.certs import CertificateAuthority
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import ServerTls
from wicketgate_gateway.server.tls import server_context


def test_new_versions_only(tmp_path: Path) -> None:
    leaf = CertificateAuthority.open(tmp_path / "ca").issue_files(tmp_path, "gate", ["127.0.0.1"])
    context = server_context(ServerTls(certificate_file=str(leaf.cert_file), key_file=str(leaf.key_file)))
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_TICKET
    assert context.num_tickets == 0


def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("nothing")
    for path in (tmp_path / "a", tmp_path / "missing"):
        with pytest.raises(WicketgateError) as error:
            server_context(ServerTls(certificate_file=str(path), key_file=str(path)))
        assert error.value.code == "certificate-unusable"
