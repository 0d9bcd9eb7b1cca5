"""A new stack file is one that the stack takes, with comments, and nothing is overwritten."""

from pathlib import Path

import pytest

from wicketgate.commands.init import KINDS
from wicketgate.commands.stack_file import guessed, problems
from wicketgate_gateway.cli.main import run

SAID = ["--host", "gate.example.com", "--issuer", "https://issuer.example.com/a"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_stack_takes_it(stack: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init", "new", "--kind", kind, *SAID]) == 0
    file = stack.parent / "Pulumi.new.yaml"
    text = file.read_text()
    assert problems(text, file) == []
    assert guessed(text, file).gateway.deploy.kind == kind
    assert text.count("#") > 8
    assert "pulumi preview --stack new" in capsys.readouterr().out
    assert run(["init", "new", "--kind", kind, *SAID]) == 1
    assert "is there already" in capsys.readouterr().err
    assert file.read_text() == text
    add = ["bot", "add", "review", "--owner", "group:x", "--group", "readers", "--expires", "2027-01-01"]
    assert run([*add, "--credential", "github: {repository: acme/shop, branch: main}", "--stack", "new"]) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["init", "new", *SAID], "`--kind` is not said"),
        (["init", "new", "--kind", "cloud", *SAID], "there is no kind `cloud`"),
        (["init", "../x", "--kind", "local", *SAID], "is no stack's name"),
        (["init", "new", "--kind", "local", *SAID, "--agent", "Not A Name"], "not a name"),
        (["init", "new", "--kind", "local", *SAID, "--tenant", "x: {y"], "tenant"),
    ],
)
def test_what_is_wrong_is_written_nowhere(
    stack: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 1
    assert said in capsys.readouterr().err
    assert [p.name for p in stack.parent.glob("Pulumi.*.yaml")] == [stack.name]
