from __future__ import annotations

import io

from rich.console import Console

from wicketgate_gateway.audit.events import Operation
from wicketgate_gateway.cli.render import Terminal, cells
from wicketgate_gateway.recording.replay import Answered, Asked, Note
from wicketgate_gateway.wire.postgres.messages import FieldDescription

ID = FieldDescription("id", 1, 1, 23)


def show(*steps: Asked | Answered | Note, terminal: bool = True) -> str:
    console = Console(
        file=io.StringIO(), force_terminal=terminal, color_system=None, width=80, markup=False, highlight=False
    )
    shown = Terminal(console, 20)
    for step in steps:
        shown.step(step, 0)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_values_follow_types_and_formats() -> None:
    answered = Answered(1, 0, columns=(ID._replace(format=1), ID))
    assert cells(answered, [b"\0\0\0\7", b"8", b"9"]) == ["7", "8", "9"]
    assert cells(answered, [None]) == [None]


def test_a_statement_and_its_answer() -> None:
    operation = Operation(time=0, seq=1, statement="SELECT 1", effect="allow", rule="p#1", masked=True)
    out = show(
        Asked(1, 1_500_000_000, "SELECT $1", prepared=True, parameters=[b"x", None], operation=operation),
        Answered(1, 0, 2_000_000, columns=(ID,), rows=[[b"7"]], row_count=5),
    )
    assert "+1.500s" in out
    assert "✔ allow  p#1  masked  prepared" in out
    assert "$1 = 'x', $2 = NULL" in out
    assert "│  7 │" in out
    assert "5 rows (1 shown) · 2.0 ms" in out


def test_answers_out_of_turn_say_to_what() -> None:
    out = show(Asked(1, 0, "SELECT 1"), Asked(2, 0, "SELECT 2"), Answered(1, 0, tag="SELECT 0"))
    assert "no verdict" in out
    assert "(to statement 1) · SELECT 0" in out


def test_an_unfinished_copy_and_a_note() -> None:
    out = show(Asked(1, 0, "COPY"), Answered(1, 0, copied=1500, complete=False), Note(0, "bytes\x1b[2J"))
    assert "1.5 KB copied · no complete answer is recorded" in out
    assert "note: bytes\\x1b[2J" in out


def test_markup_in_data_is_data() -> None:
    out = show(
        Asked(1, 0, "SELECT '[red]x[/red]'"),
        Answered(1, 0, columns=(ID._replace(name="[bold]c"),), rows=[[b"[link=http://x]y"]], row_count=1),
        Answered(
            1,
            0,
            error={"S": "ERROR", "C": "XX000", "M": "[blink]no", "H": "[u]try"},
            notices=[{"S": "NOTICE", "M": "[b]"}],
        ),
    )
    for text in (
        "'[red]x[/red]'",
        "[bold]c",
        "[link=http://x]y",
        "ERROR XX000: [blink]no",
        "hint: [u]try",
        "NOTICE:  [b]",
    ):
        assert text in out


def test_long_values_and_texts_are_cut() -> None:
    out = show(Asked(1, 0, "x" * 30_000), Answered(1, 0, columns=(ID,), rows=[[b"y" * 1000]], row_count=1))
    assert "(30,000 characters)" in out
    assert out.count("y") == 200
