"""`python -m tools.reference`: writes docs/reference.md from the models themselves; a test says when it is stale."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from wicketgate import config as stack
from wicketgate_gateway.contract import gateway, policy
from wicketgate_gateway.contract.model import Model

TARGET = Path(__file__).resolve().parents[1] / "docs" / "reference.md"

DOCUMENTS: tuple[tuple[str, str, type[BaseModel]], ...] = (
    (
        "Stack settings",
        "Under `config:` of `stacks/Pulumi.NAME.yaml`, each with the prefix `wicketgate:`.",
        stack.StackConfig,
    ),
    ("Policy files", "`policies/access/NAME.yaml`.", policy.Policy),
    ("gateway.yaml", "Rendered by the stack; read by the gateway.", gateway.GatewayConfig),
    ("agent.yaml", "Rendered by the stack; read by the agent.", gateway.AgentConfig),
    (
        "client.yaml",
        "Rendered by the stack; read by `wicketgate token` and `connect` on a bot's machine.",
        gateway.ClientConfig,
    ),
)

HEADER = """# Reference

Made from the code by `python -m tools.reference`. Unknown keys are errors. Durations are a number and a unit (`250ms`,
`30s`, `10m`, `12h`, `90d`); names are DNS labels; files are YAML 1.2 without aliases, tags and duplicate keys.
"""


def render() -> str:
    """The whole page."""
    parts = [HEADER]
    for title, place, model in DOCUMENTS:
        parts.append(f"## {title}\n\n{place}\n")
        seen: set[type[BaseModel]] = set()
        parts.extend(_section(model, "", seen))
    return "\n".join(parts)


def _section(model: type[BaseModel], path: str, seen: set[type[BaseModel]]) -> Iterator[str]:
    seen.add(model)
    if path:
        yield f"### `{path}`\n\n{_sentence(model.__doc__)}\n"
    rows = ["| key | type | default | means |", "|---|---|---|---|"]
    inner: list[tuple[type[BaseModel], str]] = []
    for name, info in model.model_fields.items():
        key = info.alias or name
        rows.append(f"| `{key}` | {_type(info)} | {_default(info)} | {_sentence(info.description)} |")
        inner.extend((found, f"{path}.{key}".lstrip(".")) for found in _models(info.annotation))
    yield "\n".join(rows) + "\n"
    for found, where in inner:
        if found not in seen:
            yield from _section(found, where, seen)


def _sentence(text: str | None) -> str:
    return re.sub(r"\s+", " ", (text or "").strip()).replace("|", "\\|")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation is not Model:
            yield annotation
        return
    for argument in get_args(annotation):
        yield from _models(argument)


def _type(info: FieldInfo) -> str:
    return _type_name(info.annotation)


def _type_name(annotation: Any) -> str:
    arguments = [a for a in get_args(annotation) if a is not type(None)]
    origin = getattr(annotation, "__origin__", None)
    if origin is list:
        return f"list of {_type_name(arguments[0])}"
    if origin is dict:
        return f"map of {_type_name(arguments[1])}"
    if str(origin) == "typing.Literal":
        return ", ".join(f"`{a}`" for a in arguments)
    if getattr(annotation, "__metadata__", None) is not None:
        return _type_name(arguments[0])
    if arguments:
        return " or ".join(dict.fromkeys(_type_name(a) for a in arguments))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping"
    members = getattr(annotation, "__members__", None)
    if members:
        return ", ".join(f"`{m.value}`" for m in members.values())
    return {"str": "text", "int": "number", "bool": "true or false", "float": "number"}.get(
        getattr(annotation, "__name__", ""), "text"
    )


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined or value is None or value in ({}, []) or isinstance(value, BaseModel):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def main() -> int:
    """Write the page; gives the exit status."""
    TARGET.write_text(render())
    return 0


if __name__ == "__main__":
    sys.exit(main())
