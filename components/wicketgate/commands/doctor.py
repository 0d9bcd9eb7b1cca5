"""`wicketgate doctor`: what is wrong, or will be, with a stack's identities in Entra, and what to do about each."""

from __future__ import annotations

import asyncio
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from wicketgate.commands.stack_file import open_stack, print_json
from wicketgate.config import load
from wicketgate_gateway.contract.errors import WicketgateError

SICK = 1


def doctor(
    *,
    stack: str | None = None,
    file: Path | None = None,
    proof: list[str] | None = None,
    json: bool = False,
) -> int:
    """Look at the stack's identities in Entra. Reads alone. Exit code 1 if there is any problem.

    Parameters
    ----------
    stack
        The stack; may be left out where there is one alone.
    file
        The stack file, instead of --stack.
    proof
        A workload's platform token in a file, as in `code-review=proof.jwt` (`gateway=…` for the gateway's own); repeat
        for several. Its exchange is then really made.
    json
        Print one object a finding, and one with the sums.
    """
    given = dict(_proof(text) for text in proof or [])
    found = open_stack(stack, file)
    config = load(found.settings, found.path, found.text)
    unknown = sorted(set(given) - {"gateway", *config.agents, *config.bots})
    if unknown:
        names = ", ".join(f"`{name}`" for name in ("gateway", *config.agents, *config.bots))
        raise WicketgateError(f"there is no workload `{unknown[0]}`", code="usage", remedy=f"known: {names}")
    if find_spec("azure.identity") is None or find_spec("msgraph") is None:
        raise WicketgateError(
            "this needs azure-identity and msgraph-sdk", code="not-installed", remedy="install `wicketgate[doctor]`"
        )
    from wicketgate.identity.doctor.visit import visit

    report = asyncio.run(visit(config, os.environ, given))
    if json:
        for finding in report.sorted():
            print_json(finding.document())
        print_json(report.summary())
    else:
        for line in report.table():
            print(line)
        sums = report.summary()
        proven = f"; proven: {', '.join(report.proven)}" if report.proven else ""
        print(
            f"{sums['problems']} problems, {sums['warnings']} warnings, {sums['notes']} notes{proven}", file=sys.stderr
        )
    return SICK if report.sick else 0


def _proof(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not name or not equals or not path:
        raise WicketgateError(f"`--proof {text}` says no file", code="usage", remedy="write `--proof NAME=FILE`")
    return name, Path(path)
