"""CEL conditions (`when`) of rules.

How this works: the environment is typed, so a misspelt field is an error when the policy is loaded, not when a bot
comes. Which inputs a condition uses is found out by compiling it again without them. An evaluation error is a *value*
of type ERROR in this library, and its `value()` is a non-empty text, thus true: the type is looked at first, always.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any

from cel_expr_python import cel

from wicketgate_gateway.contract.errors import WicketgateError

_STRING = cel.Type.STRING
_STRINGS = cel.Type.List(cel.Type.STRING)
VARIABLES: Mapping[str, cel.Type] = {
    "op.statement": _STRING,
    "op.kinds": _STRINGS,
    "op.classes": _STRINGS,
    "op.relations": _STRINGS,
    "op.functions": _STRINGS,
    "op.columns": _STRINGS,
    "bot.name": _STRING,
    "bot.groups": _STRINGS,
    "target.name": _STRING,
    "target.labels": cel.Type.Map(_STRING, _STRING),
    "now": cel.Type.TIMESTAMP,
}
"""What a condition can ask: the whole text of the operation and what it does, who asks, where, and when (UTC)."""
MAX_LENGTH = 4096


class ConditionError(WicketgateError):
    """A `when` that does not compile to a boolean."""

    code = "condition-invalid"


class Outcome(StrEnum):
    """What a condition came to."""

    TRUE = "true"
    FALSE = "false"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled `when`, and which inputs its answer depends on."""

    source: str
    reads_text: bool
    reads_bot: bool
    reads_time: bool
    _expression: Any = field(repr=False)

    def test(self, activation: Any) -> Outcome:
        """Evaluate; everything but a boolean is ERROR."""
        try:
            value = self._expression.eval(activation)
            if value.type() != cel.Type.BOOL:
                return Outcome.ERROR
            return Outcome.TRUE if value.value() is True else Outcome.FALSE
        except Exception:
            # Whatever the library raises, the operation is denied: that is the caller's part.
            return Outcome.ERROR


@cache
def _environment(*without: str) -> Any:
    return cel.NewEnv(variables={name: kind for name, kind in VARIABLES.items() if name not in without})


def compile_condition(source: str) -> Condition:
    """Compile a `when`; raises ConditionError saying what is wrong and at which character."""
    if len(source) > MAX_LENGTH:
        raise ConditionError(f"the condition is longer than {MAX_LENGTH} characters", remedy="split the rule")
    if "\0" in source:
        raise ConditionError("the condition holds a NUL character", remedy="remove it")
    try:
        expression = _environment().compile(source)
    except Exception as error:
        raise ConditionError(_said(error), remedy=f"a condition can use {', '.join(VARIABLES)}") from None
    if expression.return_type() != cel.Type.BOOL:
        raise ConditionError(
            f"the condition is of type {expression.return_type().name()}, not BOOL", remedy="compare with something"
        )
    return Condition(
        source,
        reads_text=_uses(source, "op.statement"),
        reads_bot=_uses(source, "bot.name", "bot.groups"),
        reads_time=_uses(source, "now"),
        _expression=expression,
    )


def _uses(source: str, *names: str) -> bool:
    try:
        _environment(*names).compile(source)
    except Exception:
        return True
    return False


def _said(error: Exception) -> str:
    # "INVALID_ARGUMENT: ERROR: <input>:1:3: undeclared reference to 'op.foo' (in container '')\n | op.foo\n ..."
    match = re.search(r"<input>:(\d+):(\d+): (.*)", str(error))
    if not match:
        return "the condition is not valid CEL"
    message = match[3].replace(" (in container '')", "")
    return f"{message} (line {match[1]}, character {match[2]} of the condition)"


def activation(values: Mapping[str, Any], now: float) -> Any:
    """The inputs of one operation; `values` has every name of VARIABLES but `now`, which is seconds since 1970."""
    return _environment().Activation({**values, "now": datetime.datetime.fromtimestamp(now, datetime.UTC)})
