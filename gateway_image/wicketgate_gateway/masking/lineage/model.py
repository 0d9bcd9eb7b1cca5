"""What lineage says: the columns of an answer with their origins, what columns are used for, what is written where.

An *origin* is a column of a relation, by the relation's OID and the attribute number (pg_attribute.attnum); number 0
stands for any of the relation's columns. A value that cannot be traced says why in `untraced`: it may be anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

Origin = tuple[int, int]
NO_ORIGINS: frozenset[Origin] = frozenset()
UNTRACED: Origin = (-1, 0)
"""Stands for the unknown origin of a value that cannot be traced."""
NO_PARAMETERS: frozenset[int] = frozenset()


class UntraceableError(Exception):
    """The statement has a form that is not followed; its text says which."""


class How(StrEnum):
    """How a value came from its origins."""

    CONSTANT = "constant"
    """From nothing in the database."""
    COPY = "copy"
    """It is the column's value, unchanged."""
    EXPRESSION = "expression"
    """It is computed."""
    WHOLE_ROW = "whole row"
    """It holds all columns of a row."""
    AGGREGATE = "aggregate"
    """It is computed from many rows."""
    EXISTENCE = "existence"
    """It says whether there are rows."""


class Use(StrEnum):
    """What a column serves for beside being shown; each may tell a value without showing it."""

    COMPARE = "compared"
    """Equal to something or not, or NULL or not: it tells whether a guess is right."""
    CONDITION = "a condition"
    """Any other condition: WHERE, HAVING, ON, CASE, FILTER, LIMIT."""
    SORT = "sorted by"
    GROUP = "grouped or made distinct by"
    AGGREGATE = "aggregated"
    """An aggregate or a window function."""
    COMPUTE = "computed with"
    """Something that may fail, or gives more or fewer rows, as the value is."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value, as far as it can be told without one."""

    origins: frozenset[Origin] = NO_ORIGINS
    how: How = How.CONSTANT
    untraced: str = ""
    """Why it cannot be told where it comes from; empty if it can."""
    parameters: frozenset[int] = NO_PARAMETERS
    """Numbers of the parameters that went into it."""
    literal: bool = False
    """Whether a literal went into it."""

    def computed(self, how: How = How.EXPRESSION) -> Value:
        """The same as part of something computed."""
        return replace(self, how=how) if self.origins or self.untraced else self


CONSTANT = Value()


def union(*values: Value, how: How = How.EXPRESSION) -> Value:
    """What is computed from all of these; one value alone stays as it is computed."""
    origins: frozenset[Origin] = NO_ORIGINS
    untraced, parameters, literal = "", NO_PARAMETERS, False
    for value in values:
        origins |= value.origins
        untraced = untraced or value.untraced
        parameters |= value.parameters
        literal = literal or value.literal
    return Value(origins, how if origins or untraced else How.CONSTANT, untraced, parameters, literal)


def either(*values: Value) -> Value:
    """What is one of these: a copy only if each is a copy."""
    if len(values) == 1:
        return values[0]
    traced = [value for value in values if value.origins or value.untraced]
    copies = bool(traced) and all(value.how is How.COPY for value in traced)
    return union(*values, how=How.COPY if copies else How.EXPRESSION)


def unknown(reason: str) -> Value:
    """A value of which nothing is known."""
    return Value(how=How.EXPRESSION, untraced=reason)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an answer; `repeated` stands for any number of columns, each with this value."""

    name: str
    value: Value
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Write:
    """A value that goes to a place: `target` is the column there, None for a place that is no known column."""

    place: str
    value: Value
    target: Origin | None = None


@dataclass(slots=True)
class Lineage:
    """What was found of one statement."""

    columns: tuple[Column, ...] = ()
    """The columns of its answer; none if it gives no rows."""
    uses: set[tuple[Origin | str, Use]] = field(default_factory=set[tuple[Origin | str, Use]])
    """Which columns are used how; a text instead of an origin says why it cannot be told which."""
    writes: list[Write] = field(default_factory=list[Write])
    meets: set[tuple[Origin, int]] = field(default_factory=set[tuple[Origin, int]])
    """Which parameters are compared with, combined with or written to a column; number 0 stands for literals."""
