"""`python -m tools.stacks`: writes `stacks/README.md`, a section a stack file: what it is, and each setting explained.

The words are the settings' own descriptions (the schema of stack files), so that they are true wherever they stand; a
test says when the file is stale.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from tools import schema
from wicketgate_gateway.contract import model

STACKS = Path(__file__).resolve().parents[1] / "stacks"
TARGET = STACKS / "README.md"
_HEAD = """\
# Stacks

One file a stack, `Pulumi.NAME.yaml`; `pulumi up --stack NAME` applies it. `wicketgate init` writes a new one, and
[the reference](../docs/reference.md) has every setting. This page is written by `python -m tools.stacks`.
"""
_LONGEST = 60


def render() -> str:
    """The page."""
    parts = [_HEAD]
    for file in sorted(STACKS.glob("Pulumi.*.yaml")):
        parts += ["", f"## {file.stem.removeprefix('Pulumi.')}", "", *_told(file), ""]
        parts += ["| setting | here | what it is |", "|---|---|---|"]
        parts += [f"| `{path}` | {_shown(value)} | {text} |" for path, value, text in settings(file)]
    return "\n".join(parts) + "\n"


def settings(file: Path) -> Iterator[tuple[str, Any, str]]:
    """Each setting that a stack file has: its path below `wicketgate:`, its value, its description."""
    whole: dict[str, Any] = json.loads(schema.render_stack())
    top: dict[str, Any] = whole["properties"]["config"]["properties"]
    data: dict[str, Any] = model.load(file).data["config"]
    for key, value in data.items():
        if key in top:
            yield from _walk(key.removeprefix("wicketgate:"), value, top[key], whole["$defs"])


def _walk(path: str, value: Any, field: dict[str, Any], definitions: dict[str, Any]) -> Iterator[tuple[str, Any, str]]:
    shapes = _shapes(field, definitions)
    if isinstance(value, dict):
        inner = cast("dict[str, Any]", value)
        # Of several kinds, the one that the value says that it is.
        shapes = [
            s for s in shapes if s.get("properties", {}).get("kind", {}).get("const") in (None, inner.get("kind"))
        ]
        properties: dict[str, Any] = next(
            (s["properties"] for s in shapes if set(inner) <= set(s.get("properties", ()))), {}
        )
        if properties:
            for key, one in inner.items():
                yield from _walk(f"{path}.{key}", one, properties[key], definitions)
            return
        each = next(
            (s["additionalProperties"] for s in shapes if isinstance(s.get("additionalProperties"), dict)), None
        )
        if each is not None and all(isinstance(one, dict) for one in inner.values()):
            for name, one in inner.items():
                yield from _walk(f"{path}.{name}", one, each, definitions)
            return
    yield path, value, _description(field, shapes)


def _kind(shape: dict[str, Any]) -> str | None:
    return shape.get("properties", {}).get("kind", {}).get("const")


def _shapes(field: dict[str, Any], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    here = definitions.get(field.get("$ref", "").rpartition("/")[2], field)
    inner = [shape for key in ("anyOf", "oneOf", "allOf") for shape in here.get(key, [])]
    return [here, *(found for shape in inner for found in _shapes(shape, definitions))]


def _description(field: dict[str, Any], shapes: list[dict[str, Any]]) -> str:
    told = field.get("description") or next((s["description"] for s in shapes if s.get("description")), "")
    return " ".join(str(told).split()).replace("|", "\\|")


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list) else str(value)
    text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return f"`{text}`".replace("|", "\\|")


def _told(file: Path) -> list[str]:
    # The comment at the top of the file.
    lines: list[str] = []
    for line in file.read_text("utf-8").splitlines():
        if not line.startswith("#"):
            break
        if "yaml-language-server" in line:
            continue
        lines.append(line.lstrip("#").strip())
    return lines


def main() -> None:
    """Write it, or with `--check` say whether what is there is current."""
    if sys.argv[1:] == ["--check"]:
        current = TARGET.is_file() and TARGET.read_text("utf-8") == render()
        sys.exit(None if current else f"stale: {TARGET.name}")
    TARGET.write_text(render(), "utf-8")


if __name__ == "__main__":
    main()
