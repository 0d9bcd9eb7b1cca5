"""node-postgres, a driver outside Python with its own implementation of the protocol, through the gateway."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
NODE = Path(__file__).parent / "node"


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The driver's folder with its locked dependencies installed, outside the checkout."""
    if shutil.which("npm") is None:
        pytest.fail("there is no `npm` on PATH; install Node.js 18 or newer")
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", "driver.mjs"):
        shutil.copy(NODE / name, folder)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


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
        result = subprocess.run(
            ["node", "driver.mjs", scenario],
            cwd=driver,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return call


def test_simple_query(run: Any) -> None:
    result = run("simple")["result"]
    assert result["rows"] == [{"id": 1, "name": "Ann"}, {"id": 2, "name": "Bob"}]
    assert result["fields"] == ["id", "name"]


def test_a_named_prepared_statement_is_reused(run: Any) -> None:
    assert run("prepared")["result"]["rows"] == ["item 1", "item 2", "item 3"]


def test_a_denied_statement_aborts_its_transaction_as_any_error_does(run: Any) -> None:
    result = run("transaction")["result"]
    assert result["denied"]["code"] == "42501"
    assert result["aborted"]["code"] == "25P02"
    assert result["before"] == result["after"] == 3


def test_values_come_back_masked_in_text_and_binary(run: Any) -> None:
    result = run("masked")["result"]
    for protocol in ("simple", "extended", "binary"):
        row = result[protocol]
        assert row["email"] == "a***@example.com", protocol
        assert "4111" not in json.dumps(row)
        assert "ann@" not in json.dumps(row)


def test_a_denial_tells_why_and_leaves_the_session_usable(run: Any) -> None:
    result = run("denied")["result"]
    assert result["error"]["code"] == "42501"
    assert "public.customers" in result["error"]["message"]
    assert result["error"]["hint"]
    assert result["still"] == 1


def test_errors_keep_their_sqlstate(run: Any) -> None:
    result = run("syntax")["result"]
    assert result["error"]["code"] == "42601"
    assert result["missing"]["code"] == "42703"
    assert result["still"] == 1


def test_queued_statements_are_answered_in_order(run: Any) -> None:
    assert run("pipeline")["result"] == [1, "42501", 2]


def test_a_hundred_thousand_rows(run: Any) -> None:
    assert run("rows")["result"] == {"count": 100000, "last": 100000}


def test_a_bad_token_is_refused(run: Any, gateway: Any) -> None:
    refused = run("simple", token=gateway.cloud.mint(aud="00000000-0000-0000-0000-000000000000"))["refused"]
    assert refused["code"].startswith("28")
