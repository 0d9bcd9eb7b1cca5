"""What all verbs print: for people on a terminal, plain for pipes, JSON for programs.

How this works: nothing that a bot, a client or a server sent reaches a terminal as it is: `clean` makes control
characters visible, so that a recorded escape sequence cannot move the cursor, set the title or hide a line. Colours
appear only on a terminal, and not with NO_COLOR (no-color.org); a table in a pipe is columns of plain text, uncut.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from wicketgate_gateway.contract.errors import WicketgateError

if TYPE_CHECKING:
    from rich.console import Console

# C0 and C1 controls, and what reorders or hides text: bidirectional controls, zero-width and tag characters.
_HIDDEN = "\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f"
_UNSAFE = re.compile(f"[\x00-\x08\x0b-\x1f{_HIDDEN}]")
_UNSAFE_IN_LINE = re.compile(f"[\x00-\x1f{_HIDDEN}]")
_DURATION = re.compile(r"(\d{1,9})(ms|s|m|h|d|w)\Z")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def clean(text: str, *, line: bool = False) -> str:
    """`text` with control characters made visible; as one `line`, also its line breaks and tabs."""
    if line:
        text = " ".join(text.split("\n")).replace("\t", " ")
    return (_UNSAFE_IN_LINE if line else _UNSAFE).sub(_visible, text)


def _visible(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def console(*, stderr: bool = False) -> Console:
    """A console for people. In a pipe it has no colours and never breaks a line."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    terminal = stream.isatty()
    return Console(
        file=stream,
        highlight=False,
        markup=False,
        emoji=False,
        width=None if terminal else 10_000,
        force_terminal=terminal,
        color_system="auto" if terminal else None,
    )


def to_json(data: Any) -> str:
    """One line of JSON in plain ASCII: safe to print on a terminal, too."""
    return json.dumps(data, ensure_ascii=True, separators=(",", ":"))


def print_json(data: Any) -> None:
    """Print one object on one line."""
    sys.stdout.write(to_json(data) + "\n")


def print_columns(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table for pipes: two spaces between columns, nothing cut, no line at all if there are no rows."""
    table = [list(titles), *([clean(cell, line=True) for cell in row] for row in rows)]
    if len(table) == 1:
        return
    widths = [max(len(row[i]) for row in table) for i in range(len(titles))]
    for row in table:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(line.rstrip() + "\n")


def iso(ns: int) -> str:
    """Nanoseconds since 1970 as RFC 3339 in UTC, to the microsecond."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ns // 1000)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def local(ns: int) -> str:
    """Nanoseconds since 1970 in the reader's time zone: the time alone if that is today, else with the date."""
    moment = datetime.fromtimestamp(ns / 1e9).astimezone()
    today = datetime.now().astimezone().date()
    return moment.strftime("%H:%M:%S" if moment.date() == today else "%Y-%m-%d %H:%M:%S")


def duration(ns: int) -> str:
    """A time span for people: `850 µs`, `1.2 ms`, `3.4 s`, `2m 05s`, `3h 07m`."""
    if ns < 1_000_000:
        return f"{ns // 1000} µs"
    if ns < 1_000_000_000:
        return f"{ns / 1e6:.1f} ms"
    seconds = ns / 1e9
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds) // 60}m {int(seconds) % 60:02d}s"
    return f"{int(seconds) // 3600}h {int(seconds) % 3600 // 60:02d}m"


def size(count: int) -> str:
    """Bytes for people."""
    value = float(count)
    for unit in ("B", "KB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def digest(text: str) -> str:
    """The beginning of a digest, as in `sha256:1f2e…`: enough to tell bundles apart."""
    kind, colon, value = text.rpartition(":")
    return kind + colon + value[:12]


def count(number: int, one: str, many: str = "") -> str:
    """`1 row`, `1,000 rows`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def moment(text: str, option: str, *, now: datetime | None = None) -> int:
    """A point in time as a person writes it, in nanoseconds since 1970: `24h` (ago), or an ISO date with or without
    a time; without a zone, the reader's.

    Raises WicketgateError.
    """
    match = _DURATION.match(text)
    if match:
        at = (now or datetime.now(UTC)) - timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
    else:
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise WicketgateError(
                f"`{text}` is not a time for {option}",
                code="time-invalid",
                remedy="write how long ago it is (`30m`, `24h`, `7d`) or a date (`2026-11-24`, `2026-11-24T20:30`)",
            ) from None
        at = at.astimezone()
    return int(at.timestamp() * 1_000_000) * 1000


_OFFSET = re.compile(r"(?:(\d{1,3}):)?(\d{1,3}):(\d{1,2}(?:\.\d{1,9})?)\Z")


def offset(text: str, start: int) -> int:
    """A place in a recording that began at `start`: `12:30`, `1:02:03` or `90s` from there, or a date and time; in ns
    since 1970. Raises WicketgateError.
    """
    match = _OFFSET.match(text)
    if match:
        seconds = int(match[1] or 0) * 3600 + int(match[2]) * 60 + float(match[3])
        return start + int(seconds * 1_000_000_000)
    found = _DURATION.match(text)
    if found:
        return start + int(int(found[1]) * _SECONDS[found[2]] * 1_000_000_000)
    try:
        return int(datetime.fromisoformat(text).astimezone().timestamp() * 1_000_000) * 1000
    except ValueError:
        raise WicketgateError(
            f"`{text}` is not a place in a recording",
            code="time-invalid",
            remedy="write minutes and seconds from its start (`12:30`), or a date and time (`2026-11-24T20:30:05`)",
        ) from None


@contextmanager
def written(path: Path | None) -> Generator[TextIO]:
    """A file that is there whole, for its owner alone, or not at all; standard output for None."""
    if path is None:
        yield sys.stdout
        return
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            yield file
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
