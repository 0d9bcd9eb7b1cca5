"""A held operation as an approver reads it, by protocol: a headline, and blocks that together are all of it.

Nothing is left out and nothing is added: blocks follow the stored text. JSON is laid out, and stays the same JSON
(`layout.py`); what goes in on standard input is shown as text where it is text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from wicketgate_gateway.approvals import display
from wicketgate_gateway.approvals.model import Parameter, Request
from wicketgate_gateway.ui.layout import laid_out

STDIN = "stdin"


@dataclass(frozen=True, slots=True)
class Block:
    """A part of an operation. `language` is one of `highlight.coloured`, or empty."""

    title: str
    text: str
    language: str


def headline(request: Request) -> str:
    """The operation in one line, for lists and titles."""
    if request.protocol == "kubernetes":
        try:
            found = json.loads(request.statement)
        except ValueError:
            found = None
        if isinstance(found, dict) and isinstance(found.get("do"), str):
            return str(found["do"])
    if request.protocol == "http":
        return request.statement.partition("\n")[0]
    return " ".join(request.statement.split())


def blocks(request: Request) -> list[Block]:
    """All of the operation, in parts."""
    return [*_statement(request), *_input(request)]


def _statement(request: Request) -> Iterator[Block]:
    text = request.statement
    if request.protocol == "http":
        head, gap, body = text.partition("\n\n")
        if gap:
            yield Block("Request", head, "")
            if body:
                laid, language = laid_out(body)
                yield Block("Body", laid, language)
            return
    laid, language = laid_out(text) if request.protocol == "kubernetes" else (text, "")
    title = {"postgres": "Statement", "ssh": "Command", "kubernetes": "Request"}.get(request.protocol, "Operation")
    yield Block(title, laid, language or request.protocol)


def _input(request: Request) -> Iterator[Block]:
    for parameter in request.parameters:
        if is_input(request, parameter) and parameter.value is not None:
            try:
                yield Block("Standard input", parameter.value.decode(), "")
            except UnicodeDecodeError:
                yield Block("Standard input, which is no text, in hexadecimal", parameter.value.hex(), "")


def is_input(request: Request, parameter: Parameter) -> bool:
    """Whether a parameter is what a command reads."""
    return request.protocol == "ssh" and parameter.type == STDIN


def bound(request: Request) -> list[dict[str, object]]:
    """The other parameters, as a table shows them."""
    return [
        {"number": number, "type": each.type, "value": display.parameter(each)}
        for number, each in enumerate(request.parameters, 1)
        if not is_input(request, each)
    ]
