"""The page of the stacks is current, and explains each setting that they have."""

import pytest

from tools import stacks


def test_it_is_current() -> None:
    assert stacks.TARGET.read_text("utf-8") == stacks.render(), "run `python -m tools.stacks`"


@pytest.mark.parametrize("file", sorted(stacks.STACKS.glob("Pulumi.*.yaml")), ids=lambda p: p.stem)
def test_each_stack_says_what_it_is_and_each_setting_is_explained(file) -> None:
    page = stacks.render()
    assert f"## {file.stem.removeprefix('Pulumi.')}\n\n" in page
    assert stacks._told(file), "the comment at its top says what it is"
    found = list(stacks.settings(file))
    assert found
    for path, _, text in found:
        assert text, f"{file.name}: {path} is not described"
