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
    PROTOCOL_VARIABLES,
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
    protocol: str
    """What the rule speaks of: `sql`, `http`, …"""
    _expression: Any = field(repr=False)
    reads_body: bool = False
    """Whether it asks for the body of a request."""

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


def compile_condition(source: str, protocol: str = "sql") -> Condition:
    """Compile a `when`; raises ConditionError saying what is wrong and at which character."""
    expression = compile_expression(source, protocol)
    return Condition(
        source,
        reads_text=_uses(source, protocol, "op.statement"),
        reads_bot=_uses(source, protocol, "bot.name", "bot.groups"),
        reads_time=_uses(source, protocol, "now"),
        protocol=protocol,
        _expression=expression,
        reads_body=protocol == "http" and _uses(source, protocol, "op.body"),
    )


def _uses(source: str, protocol: str, *names: str) -> bool:
    try:
        environment(*names, protocol=protocol).compile(source)
    except Exception:
        return True
    return False


def activation(values: Mapping[str, Any], now: float, protocol: str = "sql") -> Any:
    """The inputs of one operation; `values` has every name of the protocol's but `now`, in seconds since 1970."""
    # What is missing is an error where a condition asks for it; what no condition can ask for is left out.
    known = {name: value for name, value in values.items() if name in PROTOCOL_VARIABLES[protocol]}
    known["now"] = datetime.datetime.fromtimestamp(now, datetime.UTC)
    return environment(protocol=protocol).Activation(known)
