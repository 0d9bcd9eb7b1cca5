"""The schema for editors is current and says what files may say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools import schema

DATA = json.loads(schema.render())
DEFINITIONS = DATA["$defs"]


def test_it_is_current():
    assert schema.TARGET.read_text("utf-8") == schema.render(), "run `python -m tools.schema`"


def test_the_check_says_when_it_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "tools.schema", "--check"]
    assert subprocess.run(command, cwd=root, check=False).returncode == 0
    stack = f"s.STACK_TARGET = pathlib.Path({str(tmp_path / 'y')!r})"
    stale = f"import tools.schema as s, pathlib; s.TARGET = pathlib.Path({str(tmp_path / 'x')!r}); {stack}; s.main()"
    assert subprocess.run([sys.executable, "-c", stale], cwd=root, check=True).returncode == 0
    assert (tmp_path / "x").read_text("utf-8") == schema.render()


def test_the_stack_schema_is_current():
    assert schema.STACK_TARGET.read_text("utf-8") == schema.render_stack(), "run `python -m tools.schema`"


def test_stack_files_are_as_the_stack_schema_says():
    import jsonschema

    from wicketgate_gateway.contract import model

    judge = jsonschema.Draft202012Validator(json.loads(schema.render_stack()))
    root = Path(__file__).resolve().parents[2]
    files = sorted((root / "stacks").glob("Pulumi.*.yaml"))
    assert files
    for file in files:
        data = model.load(file).data
        assert [e.message for e in judge.iter_errors(data)] == [], file
        data["config"]["wicketgate:bot"] = {}
        assert not judge.is_valid(data), "a misspelt setting"
        del data["config"]["wicketgate:bot"]
        data["config"]["wicketgate:gateway"]["hots"] = "x"
        assert not judge.is_valid(data), "a misspelt key"


def test_every_key_is_described_and_no_other_is_let_in():
    for name, definition in {"Policy": DATA, **DEFINITIONS}.items():
        if definition["type"] == "object":
            assert definition["additionalProperties"] is False, name
            for key, field in definition["properties"].items():
                referred = DEFINITIONS.get(field.get("$ref", "").rpartition("/")[2], {})
                assert field.get("description") or referred.get("description"), f"{name}.{key}"


def test_one_text_may_stand_for_a_list_where_the_model_takes_it():
    terms = DEFINITIONS["SqlTerms"]["properties"]
    for name in ("relations", "columns", "functions"):
        assert {"type": "string"} in terms[name]["anyOf"]
    assert {"$ref": "#/$defs/StatementClass"} in terms["statements"]["anyOf"]
    assert {"type": "string"} not in DATA["properties"]["targets"]["anyOf"]


def test_no_term_may_be_left_blank_but_the_mask_method_null():
    for definition in (DATA, *DEFINITIONS.values()):
        for key, field in definition.get("properties", {}).items():
            assert ({"type": "null"} in field.get("anyOf", [])) is (key == "with")


def test_the_components_schema_is_current():
    assert schema.PLUGIN_TARGET.read_text("utf-8") == schema.render_plugin(), "run `python -m tools.schema`"


def test_every_input_and_output_of_the_components_is_described():
    components = json.loads(schema.render_plugin())
    assert len(components["resources"]) == 5
    for name, resource in components["resources"].items():
        assert resource["description"], name
        for kind in ("inputProperties", "properties"):
            for key, field in resource[kind].items():
                assert field.get("description"), f"{name}.{key}"
    for name, definition in components["types"].items():
        assert definition["description"], name
        for key, field in definition.get("properties", {}).items():
            assert field.get("description"), f"{name}.{key}"
        for value in definition.get("enum", []):
            assert value["value"]
