"""pgx, a driver in Go: it prepares by itself, takes binary results, pipelines batches and copies in binary."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tools.engine.golang import environ, find

pytestmark = [pytest.mark.slow, pytest.mark.build]
SOURCE = Path(__file__).parent / "go"


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The driver, built from its locked modules."""
    program = tmp_path_factory.mktemp("pgx") / "driver"
    go = find(print)
    environment = {**environ(go), "CGO_ENABLED": "0"}
    result = subprocess.run(
        [str(go), "build", "-o", str(program), "."], cwd=SOURCE, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return program


@pytest.fixture
def run(driver: Path, gateway: Any) -> Any:
    """`run(scenario)`: what the driver got; `token` replaces the bot's good one."""

    def call(scenario: str, token: str | None = None) -> dict[str, Any]:
        environment = {
            **os.environ,
            "PGHOST": "localhost",
            "PGPORT": str(gateway.ports["postgres"]),
            "PGDATABASE": "orders-db",
            "PGUSER": "bot",
            "PGPASSWORD": gateway.cloud.bot_token() if token is None else token,
            "PGSSLROOTCERT": str(gateway.ca_file),
        }
        result = subprocess.run([str(driver), scenario], env=environment, capture_output=True, text=True, timeout=60)
        assert result.returncode == 0, result.stderr
        answer = json.loads(result.stdout)
        assert answer.get("error") is None, answer
        return answer

    return call


def test_prepared_statements(run: Any) -> None:
    assert run("prepared")["result"] == ["item 1", "item 2", "item 3"]


def test_values_come_back_masked_in_each_protocol(run: Any) -> None:
    for row in run("masked")["result"]:
        assert (row["email"], row["card"], row["balance"]) == ("a***@example.com", "•••", None)


def test_a_denial_leaves_the_session_usable(run: Any) -> None:
    result = run("denied")["result"]
    assert (result["error"]["code"], result["still"]) == ("42501", 1)
    assert result["error"]["hint"]


def test_a_denied_statement_aborts_its_transaction(run: Any) -> None:
    result = run("transaction")["result"]
    assert (result["denied"]["code"], result["aborted"]["code"], result["after"]) == ("42501", "25P02", 3)


def test_a_batch_of_a_hundred(run: Any) -> None:
    assert run("batch")["result"] == 5050


def test_copy_in_binary(run: Any) -> None:
    assert run("copy")["result"] == {"count": 5000, "stored": 5000}


def test_a_deadline_cancels(run: Any) -> None:
    assert run("cancel")["result"] == {"error": True, "quick": True}


def test_a_bad_token_is_refused(run: Any, gateway: Any) -> None:
    refused = run("prepared", token=gateway.cloud.mint(aud="00000000-0000-0000-0000-000000000000"))["refused"]
    assert refused["code"].startswith("28")
