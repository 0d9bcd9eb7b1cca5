import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.contract import yaml
from wicketgate_gateway.contract.errors import DocumentError


def load(text: str):
    return yaml.parse(text, "f.yaml").data


def problem(text: str):
    with pytest.raises(DocumentError) as caught:
        yaml.parse(text, "f.yaml")
    return caught.value.problems[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("012", 12),
        ("0o14", 12),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("2027-06-30", "2027-06-30"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("[a, 1]", ["a", 1]),
        ("a: {b: c}", {"a": {"b": "c"}}),
        ("a:", {"a": None}),
        ("|\n x\n y\n", "x\ny\n"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object):
    loaded = load(text)
    assert loaded == value
    assert type(loaded) is type(value)


@pytest.mark.parametrize(
    ("text", "says", "line", "column"),
    [
        ("a: 1\nb: 2\na: 3", "`a` stands twice (first in line 1)", 3, 1),
        ("a: &x 1\nb: *x", "`&x` is a YAML anchor", 1, 4),
        ("relations: [*]", "`*` begins a YAML alias", 1, 13),
        ("relations: [*.orders]", "alias", 1, 13),
        ("a: *b", "`*b` is a YAML alias", 1, 4),
        ("a: !!python/object:os.system x", "tag", 1, 4),
        ("a: !secret x", "tag", 1, 4),
        ("a: !x 'y'", "tag", 1, 4),
        ("<<: {a: 1}", "merge keys", 1, 1),
        ("? [a]\n: b", "a key must be plain text", 1, 3),
        ("a: [1", "not YAML", None, None),
        ("a: 1\n---\nb: 2", "not YAML", None, None),
        ("a: \x07", "not YAML", None, None),
    ],
)
def test_what_lets_reviewer_and_machine_read_two_documents_is_refused(text, says, line, column):
    found = problem(text)
    assert says in found.message
    assert found.where is not None
    assert found.where.path == "f.yaml"
    if line is not None:
        assert (found.where.line, found.where.column) == (line, column)


@pytest.mark.parametrize(
    "text", ["!!set {a, b}", "a: !!map {b: c}", "!!seq [a]", "a: !x [b]", "a: !!int '5'", "!!str 5"]
)
def test_tags_are_refused_on_collections_too(text: str):
    assert "tag" in problem(text).message


def test_a_bomb_of_aliases_is_refused_before_it_grows():
    lines = ["a0: &a0 x"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    assert "anchor" in problem("\n".join(lines)).message


def test_depth_and_size_are_bounded():
    assert "nested deeper" in problem("[" * 100 + "]" * 100).message
    assert "over" in problem("x" * (yaml.MAX_BYTES + 1)).message
    with pytest.raises(DocumentError):
        yaml.parse("[" * 100_000, "f.yaml")


def test_every_value_has_its_place():
    document = yaml.parse("a:\n  - b: 1\n    c: [x,\n      y]\n", "f.yaml")
    assert str(document.where(("a",))) == "f.yaml:1:1"
    assert str(document.where(("a", 0, "c", 1))) == "f.yaml:4:7"
    assert str(document.where(("a", 0, "missing"))) == "f.yaml:2:5"
    assert str(document.where(("missing",))) == "f.yaml:1:1"


def test_a_number_of_too_many_digits_is_told():
    assert "too long" in problem("a: " + "9" * 5000).message


def test_an_empty_file_is_nothing():
    assert load("") is None
    assert load("# only a comment\n") is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text("abcä {}[]:,*&!'\"\\#-\n1.0~", max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc:*&!- ", max_size=4), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_json_reads_as_itself(value):
    # A rendered bundle is JSON.
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if "<<" not in text:
        assert load(text) == value
