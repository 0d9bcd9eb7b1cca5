"""Operations of a recording as a page shows them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from wicketgate_gateway.audit.events import Operation
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording.replay import Answered, Asked, Note, Output, Resized, Step
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


def gathered(
    given: Sequence[Step], protocol: str = "ssh", text: str = "", page: int = 0, go: str = ""
) -> dict[str, Any]:
    found = steps._Gathered(0, protocol, text, page, go)
    for step in given:
        found.take(step)
    return found.result()


def test_output_of_a_command_is_text_by_stream() -> None:
    data = b"\x1b[31mred\x1b[0m\x1b]0;title\x07\r\nnext \x08\xff <b>\xe2\x80\xae"
    given = [
        Asked(1, 0, "ls"),
        Output(1, 1, "stdout", b"caf\xc3"),
        Output(1, 2, "stdout", b"\xa9\n"),
        Output(1, 3, "stderr", data),
        Output(1, 4, "stdout", b"\x00\x01\x00\x00\x00\x00"),
        Answered(1, 9, 9, tag="exit 2"),
    ]
    (op,) = gathered(given)["operations"]
    out, err, binary, _ = op["parts"]
    assert (out["stream"], out["text"]) == ("stdout", "café\n")  # a character cut by two pieces is whole
    assert err["text"] == "red\nnext \x08\ufffd <b>\u202e"  # the template writes out what does not show itself
    assert binary["binary"]
    assert (op["status"], op["terminal"], op["id"]) == ("exit 2", True, "n1")


def test_what_belongs_together_stands_together() -> None:
    """Two channels side by side, and a person's answer between them."""
    given: list[Step] = [
        Asked(1, 0, "sleep 9"),
        Asked(2, 1, "id"),
        Output(1, 2, "stdout", b"x"),
        Note(3, "hold-1: Dana approves\u202e"),
        Output(2, 4, "stdout", b"y"),
        Output(1, 5, "stdout", b"z"),
        Resized(6, "", 1, 80, 24),
    ]
    first, second, note = gathered(given)["operations"]
    assert [part["text"] for part in first["parts"]] == ["xz"]
    assert [part["text"] for part in second["parts"]] == ["y"]
    assert note["note"] == "hold-1: Dana approves⟦U+202E⟧"
    assert first["pty"]


def test_requests_have_a_method_and_bodies_laid_out() -> None:
    given = [
        Asked(1, 0, "POST /orders?x=1"),
        Output(1, 1, "stdin", b'{"a":1,"a":2,"n":1.10}'),
        Output(1, 2, "stdout", b"plain"),
        Answered(1, 3, 2, tag="201 Created"),
    ]
    (op,) = gathered(given, "http")["operations"]
    assert op["request"] == ("POST", "/orders?x=1")
    assert (op["status"], op["terminal"]) == ("201 Created", False)
    body, answer, _ = op["parts"]
    assert (body["stream"], body["language"]) == ("request body", "json")
    assert body["text"] == '{\n  "a": 1,\n  "a": 2,\n  "n": 1.10\n}'
    assert (answer["stream"], answer["text"]) == ("answer", "plain")


def test_searching_across_the_border_of_pieces() -> None:
    given: list[Step] = [
        Asked(1, 0, "cat a"),
        Output(1, 10**9, "stdout", b"first\nthe pass"),
        Output(1, 2 * 10**9, "stdout", b"word is x\n"),
        Asked(2, 3 * 10**9, "id"),
        Output(2, 3 * 10**9, "stdout", b"uid"),
    ]
    found = gathered(given, text="PASSWORD")
    assert [op["number"] for op in found["operations"]] == [1]
    assert found["operations"][0]["finds"] == [(2.0, "the password is x")]
    assert gathered(given, text="nowhere")["count"] == 0


@pytest.mark.parametrize(
    ("go", "target", "page"),
    [
        ("1", "n1", 0),
        ("#150", "n150", 100),
        ("0:10", "n11", 0),
        ("0:02:05", "n126", 100),
        ("999", "", 0),
        ("<x>", "", 0),
    ],
)
def test_seeking(go: str, target: str, page: int) -> None:
    given: list[Step] = [Asked(n, (n - 1) * 10**9, f"op {n}") for n in range(1, 201)]
    found = gathered(given, go=go)
    assert (found["target"], found["page"]) == (target, page)
    assert not target or target in [op["id"] for op in found["operations"]]


def test_what_another_page_shows_is_only_counted() -> None:
    given: list[Step] = []
    for n in range(250):
        given += [Asked(n + 1, n, f"op {n + 1}"), Output(n + 1, n, "stdout", b"x" * 100)]
    found = steps._Gathered(0, "ssh", "", 100, "")
    for step in given:
        found.take(step)
    assert sum(bool(group.parts) for group in found._groups) == steps.PAGE
    shown = found.result()
    assert (shown["count"], shown["previous"], shown["next"]) == (250, 0, 200)
    assert [op["asked"]["text"] for op in shown["operations"]] == [f"op {n}" for n in range(101, 201)]


def test_what_is_long_is_bounded() -> None:
    given: list[Step] = [Asked(1, 0, "yes")]
    given += [Output(1, n, "stdout", b"y" * 32_000) for n in range(100)]
    (op,) = gathered(given)["operations"]
    assert (op["parts"][0]["size"], len(op["parts"][0]["text"])) == (3_200_000, steps.MAX_BODY)
    assert op["parts"][0]["cut"]
    given = [Asked(1, 0, "x"), *(Output(1, n, ("stdout", "stderr")[n % 2], b"z") for n in range(100))]
    (op,) = gathered(given)["operations"]
    assert (len(op["parts"]), op["more"]) == (steps.MAX_PARTS, 100 - steps.MAX_PARTS)


def test_a_state_without_a_store(tmp_path: Path) -> None:
    with pytest.raises(WicketgateError) as error:
        steps.Steps(tmp_path).read("last")
    assert error.value.code == "session-unknown"
    assert not steps.Steps(tmp_path).live("last")
