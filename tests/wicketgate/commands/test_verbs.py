"""The toolkit's verbs are commands of `wicketgate`, and each is there."""

from __future__ import annotations

import importlib
import inspect

import pytest

from wicketgate.commands.verbs import GROUPS
from wicketgate_gateway.cli.main import make_app, run


@pytest.mark.parametrize("where", [where for _, verbs in GROUPS.values() for where, _ in verbs.values()])
def test_each_verb_is_a_documented_function(where: str) -> None:
    module, _, name = where.partition(":")
    function = getattr(importlib.import_module(module), name)
    assert function.__doc__
    for parameter in inspect.signature(function).parameters:
        assert f"    {parameter}\n" in function.__doc__


def test_the_command_line_finds_them() -> None:
    app = make_app()
    for group, (_, verbs) in GROUPS.items():
        assert set(verbs) - {""} <= set(app[group])


def test_help_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bot", "--help"]) == 0
    assert "Onboard a bot" in capsys.readouterr().out
