"""`wicketgate guardrails check`: the policy pack's rules on a state that was exported, without an engine."""

from __future__ import annotations

import json as jsons
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wicketgate.commands.stack_file import print_json
from wicketgate.policy.guardrails import GUARDRAILS
from wicketgate_gateway.contract.errors import WicketgateError

BROKEN = 1


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that a guardrail forbids."""

    guardrail: str
    resource: str
    """Its URN."""
    said: str
    mandatory: bool


def check(state: Path | None = None, /, *, json: bool = False) -> int:
    """Check an exported state by the rules of `policies/guardrails`. Exit code 1 if a mandatory one is broken.

    Parameters
    ----------
    state
        What `pulumi stack export` wrote; without it, standard input.
    json
        Print one object a violation, and one with the sums.
    """
    text = sys.stdin.read() if state is None else _read(state)
    resources = _resources(text)
    found = list(violations(resources))
    for each in found:
        if json:
            names = ("guardrail", "resource", "said", "mandatory")
            print_json({name: getattr(each, name) for name in names})
        else:
            kind = "broken" if each.mandatory else "advice"
            print(f"{kind}  {each.guardrail}  {_plain(each.resource.rpartition('::')[2])}: {_plain(each.said)}")
    broken = sum(each.mandatory for each in found)
    if json:
        print_json({"resources": len(resources), "broken": broken, "advice": len(found) - broken})
    else:
        print(f"{len(resources)} resources, {broken} broken, {len(found) - broken} advice", file=sys.stderr)
    return BROKEN if broken else 0


def violations(resources: list[dict[str, Any]]) -> Iterator[Violation]:
    """What the guardrails say of these resources (`deployment.resources` of an export)."""
    for resource in resources:
        inputs = resource.get("inputs")
        for guardrail in GUARDRAILS:
            for said in guardrail.check(str(resource.get("type", "")), inputs if isinstance(inputs, dict) else {}):
                yield Violation(guardrail.name, str(resource.get("urn", "")), said, guardrail.mandatory)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WicketgateError(f"`{path}` cannot be read: {error}", code="state-unreadable") from None


def _resources(text: str) -> list[dict[str, Any]]:
    try:
        resources = jsons.loads(text)["deployment"].get("resources") or []
    except (ValueError, KeyError, TypeError, AttributeError):
        resources = None
    if not isinstance(resources, list) or not all(isinstance(each, dict) for each in resources):
        raise WicketgateError(
            "this is no exported state", code="state-unreadable", remedy="write one by `pulumi stack export`"
        )
    return resources


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
