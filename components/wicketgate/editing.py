"""Edits of a YAML file that keep what they do not change: comments, order, quotes and blank lines.

How this works: PyYAML's composer tells where each node begins and ends; an edit is the replacement of one span of the
text. Whatever the edit meant to do is then checked on the data: the new text, parsed, must be the old data with that
change and nothing else, or the edit is refused.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml as pyyaml

from wicketgate_gateway.contract import yaml
from wicketgate_gateway.contract.errors import DocumentError, Problem, Where, WicketgateError

INDENT = 2
WIDTH = 120
_PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./@+-]*(?: [A-Za-z0-9_./@+-]+)*\Z")
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/@-]*\Z")


class EditError(WicketgateError):
    """The file cannot be edited as asked."""

    code = "edit-impossible"


def insert(text: str, path: Sequence[str], key: str, value: Any, name: str) -> str:
    """`text` with `key: value` added as the last entry of the mapping at `path`; missing mappings are made.

    `name` is the file's, for errors. Raises DocumentError if `text` is no YAML of ours, EditError if `key` is there
    already or `path` leads through something that is no mapping.
    """
    document = yaml.parse(text, name)
    wanted = copy.deepcopy(document.data) or {}
    inner: Any = wanted
    for depth, step in enumerate(path):
        if not isinstance(inner, dict):
            raise EditError(f"`{'.'.join(path[:depth])}` is no mapping", where=document.where(tuple(path[:depth])))
        if inner.get(step) is None:
            inner[step] = {}
        inner = inner[step]
    if not isinstance(inner, dict):
        raise EditError(f"`{'.'.join(path)}` is no mapping", where=document.where(tuple(path)))
    if key in inner:
        raise EditError(
            f"`{key}` is there already", code="exists", remedy="choose another name", where=document.where((*path, key))
        )
    inner[key] = value
    if not text.strip():
        return _checked(_block({path[0]: _nested(path[1:], {key: value})}, 0), wanted, name)
    node: pyyaml.Node = _compose(text)
    steps = list(path)
    while steps and isinstance(node, pyyaml.MappingNode):
        found = _entry(node, steps[0])
        if found is None or _is_nothing(found[1]):
            break
        node = found[1]
        steps.pop(0)
    assert isinstance(node, pyyaml.MappingNode)
    if steps:
        found = _entry(node, steps[0])
        addition: Mapping[str, Any] = {steps[0]: _nested(steps[1:], {key: value})}
        if found is not None:  # `bots:` or `bots: {}`, with nothing in it
            return _checked(_replace_nothing(text, node, found, addition), wanted, name)
    else:
        addition = {key: value}
    return _checked(_append(text, node, addition), wanted, name)


def remove(text: str, path: Sequence[str], name: str) -> str:
    """`text` without the entry at `path`, and without the comment right above it.

    Raises DocumentError if `text` is no YAML of ours, EditError if there is no such entry.
    """
    document = yaml.parse(text, name)
    wanted = copy.deepcopy(document.data)
    inner: Any = wanted
    for step in path[:-1]:
        inner = inner.get(step) if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or path[-1] not in inner:
        raise EditError(f"there is no `{'.'.join(path)}`", code="unknown", where=Where(name))
    del inner[path[-1]]
    parent: pyyaml.Node = _compose(text)
    for step in path[:-1]:
        assert isinstance(parent, pyyaml.MappingNode)
        found = _entry(parent, step)
        assert found is not None
        parent = found[1]
    assert isinstance(parent, pyyaml.MappingNode)
    return _checked(_cut(text, parent, path[-1]), wanted, name)


def _checked(text: str, wanted: Any, name: str) -> str:
    try:
        same = yaml.parse(text, name).data == wanted
    except DocumentError:
        same = False
    if not same:
        raise EditError("the file is written in a way that cannot be edited safely", remedy="edit it by hand")
    return text


def _compose(text: str) -> pyyaml.Node:
    node = pyyaml.compose(text, Loader=pyyaml.SafeLoader)  # the C parser counts bytes in places, not characters
    if not isinstance(node, pyyaml.MappingNode):
        raise DocumentError([Problem("the file is no mapping", "start with `key: value`")])
    return node


def _entry(node: pyyaml.MappingNode, key: str) -> tuple[pyyaml.Node, pyyaml.Node] | None:
    return next(((k, v) for k, v in node.value if str(k.value) == key), None)


def _is_nothing(node: pyyaml.Node) -> bool:
    if isinstance(node, pyyaml.ScalarNode):
        return node.style is None and node.value in ("", "~", "null")
    return isinstance(node, pyyaml.MappingNode) and not node.value


def _nested(path: Sequence[str], value: Any) -> Any:
    for step in reversed(path):
        value = {step: value}
    return value


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _line_end(text: str, index: int) -> int:
    end = text.find("\n", index)
    return len(text) if end < 0 else end + 1


def _last_line_of(text: str, node: pyyaml.Node) -> int:
    """Where the line ends that holds the node's last character; the composer's own end is behind comments, too."""
    if isinstance(node, pyyaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_line_of(text, last[1] if isinstance(last, tuple) else last)
    if isinstance(node, pyyaml.ScalarNode) and node.style in ("|", ">"):
        end = node.end_mark.index
        return _line_end(text, len(text[: max(end, 1)].rstrip("\n")))
    return _line_end(text, max(node.start_mark.index, node.end_mark.index - 1))


def _append(text: str, node: pyyaml.MappingNode, addition: Mapping[str, Any]) -> str:
    if node.flow_style:
        close = node.end_mark.index - 1
        before = text[:close].rstrip()
        ((key, value),) = addition.items()
        comma = ", " if node.value else ""
        return f"{before}{comma}{_key(key)}: {_flow(value)}{text[close:]}"
    column = node.value[0][0].start_mark.column
    at = _last_line_of(text, node)
    head = text[:at]
    if head and not head.endswith("\n"):
        head += "\n"
    return head + _block(addition, column) + text[at:]


def _replace_nothing(
    text: str, parent: pyyaml.MappingNode, entry: tuple[pyyaml.Node, pyyaml.Node], addition: Mapping[str, Any]
) -> str:
    key, value = entry
    colon = text.index(":", key.end_mark.index)
    if parent.flow_style:
        ((_, inner),) = addition.items()
        return f"{text[: colon + 1]} {_flow(inner)}{text[max(value.end_mark.index, colon + 1) :]}"
    ((_, inner),) = addition.items()
    end = value.end_mark.index if isinstance(value, pyyaml.MappingNode) or value.value else colon + 1
    rest = text[end : _line_end(text, end)].rstrip("\n")
    block = _block(inner, key.start_mark.column + INDENT)
    return f"{text[: colon + 1]}{rest}\n{block}{text[_line_end(text, end) :]}"


def _cut(text: str, parent: pyyaml.MappingNode, name: str) -> str:
    index = next(i for i, (k, _) in enumerate(parent.value) if str(k.value) == name)
    key, value = parent.value[index]
    if parent.flow_style:
        start, end = key.start_mark.index, value.end_mark.index
        if index + 1 < len(parent.value):
            end = parent.value[index + 1][0].start_mark.index
        elif index:
            start = parent.value[index - 1][1].end_mark.index
        return text[:start] + text[end:]
    start = _line_start(text, key.start_mark.index)
    if text[start : key.start_mark.index].strip():
        raise EditError("the file is written in a way that cannot be edited safely", remedy="edit it by hand")
    while start:  # its own comment goes with it
        above = _line_start(text, start - 1)
        line = text[above:start]
        if not line.strip().startswith("#") or len(line) - len(line.lstrip()) != key.start_mark.column:
            break
        start = above
    end = _last_line_of(text, value) if not _is_nothing(value) else _line_end(text, key.end_mark.index)
    rest = text[:start] + text[end:]
    if len(parent.value) == 1:  # nothing is left: say so, or the mapping would be null
        if not parent.start_mark.column:
            return rest if rest.strip() else "{}\n"
        colon = text.rindex(":", 0, start)
        line_end = _line_end(text, colon)
        rest = f"{text[: colon + 1]} {{}}{text[colon + 1 : line_end]}{text[line_end:start]}{text[end:]}"
    return rest


def _block(value: Mapping[str, Any], column: int) -> str:
    pad = " " * column
    lines: list[str] = []
    for key, inner in value.items():
        flow = f"{pad}{_key(key)}: {_flow(inner)}"
        if isinstance(inner, Mapping) and inner and (column < 2 * INDENT or len(flow) > WIDTH or _deep(inner)):
            lines.append(f"{pad}{_key(key)}:\n{_block(inner, column + INDENT)}".rstrip("\n"))
        elif isinstance(inner, list) and inner and any(isinstance(item, Mapping) for item in inner):
            items = "\n".join(f"{pad}{' ' * INDENT}- {_item(item)}" for item in inner)
            lines.append(f"{pad}{_key(key)}:\n{items}")
        else:
            lines.append(flow)
    return "\n".join(lines) + "\n"


def _item(item: Any) -> str:
    if isinstance(item, Mapping) and len(item) == 1:
        ((key, value),) = item.items()
        return f"{_key(key)}: {_flow(value)}"
    return _flow(item)


def _deep(value: Mapping[str, Any]) -> bool:
    return any(isinstance(inner, list) and any(isinstance(i, Mapping) for i in inner) for inner in value.values())


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return _scalar(value)


def _key(key: str) -> str:
    plain = _PLAIN_KEY.match(key) and not key.endswith(":") and isinstance(yaml.parse(key, "key").data, str)
    return key if plain else _quoted(key)


def _scalar(value: Any) -> str:
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    text = str(value)
    if _PLAIN.match(text) and isinstance(yaml.parse(text, "value").data, str):
        return text
    return _quoted(text)


def _quoted(text: str) -> str:
    escaped = json.dumps(text, ensure_ascii=False)
    # YAML takes JSON's escapes, but wants one also for what does not print.
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped)
