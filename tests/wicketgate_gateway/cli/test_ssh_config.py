"""Host blocks: what stands in them, and that odd paths do no harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wicketgate_gateway.cli.ssh_config import command, host_block
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import ClientConfig

ID = "00000000-0000-4000-8000-000000000001"


def client(**more: Any) -> ClientConfig:
    return ClientConfig.model_validate(
        {
            "bot": "b",
            "entra": {"tenant": ID},
            "audience": ID,
            "workload": {"clientId": ID, "tokenFile": "t"},
            "gateway": {"host": "gate.example.com", "port": 5432},
            "ssh": {"host": "gate.example.com", "port": 2222},
            "targets": {"web-1": "ssh"},
            **more,
        },
        strict=False,
    )


def test_a_block() -> None:
    block = host_block("web-1", client(), Path("/home/b/.ssh/wicketgate"), "proxy web-1", sharing=True)
    lines = [line.strip() for line in block.splitlines()]
    assert lines[0] == "Host web-1"
    for line in (
        "HostName gate.example.com",
        "Port 2222",
        "ProxyCommand proxy web-1",
        "StrictHostKeyChecking yes",
        "PubkeyAuthentication no",
        "ForwardAgent no",
        "ControlPath /home/b/.ssh/wicketgate/cm-%C",
    ):
        assert line in lines
    assert "ControlMaster" not in host_block("web-1", client(), Path("/x"), "p", sharing=False)


def test_odd_paths() -> None:
    assert "'/a b/%%h/c.yaml'" in command(Path("/a b/%h/c.yaml"), "web-1")
    block = host_block("web-1", client(), Path("/a b"), "p", sharing=True)
    assert 'UserKnownHostsFile "/a b/known_hosts"' in block
    with pytest.raises(WicketgateError):
        host_block("web-1", client(), Path('/a"b'), "p", sharing=True)
