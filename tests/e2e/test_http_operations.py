"""Rules by operation of an OpenAPI document, through a real gateway; and the same in tests of policies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.web import DESCRIBED, OPENAPI

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("/orders",), 200),
        (("/orders/7",), 200),
        (("-X", "DELETE", "/orders/7"), 403),
        (("-X", "DELETE", "/Orders/7"), 403),
        (("-X", "DELETE", "/orders/7/"), 403),
        (("-X", "DELETE", "/orders/%37"), 403),
        (("-X", "DELETE", "-H", "X-HTTP-Method-Override: GET", "/orders/7"), 403),
        (("-X", "POST", "/orders"), 403),
        (("/orders/",), 403),
    ],
)
def test_operations_decide(web: Any, arguments: tuple[str, ...], status: int) -> None:
    """A `deny` by operation beats the `allow` of its route, in whatever way the request is written."""
    before = len(web.upstream.seen)
    done = web.curl("-w", "\n%{http_code}", *arguments, target="described-api")
    assert int(done.stdout.rpartition(b"\n")[2]) == status, done.stdout
    assert len(web.upstream.seen) == before + (status == 200)
    if arguments[-1] == "/orders/7" and "DELETE" in arguments:
        assert json.loads(done.stdout.rpartition(b"\n")[0])["rule"] == "described#3"
        assert web.operations()[-1].relations == ["deleteOrder"]


def test_policy_test_and_simulate(tmp_path: Path) -> None:
    """`wicketgate policy test` and `simulate` with the document; without it they say what is missing."""
    (tmp_path / "described.yaml").write_text(yaml.safe_dump(DESCRIBED))
    (tmp_path / "api.yaml").write_text(OPENAPI)
    cases = "cases:\n  - allow: [GET /orders, GET /orders/7]\n  - {deny: [DELETE /orders/7], rule: 'described#3'}\n"

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "wicketgate_gateway.cli", "policy", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)

    test = tmp_path / "described.test.yaml"
    test.write_text("openapi: api.yaml\n" + cases)
    done = run("test", str(test))
    assert done.returncode == 0, done.stdout + done.stderr
    test.write_text(cases)
    done = run("test", str(test))
    assert done.returncode != 0
    assert "`described-api` has no OpenAPI document" in done.stdout + done.stderr
    asked = ("simulate", "DELETE /orders/7", "--target", "described-api", "--policy", "described.yaml", "--json")
    assert "no OpenAPI document" in run(*asked).stderr
    assert json.loads(run(*asked, "--openapi", "api.yaml").stdout)["rule"] == "described#3"
