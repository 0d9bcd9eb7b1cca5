"""The health check says what is wrong, and imports nothing that takes long."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wicketgate_gateway import health


def test_a_gateway_is_healthy_while_its_ports_answer(tmp_path: Path) -> None:
    assert health.gateway(str(tmp_path)) == "it has not started, or it ended"
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = {"agents": one.getsockname()[1], "postgres": two.getsockname()[1], "pid": os.getpid()}
        (tmp_path / "ports.json").write_text(json.dumps(ports))
        assert health.gateway(str(tmp_path)) is None
        # Nobody was called: the gateway would put that on record.
        one.settimeout(0.05)
        with pytest.raises(TimeoutError):
            one.accept()
    assert health.gateway(str(tmp_path)) == "it does not listen on its port for agents"


def test_a_gateway_whose_process_is_gone_is_not_healthy(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    (tmp_path / "ports.json").write_text(json.dumps({"agents": 1, "postgres": 1, "pid": child.pid}))
    assert health.gateway(str(tmp_path)) == "it has not started, or it ended"


def test_an_agent_is_healthy_while_its_file_is_young(tmp_path: Path) -> None:
    file = tmp_path / "agent.ready"
    assert health.agent(str(file)) == "no tunnel is up"
    file.touch()
    assert health.agent(str(file)) is None
    old = time.time() - health.OLD_SECONDS - 1
    os.utime(file, (old, old))
    assert health.agent(str(file)) == "it stopped saying that a tunnel is up"


def test_the_command_imports_the_standard_library_alone(tmp_path: Path) -> None:
    code = (
        "import sys, runpy; sys.argv = ['health', 'agent', sys.argv[1]]\n"
        "try: runpy.run_module('wicketgate_gateway.health', run_name='__main__')\n"
        "except SystemExit as end: print(end.code, sorted(m for m in sys.modules if m.split('.')[0] in "
        "('pydantic', 'yaml', 'structlog', 'asyncio')))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "none")], capture_output=True, text=True)
    assert done.stdout.strip() == "1 []"
    assert done.stderr.strip() == "agent: no tunnel is up"
    assert health.main(["agent"]) == 2
