"""A stack file is found, and never left worse than it was."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from wicketgate.commands.stack_file import open_stack, problems
from wicketgate_gateway.contract.errors import DocumentError, WicketgateError


def test_the_only_stack_is_found_from_a_folder_below(stack: Path) -> None:
    assert open_stack(None, None).path == stack
    assert open_stack("dev", None).path == stack
    assert set(open_stack(None, stack).section("bots")) == {"review"}
    assert open_stack(None, None).section("approvers") == {}


def test_which_stack_must_be_said_where_there_are_two(stack: Path) -> None:
    stack.with_name("Pulumi.prod.yaml").write_text(stack.read_text())
    with pytest.raises(WicketgateError, match="there are `dev`, `prod`; say --stack NAME"):
        open_stack(None, None)


def test_what_is_not_there_is_said(stack: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(WicketgateError, match=r"no stack file `.*Pulumi\.prod\.yaml`"):
        open_stack("prod", None)
    empty = tmp_path / "elsewhere"
    empty.mkdir()
    (tmp_path / "Pulumi.yaml").unlink()
    monkeypatch.chdir(empty)
    with pytest.raises(WicketgateError, match=r"no `Pulumi\.yaml`"):
        open_stack(None, None)


def test_a_change_that_brings_a_mistake_is_not_written(stack: Path) -> None:
    before = stack.read_bytes()
    with pytest.raises(DocumentError, match="expires"):
        open_stack(None, None).change(lambda text, _: text.replace("2027-06-30", "soon"))
    assert stack.read_bytes() == before
    assert list(stack.parent.glob(".*")) == []


def test_old_mistakes_do_not_stand_in_the_way(stack: Path) -> None:
    stack.write_text(stack.read_text().replace("agent: eu", "agent: us"))
    assert [p.message for p in problems(stack.read_text(), stack)] == ["there is no agent `us`"]
    stack.chmod(0o640)
    changed = open_stack(None, None).change(lambda text, _: text.replace("2027-06-30", "2028-06-30"))
    assert stack.read_text() == changed.text
    assert "2028-06-30" in changed.text
    assert stat.S_IMODE(stack.stat().st_mode) == 0o640


def test_what_comes_from_the_environment_is_no_mistake(stack: Path) -> None:
    assert problems(stack.read_text(), stack) == []
    text = stack.read_text().replace("folder: out", "folder: ${OUT}").replace("[readers]", "[nobody]")
    assert [p.message for p in problems(text, stack)] == ["there is no group `nobody`"]
