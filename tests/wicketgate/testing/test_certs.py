"""The throwaway authority, judged by OpenSSL, Python and Go."""

import os
import shutil
import socket
import ssl
import stat
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509

from wicketgate.testing import certs
from wicketgate.testing.certs import CertificateAuthority, LeafFiles, client_context, system_roots

NAMES = ["localhost", "127.0.0.1", "::1", "gate.example"]

GO_PROGRAM = """package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
)

func main() {
	ca, _ := os.ReadFile(os.Args[1])
	leaf, _ := os.ReadFile(os.Args[2])
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	block, _ := pem.Decode(leaf)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		panic(err)
	}
	for _, name := range os.Args[3:] {
		_, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: name})
		fmt.Println(name, err == nil)
	}
}
"""


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority.open(tmp_path / "ca")


def shake_hands(leaf: LeafFiles, context: ssl.SSLContext, name: str) -> str | None:
    """One TLS connection by name; the protocol, or raises ssl.SSLError."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with theirs:
            try:
                leaf.server_context().wrap_socket(theirs, server_side=True).close()
            except (ssl.SSLError, OSError):
                return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with ours, context.wrap_socket(ours, server_hostname=name) as tls:
            return tls.version()
    finally:
        thread.join(5)


def test_python_accepts_each_name_and_no_other(authority: CertificateAuthority, tmp_path: Path) -> None:
    leaf = authority.issue_files(tmp_path, "server", NAMES)
    context = client_context(authority.cert_file, system=False)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    for name in NAMES:
        assert shake_hands(leaf, context, name) == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(leaf, context, "other.example")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(leaf, client_context(), "localhost")


def test_openssl_accepts_the_chain_strictly(authority: CertificateAuthority, tmp_path: Path) -> None:
    leaf = authority.issue_files(tmp_path, "server", NAMES)
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", str(authority.cert_file)]
    for extra in (["-verify_ip", "127.0.0.1"], ["-verify_hostname", "localhost"]):
        done = subprocess.run([*command, *extra, str(leaf.cert_file)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    refused = subprocess.run(
        [*command, "-verify_hostname", "x.example", str(leaf.cert_file)], capture_output=True, check=False
    )
    assert refused.returncode != 0


@pytest.mark.build
def test_go_accepts_the_chain(authority: CertificateAuthority, tmp_path: Path) -> None:
    go = shutil.which("go")
    assert go is not None, "the Go toolchain is needed for tests marked build"
    leaf = authority.issue_files(tmp_path, "server", NAMES)
    (tmp_path / "main.go").write_text(GO_PROGRAM)
    done = subprocess.run(
        [go, "run", "main.go", str(authority.cert_file), str(leaf.cert_file), "localhost", "127.0.0.1", "x.example"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"GO111MODULE": "off"},
    )
    assert done.stdout.split("\n")[:3] == ["localhost true", "127.0.0.1 true", "x.example false"]


def test_keys_are_private_and_the_authority_stays(authority: CertificateAuthority, tmp_path: Path) -> None:
    leaf = authority.issue_files(tmp_path / "tls", "server", ["localhost"])
    for file in (leaf.key_file, authority.folder / "ca.key"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = CertificateAuthority.open(authority.folder)
    assert again.certificate == authority.certificate
    with pytest.raises(ValueError, match="at least one"):
        authority.issue([])


def test_two_that_start_together_share_one_authority(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: CertificateAuthority.open(tmp_path / "ca"), range(4)))
    assert len({one.certificate.serial_number for one in made}) == 1


def test_two_authorities_have_different_names(tmp_path: Path) -> None:
    """A verifier that finds two authorities of one name in a bundle may try the wrong one only."""
    one, two = (CertificateAuthority.open(tmp_path / name).certificate for name in "ab")
    assert one.subject != two.subject


def test_the_bundle_adds_to_what_was_trusted(
    authority: CertificateAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = CertificateAuthority.open(tmp_path / "other")
    third = CertificateAuthority.open(tmp_path / "third")
    monkeypatch.setenv("SSL_CERT_FILE", str(other.cert_file))
    assert system_roots() == other.cert_file
    bundle = authority.write_bundle(tmp_path / "bundle.pem", extra=[third.cert_file])
    held = {one.serial_number for one in x509.load_pem_x509_certificates(bundle.read_bytes())}
    assert held == {one.certificate.serial_number for one in (authority, other, third)}
    # Started from an environment that already names our own bundle, it falls back to the system's roots.
    monkeypatch.setattr(certs, "_DEFAULT_ROOTS", [str(third.cert_file)])
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    for _ in range(2):
        assert authority.write_bundle(bundle).read_bytes().count(b"BEGIN") == 2
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
    assert system_roots() != tmp_path / "missing"
