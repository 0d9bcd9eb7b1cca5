"""How a replay looks: for people, with colours on a terminal; or one JSON object for each step."""

from __future__ import annotations

import base64
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from wicketgate_gateway.audit.events import Operation
from wicketgate_gateway.audit.query import SessionRow
from wicketgate_gateway.cli import output
from wicketgate_gateway.recording import values
from wicketgate_gateway.recording.replay import FILE_READ, FILE_WRITTEN, Answered, Asked, Note, Output, Step

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

_VERDICTS = {"allow": ("✔", "green"), "deny": ("✘", "bold red"), "hold": ("◷", "yellow")}
_MAX_CELL = 200
_MAX_TEXT = 20_000
_MAX_LINES = 500


def cells(answered: Answered, row: Sequence[bytes | None]) -> list[str | None]:
    """A row's values as text, by the types and formats of its columns; without a description, as far as it is text."""
    columns = answered.columns
    shown: list[str | None] = []
    for number, value in enumerate(row):
        type_oid, code = (columns[number].type_oid, columns[number].format) if number < len(columns) else (0, 0)
        shown.append(None if value is None else values.show(value, type_oid, code))
    return shown


class Json:
    """One object a line."""

    def __init__(self, max_rows: int, file: TextIO | None = None) -> None:
        self._max_rows = max_rows
        self._file = file

    def _print(self, data: dict[str, Any]) -> None:
        (self._file or sys.stdout).write(output.to_json(data) + "\n")

    def head(self, row: SessionRow, described: dict[str, Any]) -> None:
        """The session."""
        self._print({"step": "session", **described})

    def step(self, step: Step, start: int) -> None:
        """One step; `offset_us` counts from the session's start."""
        common = {"offset_us": (step.time - start) // 1000, "time": output.iso(step.time)}
        match step:
            case Asked():
                operation = step.operation
                self._print(
                    {
                        "step": "statement",
                        "number": step.number,
                        **common,
                        "text": step.text,
                        "prepared": step.prepared,
                        "parameters": values.show_parameters(step.parameters, step.formats),
                        "seq": operation.seq if operation else None,
                        "verdict": operation.effect if operation else None,
                        "rule": operation.rule if operation else None,
                        "code": operation.code if operation else None,
                        "reason": operation.reason if operation else None,
                        "masked": operation.masked if operation else None,
                    }
                )
            case Answered():
                self._print(
                    {
                        "step": "result",
                        "number": step.number,
                        **common,
                        "duration_us": step.duration_ns // 1000,
                        "tag": step.tag,
                        "columns": [column.name for column in step.columns],
                        "rows": [cells(step, row) for row in step.rows],
                        "row_count": step.row_count,
                        "copied_bytes": step.copied,
                        "error": _report(step.error),
                        "notices": [_report(notice) for notice in step.notices],
                        "complete": step.complete,
                    }
                )
            case Note():
                self._print({"step": "note", **common, "text": step.text})
            case Output():
                text = step.data.decode("utf-8", "backslashreplace")
                shown: dict[str, Any] = {"number": step.number, **common, "stream": step.stream, "text": text}
                if step.stream in (FILE_READ, FILE_WRITTEN):
                    shown["base64"] = base64.b64encode(step.data).decode()
                self._print({"step": "output", **shown})

    def end(self, problems: list[str], note: str, missing: list[Operation]) -> None:
        """How complete the recording is."""
        self._print(
            {
                "step": "end",
                "whole": not problems and not note.startswith("the session is still"),
                "note": note,
                "problems": problems,
                "missing": [operation.seq for operation in missing],
            }
        )


def _report(fields: dict[str, str]) -> dict[str, str] | None:
    names = {"S": "severity", "C": "sqlstate", "M": "message", "D": "detail", "H": "hint"}
    return {names[letter]: text for letter, text in fields.items() if letter in names} or None


class Terminal:
    """For people."""

    def __init__(self, console: Console, max_rows: int) -> None:
        self._console = console
        self._max_rows = max_rows
        self._fancy = console.is_terminal
        self._last_asked = 0
        self._statements = 0
        self._denied = 0

    def head(self, row: SessionRow, described: dict[str, Any]) -> None:
        """Who, where, when."""
        from rich.table import Table
        from rich.text import Text

        started = row.started
        lines = [
            ("bot", f"{started.bot}  →  {started.target} ({started.protocol})"),
            ("began", f"{output.iso(started.time)}, from {started.peer}" + _calls_itself(started.client)),
            ("state", described["state"] + (f", {row.reason}" if row.reason else "")),
            ("agent", started.agent),
            ("policy", output.digest(started.policy)),
            ("token", f"{started.token_id} (uti, as in Entra's sign-in log)"),
        ]
        if not self._fancy:
            print(f"session {started.session}")
            for title, text in lines:
                print(f"  {title:7}{output.clean(text, line=True)}")
            return
        grid = Table.grid(padding=(0, 2))
        for title, text in lines:
            grid.add_row(Text(title, style="dim"), Text(output.clean(text, line=True)))
        self._console.rule(Text(f"session {started.session}", style="bold cyan"), align="left", style="cyan")
        self._console.print(grid)

    def step(self, step: Step, start: int) -> None:
        """One step."""
        match step:
            case Asked():
                self._asked(step, start)
            case Answered():
                self._answered(step)
            case Note():
                self._write(f"note: {step.text}", "yellow")
            case Output():
                self._output(step)

    def end(self, problems: list[str], note: str, missing: list[Operation]) -> None:
        """How complete the recording is."""
        summary = f"{output.count(self._statements, 'statement')}, {self._denied} denied"
        if self._fancy:
            self._console.print()
            self._console.rule(style="red" if problems else "cyan")
        else:
            print()
        for problem in problems:
            self._write(problem, "bold red", indent="")
        self._write(f"{summary}; {note}" if note else summary, "dim", indent="")

    def _asked(self, asked: Asked, start: int) -> None:
        from rich.text import Text

        self._statements += 1
        self._last_asked = asked.number
        operation = asked.operation
        sign, style = _VERDICTS.get(operation.effect, ("?", "dim")) if operation else ("·", "dim")
        line = Text("\n")
        line.append(f"+{(asked.time - start) / 1e9:.3f}s".ljust(10), style="dim")
        line.append(f"{sign} ")
        line.append(operation.effect if operation else "no verdict", style=style)
        if operation:
            self._denied += operation.effect == "deny"
            line.append(f"  {output.clean(operation.rule, line=True)}", style="dim")
            if operation.masked and operation.effect != "deny":
                line.append("  masked", style="magenta")
        if asked.prepared:
            line.append("  prepared", style="dim")
        self._console.print(line)
        self._console.print(self._sql(asked.text))
        given = values.show_parameters(asked.parameters, asked.formats)
        if given:
            text = ", ".join(f"${n} = {'NULL' if v is None else repr(v)}" for n, v in enumerate(given, 1))
            self._write(text if len(text) < _MAX_CELL * 5 else text[: _MAX_CELL * 5] + "…", "cyan")

    def _sql(self, text: str) -> RenderableType:
        from rich.padding import Padding
        from rich.text import Text

        shown = output.clean(text.strip())
        if len(shown) > _MAX_TEXT:
            shown = f"{shown[:_MAX_TEXT]}… ({len(shown):,} characters)"
        if not self._fancy:
            return Text("\n".join(f"  {line}" for line in shown.splitlines()))
        from rich.syntax import Syntax

        syntax = Syntax(shown, "postgresql", theme="ansi_dark", background_color="default", word_wrap=True)
        return Padding(syntax, (0, 0, 0, 2))

    def _answered(self, answered: Answered) -> None:
        for notice in answered.notices:
            self._write(f"{notice.get('S', 'NOTICE')}:  {notice.get('M', '')}", "yellow")
        if answered.columns and (answered.rows or not answered.error):
            self._table(answered)
        if answered.error:
            self._error(answered.error)
        self._write(self._summary(answered), "dim" if answered.complete else "yellow")

    def _output(self, shown: Output) -> None:
        style = {"stdin": "cyan", "stderr": "red", FILE_WRITTEN: "cyan"}.get(shown.stream, "")
        mark = {"stdin": "< ", "stderr": "! ", FILE_READ: "file> ", FILE_WRITTEN: "file< "}.get(shown.stream, "  ")
        lines = shown.data.decode("utf-8", "backslashreplace").replace("\r\n", "\n").splitlines()
        for line in lines[:_MAX_LINES]:
            self._write(line, style, indent=f"  {mark}")
        if len(lines) > _MAX_LINES:
            self._write(f"… {len(lines) - _MAX_LINES} more lines", "dim")

    def _table(self, answered: Answered) -> None:
        titles = [output.clean(column.name, line=True) for column in answered.columns]
        rows = [cells(answered, row) for row in answered.rows]
        if not self._fancy:
            table = [titles, *[[_plain(value) for value in row] for row in rows]]
            widths = [max(len(row[i]) if i < len(row) else 0 for row in table) for i in range(len(titles))]
            for number, row in enumerate(table):
                print("  " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip())
                if number == 0:
                    print("  " + "-+-".join("-" * width for width in widths))
            return
        from rich import box
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        grid = Table(box=box.ROUNDED, border_style="dim", header_style="bold")
        for title, column in zip(titles, answered.columns, strict=True):
            numeric = column.type_oid in (20, 21, 23, 26, 700, 701, 790, 1700)
            grid.add_column(Text(title), justify="right" if numeric else "left", overflow="fold")
        for row in rows:
            grid.add_row(*[Text("NULL", style="dim italic") if v is None else self._cell(v) for v in row])
        self._console.print(Padding(grid, (0, 0, 0, 2)))

    @staticmethod
    def _cell(value: str) -> Text:
        from rich.text import Text

        return Text(_plain(value))

    def _error(self, fields: dict[str, str]) -> None:
        lines = [f"{fields.get('S', 'ERROR')} {fields.get('C', '')}: {fields.get('M', '')}"]
        lines += [f"{name}: {fields[letter]}" for letter, name in (("D", "detail"), ("H", "hint")) if letter in fields]
        if not self._fancy:
            for line in lines:
                self._write(line, "")
            return
        from rich.padding import Padding
        from rich.panel import Panel
        from rich.text import Text

        text = Text(output.clean(lines[0]), style="red")
        for line in lines[1:]:
            text.append("\n" + output.clean(line), style="default")
        self._console.print(Padding(Panel(text, border_style="red", expand=False), (0, 0, 0, 2)))

    def _summary(self, answered: Answered) -> str:
        parts: list[str] = []
        if answered.columns:
            parts.append(output.count(answered.row_count, "row"))
            if answered.row_count > len(answered.rows) > 0:
                parts[-1] += f" ({len(answered.rows)} shown)"
        elif answered.tag:
            parts.append(answered.tag)
        if answered.copied:
            parts.append(f"{output.size(answered.copied)} copied")
        if not answered.complete:
            parts.append("no complete answer is recorded")
        elif answered.duration_ns:
            parts.append(output.duration(answered.duration_ns))
        if answered.number not in (0, self._last_asked):
            parts.insert(0, f"(to statement {answered.number})")
        return " · ".join(parts)

    def _write(self, text: str, style: str, indent: str = "  ") -> None:
        from rich.text import Text

        if text:
            self._console.print(Text(indent + output.clean(text, line=True), style=style))


def _plain(value: str | None) -> str:
    if value is None:
        return "NULL"
    shown = output.clean(value, line=True)
    return shown if len(shown) <= _MAX_CELL else f"{shown[:_MAX_CELL]}…"


def _calls_itself(client: str) -> str:
    return f", calls itself {client}" if client else ""
