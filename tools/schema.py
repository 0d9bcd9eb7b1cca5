"""`python -m tools.schema`: writes policies/schema/policy.schema.json from the model; a test says when it is stale.

Editors complete and check policy files by it. `wicketgate policy check` remains the judge: conditions and patterns are
beyond a schema.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from wicketgate_gateway.contract.policy import Policy

TARGET = Path(__file__).resolve().parents[1] / "policies" / "schema" / "policy.schema.json"
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
    if sys.argv[1:] == ["--check"]:
        sys.exit(None if TARGET.is_file() and TARGET.read_text("utf-8") == render() else f"stale: {TARGET.name}")
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(render(), "utf-8")


if __name__ == "__main__":
    main()
