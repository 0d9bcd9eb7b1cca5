"""What templates say of times, sizes and states; every template escapes what it is given."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from wicketgate_gateway.approvals.display import visible
from wicketgate_gateway.ui.highlight import coloured

FOLDER = Path(__file__).parent
_WORDS = {
    "allow": "allowed",
    "deny": "denied",
    "hold": "held",
    "refused": "refused",
    "pending": "waits",
    "approved": "approved",
    "denied": "denied",
    "expired": "lapsed",
    "used": "used",
    "void": "void",
    "live": "live",
    "ended": "ended",
    "lost": "lost",
}


def environment() -> Environment:
    """Jinja with our filters; everything is escaped, and a name that is missing is an error."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        "moment": moment,
        "clock": clock,
        "ago": ago,
        "word": word,
        "visible": visible,
        "coloured": coloured,
        "coded": coded,
        "duration": duration,
        "size": size,
    }
    made.filters.update(filters)
    names: dict[str, Any] = {"asset": asset}
    made.globals.update(names)
    return made


def moment(ns: int | None) -> Markup:
    """A `<time>`: the day and time in UTC, for machines to the millisecond."""
    if ns is None:
        return Markup("–")
    at = datetime.fromtimestamp(ns / 1e9, UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        at.isoformat(timespec="milliseconds").replace("+00:00", "Z"), at.strftime("%Y-%m-%d %H:%M:%S")
    )


def clock(ns: int) -> str:
    """Nanoseconds since a start, as `1:02:03.4`."""
    seconds, tenths = divmod(max(ns, 0) // 100_000_000, 10)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:{minutes:02d}" if hours else str(minutes)) + f":{seconds:02d}.{tenths}"


def ago(ns: int | None) -> str:
    """How long since, or until, a moment, in one unit."""
    if ns is None:
        return "–"
    seconds = time.time() - ns / 1e9
    text = duration(abs(seconds))
    return f"in {text}" if seconds < 0 else f"{text} ago"


def duration(seconds: float) -> str:
    """Seconds in one unit that a person reads."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def size(count: int) -> str:
    """Bytes in a unit that a person reads."""
    value = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


def word(state: object) -> Markup:
    """A state as a badge."""
    name = str(getattr(state, "value", state))
    return Markup('<span class="badge is-{}">{}</span>').format(
        "".join(c for c in name if c.isalpha()), _WORDS.get(name, name)
    )


def coded(text: str) -> Markup:
    """A text of ours, with what stands in backticks set as code."""
    parts = visible(text).split("`")
    if len(parts) % 2 == 0:  # one without its partner
        return Markup("").join([visible(text)])
    return Markup("").join(Markup("<code>{}</code>").format(part) if n % 2 else part for n, part in enumerate(parts))


_versions: dict[str, str] = {}


def asset(name: str) -> str:
    """The address of a static file, which changes when the file does."""
    if name not in _versions:
        import hashlib

        _versions[name] = hashlib.sha256((FOLDER / "static" / name).read_bytes()).hexdigest()[:12]
    return f"/ui/static/{_versions[name]}/{name}"
