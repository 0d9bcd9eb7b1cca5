"""CEL conditions (`when`) of rules.

How this works: the environment is typed, so a misspelt field is an error when the policy is loaded, not when a bot
comes. Which inputs a condition uses is found out by compiling it again without them. An evaluation error is a *value*
of type ERROR in this library, and its `value()` is a non-empty text, thus true: the type is looked at first, always.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cel_expr_python import cel

from wicketgate_gateway.contract.conditions import (
    MAX_LENGTH,
    VARIABLES,
    ConditionError,
    compile_expression,
    environment,
)

__all__ = ["MAX_LENGTH", "VARIABLES", "Condition", "ConditionError", "Outcome", "activation", "compile_condition"]


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


def compile_condition(source: str) -> Condition:
    """Compile a `when`; raises ConditionError saying what is wrong and at which character."""
    expression = compile_expression(source)
    return Condition(
        source,
        reads_text=_uses(source, "op.statement"),
        reads_bot=_uses(source, "bot.name", "bot.groups"),
        reads_time=_uses(source, "now"),
        _expression=expression,
    )


def _uses(source: str, *names: str) -> bool:
    try:
        environment(*names).compile(source)
    except Exception:
        return True
    return False


def activation(values: Mapping[str, Any], now: float) -> Any:
    """The inputs of one operation; `values` has every name of VARIABLES but `now`, which is seconds since 1970."""
    return environment().Activation({**values, "now": datetime.datetime.fromtimestamp(now, datetime.UTC)})
