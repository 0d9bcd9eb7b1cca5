"""Edits change what they are asked to, and leave every other byte as it is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wicketgate import editing
from wicketgate.editing import EditError, insert, remove
from wicketgate_gateway.contract import yaml
from wicketgate_gateway.contract.errors import DocumentError

FILE = """\
# What this stack is for.
config:
  wicketgate:gateway: {host: gate.example.com}  # the gateway

  # Bots, one block each.
  wicketgate:bots:
    # reviews pull requests
    review:
      owner: group:platform
      groups: [reviewers]   # read only
      expires: 2027-06-30
      credentials:
        - github: {repository: acme/shop, branch: main}

    # writes the nightly report
    nightly:
      owner: group:platform
      note: |
        two lines
        of text

# the end
"""


def test_an_entry_is_added_behind_the_last_one() -> None:
    bot = {
        "owner": "person:ann@example.com",
        "groups": ["reviewers", "on"],
        "expires": "2027-01-31",
        "credentials": [{"github": {"repository": "acme/x", "branch": "main"}}],
    }
    new = insert(FILE, ("config", "wicketgate:bots"), "fix", bot, "f")
    assert new == FILE.replace(
        "        of text\n",
        """        of text
    fix:
      owner: "person:ann@example.com"
      groups: [reviewers, on]
      expires: "2027-01-31"
      credentials:
        - github: {repository: acme/x, branch: main}
""",
    )


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("a:\n  x: 1\n", "a:\n  x: 1\n  k: {v: 1}\n"),
        ("a:\n  x: 1", "a:\n  x: 1\n  k: {v: 1}\n"),
        ("a: {x: 1}\n", "a: {x: 1, k: {v: 1}}\n"),
        ("a: {}  # none\nb: 2\n", "a:  # none\n  k: {v: 1}\nb: 2\n"),
        ("a:  # none\nb: 2\n", "a:  # none\n  k: {v: 1}\nb: 2\n"),
        ("a:\n", "a:\n  k: {v: 1}\n"),
        ("b: 2\n# end\n", "b: 2\na:\n  k: {v: 1}\n# end\n"),
        ("", "a:\n  k: {v: 1}\n"),
        ("{b: 2}\n", "{b: 2, a: {k: {v: 1}}}\n"),
        ("{a: , b: 2}\n", "{a: {k: {v: 1}} , b: 2}\n"),
        ("a:\n    deep: {y: 1}   # c\n\n# tail\nb: 1\n", "a:\n    deep: {y: 1}   # c\n    k: {v: 1}\n\n# tail\nb: 1\n"),
        ('a: {"ü": "é"}  # ö\nb: 1\n', 'a: {"ü": "é", k: {v: 1}}  # ö\nb: 1\n'),
    ],
)
def test_where_an_entry_goes(text: str, new: str) -> None:
    result = insert(text, ("a",), "k", {"v": 1}, "f")
    assert yaml.parse(result, "f").data == yaml.parse(new, "f").data
    assert result.replace("  k:\n    v: 1\n", "  k: {v: 1}\n") == new


def test_an_entry_that_is_there_is_refused_with_its_place() -> None:
    with pytest.raises(EditError, match=r"f:8:5: `review` is there already"):
        insert(FILE, ("config", "wicketgate:bots"), "review", {}, "f")


@pytest.mark.parametrize("text", ["a: 1\n", "a: [1]\n", "a:\n- 1\n", "- a\n"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises((EditError, DocumentError)):
        insert(text, ("a",), "k", 1, "f")


def test_an_entry_goes_with_its_own_comment() -> None:
    new = remove(FILE, ("config", "wicketgate:bots", "nightly"), "f")
    assert new == FILE.replace(
        """    # writes the nightly report
    nightly:
      owner: group:platform
      note: |
        two lines
        of text
""",
        "",
    )


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("a:\n  k: 1\n  l: 2\n", "a:\n  l: 2\n"),
        ("a:\n  l: 2\n  k: 1\nb: 1\n", "a:\n  l: 2\nb: 1\n"),
        ("a:\n  k: 1\nb: 1\n", "a: {}\nb: 1\n"),
        ("a:  # c\n  k: 1\n# d\nb: 1\n", "a: {}  # c\n# d\nb: 1\n"),
        ("a: {k: 1, l: 2}\n", "a: {l: 2}\n"),
        ("a: {l: 2, k: 1}\n", "a: {l: 2}\n"),
        ("a: {k: 1}\n", "a: {}\n"),
        ("a:\n  k:\n  l: 1\n", "a:\n  l: 1\n"),
    ],
)
def test_what_a_removal_leaves(text: str, new: str) -> None:
    assert remove(text, ("a", "k"), "f") == new


def test_what_is_not_there_cannot_be_removed() -> None:
    with pytest.raises(EditError, match=r"there is no `a\.k`"):
        remove("a: {}\n", ("a", "k"), "f")
    with pytest.raises(EditError, match=r"there is no `a\.k`"):
        remove("b: {}\n", ("a", "k"), "f")


KEYS = st.one_of(
    st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True), st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**6), 10**6), st.text(st.characters(codec="utf-8"), max_size=12)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)


@given(st.dictionaries(KEYS, VALUES, max_size=4), KEYS, VALUES)
def test_adding_and_removing_gives_back_the_data(start: dict[str, Any], key: str, value: Any) -> None:
    if key in start or "<<" in (key, *start) or "<<" in str((start, value)):
        return
    text = editing.insert("", ("top",), "first", start, "f") if start else "top: {}\n"
    before = yaml.parse(text, "f").data
    added = insert(text, ("top",), key + "x", value, "f") if key + "x" not in before["top"] else text
    if added != text:
        assert yaml.parse(added, "f").data["top"][key + "x"] == value
        assert yaml.parse(remove(added, ("top", key + "x"), "f"), "f").data == before
