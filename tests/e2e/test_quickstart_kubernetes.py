"""`./quickstart --with kubernetes`: the other bot's story, with a real cluster and a node."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.quickstart.cluster import KEY
from tools.quickstart.layout import ROOT

pytestmark = [pytest.mark.alone, pytest.mark.build, pytest.mark.slow, pytest.mark.root, pytest.mark.timeout(900)]


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, with a home of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tools.quickstart", "--with", "kubernetes", *arguments],
        cwd=ROOT,
        env={**os.environ, "WICKETGATE_QUICKSTART_HOME": str(home), "COLUMNS": "120", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The plain quickstart's home: this one's is beside it."""
    made = tmp_path_factory.mktemp("quickstart") / "home"
    yield made
    if made.with_name("home-kubernetes").exists():
        run(made, "--reset")


def test_the_story(home: Path) -> None:
    """Allowed, asked and approved, masked, refused by a pattern; on record, and replayed."""
    result = run(home)
    assert result.returncode == 0, result.stdout + result.stderr
    story = result.stdout
    assert not home.exists(), "the plain quickstart is another one"
    assert "✓ demo cluster" in story
    assert "containerd and kubelet" in story
    assert "allowed kubectl exec web-1 -- ls /etc/app" in story
    held = story.partition("held    kubectl exec web-1 -- cat /etc/app/settings")[2].partition("denied")[0]
    assert "container main: docker.io/library/busybox:test" in held
    assert "wicketgate approvals approve hold-" in held
    assert "colour = green" in held
    assert "payments_key = •••" in held
    assert KEY not in story
    refused = story.partition("denied  kubectl exec web-1 -- rm -rf /data")[2]
    assert "nothing in production is deleted by a bot" in refused.partition("denied")[0]
    hidden = story.partition("denied  kubectl exec web-1 -- sh -c 'ls /data; rm -rf /data'")[2]
    assert "nothing in production is deleted by a bot" in hidden.partition("held")[0]
    scaled = story.partition("held    kubectl scale deployment web --replicas=3")[2].partition("denied")[0]
    assert '-    "replicas": 1' in scaled
    assert '+    "replicas": 3' in scaled
    assert "deployment.apps/web scaled" in scaled


def test_it_can_be_replayed_and_is_on_record(home: Path) -> None:
    """By the commands that the story names; in no recording stands what was masked."""
    folder = home.with_name("home-kubernetes")
    cli = [sys.executable, "-m", "wicketgate_gateway.cli"]
    config = ["--config", str(folder / "deployment" / "gateway.yaml")]
    listed = subprocess.run(
        [*cli, "sessions", "--bot", "oncall-helper", "--json", *config], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    replays = [
        subprocess.run(
            [*cli, "replay", json.loads(line)["session"], "--at-once", *config],
            capture_output=True, text=True, check=True,
        ).stdout
        for line in listed
    ]  # fmt: skip
    assert any("create pods/exec web-1 in shop: cat /etc/app/settings" in text and "•••" in text for text in replays)
    assert not any(KEY in text for text in replays)
    denied = subprocess.run(
        [*cli, "audit", "--bot", "oncall-helper", "--verdict", "deny", "--json", *config],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "rm -rf /data" in denied


def test_stop_and_reset(home: Path) -> None:
    """Nothing of it is left."""
    result = run(home, "--stop")
    assert "cluster" in result.stdout
    folder = home.with_name("home-kubernetes")
    assert folder.exists()
    assert run(home, "--reset").returncode == 0
    assert not folder.exists()
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(folder) not in left
