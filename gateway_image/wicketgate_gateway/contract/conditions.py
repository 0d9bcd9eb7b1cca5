"""What a `when` may ask, and whether one compiles: here, so that a deployment finds a wrong one before it deploys.

CEL's library is imported when the first condition is compiled: most who read documents have none. It is the same
compiler with the same types that the gateway decides with (`policy/conditions.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from wicketgate_gateway.contract import http, kubernetes, ssh
from wicketgate_gateway.contract.errors import WicketgateError

_EVERYWHERE: Mapping[str, str] = {
    "op.statement": "string",
    "op.kinds": "strings",
    "bot.name": "string",
    "bot.groups": "strings",
    "target.name": "string",
    "target.labels": "map",
    "now": "timestamp",
}
VARIABLES: Mapping[str, str] = {
    "op.statement": "string",
    "op.kinds": "strings",
    "op.classes": "strings",
    "op.relations": "strings",
    "op.functions": "strings",
    "op.columns": "strings",
    **{name: kind for name, kind in _EVERYWHERE.items() if not name.startswith("op.")},
}
"""What a condition on SQL can ask: the operation's whole text and what it does, who asks, where, and when (UTC)."""
PROTOCOL_VARIABLES: Mapping[str, Mapping[str, str]] = {
    "sql": VARIABLES,
    "http": {**_EVERYWHERE, **http.VARIABLES},
    "kubernetes": {**_EVERYWHERE, **kubernetes.VARIABLES},
    "ssh": {**_EVERYWHERE, **ssh.VARIABLES},
}
"""The same for each protocol that rules speak of; `op.statement` is the operation as people read it."""
MAX_LENGTH = 4096


class ConditionError(WicketgateError):
    """A `when` that does not compile to a boolean."""

    code = "condition-invalid"


@cache
def environment(*without: str, protocol: str = "sql") -> Any:
    """The typed environment of conditions, without some of the variables."""
    from cel_expr_python import cel

    types = {
        "string": cel.Type.STRING,
        "strings": cel.Type.List(cel.Type.STRING),
        "map": cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
        "lists": cel.Type.Map(cel.Type.STRING, cel.Type.List(cel.Type.STRING)),
        "bool": cel.Type.BOOL,
        "any": cel.Type.DYN,
        "timestamp": cel.Type.TIMESTAMP,
    }
    variables = PROTOCOL_VARIABLES[protocol]
    return cel.NewEnv(variables={name: types[kind] for name, kind in variables.items() if name not in without})


def compile_expression(source: str, protocol: str = "sql") -> Any:
    """Compile a `when` of a rule on a protocol; raises ConditionError saying what is wrong, and at which character."""
    from cel_expr_python import cel

    if len(source) > MAX_LENGTH:
        raise ConditionError(f"the condition is longer than {MAX_LENGTH} characters", remedy="split the rule")
    if "\0" in source:
        raise ConditionError("the condition holds a NUL character", remedy="remove it")
    try:
        expression = environment(protocol=protocol).compile(source)
    except Exception as error:
        known = ", ".join(PROTOCOL_VARIABLES[protocol])
        raise ConditionError(_said(error), remedy=f"a condition can use {known}") from None
    if expression.return_type() != cel.Type.BOOL:
        raise ConditionError(
            f"the condition is of type {expression.return_type().name()}, not BOOL", remedy="compare with something"
        )
    return expression


def _said(error: Exception) -> str:
    # "INVALID_ARGUMENT: ERROR: <input>:1:3: undeclared reference to 'op.foo' (in container '')\n | op.foo\n ..."
    match = re.search(r"<input>:(\d+):(\d+): (.*)", str(error))
    if not match:
        return "the condition is not valid CEL"
    message = match[3].replace(" (in container '')", "")
    return f"{message} (line {match[1]}, character {match[2]} of the condition)"
