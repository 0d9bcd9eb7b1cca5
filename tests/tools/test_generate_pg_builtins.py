"""The generator of the table of built-ins, against a real server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wicketgate.testing.postgres import PostgresServer

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "gateway_image/wicketgate_gateway/wire/postgres/sql/builtins.txt"


def test_writes_the_committed_table_or_that_of_an_older_server(postgres: PostgresServer) -> None:
    command = [sys.executable, str(ROOT / "tools/generate_pg_builtins.py"), postgres.admin_dsn]
    made = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    committed = COMMITTED.read_text("utf-8").splitlines()
    assert made[0].startswith("# PostgreSQL ")
    assert {line[:2] for line in made[1:]} == {"i ", "s ", "v ", "o ", "r "}
    ours, theirs = ({line.split()[-1] for line in lines[1:] if line[0] in "isv"} for lines in (committed, made))
    if made[0].split()[2].split(".")[0] == committed[0].split()[2].split(".")[0]:
        assert ours == theirs
    else:  # few functions ever go
        assert len(theirs - ours) < 60
        assert "pg_read_file" in theirs & ours
