"""One bot at work: a token by its federated credential, then plain psql through the gateway."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.quickstart.layout import BOT, TARGET, Layout
from wicketgate.testing.postgres import Binaries
from wicketgate_gateway.contract.errors import WicketgateError

_MARK = "--wicketgate-step--"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that the bot tries."""

    title: str
    statement: str


STEPS = (
    Step("reads orders", "SELECT item, count(*), sum(amount) FROM orders GROUP BY item ORDER BY 2 DESC, 1 LIMIT 3"),
    Step("reads customers", "SELECT name, email, card_number FROM customers ORDER BY id LIMIT 3"),
    Step("reads keys", "SELECT service, api_key FROM api_keys ORDER BY id"),
    Step("deletes orders", "DELETE FROM orders WHERE status = 'returned'"),
    Step(
        "hides a DELETE in a SELECT",
        "WITH gone AS (DELETE FROM orders RETURNING *) SELECT count(*) FROM gone",
    ),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What psql printed for one step."""

    step: Step
    output: str
    error: str


def cli() -> list[str]:
    """The `wicketgate` command of this environment."""
    beside = Path(sys.executable).with_name("wicketgate")
    return [str(beside)] if beside.exists() else [sys.executable, "-m", "wicketgate_gateway.cli"]


def token_command(layout: Layout) -> list[str]:
    """Prints the bot's Entra token for the gateway."""
    return [*cli(), "token", "--config", str(layout.client)]


def psql_command(layout: Layout) -> list[str]:
    """Plain psql; the token goes in by `PGPASSWORD`, never as an argument."""
    program = shutil.which("psql") or str(Binaries.find().folder / "psql")
    return [
        program,
        (
            f"host=127.0.0.1 port={layout.ports['gateway']} dbname={TARGET} user={BOT} "
            f"sslmode=verify-full sslrootcert={layout.ca}"
        ),
    ]


def token(layout: Layout) -> str:
    """The bot's token; raises WicketgateError with the command's own words."""
    result = subprocess.run(token_command(layout), capture_output=True, text=True, check=False)
    if result.returncode:
        raise WicketgateError(f"the bot got no token: {result.stderr.strip()}", remedy="look at the logs of `entra`")
    return result.stdout.strip()


def work(layout: Layout, secret: str) -> list[Answer]:
    """Run all steps in one session; raises WicketgateError if the log-in itself fails."""
    script = "\\pset pager off\n" + "".join(f"{s.statement};\n\\echo {_MARK}\n\\warn {_MARK}\n" for s in STEPS)
    result = subprocess.run(
        [*psql_command(layout), "-X", "-q", "-v", "VERBOSITY=default"],
        input=script,
        env={**os.environ, "PGPASSWORD": secret, "PGCONNECT_TIMEOUT": "20"},
        capture_output=True,
        text=True,
        check=False,
    )
    outputs, errors = result.stdout.split(f"{_MARK}\n"), result.stderr.split(f"{_MARK}\n")
    if len(outputs) <= len(STEPS):
        raise WicketgateError(f"psql did not get through: {result.stderr.strip()}", remedy="look at the gateway's log")
    return [Answer(s, o.strip("\n"), e.strip("\n")) for s, o, e in zip(STEPS, outputs, errors, strict=False)]


def last_session(layout: Layout) -> dict[str, Any]:
    """The newest session, as `wicketgate sessions --json` tells it."""
    command = [*cli(), "sessions", "--config", str(layout.rendered / "gateway.yaml"), "--limit", "1", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = result.stdout.strip().splitlines()
    if result.returncode or not lines:
        raise WicketgateError(f"no session was found: {result.stderr.strip()}", remedy="look at the gateway's log")
    return json.loads(lines[0])
