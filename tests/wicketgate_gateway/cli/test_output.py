from __future__ import annotations

import json
import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.cli import output
from wicketgate_gateway.contract.errors import WicketgateError


@given(st.text(st.characters(codec=None, exclude_categories=[])))
def test_nothing_that_moves_or_hides_reaches_a_terminal(text: str) -> None:
    for line in (False, True):
        shown = output.clean(text, line=line)
        left = [
            c for c in shown if unicodedata.category(c) in ("Cc", "Cs") or c in "\u202e\u2066\u200b\u2028\U000e0041"
        ]
        assert set(left) <= (set() if line else {"\n", "\t"})


def test_clean_shows_what_was_there() -> None:
    assert output.clean("a\x1b[31m\x9b\u202e\tb\nc\r") == "a\\x1b[31m\\x9b\\u202e\tb\nc\\x0d"
    assert output.clean("a\tb\nc", line=True) == "a b c"
    assert output.clean("äöü 你好 🙂") == "äöü 你好 🙂"


@given(st.text())
def test_json_is_ascii_on_one_line(text: str) -> None:
    line = output.to_json({"x": text})
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {"x": text}


def test_columns(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_columns(("a", "long title"), [("value", "x"), ("\x1b[2J", "")])
    assert capsys.readouterr().out == "a        long title\nvalue    x\n\\x1b[2J\n"
    output.print_columns(("a",), [])
    assert capsys.readouterr().out == ""


def test_times() -> None:
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    at = int(now.timestamp()) * 10**9
    assert output.moment("30m", "--since", now=now) == at - 1800 * 10**9
    assert output.moment("7d", "--since", now=now) == at - 7 * 86400 * 10**9
    assert output.moment("2026-11-24T12:00:00Z", "--since") == at
    assert output.moment("2026-11-24T13:00:00+01:00", "--since") == at
    assert output.iso(at + 1_234_567) == "2026-11-24T12:00:00.001234Z"
    for bad in ("tomorrow", "", "5", "5 m", "-5m", "2026-13-01", "9999999999m"):
        with pytest.raises(WicketgateError) as caught:
            output.moment(bad, "--since")
        assert caught.value.code == "time-invalid"


def test_local_time_has_the_date_unless_it_is_today() -> None:
    assert len(output.local(int(datetime.now(UTC).timestamp() * 1e9))) in (8, 19)
    assert output.local(0).startswith(("1970-01-01 ", "1969-12-31 "))


@pytest.mark.parametrize(
    ("ns", "shown"),
    [
        (0, "0 µs"),
        (850_999, "850 µs"),
        (1_250_000, "1.2 ms"),
        (3_400_000_000, "3.4 s"),
        (125 * 10**9, "2m 05s"),
        (11_220 * 10**9, "3h 07m"),
    ],
)
def test_durations(ns: int, shown: str) -> None:
    assert output.duration(ns) == shown


def test_digests_are_shortened_after_their_kind() -> None:
    assert output.digest("sha256:" + "ab" * 32) == "sha256:abababababab"
    assert output.digest("ab" * 32) == "abababababab"
    assert output.digest("") == ""


def test_sizes_and_counts() -> None:
    assert [output.size(n) for n in (0, 999, 1500, 25_000, 3_000_000, 7_500_000_000)] == [
        "0 B",
        "999 B",
        "1.5 KB",
        "25 KB",
        "3.0 MB",
        "7.5 GB",
    ]
    assert [output.count(1, "row"), output.count(2000, "row"), output.count(2, "reply", "replies")] == [
        "1 row",
        "2,000 rows",
        "2 replies",
    ]


@pytest.mark.parametrize(
    ("text", "seconds"), [("0:00", 0), ("12:30", 750), ("1:02:03", 3723), ("0:01.5", 1.5), ("90s", 90), ("5m", 300)]
)
def test_places_in_a_recording(text: str, seconds: float) -> None:
    assert output.offset(text, 7) == 7 + int(seconds * 1_000_000_000)


def test_a_place_by_date_and_what_is_none() -> None:
    assert output.offset("1970-01-01T00:00:05+00:00", 7) == 5_000_000_000
    for wrong in ("", "soon", "1:2:3:4", "-1:00"):
        with pytest.raises(WicketgateError):
            output.offset(wrong, 0)
