"""The base of all documents: strict, frozen, and never printing a value that it refuses."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from wicketgate_gateway.contract import yaml
from wicketgate_gateway.contract.errors import DocumentError, Problem, Where

M = TypeVar("M", bound="Model")


class Model(BaseModel):
    """Unknown keys are errors; values are not coerced; errors never repeat input (it may be a secret).

    Files say `camelCase`, Python `snake_case`; the conversion happens here and nowhere else.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    def document(self) -> dict[str, Any]:
        """The plain data of this document as a file says it: aliases, without unset and empty settings."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)


def listed(value: Any) -> Any:
    """One text as a list of it; anything else as it is."""
    return [value] if isinstance(value, str) else value


Strings = Annotated[list[str], BeforeValidator(listed)]
"""One string, or a list of them."""


class Terms(Model):
    """Terms that limit what something applies to: one left blank is refused, for it would limit nothing."""

    @model_validator(mode="before")
    @classmethod
    def _nothing_left_blank(cls, value: Any) -> Any:
        # `relations:` with nothing behind it would be no limit at all.
        for key, term in value.items() if isinstance(value, dict) else ():
            if term is None:
                raise ValueError(f"`{key}` has no value: write one, or remove the key")
        return value


_REMEDIES = {
    "missing": "add it",
    "extra_forbidden": "remove it",
    "string_type": "write text (quote it if it looks like a number)",
    "int_type": "write a whole number",
    "bool_type": "write true or false",
    "list_type": "write a list",
    "dict_type": "write a mapping",
    "model_type": "write a mapping",
}


def read(model: type[M], path: str | Path) -> M:
    """Read, parse and validate the file at `path`; raises DocumentError with every mistake, by line."""
    return validate(model, load(path))


def load(path: str | Path) -> yaml.Document:
    """Read and parse the file at `path`, without a look at what it says; raises DocumentError."""
    try:
        text = Path(path).read_text("utf-8")
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise DocumentError([Problem(reason.lower(), "check the path and its permissions", Where(str(path)))]) from None
    except UnicodeDecodeError:
        raise DocumentError([Problem("not UTF-8 text", "save it as UTF-8", Where(str(path)))]) from None
    return yaml.parse(text, str(path))


def validate(model: type[M], document: yaml.Document, at: yaml.Path = ()) -> M:
    """Validate the part of `document` at path `at` against `model`; raises DocumentError."""
    data = document.data
    for step in at:
        data = data[step]
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise DocumentError(problems(error, document, at, model)) from None


def problems(
    error: ValidationError,
    document: yaml.Document | None,
    at: yaml.Path = (),
    model: type[BaseModel] | None = None,
) -> list[Problem]:
    """Pydantic's errors as ours: the file's own place, the dotted term, and what to do."""
    found: list[Problem] = []
    for item in error.errors(include_input=False, include_url=False):
        path = (*at, *_document_path(item["loc"], document, at))
        term = ".".join(str(step) for step in path)
        kind = item["type"]
        message = item["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        remedy = _REMEDIES.get(kind, "")
        if kind == "extra_forbidden":
            message = "unknown key"
            remedy = _did_you_mean(str(path[-1]), _keys_at(model, item["loc"])) or remedy
        elif kind == "missing":
            message = "missing"
        found.append(Problem(message, remedy, document.where(path) if document else None, term))
    return sorted(found, key=lambda p: (p.where.line or 0, p.where.column or 0) if p.where else (0, 0))


def _document_path(loc: Sequence[str | int], document: yaml.Document | None, at: yaml.Path) -> yaml.Path:
    # Pydantic adds steps that no file has (union members, validators): keep those the document knows, and the last.
    if document is None:
        return tuple(loc)
    path: yaml.Path = ()
    for i, step in enumerate(loc):
        if (*at, *path, step) in document.places or (i == len(loc) - 1 and not _internal(step)):
            path = (*path, step)
    return path


def _internal(step: str | int) -> bool:
    return isinstance(step, str) and bool(re.search(r"[\[\](){}]|^(function|str|list|dict|int)-?|^[A-Z]\w+$", step))


def _keys_at(model: type[BaseModel] | None, loc: Sequence[str | int]) -> Iterable[str]:
    current: Any = model
    for step in loc[:-1]:
        if isinstance(current, type) and issubclass(current, BaseModel):
            info = next((f for n, f in current.model_fields.items() if step in (n, f.alias)), None)
            current = info.annotation if info else current
        for inner in _models_in(current):
            current = inner
            break
    if isinstance(current, type) and issubclass(current, BaseModel):
        return [f.alias or n for n, f in current.model_fields.items()]
    return []


def _models_in(annotation: Any) -> Iterable[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        return
    for arg in getattr(annotation, "__args__", ()):
        yield from _models_in(arg)


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"known keys: {', '.join(f'`{k}`' for k in known)}" if known else ""
