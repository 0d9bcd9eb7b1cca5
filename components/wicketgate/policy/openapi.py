"""The OpenAPI documents of a stack's HTTP targets, read and checked: their operations go into the policy bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from wicketgate.targets import HttpTarget
from wicketgate_gateway.contract import openapi
from wicketgate_gateway.contract.errors import DocumentError, Problem, Where
from wicketgate_gateway.contract.openapi import ApiOperation

if TYPE_CHECKING:
    from wicketgate.config import StackConfig


def documents_of(config: StackConfig, root: Path) -> dict[str, str]:
    """The file of each target that has a document; raises DocumentError for those that are not of the target's address.

    Paths in the stack are from the project's folder, `root`.
    """
    found: dict[str, str] = {}
    problems: list[Problem] = []
    for name, target in sorted(config.targets.items()):
        if not isinstance(target, HttpTarget) or target.openapi is None:
            continue
        path = root / target.openapi
        try:
            openapi.read(path).at(target.address, Where(str(path)))
        except DocumentError as error:
            problems += error.problems
        found[name] = str(path)
    if problems:
        raise DocumentError(problems)
    return found


def operations_in(documents: Mapping[str, str]) -> dict[str, list[ApiOperation]]:
    """The operations of each target's document; raises DocumentError with what is wrong in all of them."""
    found: dict[str, list[ApiOperation]] = {}
    problems: list[Problem] = []
    for name, path in sorted(documents.items()):
        try:
            found[name] = list(openapi.read(path).operations)
        except DocumentError as error:
            problems += error.problems
    if problems:
        raise DocumentError(problems)
    return found
