"""Errors that say what happened, where, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Where:
    """A place in a file that a person wrote; lines and columns count from 1."""

    path: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        parts = [self.path, *(str(n) for n in (self.line, self.column) if n is not None)]
        return ":".join(parts)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: `message` says what is wrong, `remedy` what to write instead."""

    message: str
    remedy: str = ""
    where: Where | None = None
    term: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: " if self.where else ""
        text += f"`{self.term}`: " if self.term else ""
        text += self.message
        return f"{text}; {self.remedy}" if self.remedy else text


class WicketgateError(Exception):
    """Base of all our errors.

    `code` is stable and made for machines (kebab-case). `message` never holds a secret: callers pass names and places,
    not values of sensitive fields.
    """

    code = "error"

    def __init__(self, message: str, *, code: str | None = None, remedy: str = "", where: Where | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.where = where
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return str(Problem(self.message, self.remedy, self.where))


class DocumentError(WicketgateError):
    """A file that a person wrote is wrong; `problems` lists every mistake found in it, in the file's order."""

    code = "document-invalid"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))

    def __str__(self) -> str:
        return self.message
