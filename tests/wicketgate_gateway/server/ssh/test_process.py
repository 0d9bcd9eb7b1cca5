"""The process begins with what it inherits, and ends with its input."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wicketgate.testing.certs import CertificateAuthority

ID = "00000000-0000-4000-8000-000000000001"


@pytest.mark.slow
def test_it_serves_and_ends_with_its_input(tmp_path: Path) -> None:
    leaf = CertificateAuthority.open(tmp_path / "ca").issue_files(tmp_path, "server", ["localhost"])
    config = {
        "name": "gate", "entra": {"tenant": ID}, "audience": ID, "workload": {"clientId": ID, "tokenFile": "x"},
        "agents": {}, "listen": {"postgres": {"port": 0}, "agents": {"port": 0}, "ssh": {"port": 0}},
        "tls": {"certificateFile": str(leaf.cert_file), "keyFile": str(leaf.key_file)},
        "state": str(tmp_path), "policies": "x", "targets": {},
    }  # fmt: skip
    listening = socket.create_server(("127.0.0.1", 0))
    ours, theirs = socket.socketpair()
    files = [theirs.fileno(), listening.fileno()]
    process = subprocess.Popen(
        [sys.executable, "-m", "wicketgate_gateway.server.ssh", "--config", "-"]
        + [word for file in files for word in ("--socket", str(file))],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=files,
        env=dict(os.environ),
    )
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(config).encode() + b"\n")
        process.stdin.flush()
        theirs.close()
        with socket.create_connection(listening.getsockname(), 30) as sock:
            sock.sendall(b"SSH-2.0-x\r\n")
            assert sock.recv(100).startswith(b"SSH-2.0-Wicketgate")
        begun = time.monotonic()
        process.stdin.close()
        assert process.wait(20) == 0
        assert time.monotonic() - begun < 15
    finally:
        process.kill()
        process.wait(10)
        ours.close()
        listening.close()
