"""Two real gateways keep their audit in one PostgreSQL; what each bot did is found from either, and each verifies."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wicketgate_gateway.cli import main

pytestmark = pytest.mark.slow
PASSWORD = "a password that stands nowhere else"


@pytest.fixture
def url(running_cloud: Any, tmp_path: Path) -> Path:
    """A file with the URL of an empty database."""
    postgres = running_cloud.postgres
    postgres.create_user("e2e_audit", PASSWORD)
    postgres.sql("DROP DATABASE IF EXISTS e2e_audit")
    postgres.create_database("e2e_audit", "e2e_audit")
    path = tmp_path / "audit-url"
    path.write_text(postgres.dsn("e2e_audit", PASSWORD, "e2e_audit") + "\n")
    return path


def keep_in(gateway: Any, url: Path, anchor: Path) -> Path:
    """Start a gateway again with this store; gives its configuration."""
    gateway.stop("agent")
    gateway.stop("gateway")
    path = gateway.folder / "gateway.yaml"
    audit = {"every": "100ms", "anchor": {"file": str(anchor)}, "store": {"urlFile": str(url)}}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"audit": audit}))
    gateway.start_gateway()
    gateway.start_agent()
    gateway.wait_for_agent()
    return path


def audit(capsys: pytest.CaptureFixture[str], config: Path, *arguments: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main.run([*arguments, "--json", "--config", str(config)]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def ingesters(state: Path) -> list[int]:
    """The ingester processes of this state folder."""
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"wicketgate_gateway.audit.ingest" in arguments and os.fsencode(state) in arguments:
            found.append(int(process.name))
    return found


def test_two_gateways_one_store(
    make_gateway: Callable[..., Any], url: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gateways = [make_gateway(), make_gateway()]
    configs = [keep_in(gateway, url, tmp_path / f"anchor-{n}") for n, gateway in enumerate(gateways)]

    for number, gateway in enumerate(gateways):
        for at in range(5):
            assert gateway.psql(f"SELECT 'wicket-{number}-{at}', name FROM customers WHERE id = 1").returncode == 0
        assert gateway.psql(f"SELECT 'forbidden-{number}' FROM secrets").returncode != 0

    # The gateways' own ingesters bring it there, without anybody asking.
    def rows(text: str) -> int:
        sql = (
            "SELECT count(*) FROM wicketgate_audit.events e JOIN wicketgate_audit.statements s ON s.id = e.statement"
            f" WHERE s.text LIKE '%{text}%'"
        )
        return int(gateways[0].cloud.postgres.sql(sql, "e2e_audit"))

    gateways[0].wait(lambda: rows("wicket-") == 10, 30)

    # One that is killed in the middle is started again, and goes on where it was.
    for pid in ingesters(gateways[1].state):
        os.kill(pid, signal.SIGKILL)
    assert gateways[1].psql("SELECT 'wicket-1-after'").returncode == 0
    gateways[0].wait(lambda: rows("wicket-1-after") == 1, 30)

    # Each command line finds both gateways' events: by text, verdict, bot, rule, time.
    for config in configs:
        found = audit(capsys, config, "audit", "--text", "WICKET-")
        assert len(found) == 11
        assert {event["verdict"] for event in found} == {"allow"}
        assert all(event["rows"] == 1 for event in found)
        denied = audit(capsys, config, "audit", "--text", "forbidden-", "--verdict", "deny", "--since", "1h")
        assert len(denied) == 2
        assert {event["bot"] for event in denied} == {"code-review"}
        by_rule = audit(capsys, config, "audit", "--rule", found[0]["rule"], "--text", "wicket-0-")
        assert len(by_rule) == 5
        sessions = audit(capsys, config, "sessions", "--since", "1h", "--limit", "100")
        assert {event["session"] for event in found} <= {session["session"] for session in sessions}
        # A session of one's own or of the other's, by the end of its id.
        assert audit(capsys, config, "audit", "--session", found[0]["session"][-10:])

    for gateway in gateways:
        assert gateway.stop("agent") == 0
        assert gateway.stop("gateway") == 0
    assert rows("wicket-") == 11

    # Each chain holds on its own.
    for number, config in enumerate(configs):
        assert main.run(["audit", "verify", "--config", str(config)]) == 0, capsys.readouterr()
        assert "wicket" not in capsys.readouterr().err
        # The password stands in the file alone.
        state = gateways[number].state
        assert json.loads((state / "audit-store.json").read_text()) == {"urlFile": str(url)}
        for path in [*state.rglob("*"), *gateways[number].folder.glob("*.log")]:
            if path.is_file():
                assert PASSWORD.encode() not in path.read_bytes(), path


def test_a_gateway_starts_and_records_while_the_store_is_away(
    make_gateway: Callable[..., Any], url: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = make_gateway()
    good = url.read_text()
    url.write_text(good.replace("/e2e_audit?", "/nowhere_audit?"))
    config = keep_in(gateway, url, tmp_path / "anchor")
    # The journal is what an operation waits for; the store catches up.
    assert gateway.psql("SELECT 'while it was away'").returncode == 0
    gateway.wait(lambda: "audit store" in gateway.log("gateway"), 20)
    assert main.run(["audit", "--config", str(config)]) != 0
    assert "audit store" in capsys.readouterr().err
    url.write_text(good)
    gateway.wait(lambda: "up to date again" in gateway.log("gateway"), 20)
    assert len(audit(capsys, config, "audit", "--text", "while it was away")) == 1
    assert PASSWORD not in gateway.log("gateway")
