"""What a terminal showed, as the player gets it."""

from __future__ import annotations

import json

from wicketgate_gateway.recording.replay import Answered, Asked, Output, Resized, Step
from wicketgate_gateway.ui import terminal
from wicketgate_gateway.ui.terminal import Clock, cast

SECOND = 10**9


def test_a_shell_is_played_as_it_was() -> None:
    given: list[Step] = [
        Asked(1, 0, "other"),
        Asked(2, 5 * SECOND, "shell"),
        Resized(5 * SECOND, "", 2, 120, 40),
        Output(2, 6 * SECOND, "stdout", b"\x1b[31m$ \xe2\x82", pty=True),
        Output(1, 6 * SECOND, "stdout", b"not this one"),
        Output(2, 6 * SECOND, "stdin", b"ls\r", pty=True),
        Output(2, 7 * SECOND, "stdout", b"\xac\r\nraw\n", pty=True),
        Resized(60 * SECOND, "", 2, 80, 24),
        Answered(2, 61 * SECOND, tag="exit 0"),
    ]
    made = cast(given, 2)
    assert made is not None
    head, *events = (json.loads(line) for line in made.lines())
    assert head == {"version": 3, "term": {"cols": 120, "rows": 40}, "title": "shell"}
    assert events == [
        [1.0, "o", "\x1b[31m$ "],
        [0.0, "i", "ls\r"],
        [1.0, "o", "€\r\nraw\n"],
        [2.0, "r", "80x24"],  # the pause is cut
    ]
    assert cast(given, 3) is None


def test_without_a_terminal_lines_begin_at_the_left() -> None:
    made = cast([Asked(1, 0, "ls"), Output(1, 1, "stdout", b"a\nb\n"), Output(1, 2, "stderr", b"c\n")], 1)
    assert made is not None
    assert "".join(text for _, _, text in made.events) == "a\r\nb\r\nc\r\n"


def test_what_turns_the_direction_is_written_out() -> None:
    text = "a\u202eb\u2066c\u061cd é 👩\u200d🚀"
    made = cast([Asked(1, 0, "cat"), Output(1, 1, "stdout", text.encode())], 1)
    assert made is not None
    assert made.events[0][2] == "a⟦U+202E⟧b⟦U+2066⟧c⟦U+061C⟧d é 👩\u200d🚀"


def test_it_is_bounded() -> None:
    given: list[Step] = [Asked(1, 0, "yes"), Resized(0, "", 1, 10**9, 10**9)]
    given += [Output(1, n, "stdout", b"y" * (1 << 20)) for n in range(20)]
    made = cast(given, 1)
    assert made is not None
    assert made.cut
    assert sum(len(text) for _, _, text in made.events) <= terminal.MAX_SHOWN
    assert (made.columns, made.rows) == (500, 500)
    assert cast([Asked(1, 0, "x"), Resized(0, "", 1, 0, -1)], 1) == terminal.Cast("x")


def test_the_clock_cuts_pauses_and_never_goes_back() -> None:
    clock = Clock(0)
    assert [clock.tick(t) for t in (SECOND, 100 * SECOND, 50 * SECOND, 101 * SECOND)] == [1.0, 3.0, 3.0, 4.0]
