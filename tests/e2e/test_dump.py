"""pg_restore and pg_dump through the gateway: what comes back is what a direct dump gives, byte for byte."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
POLICY: dict[str, Any] = {
    "policy": "dump",
    "targets": ["orders-db"],
    "rules": [
        {
            "allow": {
                "sql": {
                    "statements": ["read", "write", "ddl", "grant", "session", "maintenance"],
                    "relations": ["*.*"],
                }
            }
        },
        {"allow": {"sql": {"statements": ["write", "ddl", "grant", "maintenance", "session", "procedural"]}}},
        {"allow": {"sql": {"functions": ["*", "*.*"]}}},
    ],
}
# pg_dump asks for `row_security = off` otherwise, which the gateway pins.
PG_DUMP = ["pg_dump", "--enable-row-security", "--no-blobs"]


def dump(dsn: str, password: str | None = None) -> list[str]:
    """A plain dump, without the key that each one makes up for psql."""
    env = {"PATH": os.environ["PATH"], **({"PGPASSWORD": password} if password else {})}
    result = subprocess.run([*PG_DUMP, "-d", dsn], capture_output=True, text=True, timeout=200, env=env)
    assert result.returncode == 0, result.stderr
    return [line for line in result.stdout.splitlines() if not re.match(r"\\(un)?restrict ", line)]


@pytest.fixture(scope="module")
def restored(make_gateway: Callable[..., Any]) -> Any:
    """A gateway before an empty database."""
    running = make_gateway(policies=[POLICY])
    postgres = running.cloud.postgres
    for name in ("dump_source", "dump_restored"):
        postgres.create_database(name, "e2e_owner")
    postgres.sql("SET ROLE e2e_owner;" + (Path(__file__).parent / "dump.sql").read_text(), "dump_source")
    running.stop("agent")
    config = json.loads((running.folder / "agent.yaml").read_text())
    config["targets"]["orders-db"]["database"] = "dump_restored"
    (running.folder / "agent.yaml").write_text(json.dumps(config))
    running._start("agent", "wicketgate_gateway.agent", "agent.yaml")
    running.wait_for_agent()
    return running


def test_a_schema_of_all_kinds_goes_in_and_comes_out_unchanged(restored: Any, tmp_path: Path) -> None:
    cloud = restored.cloud
    owner = (cloud.credential / "password").read_text()
    direct = {name: cloud.postgres.dsn("e2e_owner", owner, name) for name in ("dump_source", "dump_restored")}
    archive = tmp_path / "source.dump"
    subprocess.run([*PG_DUMP, "-Fc", "-f", archive, "-d", direct["dump_source"]], check=True, timeout=100)
    restore = subprocess.run(
        ["pg_restore", "--exit-on-error", "--enable-row-security", "-d", restored.dsn(password=False), archive],
        capture_output=True, text=True, timeout=200,
        env={"PATH": os.environ["PATH"], "PGPASSWORD": cloud.bot_token()},
    )  # fmt: skip
    assert restore.returncode == 0, restore.stderr
    source, copied = dump(direct["dump_source"]), dump(direct["dump_restored"])
    assert len(source) > 20_000
    assert copied == source
    through = dump(restored.dsn(password=False), cloud.bot_token())
    assert through == copied
    operations = [e for e in restored.operations() if e.statement.startswith("COPY shop.many ")]
    assert len(operations) == 2  # in and out
    assert {e.effect for e in restored.operations()} == {"allow"}
