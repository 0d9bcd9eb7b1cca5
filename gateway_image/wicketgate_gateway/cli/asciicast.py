"""A replay as a terminal recording for asciinema and its player: asciicast v3.

How this works (docs.asciinema.org/manual/asciicast/v3): a head line, then for each step `[seconds since the one
before, "o", what a terminal shows]`. What is shown is what `replay` shows on a terminal, so nothing that a bot or a
server sent controls the player.
"""

from __future__ import annotations

import io
from typing import Any, TextIO

from rich.console import Console

from wicketgate_gateway.audit.events import Operation
from wicketgate_gateway.audit.query import SessionRow
from wicketgate_gateway.cli import output, render
from wicketgate_gateway.recording.replay import FILE_READ, FILE_WRITTEN, Output, Resized, Step

COLUMNS = 120
ROWS = 40


class Asciicast:
    """Writes one recording to `file`; pauses are cut to `idle` seconds."""

    def __init__(self, file: TextIO, *, idle: float, since: int) -> None:
        self._file = file
        self._idle = idle
        self._last = since
        self._buffer = io.StringIO()
        console = Console(
            file=self._buffer,
            force_terminal=True,
            color_system="256",
            width=COLUMNS,
            height=ROWS,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
            no_color=False,
        )
        self._shown = render.Terminal(console, ROWS)

    def head(self, row: SessionRow, described: dict[str, Any]) -> None:
        """The head line, and who, where, when."""
        started = row.started
        self._line(
            {
                "version": 3,
                "term": {"cols": COLUMNS, "rows": ROWS, "type": "xterm-256color"},
                "timestamp": started.time // 1_000_000_000,
                "title": f"{started.bot} to {started.target}, session {started.session}",
            }
        )
        self._shown.head(row, described)
        self._flush(0.0)

    def step(self, step: Step, start: int) -> None:
        """One step, at its time."""
        pause = max(0, step.time - self._last) / 1e9
        self._last = max(self._last, step.time)
        if isinstance(step, Output) and step.stream not in (FILE_READ, FILE_WRITTEN):
            # What a terminal got is the recording itself; a player draws it on a terminal of its own.
            text = step.data.decode("utf-8", "replace")
            code = "i" if step.stream == "stdin" else "o"
            text = text if step.pty or code == "i" else text.replace("\n", "\r\n")
            self._line([round(min(pause, self._idle), 6), code, text])
            return
        if isinstance(step, Resized):
            self._line([round(min(pause, self._idle), 6), "r", f"{step.columns}x{step.rows}"])
            return
        self._shown.step(step, start)
        self._flush(min(pause, self._idle))

    def end(self, problems: list[str], note: str, missing: list[Operation]) -> None:
        """How complete the recording is."""
        self._shown.end(problems, note, missing)
        self._flush(0.0)
        self._line([0.0, "x", "1" if problems else "0"])

    def _flush(self, pause: float) -> None:
        text = self._buffer.getvalue()
        self._buffer.seek(0)
        self._buffer.truncate()
        if text:
            self._line([round(pause, 6), "o", text.replace("\n", "\r\n")])

    def _line(self, data: Any) -> None:
        self._file.write(output.to_json(data) + "\n")
