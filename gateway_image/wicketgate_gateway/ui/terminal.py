"""What a terminal showed, for the player in the page: one operation's output as a terminal recording.

How this works: the steps of a recording that belong to one operation become asciicast v3
(docs.asciinema.org/manual/asciicast/v3), byte for byte what the bot's terminal got; without a terminal, line ends are
made those of one. Pauses are cut to `IDLE` seconds, by the same clock with which a page says where in the player a
moment is. Escape sequences are the player's to draw: it knows a grid of cells, and no markup. Controls that turn the
direction of text would make cells lie, and are written out.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from wicketgate_gateway.recording.replay import Asked, Output, Resized, Step

IDLE = 2.0
"""Seconds that a pause lasts at most."""
MAX_SHOWN = 8 * 1024 * 1024
"""Bytes of output that are played; the recording holds all of it."""
COLUMNS, ROWS = 100, 30
_MOST = 500
"""Columns and rows: a terminal of more is drawn as one of so many."""
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_STREAMS = ("stdin", "stdout", "stderr")


class Clock:
    """Moments of a recording (ns since 1970) as seconds of the player, which cuts pauses short."""

    def __init__(self, start: int) -> None:
        self._last = start
        self.now = 0.0

    def tick(self, time: int) -> float:
        """Where in the player `time` is; moments come in order."""
        self.now += min(max(0, time - self._last) / 1e9, IDLE)
        self._last = max(self._last, time)
        return self.now


@dataclass(slots=True)
class Cast:
    """One operation's output. `events` are (seconds, `o`, `i` or `r`, text)."""

    title: str
    columns: int = COLUMNS
    rows: int = ROWS
    events: list[tuple[float, str, str]] = field(default_factory=list[tuple[float, str, str]])
    cut: bool = False

    def lines(self) -> Iterator[str]:
        """As asciicast v3."""
        head = {"version": 3, "term": {"cols": self.columns, "rows": self.rows}, "title": self.title}
        yield json.dumps(head) + "\n"
        last = 0.0
        for at, code, text in self.events:
            # Differences of rounded moments: many of them must not add up to another moment.
            yield json.dumps([round(round(at, 6) - last, 6), code, text]) + "\n"
            last = round(at, 6)


def cast(steps: Iterable[Step], number: int) -> Cast | None:
    """The recording of the operation with that number; None if there is none. `steps` are the session's."""
    made: Cast | None = None
    clock = Clock(0)
    outputs: list[tuple[float, str, bytes]] = []
    sizes: list[tuple[float, int, int]] = []
    size, pty = 0, False
    for step in steps:
        if getattr(step, "number", 0) != number:
            continue
        match step:
            case Asked():
                made, clock = Cast(step.text[:200]), Clock(step.time)
            case Resized() if made is not None:
                at = clock.tick(step.time)
                if step.columns > 0 and step.rows > 0:
                    sizes.append((at, min(step.columns, _MOST), min(step.rows, _MOST)))
                pty = True
            case Output() if made is not None and step.stream in _STREAMS:
                at = clock.tick(step.time)
                pty = pty or step.pty or (step.stream != "stdin" and b"\r\n" in step.data)
                size += len(step.data)
                if size > MAX_SHOWN:
                    made.cut = True
                else:
                    outputs.append((at, step.stream, step.data))
            case _:
                pass
    if made is not None:
        if sizes:
            _, made.columns, made.rows = sizes[0]
        changes = [(at, "r", f"{columns}x{rows}") for at, columns, rows in sizes[1:]]
        made.events = sorted([*_texts(outputs, pty=pty), *changes], key=lambda event: event[0])
    return made


def _texts(outputs: Iterable[tuple[float, str, bytes]], *, pty: bool) -> Iterator[tuple[float, str, str]]:
    # A character may be cut by the border between two pieces: each stream is decoded as a whole.
    decoders = {stream: codecs.getincrementaldecoder("utf-8")("replace") for stream in _STREAMS}
    for at, stream, data in outputs:
        text = shown(decoders[stream].decode(data))
        code = "i" if stream == "stdin" else "o"
        if text:
            yield at, code, text if pty or code == "i" else text.replace("\n", "\r\n")


def shown(text: str) -> str:
    """Text for the player: what would turn the direction of cells is written out."""
    return _BIDI.sub(lambda found: f"⟦U+{ord(found[0]):04X}⟧", text)
