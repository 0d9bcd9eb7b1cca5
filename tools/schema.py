"""`python -m tools.schema`: writes the schemas of policy files, stack files and components; a test says what is stale.

Editors complete and check policy files by it. `wicketgate policy check` remains the judge: conditions and patterns are
beyond a schema.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

from wicketgate.config import StackConfig
from wicketgate_gateway.contract.policy import Policy

TARGET = Path(__file__).resolve().parents[1] / "policies" / "schema" / "policy.schema.json"
STACK_TARGET = Path(__file__).resolve().parents[1] / "stacks" / "schema" / "stack.schema.json"
PLUGIN = Path(__file__).resolve().parents[1] / "components" / "__main__.py"
PLUGIN_TARGET = PLUGIN.with_name("schema.json")
_CLASS = "#/$defs/StatementClass"


def render() -> str:
    """The schema (JSON Schema 2020-12), keys sorted."""
    schema: dict[str, Any] = Policy.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Wicketgate policy"
    for definition in (schema, *schema.get("$defs", {}).values()):
        for name, field in definition.get("properties", {}).items():
            definition["properties"][name] = _as_files_say(name, field)
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def render_stack() -> str:
    """The schema of stack files: `wicketgate:` settings, and whatever else Pulumi and other programs write there.

    Any plain value may also be `${NAME}`, an environment variable.
    """
    inner: dict[str, Any] = StackConfig.model_json_schema(by_alias=True)
    definitions: dict[str, Any] = inner.pop("$defs", {})
    for definition in (inner, *definitions.values()):
        for name, field in definition.get("properties", {}).items():
            definition["properties"][name] = _or_variable(_as_files_say(name, field))
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Wicketgate stack",
        "description": "`stacks/Pulumi.NAME.yaml`.",
        "type": "object",
        "required": ["config"],
        "properties": {
            "config": {
                "type": "object",
                "properties": {f"wicketgate:{name}": field for name, field in inner["properties"].items()},
                "required": [f"wicketgate:{name}" for name in inner.get("required", [])],
                # A misspelt setting of ours is a mistake; others' are not ours to judge.
                "propertyNames": {"not": {"pattern": "^wicketgate:", "not": {"enum": _keys(inner)}}},
            }
        },
        "$defs": {**definitions, "Variable": {"type": "string", "pattern": r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$"}},
    }
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def render_plugin() -> str:
    """The components' schema as Pulumi infers it: what programs in other languages are generated from."""
    from pulumi.provider.experimental.component import ComponentProvider

    spec = importlib.util.spec_from_file_location("wicketgate_plugin", PLUGIN)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(PLUGIN)
    plugin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plugin)
    inferred = ComponentProvider(plugin.COMPONENTS, plugin.NAME, None, plugin.VERSION).schema
    return json.dumps(_tidied(json.loads(inferred or "")), indent=2, ensure_ascii=False) + "\n"


def _tidied(value: Any) -> Any:
    # Docstrings come with the indentation of their source.
    if isinstance(value, dict):
        return {key: _tidied(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_tidied(inner) for inner in value]
    return "\n".join(line.strip() for line in value.splitlines()) if isinstance(value, str) else value


def _keys(inner: dict[str, Any]) -> list[str]:
    return sorted(f"wicketgate:{name}" for name in inner["properties"])


def _or_variable(field: dict[str, Any]) -> dict[str, Any]:
    told = {key: value for key, value in field.items() if key in ("description", "title", "default")}
    shape = {key: value for key, value in field.items() if key not in told}
    if shape.get("type") in ("array", "object"):
        return field
    shapes = shape["anyOf"] if set(shape) == {"anyOf"} else [shape]
    return {**told, "anyOf": [*shapes, {"$ref": "#/$defs/Variable"}]}


def _as_files_say(name: str, field: dict[str, Any]) -> dict[str, Any]:
    # What is unset is None in the model, but a file leaves it out. Lists of texts may be one text. `with: null` is
    # YAML's way to say no value.
    text = {key: value for key, value in field.items() if key in ("description", "title", "default")}
    shapes = field.get("anyOf") or [{key: value for key, value in field.items() if key not in text}]
    shapes = [shape for shape in shapes if shape != {"type": "null"}]
    if name != "targets":
        shapes += [shape["items"] for shape in shapes if _lists_texts(shape)]
    if name == "with":
        shapes.append({"type": "null"})
    if text.get("default", 0) is None:
        del text["default"]
    return {**text, "anyOf": shapes} if len(shapes) > 1 else {**text, **shapes[0]}


def _lists_texts(shape: dict[str, Any]) -> bool:
    items = shape.get("items", {})
    return shape.get("type") == "array" and (items.get("type") == "string" or items.get("$ref") == _CLASS)


def main() -> None:
    """Write it, or with `--check` say whether what is there is current."""
    made = {TARGET: render(), STACK_TARGET: render_stack(), PLUGIN_TARGET: render_plugin()}
    if sys.argv[1:] == ["--check"]:
        stale = [p.name for p, text in made.items() if not p.is_file() or p.read_text("utf-8") != text]
        sys.exit(f"stale: {', '.join(stale)}" if stale else None)
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
