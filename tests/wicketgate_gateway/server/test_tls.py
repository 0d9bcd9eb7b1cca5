"""The server's TLS: no old versions, and a certificate that cannot be used says so."""

import socket
import ssl
import threading
from pathlib import Path

import pytest

from wicketgate.testing.certs import CertificateAuthority
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import ServerTls
from wicketgate_gateway.server import tls
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


def served(context: ssl.SSLContext, ca: Path, alpn: str, name: str | None = "gate") -> tuple[bytes, str | None]:
    """The certificate that a client gets, and the protocol that was chosen."""
    near, far = socket.socketpair()
    client = ssl.create_default_context(cafile=str(ca))
    client.check_hostname = False
    client.set_alpn_protocols([alpn])
    with near, far:
        server = threading.Thread(target=lambda: context.wrap_socket(far, server_side=True).close())
        server.start()
        with client.wrap_socket(near, server_hostname=name) as made:
            found = made.getpeercert(binary_form=True)
            assert found is not None
            chosen = made.selected_alpn_protocol()
        server.join()
    return found, chosen


@pytest.mark.parametrize("name", ["gate", None])
def test_a_renewed_certificate_is_taken_and_a_broken_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    monkeypatch.setattr(tls, "LOOK_SECONDS", 0.0)
    ca = CertificateAuthority.open(tmp_path / "ca")
    leaf = ca.issue_files(tmp_path, "gate", ["gate"])
    context = server_context(ServerTls(certificate_file=str(leaf.cert_file), key_file=str(leaf.key_file)))
    context.set_alpn_protocols(["one"])
    first = served(context, ca.cert_file, "one", name)
    assert first == served(context, ca.cert_file, "one", name)
    # Another certificate without its key, as in the middle of a renewal: the one before stays.
    chain, key = ca.issue(["gate"])
    leaf.cert_file.write_bytes(chain)
    assert served(context, ca.cert_file, "one", name) == first
    leaf.key_file.write_bytes(key)
    second = served(context, ca.cert_file, "one", name)
    assert second[0] != first[0]
    assert second[0] == ssl.PEM_cert_to_DER_cert(chain.decode().partition("-----END CERTIFICATE-----")[0] +
                                                  "-----END CERTIFICATE-----\n")  # fmt: skip
    assert second[1] == first[1] == "one"
