"""A held operation as it reads, by protocol: all of it, in parts."""

from __future__ import annotations

from typing import Any

import pytest

from wicketgate_gateway.approvals.model import Parameter, Request
from wicketgate_gateway.ui import operation


def request(statement: str, protocol: str, parameters: tuple[Parameter, ...] = ()) -> Request:
    values: dict[str, Any] = dict.fromkeys(("bot_id", "bot", "owner", "owner_id", "target", "session", "policy"), "x")
    values |= dict.fromkeys(("handle", "digest", "seal", "rule"), "x")
    return Request(
        **values, statement=statement, protocol=protocol, parameters=parameters, approver_groups=(), approver_names=(),
        quorum=1, created=0, expires=0, use_within=1.0, reuse=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("statement", "protocol", "headline", "parts"),
    [
        ("DELETE\nFROM t", "postgres", "DELETE FROM t", [("Statement", "DELETE\nFROM t", "postgres")]),
        ('{"a": 1}', "postgres", '{"a": 1}', [("Statement", '{"a": 1}', "postgres")]),
        ("rm -rf /x", "ssh", "rm -rf /x", [("Command", "rm -rf /x", "ssh")]),
        (
            'POST /orders?x=1\ncontent-type: application/json\n\n{"n":1}',
            "http",
            "POST /orders?x=1",
            [
                ("Request", "POST /orders?x=1\ncontent-type: application/json", ""),
                ("Body", '{\n  "n": 1\n}', "json"),
            ],
        ),
        ("DELETE /x\n\n", "http", "DELETE /x", [("Request", "DELETE /x", "")]),
        ("no request", "http", "no request", [("Operation", "no request", "http")]),
        (
            '{"do": "delete pods web-1 in prod", "body": null}',
            "kubernetes",
            "delete pods web-1 in prod",
            [("Request", '{\n  "do": "delete pods web-1 in prod",\n  "body": null\n}', "json")],
        ),
        ("not json", "kubernetes", "not json", [("Request", "not json", "kubernetes")]),
    ],
)
def test_by_protocol(statement: str, protocol: str, headline: str, parts: list[tuple[str, str, str]]) -> None:
    found = request(statement, protocol)
    assert operation.headline(found) == headline
    assert [(b.title, b.text, b.language) for b in operation.blocks(found)] == parts


def test_what_a_command_reads_is_shown_as_text() -> None:
    given = (Parameter("stdin", 1, b"DROP TABLE x;\n"), Parameter("stdin", 1, b"\xff\x00"))
    found = request("psql", "ssh", given)
    _, text, binary = operation.blocks(found)
    assert text.text == "DROP TABLE x;\n"
    assert binary.text == "ff00"
    assert operation.bound(found) == []
    bound = operation.bound(request("SELECT $1", "postgres", (Parameter("23", 1, b"\0\0\0\x2a"),)))
    assert bound == [{"number": 1, "type": "23", "value": "\\x0000002a"}]
