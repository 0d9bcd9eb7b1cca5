"""Steps of a recording as a page shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from wicketgate_gateway.audit.events import Operation
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording.replay import Answered, Asked, Note, Output
from wicketgate_gateway.ui import steps
from wicketgate_gateway.wire.postgres.messages import FieldDescription


def column(name: str, type_oid: int = 25) -> FieldDescription:
    return FieldDescription(name, 0, 0, type_oid, -1, -1, 0)


def test_a_statement_with_its_verdict() -> None:
    operation = Operation(
        time=7, session="s", seq=1, statement="SELECT 1", effect="deny", rule="p#2", reason="no\u202e"
    )
    shown = steps._step(Asked(1, 1007, "SELECT $1", True, [b"x", None], [], operation), 1000)
    assert (shown["at"], shown["verdict"], shown["rule"], shown["reason"]) == (7, "deny", "p#2", "no⟦U+202E⟧")
    assert [p.strip("'") for p in shown["parameters"]] == ["x", "NULL"]
    long = steps._step(Asked(1, 0, "x" * 50_000), 0)
    assert long["cut"]
    assert len(long["text"]) == steps.MAX_STATEMENT


def test_a_result_and_an_error() -> None:
    rows: list[list[bytes | None]] = [[b"1", None], [b"x" * 1000, b"\xff"]]
    shown = steps._step(Answered(1, 2, 3, (column("id"), column("no\u202e")), rows, 5, "SELECT 5"), 0)
    assert shown["columns"] == ["id", "no⟦U+202E⟧"]
    assert shown["rows"][0] == ["1", None]
    assert len(shown["rows"][1][0]) == steps.MAX_CELL + 1
    assert shown["more"] == 3
    failed = steps._step(Answered(1, 2, error={"C": "22012", "M": "division by zero"}, notices=[{"M": "hm"}]), 0)
    assert failed["error"]["C"] == "22012"
    assert failed["notices"] == ["hm"]
    assert "division" in failed["all"]


def test_output_of_a_command_is_text() -> None:
    data = b"\x1b[31mred\x1b[0m\x1b]0;title\x07\r\nnext \x08\xff"
    shown = steps._step(Output(1, 5, "stdout", data), 0)
    assert shown["text"] == "red\nnext ⟦U+0008⟧\ufffd"
    assert shown["stream"] == "stdout"


def test_a_note() -> None:
    assert steps._step(Note(5, "cut"), 0)["text"] == "cut"


def test_a_state_without_a_store(tmp_path: Path) -> None:
    with pytest.raises(WicketgateError) as error:
        steps.Steps(tmp_path).read("last")
    assert error.value.code == "session-unknown"
