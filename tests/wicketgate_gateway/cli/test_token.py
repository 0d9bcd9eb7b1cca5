import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from wicketgate_gateway.cli.token import token
from wicketgate_gateway.contract.errors import WicketgateError


@pytest.fixture
def config(cloud: Any, tmp_path: Path) -> Path:
    path = tmp_path / "client.yaml"
    document = {
        "bot": "code-review",
        "entra": cloud.document(),
        "audience": cloud.audience,
        "workload": cloud.workload("bot"),
        "gateway": {"host": "localhost", "port": 5432},
        "targets": {"orders-db": "postgres"},
    }
    path.write_text(yaml.safe_dump(document))
    return path


def test_one_line_and_nothing_else(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    token(config=config)
    output = capsys.readouterr()
    assert output.err == ""
    assert output.out.count("\n") == 1
    assert output.out.strip().count(".") == 2


def test_json(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    token(config=config, json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["token"].count(".") == 2
    assert found["expires_at"] > time.time()


def test_the_file_that_the_environment_names(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WICKETGATE_CONFIG", str(config))
    token()
    assert capsys.readouterr().out.count(".") == 2


def test_nothing_is_written_to_disk(config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    token(config=config)
    assert list((tmp_path / "home").rglob("*")) == []
    assert sorted(path.name for path in config.parent.iterdir()) == ["client.yaml", "home"]


def test_failure_prints_no_token(config: Path, cloud: Any, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.entra.set_quirks(throttle_login_next=99)
    with pytest.raises(WicketgateError):
        token(config=config)
    assert capsys.readouterr().out == ""
