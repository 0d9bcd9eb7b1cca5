"""Two databases that differ in masked values alone, behind one gateway: who can tell them apart has got at a value.

How this works: the second database is a copy of the first with other values in the masked columns: of the same lengths,
NULL in the same rows, and alike in what the masks show (an address's first letter and domain), but with another order
and other equal values. The same session in both must bring the same bytes: rows, their number and order, errors by code
and text, notices, command tags. Beside that, no canary may be in any byte.
"""

# ruff: noqa: S608 - it is what this is for

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import ssl
import struct
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from tests.running import Running, cloud_in, gateways_in
from wicketgate.testing.postgres import PostgresServer
from wicketgate_gateway.wire.postgres import messages as m
from wicketgate_gateway.wire.postgres.backend import BackendDecoder

GROUND = """
CREATE TABLE people(id int PRIMARY KEY, name text NOT NULL, email text, pin int, card varchar(30), doc jsonb,
  tags text[], born date, raw bytea, city text, shout text GENERATED ALWAYS AS (upper(email)) STORED);
INSERT INTO people SELECT i, 'Name ' || i, 'old', i, 'old', '{}', '{}', '2000-01-01', 'x', 'City ' || i % 4
  FROM generate_series(1, 12) i;
CREATE TABLE visits(id int PRIMARY KEY, person_id int, place text, cost int, note text);
INSERT INTO visits SELECT i, 1 + i % 12, 'Place ' || i % 5, i * 3, 'Name ' || i FROM generate_series(1, 20) i;
CREATE TABLE letters(id int, email text, body text);
INSERT INTO letters SELECT i, NULL, 'Body ' || i FROM generate_series(1, 6) i;
CREATE TABLE scratch(id int, value text, number int);
CREATE TABLE parts(id int, email text, city text) PARTITION BY LIST (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);
INSERT INTO parts VALUES (1, 'old', 'a'), (2, 'old', 'b');
CREATE TABLE vip(since int) INHERITS (people);
CREATE TYPE address AS (street text, mail text);
CREATE TABLE homes(id int, home address, listed address[]);
INSERT INTO homes VALUES (1, ROW('s', 'old'), ARRAY[ROW('s', 'old')::address]);
CREATE VIEW contacts AS SELECT id, upper(name) AS who, email AS mail, length(email) AS size FROM people;
CREATE VIEW deep AS SELECT who, lower(mail) AS address, id FROM contacts;
CREATE VIEW whole AS SELECT p AS everything FROM people p;
CREATE VIEW names AS SELECT id, name, city FROM people WHERE email IS NOT NULL;
CREATE FUNCTION leak() RETURNS SETOF text LANGUAGE sql AS 'SELECT email FROM people ORDER BY id';
CREATE FUNCTION leak_row(people) RETURNS text LANGUAGE sql AS 'SELECT $1.email';
CREATE FUNCTION same(text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''same %'', $1; RETURN $1; END';
CREATE PROCEDURE show(INOUT x text) LANGUAGE plpgsql AS 'BEGIN SELECT email INTO x FROM people LIMIT 1; END';
CREATE VIEW called AS SELECT 1 AS one, leak() AS what;
CREATE MATERIALIZED VIEW stored AS SELECT id, email FROM people;
CREATE INDEX people_mail ON people (email);
CREATE TABLE owners(id int PRIMARY KEY, name text NOT NULL);
INSERT INTO owners VALUES (1, 'one'), (2, 'two'), (3, 'three');
CREATE TABLE accounts(id int PRIMARY KEY, owner int REFERENCES owners ON DELETE CASCADE ON UPDATE CASCADE,
  email text UNIQUE, pin int CHECK (pin > 0), name text NOT NULL);
CREATE TABLE links(id int, email text REFERENCES accounts (email));
INSERT INTO accounts SELECT i, i, 'old' || i, i, 'Name ' || i FROM generate_series(1, 3) i;
CREATE TABLE base(id int, name text NOT NULL);
CREATE TABLE special(secret text) INHERITS (base);
INSERT INTO special VALUES (1, 'a', 'old'), (2, 'b', 'old');
CREATE VIEW plainly AS SELECT id, name FROM accounts;
CREATE TABLE noted(id int, note text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  RAISE NOTICE 'first is %', (SELECT email FROM people ORDER BY id LIMIT 1);
  IF NEW.id = 7 THEN RAISE EXCEPTION 'so is %', (SELECT email FROM people ORDER BY id LIMIT 1); END IF;
  RETURN NEW; END $$;
CREATE TRIGGER noted BEFORE INSERT OR UPDATE ON noted FOR EACH ROW EXECUTE FUNCTION note();
CREATE DOMAIN mail AS text CHECK (value LIKE '%@%' AND value < 'kanarieg');
CREATE SEQUENCE numbers;
CREATE VIEW risky AS SELECT id, name FROM people WHERE email::int > 0;
CREATE TABLE later(id int, email text REFERENCES accounts (email) DEFERRABLE INITIALLY DEFERRED);
"""
AFTER = "REFRESH MATERIALIZED VIEW stored; ANALYZE visits"
POLICY: dict[str, Any] = {
    "policy": "masked",
    "targets": ["orders-db", "other-db"],
    "rules": [
        {
            "allow": {
                "sql": {
                    "statements": ["read", "write", "ddl", "session", "messaging", "maintenance"],
                    "relations": ["*.*"],
                }
            }
        },
        {"allow": {"sql": {"statements": ["write", "ddl", "procedural", "file", "maintenance", "grant", "messaging"]}}},
        {"allow": {"sql": {"functions": ["*", "*.*"]}}},
    ],
    "mask": [
        {"columns": ["public.people.email", "public.letters.email", "public.parts.email"], "with": "partial"},
        {"columns": ["public.people.pin", "public.people.card", "public.people.tags"], "with": "redact"},
        {"columns": ["public.people.doc", "public.people.born", "public.people.raw"], "with": "null"},
        {"columns": ["public.homes.home", "public.homes.listed"], "with": "redact"},
        {"columns": ["public.accounts.email", "public.accounts.pin", "public.links.email"], "with": "redact"},
        {"columns": ["public.special.secret"], "with": "redact"},
    ],
}
"""Everything is allowed, so that the masks alone are in the way."""
CANARY = "kanarie"
_TLS_REQUEST = struct.pack(">II", 8, 80877103)
_PLACE = re.compile(rb"operation \d+ of session [0-9A-Za-z-]+")
_TIMES = re.compile(rb"actual time=[\d.]+|Time: [\d.]+ ms|Memory(?: Usage)?: \d+kB|Time\"?>?:? ?[\d.]+")


def _secrets(world: int) -> str:
    """The masked values of one world: `k` and the domain are the same in both, as the partial mask shows them."""
    order = list(range(1, 13)) if world == 0 else [7, 3, 11, 1, 9, 12, 2, 5, 10, 8, 4, 6]
    texts: list[str] = []
    for i, number in enumerate(order, 1):
        mail = "NULL" if i == 5 else f"'{CANARY}{'abcdefghijkl'[number - 1]}{number % 3}x{number:02}@zz.example'"
        pin = "NULL" if i == 6 else str(1000 * (number % 5) + (number if world else 0) + (i % 2 if world else 0))
        texts.append(
            f"UPDATE people SET email = {mail}, pin = {pin}, card = '4929{CANARY}{number:02}', "
            f'doc = \'{{"k": "{CANARY}{number:02}", "n": {number}}}\', tags = ARRAY[\'{CANARY}{number:02}\'], '
            f"born = DATE '1950-01-01' + {number} * 31, raw = '{CANARY}{number:02}' WHERE id = {i}"
        )
    one, two = ("a", "b") if world == 0 else ("b", "a")
    # Each row is written once, one after the other, so that both worlds have them in the same order.
    letters = [f"{CANARY}{'abcdefghijkl'[n - 1]}{n % 3}x{n:02}@zz.example" for n in order[:6]]
    texts += [f"UPDATE letters SET email = '{mail}' WHERE id = {i}" for i, mail in enumerate(letters, 1) if i != 4]
    texts += [
        f"UPDATE parts SET email = '{CANARY}{one}0x01@zz.example' WHERE id = 1",
        f"UPDATE parts SET email = '{CANARY}{two}0x02@zz.example' WHERE id = 2",
        *(
            f"UPDATE accounts SET email = '{CANARY}{'abc'[(i + world) % 3]}0x0{i}@zz.example', "
            f"pin = {100 + (i * (world + 3)) % 7} WHERE id = {i}"
            for i in (1, 2, 3)
        ),
        "INSERT INTO links SELECT id, email FROM accounts ORDER BY id",
        f"UPDATE special SET secret = '{CANARY}{one}' WHERE id = 1",
        f"UPDATE special SET secret = '{CANARY}{two}' WHERE id = 2",
        f"UPDATE homes SET home = ROW('s{one}', '{CANARY}{one}')",
        f"UPDATE homes SET listed = ARRAY[ROW('s{two}', '{CANARY}{two}')::address]",
    ]
    return "; ".join(texts)


@dataclass
class Wire:
    """A session of the bot through the gateway, in raw bytes."""

    running: Running
    target: str
    sock: ssl.SSLSocket | None = None
    decoder: BackendDecoder = field(default_factory=BackendDecoder)
    seen: bytearray = field(default_factory=bytearray)

    def open(self) -> None:
        """Connect and log in."""
        sock = socket.create_connection(("127.0.0.1", self.running.ports["postgres"]), 20)
        sock.sendall(_TLS_REQUEST)
        assert sock.recv(1) == b"S"
        context = ssl.create_default_context(cafile=str(self.running.ca_file))
        self.sock = context.wrap_socket(sock, server_hostname="localhost")
        self.decoder = BackendDecoder()
        values = {"user": "bot", "database": self.target}
        body = b"".join(m.cstring(k) + m.cstring(v) for k, v in values.items()) + b"\0"
        self.sock.sendall(struct.pack(">II", len(body) + 8, 196608) + body)
        self._read(lambda kind: kind == "R")
        self.sock.sendall(m.password(self.running.cloud.bot_token()))
        last = self._read(lambda kind: kind == "Z")
        assert last[-1:][0][0] == "Z", last
        self.seen.clear()

    def run(self, data: bytes) -> list[tuple[str, bytes]]:
        """Send, and read up to ReadyForQuery; connects anew if the session is over."""
        if self.sock is None:
            self.open()
        assert self.sock is not None
        with contextlib.suppress(OSError):
            self.sock.sendall(data)
        return self._read(lambda kind: kind == "Z")

    def close(self) -> None:
        """End the session."""
        if self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.sendall(m.TERMINATE)
            self.sock.close()
            self.sock = None

    def _read(self, enough: Callable[[str], bool]) -> list[tuple[str, bytes]]:
        assert self.sock is not None
        found: list[tuple[str, bytes]] = []
        while True:
            for kind, body in self.decoder:
                found.append((kind, bytes(body)))
                if kind == "G":  # COPY FROM STDIN: nothing is to be copied
                    self.sock.sendall(m.copy_fail("no"))
                if enough(kind):
                    return found
            try:
                data = self.sock.recv(65536)
            except (ConnectionResetError, ssl.SSLError):
                data = b""
            if not data:
                self.sock.close()
                self.sock = None
                return [*found, ("closed", b"")]
            self.seen += data
            self.decoder.feed(data)


class Worlds:
    """The two databases behind the gateway."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.wires = [Wire(running, target) for target in ("orders-db", "other-db")]

    def check(self, texts: Sequence[str], protocol: Callable[[str], bytes]) -> list[str]:
        """Run a session's texts in both worlds, and take all back. Raises AssertionError if the worlds can be told
        apart or a canary got out; returns what came of the last text: `rows`, SQLSTATEs, or `denied`."""
        answers: list[list[list[tuple[str, bytes]]]] = []
        for wire in self.wires:
            wire.run(m.query("BEGIN"))
            wire.seen.clear()
            answers.append([wire.run(protocol(text)) for text in texts])
            seen = bytes(wire.seen)
            for shape in SHAPES:
                assert shape not in seen.lower(), f"a canary got out: {around(seen, shape)!r}"
            wire.run(m.query("ROLLBACK"))
            wire.run(m.query("DEALLOCATE ALL"))
        for text, one, other in zip(texts, *answers, strict=True):
            a, b = normal(one, text), normal(other, text)
            assert a == b, f"the worlds differ in `{text}`:\n{_difference(a, b)}"
        return outcome(answers[0][-1])

    def left_behind(self) -> list[tuple[str, bytes]]:
        """All that was recorded: the journal's events, the audit store, recordings unpacked. (where, bytes)"""
        for wire in self.wires:
            wire.close()
        found = [("journal", msgspec.msgpack.encode(self.running.events()))]
        sessions = {event.session for event in self.running.events() if event.session}
        found += [(f"recording of {session}", self.running.recorded(session)) for session in sorted(sessions)]
        for path in sorted(self.running.state.rglob("*")):
            if path.is_file():
                found.append((str(path.relative_to(self.running.state)), path.read_bytes()))
        return found


def shapes(canary: str) -> list[bytes]:
    """How a canary may be written, in lower case."""
    data = canary.encode()
    found = {data, data[::-1], data.hex().encode()}
    for shift in range(3):
        whole = base64.b64encode(b"x" * shift + data)
        found.add(whole[4 * (shift > 0) : len(whole) // 4 * 4 - 4].lower())
    return [shape for shape in found if len(shape) >= 6]


SHAPES = shapes(CANARY)


def around(data: bytes, what: bytes) -> bytes:
    """Where it stands."""
    at = data.lower().find(what)
    return bytes(data[max(0, at - 80) : at + 80])


def normal(answer: Sequence[tuple[str, bytes]], text: str) -> list[tuple[str, bytes]]:
    """An answer without what differs from session to session: numbers of operations and sessions, and times."""
    explains = "explain" in text.lower()
    found: list[tuple[str, bytes]] = []
    for kind, body in answer:
        if kind in "EN":
            body = _PLACE.sub(b"operation", body)
        elif kind == "A":
            body = body[4:]
        elif kind == "S":
            continue
        elif kind == "T":  # what is made in one world has another number than in the other
            fields = [(f.name, min(f.type_oid, 16384), f.column_number) for f in m.read_row_description(body)]
            body = repr(fields).encode()
        elif explains and kind == "D":
            body = _TIMES.sub(b"", body)
            body = re.sub(rb"^.{6}", b"", body, flags=re.DOTALL)
        found.append((kind, body))
    return found


def outcome(answer: Sequence[tuple[str, bytes]]) -> list[str]:
    """What came of it."""
    found: list[str] = []
    for kind, body in answer:
        if kind == "E":
            report = m.read_report(body)
            denied = _PLACE.search(report.get("D", "").encode()) is not None
            found.append(f"denied {report.get('C', '')}" if denied else report.get("C", ""))
        elif kind in ("D", "d"):
            found.append("rows")
    return found


def _difference(a: Sequence[tuple[str, bytes]], b: Sequence[tuple[str, bytes]]) -> str:
    for one, other in zip(a, b, strict=False):
        if one != other:
            return f"{one!r}\n{other!r}"
    return f"{len(a)} messages and {len(b)}"


class Folders:
    """Temporary folders within one, as pytest's factory makes them."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0

    def mktemp(self, name: str) -> Path:
        """A new folder."""
        self._count += 1
        made = self._folder / f"{name}{self._count}"
        made.mkdir(parents=True)
        return made


@contextlib.contextmanager
def worlds(folder: Path, policy: dict[str, Any] | None = None) -> Generator[Worlds]:
    """A server, a cloud, a gateway and an agent of one's own, with both databases; all ends with the context."""
    folders = Folders(folder)
    with PostgresServer(folders.mktemp("server")) as server, cloud_in(folders.mktemp("cloud"), server) as cloud:
        server.sql("ALTER SYSTEM SET autovacuum = off")
        server.sql("SELECT pg_reload_conf()")
        server.sql(f"SET ROLE e2e_owner; {GROUND}", "e2e")
        server.sql("CREATE DATABASE e2e_other TEMPLATE e2e OWNER e2e_owner")
        for world, database in enumerate(("e2e", "e2e_other")):
            server.sql(f"SET ROLE e2e_owner; {_secrets(world)}; {AFTER}", database)
        with gateways_in(cloud, folders) as make:  # pyright: ignore[reportArgumentType] - it asks for `mktemp` alone
            running = make(policies=[policy or POLICY])
            running.stop("agent")
            config = json.loads((running.folder / "agent.yaml").read_text())
            config["targets"]["other-db"] = {**config["targets"]["orders-db"], "database": "e2e_other"}
            (running.folder / "agent.yaml").write_text(json.dumps(config))
            running._start("agent", "wicketgate_gateway.agent", "agent.yaml")  # pyright: ignore[reportPrivateUsage]
            running.wait(lambda: all(running.psql("SELECT 1", target=t).returncode == 0 for t in config["targets"]
                                     if t != "down-db"), 30)  # fmt: skip
            found = Worlds(running)
            yield found
            for wire in found.wires:
                wire.close()


def simple(text: str) -> bytes:
    """By the simple protocol."""
    return m.query(text)


def extended(text: str, result: int = 1) -> bytes:
    """By the extended protocol, as drivers do it; results in binary; a text for each parameter."""
    values: list[bytes | None] = [b"1"] * _parameters(text)
    return (
        m.parse("", text) + m.describe(b"S", "") + m.bind("", "", values, [], [result]) + m.describe(b"P", "")
        + m.execute("") + m.SYNC
    )  # fmt: skip


def extended_text(text: str) -> bytes:
    """The same with results as text, and no Describe."""
    return m.parse("", text) + m.bind("", "", [b"1"] * _parameters(text), [], [0]) + m.execute("") + m.SYNC


def _parameters(text: str) -> int:
    if text.startswith("PREPARE"):
        return 0
    return max((int(n) for n in re.findall(r"\$(\d)", text)), default=0)


PROTOCOLS: tuple[Callable[[str], bytes], ...] = (simple, extended, extended_text)
