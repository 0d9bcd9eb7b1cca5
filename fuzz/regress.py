"""SQL files, such as PostgreSQL's regression tests, run directly and through the gateway: the answers must be equal.

`python -m fuzz regress DIR|FILE…` starts two servers and a gateway before one of them, with a policy that allows all
and masks nothing, and runs each statement on both: same rows, tags, errors and notices, in text or, with `--binary`, by
the extended protocol in binary. A statement that the gateway denies (a pinned setting, say) counts for itself; the
direct side is then given a syntax error, so that transactions go on alike. `test_setup.sql` comes first, the others in
the order of their names; psql's own commands and statements with its variables are left out.

What is the same in no two runs (OIDs of what is made, process ids, times) is compared without it.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from psycopg import pq

from fuzz.worlds import Folders
from tests.running import ROLE, Running, cloud_in, gateways_in
from wicketgate.testing.postgres import PostgresServer

POLICY: dict[str, Any] = {
    "policy": "all",
    "targets": ["orders-db"],
    "rules": [
        {
            "allow": {
                "sql": {
                    "statements": ["read", "write", "ddl", "grant", "session", "messaging", "maintenance"],
                    "relations": ["*.*"],
                }
            }
        },
        {
            "allow": {
                "sql": {
                    "statements": ["write", "ddl", "grant", "session", "procedural", "file", "maintenance", "messaging"]
                }
            }
        },
        {"allow": {"sql": {"functions": ["*", "*.*"]}}},
    ],
}
SETTINGS = (
    "SET statement_timeout = '20s'; SET datestyle = 'Postgres, MDY'; SET intervalstyle = 'postgres_verbose'; "
    "SET timezone = 'America/Los_Angeles'"
)
"""As pg_regress has them."""
_DENIED = re.compile(r"operation \d+ of session [0-9A-Za-z-]+")
_VARYING = (
    (re.compile(r"\d{1,4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d[.\d]*(?:[+-]\d\d(?::?\d\d)?)?"), "@"),
    (re.compile(r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d[.\d]* \d{4}(?: [A-Z]{3})?"), "@"),
    (re.compile(r"\d+\.\d+ ms|\b[0-9A-F]{1,8}/[0-9A-F]{1,8}\b|pg_(?:toast_)?temp_\d+"), "~"),
    (re.compile(r"\d{5,}"), "#"),
)
_VARIABLE = re.compile(r"(?<![:\w\]']):(?:['\"]?[A-Za-z_]\w*)|:\{\?")
_LAST_ATOMIC = re.compile(r"\bBEGIN\s+ATOMIC\b", re.IGNORECASE)
_PIECE = re.compile(
    r"--[^\n]*|/\*|(?<![\w$])[Ee]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\""
    r"|\$(?:[A-Za-z_]\w*)?\$|\\;|\\[^\n]*|[();]",
    re.DOTALL,
)


class Statement(NamedTuple):
    """One text, and the data that it reads."""

    text: str
    data: bytes = b""


def statements(script: str) -> Iterator[Statement]:
    """The statements of a psql script, as psql would send them; its own commands are left out."""
    start = at = depth = 0
    parts: list[str] = []
    while True:
        found = _PIECE.search(script, at)
        if found is None:
            rest = "".join((*parts, script[start:])).strip()
            if rest:
                yield Statement(rest)
            return
        piece, at = found[0], found.end()
        if piece == "/*":
            at = _comment_end(script, at)
        elif piece.startswith("$"):
            end = script.find(piece, at)
            at = len(script) if end < 0 else end + len(piece)
        elif piece == "\\;":
            parts.append(script[start : found.start()] + ";")
            start = at
        elif piece in "()":
            depth = max(depth + (1 if piece == "(" else -1), 0)
        elif piece == ";" or piece.startswith("\\"):
            text = "".join((*parts, script[start : found.start()]))
            if piece == ";" and (depth or _within_body(text)):
                continue
            parts, start, depth = [], at, 0
            if _bare(text):
                data, start = _data(script, at, text)
                at = start
                yield Statement(text.strip(), data)


def _bare(text: str) -> str:
    return re.sub(r"--[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL).strip()


def _within_body(text: str) -> bool:
    # `BEGIN ATOMIC … END` holds semicolons.
    return bool(_LAST_ATOMIC.search(text)) and not re.search(r"\bEND\s*\Z", text, re.IGNORECASE)


def _comment_end(script: str, at: int) -> int:
    depth = 1
    for found in re.compile(r"/\*|\*/").finditer(script, at):
        depth += 1 if found[0] == "/*" else -1
        if not depth:
            return found.end()
    return len(script)


def _data(script: str, at: int, text: str) -> tuple[bytes, int]:
    if not re.search(r"\bcopy\b.*\bfrom\s+std(?:in|out)\b", _bare(text), re.IGNORECASE | re.DOTALL):
        return b"", at
    begin = script.find("\n", at) + 1
    end = re.compile(r"^\\\.\n?", re.MULTILINE).search(script, begin)
    if not begin or end is None:
        return b"", at
    return script[begin : end.start()].encode(), end.end()


class Side:
    """A connection that can be made again."""

    def __init__(self, dsn: str, *, binary: bool) -> None:
        self._dsn = dsn
        self.binary = binary
        self._notices: list[str] = []
        self._connection: Any = None

    def open(self) -> None:
        """Connect anew."""
        self.close()
        self._connection = pq.PGconn.connect(self._dsn.encode())
        if self._connection.status != pq.ConnStatus.OK:
            raise RuntimeError(self._connection.error_message.decode())
        self._connection.notice_handler = lambda result: self._notices.append(_report(result))
        self.run(Statement(SETTINGS))

    def close(self) -> None:
        """End the session."""
        if self._connection is not None:
            self._connection.finish()
            self._connection = None

    @property
    def lost(self) -> bool:
        """Whether the session is over."""
        return self._connection.status != pq.ConnStatus.OK

    def run(self, statement: Statement) -> list[str]:
        """All that comes of it, for comparing."""
        connection, found = self._connection, list[str]()
        self._notices.clear()
        text = statement.text.encode()
        if self.binary and ";" not in statement.text and "$" not in statement.text:
            connection.send_query_params(text, None, result_format=1)
        else:
            connection.send_query(text)
        while (result := connection.get_result()) is not None:
            match result.status:
                case pq.ExecStatus.COPY_IN:
                    connection.put_copy_data(statement.data)
                    connection.put_copy_end()
                    found.append("copies in")
                case pq.ExecStatus.COPY_OUT:
                    while (got := connection.get_copy_data(0))[0] > 0:
                        found.append(bytes(got[1]).decode(errors="backslashreplace"))
                case pq.ExecStatus.COPY_BOTH:
                    break
                case _:
                    found += _shown(result)
        return found + sorted(self._notices)


def _shown(result: Any) -> list[str]:
    if result.status == pq.ExecStatus.FATAL_ERROR:
        return [_report(result)]
    columns = [f"{(result.fname(i) or b'').decode()}:{min(result.ftype(i), 16384)}" for i in range(result.nfields)]
    rows = [
        " | ".join(repr(result.get_value(row, column)) for column in range(result.nfields))
        for row in range(result.ntuples)
    ]
    return [" ".join(columns), *rows, (result.command_status or b"").decode()]


def _report(result: Any) -> str:
    fields = pq.DiagnosticField
    wanted = (
        fields.SEVERITY, fields.SQLSTATE, fields.MESSAGE_PRIMARY, fields.MESSAGE_DETAIL, fields.MESSAGE_HINT,
        fields.STATEMENT_POSITION, fields.CONTEXT,
    )  # fmt: skip
    return " / ".join((result.error_field(code) or b"").decode() for code in wanted)


def normal(lines: Sequence[str]) -> list[str]:
    """Without what varies by nature."""
    found: list[str] = []
    for line in lines:
        for pattern, sign in _VARYING:
            line = pattern.sub(sign, line)
        found.append(line)
    return found


@dataclass
class Outcome:
    """What came of the files."""

    counts: Counter[str] = field(default_factory=Counter[str])
    denied: Counter[str] = field(default_factory=Counter[str])
    """By what the client was told, names left out."""
    differences: list[str] = field(default_factory=list[str])


def compare(files: Sequence[tuple[str, str]], direct: Side, through: Side) -> Outcome:
    """Run scripts (name and text) on both sides."""
    outcome = Outcome()
    for name, script in files:
        direct.open()
        through.open()
        for statement in statements(script):
            if _VARIABLE.search(re.sub(r"'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$", "''", statement.text, flags=re.DOTALL)):
                outcome.counts["with psql's variables"] += 1
                continue
            _compare(outcome, name, statement, direct, through)
    direct.close()
    through.close()
    return outcome


def _compare(outcome: Outcome, name: str, statement: Statement, direct: Side, through: Side) -> None:
    got = through.run(statement)
    denied = next((line for line in got if _DENIED.search(line)), None)
    if denied is not None and " / 42601 / " in denied:  # its grammar is the gateway's own
        wanted = direct.run(statement)
        alike = any(" / 42601 / " in line for line in wanted)
        outcome.counts["syntax errors" if alike else "different"] += 1
        if not alike:
            outcome.differences.append(_difference(name, statement, wanted, got))
    elif denied is not None:
        outcome.counts["denied"] += 1
        outcome.denied[re.sub(r"`[^`]*`", "`…`", denied.split(" / ")[2])[:120]] += 1
        direct.run(Statement("wicketgate denied it"))
    else:
        wanted = direct.run(statement)
        if got == wanted:
            outcome.counts["same"] += 1
        elif normal(got) == normal(wanted):
            outcome.counts["same but for what varies"] += 1
        else:
            outcome.counts["different"] += 1
            outcome.differences.append(_difference(name, statement, wanted, got))
    if through.lost or direct.lost:
        outcome.counts["sessions ended"] += 1
        through.open()
        direct.open()


def _difference(name: str, statement: Statement, wanted: list[str], got: list[str]) -> str:
    lines = [f"{name}: {statement.text[:300]}"]
    for one, other in zip([*wanted, "(end)"], [*got, "(end)"], strict=False):
        if normal([one]) != normal([other]):
            lines += [f"  direct:  {one[:300]}", f"  gateway: {other[:300]}"]
            break
    return "\n".join(lines)


@contextlib.contextmanager
def sides(folder: Path, *, binary: bool) -> Generator[tuple[Side, Side]]:
    """Two servers with an empty database each, a gateway before the second."""
    folders = Folders(folder)
    with (
        PostgresServer(folders.mktemp("direct")) as direct,
        PostgresServer(folders.mktemp("server")) as server,
        cloud_in(folders.mktemp("cloud"), server) as cloud,
        gateways_in(cloud, folders) as make,  # pyright: ignore[reportArgumentType] - it asks for `mktemp` alone
    ):
        password = (cloud.credential / "password").read_text()
        direct.create_user(ROLE, password)
        for each in (direct, server):
            each.sql(f"ALTER ROLE {ROLE} SUPERUSER")
            each.create_database("regression", ROLE)
        running: Running = make(policies=[POLICY])
        running.stop("agent")
        config = json.loads((running.folder / "agent.yaml").read_text())
        config["targets"]["orders-db"]["database"] = "regression"
        (running.folder / "agent.yaml").write_text(json.dumps(config))
        running._start("agent", "wicketgate_gateway.agent", "agent.yaml")  # pyright: ignore[reportPrivateUsage]
        running.wait_for_agent()
        own = f"{direct.dsn(ROLE, password, 'regression')}&options=-csearch_path%3Dpublic"
        yield Side(own, binary=binary), Side(running.dsn(), binary=binary)


def main(paths: Sequence[Path], *, binary: bool) -> int:
    """`python -m fuzz regress`: 0 if no answer differs."""
    files = [file for path in paths for file in (sorted(path.glob("*.sql")) if path.is_dir() else [path])]
    files.sort(key=lambda file: not file.name.startswith("test_setup"))
    scripts = [(file.name, file.read_text(errors="replace")) for file in files]
    with tempfile.TemporaryDirectory() as place, sides(Path(place), binary=binary) as (direct, through):
        outcome = Outcome()
        for script in scripts:
            found = compare([script], direct, through)
            outcome.counts += found.counts
            outcome.denied += found.denied
            outcome.differences += found.differences
            print(script[0], dict(found.counts), flush=True)
            for difference in found.differences:
                print(difference, flush=True)
    print(f"\n{len(files)} files: {dict(outcome.counts)}")
    for reason, count in outcome.denied.most_common():
        print(f"{count:6} {reason}")
    return 1 if outcome.differences else 0


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]], binary=False))
