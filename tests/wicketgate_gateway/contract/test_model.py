from pathlib import Path

import pytest
from pydantic import Field, SecretStr, ValidationError

from wicketgate_gateway.contract import model, yaml
from wicketgate_gateway.contract.errors import DocumentError
from wicketgate_gateway.contract.model import Model, Strings


class Inner(Model):
    some_key: int
    tags: Strings = Field(default_factory=list)


class Outer(Model):
    name: str
    inner: Inner | None = None
    many: list[Inner] = Field(default_factory=list)
    by_name: dict[str, Inner] = Field(default_factory=dict)
    secret: SecretStr | None = None


def problems(text: str):
    with pytest.raises(DocumentError) as caught:
        model.validate(Outer, yaml.parse(text, "f.yaml"))
    return caught.value.problems


def test_files_say_camel_case_and_python_says_snake_case():
    found = model.validate(Outer, yaml.parse("name: x\nbyName: {a: {someKey: 1}}", "f.yaml"))
    assert found.by_name["a"].some_key == 1
    assert found.document() == {"name": "x", "byName": {"a": {"someKey": 1}}}


def test_one_string_is_a_list_of_one():
    assert Inner(some_key=1, tags="a").tags == ["a"]
    assert Inner(some_key=1, tags=["a", "b"]).tags == ["a", "b"]


def test_every_mistake_is_told_with_its_place_in_the_files_order():
    found = problems("nane: x\ninner: {someKey: '1'}\nmany:\n  - someKey: 1\n    tag: a\n")
    assert [str(p) for p in found] == [
        "f.yaml:1:1: `name`: missing; add it",
        "f.yaml:1:1: `nane`: unknown key; did you mean `name`?",
        "f.yaml:2:9: `inner.someKey`: input should be a valid integer; write a whole number",
        "f.yaml:5:5: `many.0.tag`: unknown key; did you mean `tags`?",
    ]


def test_an_unknown_key_far_from_all_lists_those_there_are():
    (found,) = problems("name: x\ninner: {someKey: 1, zzz: 2}")
    assert found.remedy == "known keys: `someKey`, `tags`"


def test_values_are_not_coerced():
    for text in ("name: 1", "name: true", "name: x\ninner: {someKey: 1.0}", "name: x\ninner: {someKey: yes}"):
        assert problems(text)


def test_no_value_is_ever_repeated():
    for text in ("name: [hunter2]", "name: x\nsecret: [hunter2]", "name: x\nbyName: hunter2", "hunter2: {}\nname: x"):
        said = "\n".join(f"{p.message} {p.remedy}" for p in problems(text))
        assert "hunter2" not in said
    with pytest.raises(ValidationError) as caught:
        Inner(some_key="hunter2")  # pyright: ignore[reportArgumentType]
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(Outer(name="x", secret=SecretStr("hunter2")))


def test_documents_are_frozen():
    with pytest.raises(ValidationError):
        Inner(some_key=1).some_key = 2  # pyright: ignore[reportAttributeAccessIssue]


def test_a_part_of_a_document_is_validated_in_its_place():
    document = yaml.parse("config:\n  inner:\n    someKey: x\n", "f.yaml")
    with pytest.raises(DocumentError) as caught:
        model.validate(Inner, document, ("config", "inner"))
    assert str(caught.value.problems[0].where) == "f.yaml:3:5"
    assert caught.value.problems[0].term == "config.inner.someKey"


@pytest.mark.parametrize(
    ("content", "says"), [(None, "no such file"), (b"\xff\xfe", "not UTF-8"), (b"", "mapping"), (b"[]", "mapping")]
)
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None, says: str):
    path = tmp_path / "f.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DocumentError) as caught:
        model.read(Outer, path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
