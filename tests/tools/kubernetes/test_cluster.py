"""What of a cluster can be told without starting one."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tools.kubernetes.cluster import ADMIN, Cluster, free_ports
from tools.kubernetes.provide import Binaries


def test_a_kubeconfig_is_for_its_owner_alone(tmp_path: Path) -> None:
    """It holds the user's token and nobody else's."""
    nowhere = Path("/nowhere")
    made = Cluster(tmp_path, Binaries(nowhere, nowhere, nowhere, nowhere), 1234, {ADMIN: "one", "other": "two"})
    path = made.kubeconfig()
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["users"] == [{"name": "u", "user": {"token": "one"}}]
    assert "https://localhost:1234" in path.read_text()


def test_free_ports_differ() -> None:
    """Each can be listened on."""
    ports = free_ports(20)
    assert len(set(ports)) == 20


def test_children_end_with_their_parent(tmp_path: Path) -> None:
    """However the parent ends."""
    code = (
        "import os, signal, subprocess, sys; from tools.kubernetes.cluster import die_with_parent\n"
        "p = subprocess.Popen(['sleep', '600'], preexec_fn=die_with_parent); print(p.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=30,
                          cwd=Path(__file__).parents[3], check=False)  # fmt: skip
    child = Path(f"/proc/{int(done.stdout)}/stat")
    for _ in range(200):
        if not child.exists() or child.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            break
        subprocess.run(["sleep", "0.02"], check=True)
    else:
        os.kill(int(done.stdout), 9)
        raise AssertionError("the child is still there")
