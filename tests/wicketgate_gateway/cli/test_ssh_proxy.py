"""What the proxy makes of the gateway's answer, and of a client.yaml without SSH."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from wicketgate_gateway.cli.ssh_proxy import ask, authority
from wicketgate_gateway.contract.errors import WicketgateError

ID = "00000000-0000-4000-8000-000000000001"


class Answering:
    """A connection that answers in pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)
        self.sent = b""

    def sendall(self, data: bytes) -> None:
        self.sent += data

    def recv(self, size: int) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


def asked(*pieces: bytes) -> tuple[str, bytes]:
    return ask(cast("Any", Answering(*pieces)), b"x", "gate:1")


def test_ok_and_what_comes_behind_it() -> None:
    assert asked(b"o", b"k\nSSH-2.0-", b"more") == ("ok", b"SSH-2.0-")


@pytest.mark.parametrize(
    ("pieces", "code"),
    [
        ((b"no no-policy not for you\n",), "no-policy"),
        ((b"SSH-2.0-OpenSSH\r\n",), "gateway-broken"),
        ((b"ok",), "gateway-broken"),
        ((), "gateway-broken"),
        ((b"x" * 9000,), "gateway-broken"),
    ],
)
def test_anything_else_is_told(pieces: tuple[bytes, ...], code: str) -> None:
    with pytest.raises(WicketgateError) as told:
        asked(*pieces)
    assert told.value.code == code


def test_without_an_ssh_address(tmp_path: Path) -> None:
    path = tmp_path / "client.yaml"
    config = {
        "bot": "b", "entra": {"tenant": ID}, "audience": ID, "workload": {"clientId": ID, "tokenFile": "t"},
        "gateway": {"host": "g", "port": 1}, "targets": {},
    }  # fmt: skip
    path.write_text(json.dumps(config))
    with pytest.raises(WicketgateError) as told:
        authority(path)
    assert told.value.code == "ssh-off"
