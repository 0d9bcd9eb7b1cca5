"""OpenAPI 3 documents (https://spec.openapis.org/oas/v3.1.1), as far as rules need them: operations and their paths.

How this works: paths are relative to the target's address, which must be one of the document's `servers` where those
have a path. Two paths that are meant by the same request, neither more exact than the other, are refused, as is what
would move a path elsewhere (servers of their own, references to other files). All else in it is not looked at.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from wicketgate_gateway.contract import model, yaml
from wicketgate_gateway.contract.errors import DocumentError, Problem, Where
from wicketgate_gateway.contract.model import Model
from wicketgate_gateway.contract.yaml import MAX_BYTES

MAX_OPERATIONS = 5000
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
"""The fields of a path that are operations (`query`: since 3.2)."""
_OTHER = frozenset({"summary", "description", "parameters", "servers", "$ref", "additionalOperations"})
_TEMPLATE = re.compile(r"\{([^{}/]+)\}")
_LITERAL = re.compile(r"[A-Za-z0-9._~!$&'()*+,=:@-]*\Z")
_LOCAL = "#/components/pathItems/"
_REFUSED_WHERE = "write it in this document"


def template(value: str) -> str:
    """Check the template of a path: `/orders/{id}`, `/report.{format}`."""
    if not value.startswith("/") or "//" in value:
        raise ValueError(f"the path `{value}` must begin with `/` and have no empty segment")
    names = _TEMPLATE.findall(value)
    if len(set(names)) != len(names):
        raise ValueError(f"a parameter stands twice in `{value}`")
    for segment in value[1:].split("/"):
        literal = _TEMPLATE.sub("", segment)
        if "}{" in segment:
            raise ValueError(f"two parameters touch in `{segment}`: nobody could tell where one ends")
        if not _LITERAL.match(literal) or segment in (".", ".."):
            raise ValueError(f"`{segment}` in `{value}` is no segment of a path: write it decoded, with `{{name}}`")
    return value


def _method(value: str) -> str:
    if not re.fullmatch(r"[A-Z][A-Z-]{0,30}", value):
        raise ValueError(f"`{value}` is not a method")
    return value


class ApiOperation(Model):
    """One operation of a target's OpenAPI document, as the bundle has it."""

    method: Annotated[str, AfterValidator(_method)]
    """In capitals."""
    path: Annotated[str, AfterValidator(template)]
    """The template, relative to the target's address."""
    id: Annotated[str, Field(min_length=1)] | None = None
    """The `operationId`."""


ApiOperations = Annotated[list[ApiOperation], Field(max_length=MAX_OPERATIONS)]


@dataclass(frozen=True, slots=True)
class ApiDocument:
    """What a document says of operations, and of where its server is (paths, empty for the root)."""

    operations: tuple[ApiOperation, ...]
    servers: tuple[str, ...]
    places: Mapping[str, Where]
    """Where each `operationId` stands."""

    def at(self, address: str, where: Where | None) -> None:
        """Check that the document's paths are those behind the target's address. Raises DocumentError."""
        base = urlsplit(address).path.rstrip("/")
        if self.servers and base not in self.servers:
            said = ", ".join(f"`{path or '/'}`" for path in self.servers)
            message = f"the paths of the OpenAPI document begin at {said}, and the target's address at `{base or '/'}`"
            remedy = "let `address` end as a server of the document does, or correct its `servers`"
            raise DocumentError([Problem(message, remedy, where)])


def read(path: str | Path) -> ApiDocument:
    """Read an OpenAPI 3 document, YAML or JSON. Raises DocumentError with every mistake and its place."""
    document = _load(Path(path))
    return _Reader(document).read()


def _load(path: Path) -> yaml.Document:
    try:
        if path.stat().st_size > MAX_BYTES:
            remedy = "take out what is not needed, such as examples and schemas"
            raise DocumentError([Problem(f"the file is over {MAX_BYTES} bytes", remedy, Where(str(path)))])
        return model.load(path)
    except OSError as error:
        reason = (error.strerror or "cannot be read").lower()
        raise DocumentError([Problem(reason, "check the path and its permissions", Where(str(path)))]) from None
    except DocumentError:
        # Not all JSON is YAML as it is read here: tabs, escapes of surrogates.
        text = _json_text(path)
        if text is None:
            raise
        return yaml.Document(str(path), _json(text, path))


def _json_text(path: Path) -> str | None:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return text if len(text) <= MAX_BYTES and text.lstrip().startswith("{") else None


def _json(text: str, path: Path) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise DocumentError([Problem(f"`{key}` stands twice", "keep one of them", Where(str(path)))])
            found[key] = value
        return found

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        where = Where(str(path), error.lineno, error.colno)
        raise DocumentError([Problem(f"not JSON: {error.msg.lower()}", "correct it", where)]) from None
    except RecursionError:
        raise DocumentError([Problem("nested too deep", "flatten it", Where(str(path)))]) from None


class _Reader:
    def __init__(self, document: yaml.Document) -> None:
        self._document = document
        self._problems: list[Problem] = []
        self._found: list[tuple[ApiOperation, yaml.Path]] = []

    def _wrong(self, message: str, remedy: str, *path: str | int) -> None:
        term = ".".join(str(step) for step in path)
        self._problems.append(Problem(message, remedy, self._document.where(path), term))

    def read(self) -> ApiDocument:
        data: Any = self._document.data
        servers: tuple[str, ...] = ()
        if not isinstance(data, dict) or not isinstance(data.get("openapi"), str):
            what = "Swagger 2 is not read" if isinstance(data, dict) and "swagger" in data else "no OpenAPI document"
            self._wrong(what, 'give an OpenAPI 3 document, which begins with `openapi: "3.…"`')
        elif not re.match(r"3\.\d+(\.\d+)?\Z", data["openapi"]):
            self._wrong(f"OpenAPI `{data['openapi'][:20]}` is not read", "give an OpenAPI 3 document", "openapi")
        elif not isinstance(data.get("paths"), dict):
            self._wrong("the document has no `paths`", "add them", "paths")
        else:
            servers = self._servers(data.get("servers"))
            for path, item in data["paths"].items():
                if not path.startswith("x-"):
                    self._path(path, item)
            self._ids()
            if not self._problems:
                self._ambiguous()
        if len(self._found) > MAX_OPERATIONS:
            self._wrong(f"over {MAX_OPERATIONS} operations", "leave out those that no bot needs", "paths")
        if self._problems:
            raise DocumentError(self._problems)
        places = {op.id: self._document.where(path) for op, path in self._found if op.id is not None}
        return ApiDocument(tuple(op for op, _ in self._found), servers, places)

    def _servers(self, servers: Any) -> tuple[str, ...]:
        found: list[str] = []
        if servers is not None and not isinstance(servers, list):
            self._wrong("`servers` is no list", "correct it", "servers")
            return ()
        listed: list[Any] = servers or []
        for i, server in enumerate(listed):
            url: Any = server.get("url") if isinstance(server, dict) else None
            if not isinstance(url, str):
                self._wrong("a server without `url`", "add it", "servers", i)
                continue
            variables: Any = server.get("variables") or {}
            for name in _TEMPLATE.findall(url):
                default: Any = variables.get(name, {}).get("default") if isinstance(variables, dict) else None
                if not isinstance(default, str):
                    self._wrong(f"the variable `{name}` has no default", "add it", "servers", i)
                url = url.replace(f"{{{name}}}", str(default))
            try:
                found.append(urlsplit(url).path.rstrip("/"))
            except ValueError:
                self._wrong("a server whose `url` is none", "correct it", "servers", i)
        return tuple(found)

    def _path(self, path: str, item: Any) -> None:
        at = ("paths", path)
        try:
            template(path)
        except ValueError as error:
            self._wrong(str(error), "correct it", *at)
            return
        if isinstance(item, dict) and "$ref" in item:
            item, at = self._referred(item, at)
        if not isinstance(item, dict):
            if item is not None:
                self._wrong("a path must be a mapping of methods", "correct it", *at)
            return
        if item.get("servers"):
            self._wrong("a path with `servers` of its own is not read", "make it a target of its own", *at, "servers")
        for key, value in item.items():
            if key in METHODS:
                self._operation(path, key.upper(), value, (*at, key))
            elif key == "additionalOperations":
                for method, more in value.items() if isinstance(value, dict) else ():
                    self._operation(path, method, more, (*at, key, method))
            elif key not in _OTHER and not key.startswith("x-"):
                self._wrong(f"`{key}` is no method", "write methods in small letters", *at, key)

    def _referred(self, item: dict[str, Any], at: yaml.Path) -> tuple[Any, yaml.Path]:
        ref: Any = item["$ref"]
        name = ref.removeprefix(_LOCAL).replace("~1", "/").replace("~0", "~") if isinstance(ref, str) else ""
        components: Any = self._document.data.get("components")
        items: Any = components.get("pathItems") if isinstance(components, dict) else None
        found: Any = items.get(name) if isinstance(items, dict) else None
        if not isinstance(ref, str) or not ref.startswith(_LOCAL) or not isinstance(found, dict) or "$ref" in found:
            self._wrong("this refers to what is not in `components.pathItems`", _REFUSED_WHERE, *at, "$ref")
            return None, at
        if any(key in METHODS for key in item):
            self._wrong("a path with methods beside `$ref` may mean either", _REFUSED_WHERE, *at)
        return found, ("components", "pathItems", name)

    def _operation(self, path: str, method: str, value: Any, at: yaml.Path) -> None:
        if not isinstance(value, dict):
            self._wrong("an operation must be a mapping", "correct it", *at)
            return
        if value.get("servers"):
            self._wrong("an operation with `servers` of its own is not read", "make it another target", *at, "servers")
        name: Any = value.get("operationId")
        if name is not None and (not isinstance(name, str) or not name or any(c.isspace() for c in name)):
            self._wrong("`operationId` must be text without blanks", "correct it", *at, "operationId")
            return
        try:
            self._found.append((ApiOperation(method=method, path=path, id=name), (*at, "operationId")))
        except ValueError:
            self._wrong(f"`{method[:40]}` is not a method", "write it in capitals", *at)

    def _ids(self) -> None:
        first: dict[str, yaml.Path] = {}
        for operation, at in self._found:
            if operation.id is not None and first.setdefault(operation.id, at) != at:
                line = self._document.where(first[operation.id]).line
                self._wrong(f"`{operation.id}` stands twice (first in line {line})", "rename one", *at)

    def _ambiguous(self) -> None:
        shapes: dict[tuple[str, int], list[tuple[str, yaml.Path]]] = defaultdict(list)
        for operation, at in self._found:
            shapes[operation.method, operation.path.count("/")].append((operation.path, at))
        for alike in shapes.values():
            for one, other, at in _crossing(alike):
                remedy = "make one more exact than the other in every segment, or leave one out"
                self._wrong(f"a request can be meant by `{one}` as well as by `{other}`", remedy, *at)


def _crossing(paths: Sequence[tuple[str, yaml.Path]]) -> Iterator[tuple[str, str, yaml.Path]]:
    split = [path[1:].split("/") for path, _ in paths]
    for i, (path, at) in enumerate(paths):
        for j in range(i):
            if overlap(split[i], split[j]) and not exacter(split[i], split[j]) and not exacter(split[j], split[i]):
                yield path, paths[j][0], at


def is_open(segment: str) -> bool:
    """Whether a segment of a template is a parameter and nothing else."""
    return bool(_TEMPLATE.fullmatch(segment))


def segment_pattern(segment: str, *, ignore_case: bool = False) -> re.Pattern[str]:
    """What a segment of a template stands for: a parameter is any text, of one character at least."""
    parts = re.split(r"\{[^{}]+\}", segment)
    return re.compile(f"(?s:{'.+'.join(map(re.escape, parts))})\\Z", re.IGNORECASE if ignore_case else 0)


def overlap(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether one path may be of both templates; where that is not certain, yes."""
    return len(one) == len(other) and all(map(_segments_overlap, one, other))


def _segments_overlap(one: str, other: str) -> bool:
    if "{" not in one:
        return bool(segment_pattern(other).match(one))
    if "{" not in other:
        return bool(segment_pattern(one).match(other))
    if is_open(one) or is_open(other):
        return True
    (a, *_, b), (c, *_, d) = (re.split(r"\{[^{}]+\}", each) for each in (one, other))
    return (a.startswith(c) or c.startswith(a)) and (b.endswith(d) or d.endswith(b))


def exacter(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether a template is at least as exact as one that it overlaps, and in some segment more so."""
    ranks = [(_rank(a), _rank(b)) for a, b in zip(one, other, strict=True)]
    if any(a == b == 1 and x != y for (a, b), x, y in zip(ranks, one, other, strict=True)):
        return False
    return all(a <= b for a, b in ranks) and any(a < b for a, b in ranks)


def _rank(segment: str) -> int:
    return 0 if "{" not in segment else 2 if is_open(segment) else 1
