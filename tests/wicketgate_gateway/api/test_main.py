"""The process: what it needs, what it says, and how it ends."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml


def run(config: str, given: str = "") -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "wicketgate_gateway.api", "--config", config],
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, json.loads(done.stderr.splitlines()[-1])


@pytest.mark.parametrize("given", ["", "{}", "[]", "not json"])
def test_a_configuration_on_standard_input_that_is_none(given: str) -> None:
    code, line = run("-", given + "\n")
    assert (code, line["code"]) == (2, "config-invalid")


def test_without_an_address_there_is_no_api(desk: Any, tmp_path: Path) -> None:
    document = desk.config.document()
    del document["listen"]["api"], document["people"]
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump(document))
    code, line = run(str(file))
    assert (code, line["code"]) == (2, "api-off")


def test_an_address_that_is_taken(desk: Any, tmp_path: Path) -> None:
    document = desk.config.document()
    document["listen"]["api"] = {"host": "127.0.0.1", "port": desk.port}
    document["state"] = str(tmp_path)
    code, line = run("-", json.dumps(document) + "\n")
    assert (code, line["code"]) == (2, "address-unusable")


def test_ends_with_its_input(desk: Any, tmp_path: Path) -> None:
    document = {**desk.config.document(), "state": str(tmp_path)}
    code, line = run("-", json.dumps(document) + "\n")
    assert (code, line["event"]) == (0, "api stopped")
    assert not (tmp_path / "api.json").exists()
