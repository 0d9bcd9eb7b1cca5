"""The process's own faults: each is said in one line, with exit status 2. (That it runs, tests/e2e shows.)"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from wicketgate.testing.certs import CertificateAuthority
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import ServerTls
from wicketgate_gateway.server.main import server_context

UUID = "11111111-1111-4111-8111-111111111111"


def config(folder: Path, **changes: object) -> str:
    leaf = CertificateAuthority.open(folder / "ca").issue_files(folder, "server", ["localhost"])
    document = {
        "name": "gate",
        "entra": {"tenant": UUID},
        "audience": UUID,
        "workload": {"clientId": UUID, "tokenFile": str(folder / "token")},
        "agents": {},
        "listen": {"postgres": {"port": 0}, "agents": {"port": 0}},
        "tls": {"certificateFile": str(leaf.cert_file), "keyFile": str(leaf.key_file)},
        "state": str(folder / "state"),
        "policies": str(folder / "policies.json"),
        "targets": {},
        **changes,
    }
    path = folder / "gateway.yaml"
    path.write_text(json.dumps(document))
    return str(path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"audience": "x"}, "gateway.yaml"),
        ({}, "policies.json"),
        ({"state": "/proc/nowhere"}, "/proc/nowhere"),
    ],
)
def test_what_cannot_run(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    command = [sys.executable, "-m", "wicketgate_gateway.server", "--config", config(tmp_path, **changes)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    last = json.loads(result.stderr.strip().splitlines()[-1])
    assert last["event"] == "gateway cannot run"
    assert said in last["reason"]


def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("no")
    with pytest.raises(WicketgateError, match="cannot be used"):
        server_context(ServerTls(certificate_file=str(tmp_path / "x.pem"), key_file=str(tmp_path / "x.pem")))
