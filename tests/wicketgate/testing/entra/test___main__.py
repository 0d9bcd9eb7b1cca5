"""`python -m wicketgate.testing.entra`."""

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

COMMAND = [sys.executable, "-m", "wicketgate.testing.entra"]


@pytest.fixture
def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def test_it_says_when_it_answers_and_ends_on_sigterm(tmp_path: Path, environment: dict[str, str]) -> None:
    state = tmp_path / "state"
    (tmp_path / "seed.json").write_text(json.dumps({"groups": [{"displayName": "g"}]}))
    tenant = "11111111-2222-4333-8444-555555555555"
    arguments = ["--state", str(state), "--port", "0", "--tenant", tenant, "--seed", str(tmp_path / "seed.json")]
    arguments += ["--quirk", "retry_after=9", "--quirk", "groups_claim=overage"]
    process = subprocess.Popen([*COMMAND, *arguments], env=environment)
    described = state / "emulator.json"
    try:
        end = time.monotonic() + 20
        while not described.exists():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        found = json.loads(described.read_text())
        assert set(found) >= {
            "url",
            "graph",
            "authority",
            "tenant",
            "metadata_host",
            "ca_file",
            "admin_key_file",
            "pid",
        }
        assert (found["pid"], found["tenant"]) == (process.pid, tenant)
        context = client_context(Path(found["ca_file"]), system=False)
        key = Path(found["admin_key_file"]).read_text()
        answer = httpx2.get(
            f"{found['url']}/_emulator/state",
            headers={"Authorization": f"Bearer {key}"},
            verify=context,
            trust_env=False,
        )
        quirks = httpx2.get(
            f"{found['url']}/_emulator/quirks",
            headers={"Authorization": f"Bearer {key}"},
            verify=context,
            trust_env=False,
        ).json()
        assert (quirks["retry_after"], quirks["groups_claim"]) == (9, "overage")
        second = subprocess.run([*COMMAND, *arguments], env=environment, capture_output=True, text=True, check=False)
        assert (second.returncode, "in use by another process" in second.stderr) == (1, True)
        assert described.exists()
        assert [one["name"] for one in answer.json()["group"]] == ["g"]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert not described.exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--tenant", "contoso"], "cannot start"),
        (["--trust", "/nonexistent/ca.pem"], "cannot start"),
        (["--seed", "/nonexistent/seed.json"], "cannot start"),
        (["--quirk", "retry_after"], "is not NAME=VALUE"),
        (["--quirk", "speling=1"], "no quirk `speling`"),
    ],
)
def test_it_says_why_it_cannot_start(
    tmp_path: Path, environment: dict[str, str], arguments: list[str], text: str
) -> None:
    command = [*COMMAND, "--state", str(tmp_path), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert text in done.stderr
    assert "Traceback" not in done.stderr
