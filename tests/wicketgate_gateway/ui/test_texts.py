"""Times, sizes and states in words; templates escape."""

from __future__ import annotations

import hashlib
import time

import pytest
from jinja2 import UndefinedError

from wicketgate_gateway.approvals.model import State
from wicketgate_gateway.ui import texts


def test_moments() -> None:
    assert "2026-01-02 03:04:05" in texts.moment(1767323045_123_000_000)
    assert 'datetime="2026-01-02T03:04:05.123Z"' in texts.moment(1767323045_123_000_000)
    assert texts.moment(None) == "–"
    now = time.time_ns()
    assert texts.ago(now - 90 * 10**9) == "90 s ago"
    assert texts.ago(now + 7200 * 10**9 + 10**8).startswith("in 2 h")
    assert texts.ago(None) == "–"
    assert texts.clock(3_723_400_000_000) == "1:02:03.4"
    assert texts.clock(-1) == "0:00.0"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.00005, "50 µs"),
        (0.25, "250 ms"),
        (1.5, "1.5 s"),
        (59, "59 s"),
        (600, "10 min"),
        (7200, "2 h"),
        (864000, "10 d"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert texts.duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 KB"), (123_456_789, "123 MB")])
def test_sizes(count: int, text: str) -> None:
    assert texts.size(count) == text


def test_states_are_badges_and_never_markup() -> None:
    assert texts.word(State.PENDING) == '<span class="badge is-pending">waits</span>'
    assert texts.word('"><script>') == '<span class="badge is-script">&#34;&gt;&lt;script&gt;</span>'


def test_templates_escape_and_miss_nothing() -> None:
    made = texts.environment()
    assert made.from_string("{{ x }}").render(x="<b>") == "&lt;b&gt;"
    assert made.from_string("{{ x|visible }}").render(x="<\u202e>") == "&lt;⟦U+202E⟧&gt;"
    with pytest.raises(UndefinedError):
        made.from_string("{{ nothing }}").render()


def test_assets_have_an_address_by_their_content() -> None:
    address = texts.asset("wicketgate.css")
    assert address.startswith("/ui/static/")
    assert address.endswith("/wicketgate.css")
    assert address == texts.asset("wicketgate.css")


def test_no_template_has_inline_script_or_style() -> None:
    for file in (texts.FOLDER / "templates").iterdir():
        text = file.read_text()
        for forbidden in ("<style", " style=", "javascript:", "|safe", "hx-on", "onclick", "onload", "js:", "http://"):
            assert forbidden not in text, (file.name, forbidden)
        for part in text.split("<script")[1:]:
            assert part.startswith(" src="), file.name


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("htmx.min.js", "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"),
        ("asciinema-player.css", "981fe7bc6042048b2a373b6da297f747e324e90a8b6264e833e3a92cec22dfb9"),
        ("asciinema-player.min.js", "752c9b528b664f5b16f27c68ba22fc7973d1d6063a1c3e4795a4c8015943acf6"),
        ("pico.min.css", "2830e93a11683edcd55d128ec84d842337ae041e59ea395a2f9150df80a67a68"),
    ],
)
def test_what_is_not_ours_is_unchanged(name: str, digest: str) -> None:
    assert hashlib.sha256((texts.FOLDER / "static" / name).read_bytes()).hexdigest() == digest
