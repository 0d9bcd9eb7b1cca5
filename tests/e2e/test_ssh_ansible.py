"""Ansible through the gateway: stock ansible-core, with and without pipelining, by the policy that the docs name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ssh import SshRunning, owned

pytestmark = pytest.mark.slow
GROUND = Path(f"/tmp/wicketgate-ssh-ansible-{os.getpid()}")  # another run beside this one has its own
PLAYBOOK = f"""
- hosts: all
  gather_facts: false
  tasks:
    - command: uname -s
      register: kernel
    - copy:
        content: "from {{{{ inventory_hostname }}}}, {{{{ kernel.stdout }}}}\\n"
        dest: {GROUND}/made
        mode: "0640"
    - slurp:
        src: {GROUND}/made
      register: back
    - assert:
        that: (back.content | b64decode) == "from web-1, Linux\\n"
"""


@pytest.fixture(scope="module")
def gateway(make_ssh_gateway: Callable[..., SshRunning]) -> Iterator[SshRunning]:
    """A gateway whose policy trusts the bot with the account, but for one folder."""
    shutil.rmtree(GROUND, ignore_errors=True)
    GROUND.mkdir()
    owned(GROUND)
    rules: list[Any] = [
        {"allow": {"ssh": {"commands": ["uname -a", "/bin/sh -c **"], "pty": True}}},
        {"allow": {"ssh": {"paths": ["~", f"{GROUND}/**"], "operations": ["read", "write", "remove"]}}},
    ]
    yield make_ssh_gateway(policies=[{"policy": "ansible", "targets": ["web-1"], "rules": rules}])
    shutil.rmtree(GROUND, ignore_errors=True)


@pytest.mark.parametrize("pipelining", [True, False])
def test_a_playbook(gateway: SshRunning, tmp_path: Path, pipelining: bool) -> None:
    (tmp_path / "play.yaml").write_text(PLAYBOOK)
    (tmp_path / "home").mkdir()
    inventory = {"all": {"hosts": {"web-1": {"ansible_python_interpreter": "/usr/bin/python3"}}}}
    (tmp_path / "hosts.json").write_text(json.dumps(inventory))
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", tmp_path / "hosts.json", tmp_path / "play.yaml"],
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(tmp_path / "home"),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_HOME": str(tmp_path / "home" / "ansible"),
            "ANSIBLE_PIPELINING": str(pipelining),
            "ANSIBLE_REMOTE_TEMP": f"{GROUND}/tmp",
            # One connection for each step: what serves several would stay when the test is over.
            "ANSIBLE_SSH_ARGS": f"-F {gateway.ssh_folder()}/config -o LogLevel=ERROR -o ControlMaster=no",
            "ANSIBLE_SSH_CONTROL_PATH": "none",
            "ANSIBLE_TIMEOUT": "60",
            "ANSIBLE_NOCOLOR": "1",
        },
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "failed=0" in done.stdout
    assert (GROUND / "made").read_text() == "from web-1, Linux\n"
    assert (GROUND / "made").stat().st_mode & 0o777 == 0o640
    operations = gateway.operations()
    assert any(operation.statement.startswith("/bin/sh -c") for operation in operations)
    if not pipelining:
        assert any(operation.statement.startswith(f"sftp write {GROUND}/tmp") for operation in operations)
    (GROUND / "made").unlink()
