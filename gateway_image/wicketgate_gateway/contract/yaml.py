"""YAML as Wicketgate reads it: the core of YAML 1.2, with the place of every value.

How this works: PyYAML's C parser composes nodes; we construct the values ourselves, because `safe_load` follows YAML
1.1 (`no` is false, `1:30` is 90) and silently takes the last of duplicate keys. Aliases, tags, merge keys and duplicate
keys are refused: each lets a reviewer read one document and the machine another.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import yaml

from wicketgate_gateway.contract.errors import DocumentError, Problem, Where

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 64

Path: TypeAlias = tuple[str | int, ...]
Data: TypeAlias = Any  # str | int | float | bool | None | list[Data] | dict[str, Data]

# The core schema of YAML 1.2.2, section 10.3.2.
_SCALARS: tuple[tuple[re.Pattern[str], Callable[[str], object]], ...] = (
    (re.compile(r"(?:~|null|Null|NULL|)\Z"), lambda _: None),
    (re.compile(r"(?:true|True|TRUE)\Z"), lambda _: True),
    (re.compile(r"(?:false|False|FALSE)\Z"), lambda _: False),
    (re.compile(r"[-+]?[0-9]+\Z"), int),
    (re.compile(r"0o[0-7]+\Z"), lambda s: int(s, 0)),
    (re.compile(r"0x[0-9a-fA-F]+\Z"), lambda s: int(s, 0)),
    (re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z"), float),
)


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: plain data, and for each path through it the place of the value (or its key)."""

    path: str
    data: Data
    places: dict[Path, Where] = field(default_factory=dict[Path, Where])

    def where(self, path: Path) -> Where:
        """The place of `path`, or of its nearest parent that the file really has."""
        while path:
            if path in self.places:
                return self.places[path]
            path = path[:-1]
        return self.places.get((), Where(self.path, 1))


def parse(text: str, path: str) -> Document:
    """Parse one YAML document.

    Raises DocumentError naming `path`, line and column for anything outside the supported subset.
    """
    if len(text) > MAX_BYTES:
        raise DocumentError([Problem(f"the file is over {MAX_BYTES} bytes", "split it", Where(path))])
    _refuse_events(text, path)
    try:
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        raise DocumentError([_syntax_problem(error, text, path)]) from None
    except yaml.YAMLError as error:
        raise DocumentError([Problem(f"not YAML: {error}", "save it as UTF-8 text", Where(path))]) from None
    document = Document(path, None)
    if node is None:
        return document
    problems: list[Problem] = []
    data = _construct(node, (), document, problems)
    if problems:
        raise DocumentError(problems)
    return Document(path, data, document.places)


def _refuse_events(text: str, path: str) -> None:
    # Before composing: a composed alias is the anchor's very node, and nested ones grow without bound; and a composed
    # node no longer tells an explicit tag from the one that its text resolves to.
    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            problem = _refused(event)
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:  # the composer recurses
                problem = Problem(f"nested deeper than {MAX_DEPTH} levels", "flatten it")
            if problem is not None:
                mark = event.start_mark
                where = Where(path, mark.line + 1, mark.column + 1) if mark else Where(path)
                raise DocumentError([replace(problem, where=where)])
    except yaml.MarkedYAMLError as error:
        raise DocumentError([_syntax_problem(error, text, path)]) from None
    except yaml.YAMLError as error:
        raise DocumentError([Problem(f"not YAML: {error}", "save it as UTF-8 text", Where(path))]) from None


def _refused(event: yaml.Event) -> Problem | None:
    anchor = getattr(event, "anchor", None)
    if isinstance(event, yaml.AliasEvent):
        return Problem(
            f"`*{anchor}` is a YAML alias, which is not supported",
            f'write the value again, or quote a pattern: "*{anchor}"',
        )
    if anchor is not None:
        return Problem(f"`&{anchor}` is a YAML anchor, which is not supported", "remove it")
    tag = getattr(event, "tag", None)
    if tag is not None:
        return Problem(f"the tag `{tag}` is not supported", "remove it")
    return None


def _syntax_problem(error: yaml.MarkedYAMLError, text: str, path: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    where = Where(path, mark.line + 1, mark.column + 1) if mark else Where(path)
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    star = re.search(r"(?<=[\[,:\s])\*(?=[\],}\s.]|$)", line)
    if mark and star:
        where = Where(path, mark.line + 1, star.start() + 1)
        return Problem("`*` begins a YAML alias here", 'quote the pattern, as in ["*"]', where)
    return Problem(f"not YAML: {error.problem or 'syntax error'}", "check indentation, quotes and brackets", where)


def _construct(node: yaml.Node, path: Path, document: Document, problems: list[Problem]) -> Data:
    where = Where(document.path, node.start_mark.line + 1, node.start_mark.column + 1)
    document.places.setdefault(path, where)
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Data] = {}
        for key_node, value_node in node.value:
            key_where = Where(document.path, key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key_node, yaml.ScalarNode):
                problems.append(Problem("a key must be plain text", "write `key: value`", key_where))
                continue
            key = str(key_node.value)
            if key == "<<":
                problems.append(Problem("merge keys (`<<`) are not supported", "write the keys out", key_where))
            elif key in result:
                first = document.places[(*path, key)].line
                problems.append(Problem(f"`{key}` stands twice (first in line {first})", "keep one of them", key_where))
            else:
                document.places[(*path, key)] = key_where
                result[key] = _construct(value_node, (*path, key), document, problems)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_construct(item, (*path, i), document, problems) for i, item in enumerate(node.value)]
    assert isinstance(node, yaml.ScalarNode)
    return _scalar(node, where, problems)


def _scalar(node: yaml.ScalarNode, where: Where, problems: list[Problem]) -> Data:
    value = str(node.value)
    if node.style in ("'", '"', "|", ">"):
        return value
    for pattern, convert in _SCALARS:
        if pattern.match(value):
            try:
                return convert(value)
            except ValueError:  # Python's bound on the digits of a number
                problems.append(Problem("the number is too long", "quote it if it is text", where))
                return None
    return value
