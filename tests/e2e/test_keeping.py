"""What a real gateway leaves: sealed, anchored, streamed, stored away; and found out when somebody changes it."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.running import POLICY
from wicketgate_gateway.cli import main

pytestmark = pytest.mark.slow


@pytest.fixture
def syslog() -> Iterator[Any]:
    """A syslog server that keeps what it gets."""
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    while data := connection.recv(65536):
                        got.append(data)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}", got
        server.shutdown(socket.SHUT_RDWR)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    capsys.readouterr()
    code = main.run(list(arguments))
    return code, capsys.readouterr().out


def test_a_gateways_life_is_kept(
    make_gateway: Callable[..., Any], tmp_path: Path, syslog: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    address, got = syslog
    gateway = make_gateway()
    gateway.stop("agent")
    gateway.stop("gateway")
    path = gateway.folder / "gateway.yaml"
    anchor = tmp_path / "anchor.ndjson"
    config = json.loads(path.read_text()) | {
        "audit": {"every": "100ms", "anchor": {"file": str(anchor)}, "syslog": {"address": address, "format": "ocsf"}},
        "recordings": {"url": (tmp_path / "objects").as_uri(), "keepLocal": False},
    }
    path.write_text(json.dumps(config))
    gateway.start_gateway()
    gateway.start_agent()
    gateway.wait_for_agent()
    assert gateway.psql("SELECT name FROM customers WHERE id = 1").stdout == "Ann\n"
    assert gateway.psql("SELECT * FROM secrets").returncode != 0

    # Each event reaches syslog, also those of the gateway before it streamed.
    gateway.wait(lambda: b"FROM secrets" in b"".join(got))
    session = gateway.operations()[-2].session
    # The recording goes to the object store, and is replayed from there.
    local = next(iter(gateway.state.glob(f"recordings/*/{session}")), None)
    gateway.wait(lambda: list((tmp_path / "objects").glob(f"*/{session}/*.wgr")), 30)
    gateway.wait(lambda: local is None or not local.exists(), 30)
    code, out = run(capsys, "replay", session, "--at-once", "--config", str(path))
    assert code == 0
    assert "Ann" in out
    assert "whole and matches the journal's digest" in out

    # A kill -9, and the gateway goes on: the seals show no breach.
    gateway.stop("gateway", signal.SIGKILL)
    gateway.start_gateway()
    gateway.stop("agent")
    gateway.start_agent()
    gateway.wait_for_agent()
    code, out = run(capsys, "audit", "verify", "--config", str(path), "--json")
    report = json.loads(out)
    assert report["findings"] == []
    assert code == 0
    gateway.stop("agent")
    gateway.stop("gateway")
    key = run(capsys, "audit", "key", "--config", str(path))[1].strip()
    code, out = run(capsys, "audit", "verify", "--config", str(path), "--key", key, "--json")
    report = json.loads(out)
    assert (code, report["findings"]) == (0, [])
    assert report["seals"]["anchored"] == report["seals"]["count"] > 2
    assert report["recordings"] == report["sessions"] >= 3
    # Sealed to its very end.
    assert not any("not sealed" in note for note in report["notes"])

    # The last statement is taken out of journal and seals, as well as can be done without the key's past.
    copy = tmp_path / "copy"
    shutil.copytree(gateway.state, copy)
    journal = max(copy.glob("journal/*.wgj"))
    with journal.open("r+b") as file:
        file.truncate(journal.stat().st_size // 2)
    seals = copy / "seals.ndjson"
    seals.write_bytes(b"".join(seals.read_bytes().splitlines(keepends=True)[:1]))
    code, out = run(capsys, "audit", "verify", "--state", str(copy), "--anchor", str(anchor), "--key", key, "--json")
    kinds = {found["kind"] for found in json.loads(out)["findings"]}
    assert code == main.INCOMPLETE
    assert {"cut", "rolled-back"} <= kinds


def test_requests_alone_are_recorded_where_the_policy_says_so(
    make_gateway: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = make_gateway(policies=[{**POLICY, "record": {"level": "requests"}}])
    assert "Ann" in gateway.psql("SELECT name FROM customers WHERE id = 1").stdout
    session = gateway.operations()[-1].session
    everything = gateway.recorded(session)
    assert b"SELECT name FROM customers" in everything
    assert b"Ann" not in everything
    code, told = run(capsys, "replay", session, "--state", str(gateway.state))
    assert code == 0
    assert "SELECT name FROM customers" in told
    assert "answers are not recorded" in told
