"""When credentials end, by their files."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from wicketgate.testing.certs import CertificateAuthority
from wicketgate_gateway.agent.expiry import expiries, expiry
from wicketgate_gateway.contract.gateway import HttpTarget, PostgresTarget


def token(payload: object) -> str:
    middle = base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=").decode()
    return f"eyJhbGciOiJub25lIn0.{middle}.c2ln\n"


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        (token({"exp": 1_900_000_000}), 1_900_000_000),
        (token({"exp": 1_900_000_000.5}), 1_900_000_000),
        (token({"exp": "soon"}), None),
        (token({"exp": True}), None),
        (token({"exp": -1}), None),
        (token({"exp": 1e300}), None),
        (token([1]), None),
        ("opaque", None),
        ("a.b.c", None),
        ("", None),
    ],
)
def test_tokens(tmp_path: Path, text: str, ends: int | None) -> None:
    (tmp_path / "token").write_text(text)
    assert expiry(tmp_path) == ends


def test_certificates(tmp_path: Path) -> None:
    leaf = CertificateAuthority.open(tmp_path / "ca").issue_files(tmp_path / "leaf", "a", ["localhost"])
    folder = tmp_path / "credential"
    folder.mkdir()
    (folder / "tls.crt").write_bytes(Path(leaf.cert_file).read_bytes())
    from cryptography import x509

    ends = int(x509.load_pem_x509_certificate((folder / "tls.crt").read_bytes()).not_valid_after_utc.timestamp())
    assert expiry(folder) == ends
    (folder / "token").write_text(token({"exp": 5}))
    assert expiry(folder) == 5
    (folder / "tls.crt").write_text("no certificate")
    (folder / "token").unlink()
    assert expiry(folder) is None


def test_targets_that_say_nothing_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(token({"exp": 7}))
    credential = str(tmp_path)
    targets = {
        "api": HttpTarget(kind="http", address="https://x.example", auth="bearer", credential=credential),  # pyright: ignore[reportArgumentType] - a word of the enumeration
        "open": HttpTarget(kind="http", address="https://x.example"),
        "db": PostgresTarget(kind="postgres", address="x:1", database="d", credential=str(tmp_path / "nothing")),
    }
    assert expiries(targets) == {"api": 7}
