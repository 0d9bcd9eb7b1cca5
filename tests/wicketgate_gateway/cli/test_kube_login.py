"""`wicketgate kube login`: the kubeconfig; `kube token`: what clients ask for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from wicketgate_gateway.cli import client, kube_login
from wicketgate_gateway.cli.main import run
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.identity.exchange import AccessToken

UUID = "10000000-0000-4000-8000-00000000000"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A bot's client.yaml."""
    document: dict[str, Any] = {
        "bot": "code-review",
        "entra": {"tenant": f"{UUID}1"},
        "audience": f"{UUID}2",
        "workload": {"clientId": f"{UUID}3", "tokenFile": "token"},
        "gateway": {"host": "gate.example.com", "port": 5432},
        "kubernetes": {"host": "gate.example.com", "port": 6443, "caFile": "ca.pem"},
        "targets": {"prod": "kubernetes", "orders-db": "postgres", "dev": "kubernetes"},
    }
    path = tmp_path / "client.yaml"
    path.write_text(json.dumps(document))
    return path


def test_the_kubeconfig(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A cluster and a context for each target; a plugin and no token; readable for its owner alone."""
    where = tmp_path / "kube" / "config"
    kube_login.login(config=config, kubeconfig=where, target="prod", namespace="shop", json=True)
    assert json.loads(capsys.readouterr().out) == {
        "kubeconfig": str(where), "contexts": ["dev", "prod"], "current": "prod",
    }  # fmt: skip
    assert where.stat().st_mode & 0o777 == 0o600
    made = json.loads(where.read_text())
    assert made["clusters"][1] == {
        "name": "prod",
        "cluster": {
            "server": "https://gate.example.com:6443/t/prod",
            "certificate-authority": str(tmp_path / "ca.pem"),
        },
    }
    assert made["contexts"][1]["context"] == {"cluster": "prod", "user": "code-review", "namespace": "shop"}
    plugin = made["users"][0]["user"]["exec"]
    assert plugin["apiVersion"] == "client.authentication.k8s.io/v1"
    assert plugin["args"][-4:] == ["kube", "token", "--config", str(config)]
    kube_login.login(config=config, kubeconfig=where)
    assert json.loads(where.read_text())["current-context"] == "dev"


def test_another_kubeconfig_is_not_touched(config: Path, tmp_path: Path) -> None:
    """It may hold what cannot be made again."""
    where = tmp_path / "config"
    where.write_text("apiVersion: v1\nkind: Config\n")
    with pytest.raises(WicketgateError, match="another kubeconfig"):
        kube_login.login(config=config, kubeconfig=where)
    assert where.read_text() == "apiVersion: v1\nkind: Config\n"


def test_mistakes(config: Path, tmp_path: Path) -> None:
    """A target that is none; a bot without a cluster."""
    with pytest.raises(WicketgateError, match="is none of"):
        kube_login.login(config=config, kubeconfig=tmp_path / "x", target="orders-db")
    document = json.loads(config.read_text())
    del document["kubernetes"]
    config.write_text(json.dumps(document))
    with pytest.raises(WicketgateError, match="no Kubernetes target"):
        kube_login.login(config=config, kubeconfig=tmp_path / "x")


def test_the_reason_goes_behind_the_token(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line; what approvers could not read is told to the bot, and no token is given."""
    monkeypatch.setattr(client, "fetch_token", lambda _: AccessToken("a.b.c", 1_800_000_120.0))
    monkeypatch.setenv("WICKETGATE_REASON", " ticket 4711:\n disk full ")
    assert run(["kube", "token", "--config", str(config)]) == 0
    token = json.loads(capsys.readouterr().out)["status"]["token"]
    assert token == "a.b.c~dGlja2V0IDQ3MTE6IGRpc2sgZnVsbA"
    for bad in ("x" * 1001, "a\u202eb", "a\x00b"):
        monkeypatch.setattr(kube_login.os, "environ", {"WICKETGATE_REASON": bad})
        assert run(["kube", "token", "--config", str(config)]) == 1
        told = capsys.readouterr()
        assert "the reason" in told.err
        assert told.out == ""


def test_the_credential(config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As `client.authentication.k8s.io/v1` has it; by the quick way and by the long one."""
    monkeypatch.setattr(client, "fetch_token", lambda _: AccessToken("a.b.c", 1_800_000_120.0))
    monkeypatch.delenv("WICKETGATE_REASON", raising=False)
    for arguments in (["kube", "token", "--config", str(config)], ["kube", "token", f"--config={config}"]):
        assert run(arguments) == 0
        credential = json.loads(capsys.readouterr().out)
        assert credential == {
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": {"token": "a.b.c", "expirationTimestamp": "2027-01-15T08:00:00Z"},
        }
