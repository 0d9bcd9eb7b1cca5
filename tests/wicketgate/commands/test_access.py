"""A state of a stack is read from a folder or a git revision."""

import subprocess
from pathlib import Path

import pytest

from wicketgate.commands.access import read
from wicketgate_gateway.cli.main import run
from wicketgate_gateway.contract.errors import WicketgateError

POLICY = (
    "policy: orders-readonly\ntargets: [orders]\nrules:\n  - allow: {sql: {statements: read, relations: [public.*]}}\n"
)


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.com")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def project(stack: Path) -> Path:
    root = stack.parent.parent
    folder = root / "policies" / "access"
    folder.mkdir(parents=True)
    (folder / "orders-readonly.yaml").write_text(POLICY)
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "first")
    return root


def test_a_revision_and_the_folder(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert read("HEAD").render() == read(".").render()
    assert run(["access", "diff", "HEAD"]) == 0
    policy = project / "policies" / "access" / "orders-readonly.yaml"
    policy.write_text(POLICY.replace("public.*", "'*.*'"))
    capsys.readouterr()
    assert run(["access", "diff", "HEAD", "--stack", "dev"]) == 1
    assert "review at orders: gained" in capsys.readouterr().out
    assert read("HEAD").policies[0].rules[0].match.sql is not None


@pytest.mark.parametrize("source", ["nowhere", "--help", "HEAD~7"])
def test_what_git_does_not_know(project: Path, source: str) -> None:
    with pytest.raises(WicketgateError, match="git knows nothing of it"):
        read(source)
