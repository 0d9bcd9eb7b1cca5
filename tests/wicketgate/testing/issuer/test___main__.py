"""`python -m wicketgate.testing.issuer`."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from wicketgate.testing.certs import client_context


@pytest.fixture
def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def test_the_process(tmp_path: Path, environment: dict[str, str]) -> None:
    state, token = tmp_path / "i", tmp_path / "bot" / "token"
    config = {
        "workflows": [{"name": "ci", "subject": "repo:a/b:ref:refs/heads/main"}],
        "projected": [{"subject": "s", "audience": "a", "path": str(token)}],
    }
    (tmp_path / "issuer.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "wicketgate.testing.issuer", "--state", str(state)]
    process = subprocess.Popen([*command, "--config", str(tmp_path / "issuer.json")], env=environment)
    try:
        described = state / "issuer.json"
        end = time.monotonic() + 20
        while not described.exists():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        found = json.loads(described.read_text())
        assert found["pid"] == process.pid
        request_token = (Path(found["requests"]) / "ci.token").read_text()
        answer = httpx2.get(
            f"{found['token_request_url']}&audience=a",
            headers={"Authorization": f"bearer {request_token}"},
            verify=client_context(Path(found["ca_file"]), system=False),
            trust_env=False,
        )
        assert answer.json()["value"].count(".") == 2
        assert token.exists()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert not described.exists()
    assert not token.exists()


def test_a_wrong_configuration_ends_with_a_message(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "c.json").write_text('{"workflows": 5}')
    command = [sys.executable, "-m", "wicketgate.testing.issuer", "--state", str(tmp_path / "i")]
    done = subprocess.run(
        [*command, "--config", str(tmp_path / "c.json")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "configuration is wrong" in done.stderr
    assert "Traceback" not in done.stderr
