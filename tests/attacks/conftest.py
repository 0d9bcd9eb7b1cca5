"""The ground that attacks run on: a gateway of their own, a database full of canaries, and a judge.

Everything goes through the real gateway over TLS. The judge looks from the other side, as the database's superuser and
in the gateway's journal: did anything change, did a value get out that must not, is the attempt on record.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from tests.running import Cloud, Running, cloud_in, gateways_in
from wicketgate.testing.postgres import PostgresServer
from wicketgate_gateway.audit.events import AuditEvent, Operation
from wicketgate_gateway.audit.ingest import journal_folder
from wicketgate_gateway.recording.format import JOURNAL_MAGIC, FrameReader
from wicketgate_gateway.recording.journal import journal_files
from wicketgate_gateway.wire.postgres import messages as m
from wicketgate_gateway.wire.postgres.backend import BackendDecoder

TLS_REQUEST = struct.pack(">II", 8, 80877103)
FILES = Path("/tmp/wicketgate-attack")
"""What attacks write to, if they can."""

GROUND = """
CREATE TABLE vault.keys(id int, value text);
INSERT INTO vault.keys VALUES (1, 'canary-vault-7f3a');
INSERT INTO secrets SELECT 100 + i, 'canary-secret-' || i % 3 FROM generate_series(1, 300) i;
INSERT INTO customers SELECT i, 'Name ' || i, 'canary-mail-' || i || '@example.net', '4929canary' || i, 7, NULL
  FROM generate_series(100, 160) i;
CREATE TABLE ledger(id int PRIMARY KEY, email text REFERENCES customers(email), amount int);
INSERT INTO ledger VALUES (1, 'canary-mail-100@example.net', 1);
CREATE VIEW open_secrets AS SELECT id, value FROM secrets;
CREATE VIEW vault_view AS SELECT * FROM vault.keys;
CREATE TABLE secrets_child() INHERITS (secrets);
INSERT INTO secrets_child VALUES (900, 'canary-secret-child');
CREATE FUNCTION peek() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT value FROM vault.keys LIMIT 1';
CREATE FUNCTION peek_row(orders) RETURNS text LANGUAGE sql AS 'SELECT value FROM vault.keys LIMIT 1';
CREATE FUNCTION peek_plus(int, text) RETURNS text LANGUAGE sql AS 'SELECT value FROM vault.keys LIMIT 1';
CREATE OPERATOR public.<+> (LEFTARG = int, RIGHTARG = text, FUNCTION = peek_plus);
CREATE FUNCTION wipe() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM secrets; RETURN 1; END $$;
CREATE FUNCTION peek_state(text, text) RETURNS text LANGUAGE sql AS 'SELECT value FROM vault.keys LIMIT 1';
CREATE AGGREGATE peek_all(text) (SFUNC = peek_state, STYPE = text, INITCOND = '');
CREATE PROCEDURE wipe_all() LANGUAGE plpgsql AS $$ BEGIN DELETE FROM secrets; END $$;
CREATE TYPE wrapped AS (x int);
CREATE FUNCTION unwrap(int) RETURNS wrapped LANGUAGE sql AS 'SELECT ROW((SELECT wipe()))::wrapped';
CREATE CAST (int AS wrapped) WITH FUNCTION unwrap(int);
CREATE DOMAIN trap AS int CHECK (wipe() = 1);
CREATE TABLE scratch(n int);
INSERT INTO scratch VALUES (1), (2);
CREATE TABLE scratch_parts(n int) PARTITION BY LIST (n);
CREATE SEQUENCE counter;
CREATE FUNCTION overloaded(x text) RETURNS text LANGUAGE sql AS 'SELECT x';
CREATE FUNCTION pg_catalog_lower(x text) RETURNS text LANGUAGE sql AS 'SELECT value FROM vault.keys LIMIT 1';
"""
POLICY: dict[str, Any] = {
    "policy": "attacked",
    "targets": ["orders-db"],
    "rules": [
        {"allow": {"sql": {"statements": ["read"], "relations": ["public.*", "pg_catalog.*"]}}},
        {"allow": {"sql": {"statements": ["write"], "relations": ["public.orders", "public.uploads"]}}},
        {"allow": {"sql": {"statements": ["read", "maintenance"], "functions": ["speak", "pg_sleep"]}}},
        {"allow": {"sql": {"statements": ["ddl"], "relations": ["public.scratch", "public.scratch_*"]}}},
        {"deny": {"sql": {"relations": ["public.secrets"]}, "because": "secrets are for people"}},
        {"deny": {"sql": {"relations": ["vault.*"]}}},
        {"deny": {"sql": {"statements": ["write"], "relations": ["public.customers"]}}},
    ],
    "mask": [
        {"columns": ["public.customers.email"], "with": "partial"},
        {"columns": ["public.customers.card"], "with": "redact"},
        {"columns": ["public.ledger.email"], "with": "redact"},
    ],
}
CANARIES = (b"canary", b"nobody sees this", b"ann@example", b"bob@example", b"41111111", b"root:x:0", b"SCRAM-SHA-256$")
"""None of these may be in any byte that a client receives."""
DIGEST = """
SELECT md5(string_agg(part, '|' ORDER BY part)) FROM (
  SELECT c.oid::regclass || ':' || coalesce((xpath('/row/d/text()', query_to_xml(
    format('SELECT md5(string_agg(t::text, ''|'' ORDER BY t::text)) AS d FROM ONLY %s t', c.oid::regclass),
    false, true, '')))[1]::text, '') AS part
    FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace IN ('public'::regnamespace, 'vault'::regnamespace)
  UNION ALL SELECT concat_ws('|', 'class:', oid, relname, relkind, relowner, relacl) FROM pg_class
    WHERE relnamespace >= 16384 OR relnamespace = 'public'::regnamespace
  UNION ALL SELECT concat_ws('|', 'sequence:', last_value, is_called) FROM counter
  UNION ALL SELECT concat_ws('|', 'proc:', oid, proname, md5(prosrc), proowner) FROM pg_proc WHERE oid >= 16384
  UNION ALL SELECT concat_ws('|', 'role:', rolname, rolsuper, rolcreaterole, rolpassword)
    FROM pg_authid
  UNION ALL SELECT concat_ws('|', 'setting:', name, setting) FROM pg_settings WHERE source = 'configuration file'
  UNION ALL SELECT concat_ws('|', 'db:', datname, datdba, datacl) FROM pg_database
  UNION ALL SELECT concat_ws('|', 'config:', setdatabase, setrole, setconfig::text) FROM pg_db_role_setting
  UNION ALL SELECT concat_ws('|', 'schema:', nspname, nspowner) FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp'
  UNION ALL SELECT concat_ws('|', 'trigger:', tgname) FROM pg_trigger WHERE NOT tgisinternal
  UNION ALL SELECT concat_ws('|', 'rule:', rulename, ev_class) FROM pg_rewrite WHERE ev_class >= 16384
  UNION ALL SELECT concat_ws('|', 'policy:', polname) FROM pg_policy
  UNION ALL SELECT concat_ws('|', 'extension:', extname) FROM pg_extension
  UNION ALL SELECT concat_ws('|', 'language:', lanname) FROM pg_language
  UNION ALL SELECT concat_ws('|', 'lo:', oid) FROM pg_largeobject_metadata
  UNION ALL SELECT concat_ws('|', 'prepared:', gid) FROM pg_prepared_xacts
  UNION ALL SELECT concat_ws('|', 'slot:', slot_name) FROM pg_replication_slots
  UNION ALL SELECT concat_ws('|', 'type:', typname) FROM pg_type WHERE oid >= 16384
  UNION ALL SELECT concat_ws('|', 'comment:', description) FROM pg_description WHERE objoid >= 16384
  UNION ALL SELECT concat_ws('|', 'file:', name) FROM pg_ls_dir('.') name
    WHERE name !~ '^postmaster|^pg_|^current_logfiles|^log'
) parts
"""
_PLACE = re.compile(r"operation (\d+) of session (\S+)")


class Wire:
    """A connection of raw bytes through the gateway; `seen` is every byte that came after log-in."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.decoder = BackendDecoder()
        self.seen = bytearray()
        self.closed = False

    def send(self, *parts: bytes) -> None:
        """A peer that has closed is not an error here: what it answered before counts."""
        with contextlib.suppress(OSError):
            self.sock.sendall(b"".join(parts))

    def read(self, enough: Callable[[list[tuple[str, bytes]]], bool]) -> list[tuple[str, bytes]]:
        """Messages until there are enough, or the peer closes."""
        found: list[tuple[str, bytes]] = []
        while True:
            for message in self.decoder:
                found.append(tuple(message))
                if enough(found):
                    return found
            try:
                data = self.sock.recv(65536)
            except (ConnectionResetError, ssl.SSLError):
                data = b""
            if not data:
                self.closed = True
                return found
            self.seen += data
            self.decoder.feed(data)

    def ready(self, count: int = 1) -> list[tuple[str, bytes]]:
        """Up to the ReadyForQuery of this number."""
        return self.read(lambda found: sum(kind == "Z" for kind, _ in found) >= count)

    def close(self) -> None:
        """Without a word."""
        self.sock.close()


def start_up(protocol: int = 196608, **parameters: str) -> bytes:
    """A StartupMessage."""
    body = b"".join(m.cstring(k) + m.cstring(v) for k, v in parameters.items()) + b"\0"
    return struct.pack(">II", len(body) + 8, protocol) + body


class Ground:
    """Where attacks are made and judged."""

    def __init__(self, gateway: Any, admin: psycopg.Connection[Any]) -> None:
        self.gateway = gateway
        self.admin = admin
        self.wires: list[Wire] = []
        self._decoder = msgspec.msgpack.Decoder(list[AuditEvent])
        self._offsets: dict[Path, tuple[int, bytes | None]] = {}
        self._events: list[Any] = []

    # The attacker's side.

    def dial(self) -> socket.socket:
        """A plain connection."""
        return socket.create_connection(("127.0.0.1", self.gateway.ports["postgres"]), 20)

    def tls(self) -> ssl.SSLSocket:
        """A connection within TLS, before the StartupMessage."""
        sock = self.dial()
        sock.sendall(TLS_REQUEST)
        assert sock.recv(1) == b"S"
        context = ssl.create_default_context(cafile=str(self.gateway.ca_file))
        return context.wrap_socket(sock, server_hostname="localhost")

    def connect(self, **parameters: str) -> Wire:
        """A session of the bot."""
        wire = Wire(self.tls())
        self.wires.append(wire)
        wire.send(start_up(**{"user": "bot", "database": "orders-db", **parameters}))
        assert wire.read(lambda found: True)[0] == ("R", m.AUTHENTICATION_CLEARTEXT[5:])
        wire.send(m.password(self.gateway.cloud.bot_token()))
        assert wire.ready()[-1][0] == "Z"
        wire.seen.clear()
        return wire

    # The judge's side.

    def digest(self) -> str:
        """Of everything in the database that an attack could change, and of the files that one could write."""
        (found,) = self.admin.execute(DIGEST).fetchone() or ("",)
        return f"{found}|{sorted(path.name for path in FILES.parent.glob(FILES.name + '*'))}"

    def events(self) -> list[Any]:
        """All audit events; reads on where it stopped."""
        for path in journal_files(journal_folder(self.gateway.state)):
            offset, digest = self._offsets.get(path, (0, None))
            with path.open("rb") as file:
                reader = FrameReader(file, JOURNAL_MAGIC, offset=offset, digest=digest)
                for frame in reader:
                    self._events += self._decoder.decode(frame.payload)
                self._offsets[path] = (reader.offset, reader.digest)
        return self._events

    def operation(self, error: dict[str, str]) -> Operation:
        """The audit event that a denial names."""
        place = _PLACE.search(error.get("D", ""))
        assert place, f"not a denial of the gateway's: {error}"
        seq, session = int(place[1]), place[2]
        found = [e for e in self.events() if isinstance(e, Operation) and (e.seq, e.session) == (seq, session)]
        assert len(found) == 1, f"operation {seq} of {session} is on record {len(found)} times"
        return found[0]

    def clean(self, seen: bytes) -> None:
        """No canary may be in these bytes, however they are written."""
        lowered = seen.lower()
        for canary in CANARIES:
            for shape in (canary, canary[::-1], canary.hex().encode(), canary.replace(b"-", b"_")):
                assert shape.lower() not in lowered, f"{canary!r} got out: {_around(lowered, shape.lower())!r}"


def _around(data: bytes, what: bytes) -> bytes:
    at = data.find(what)
    return bytes(data[max(0, at - 80) : at + 80])


@pytest.fixture(scope="session")
def running_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud with a server of its own: what is laid out for attacks must not show in other tests."""
    with (
        PostgresServer(tmp_path_factory.mktemp("attacked")) as server,
        cloud_in(tmp_path_factory.mktemp("cloud"), server) as made,
    ):
        yield made


@pytest.fixture(scope="session")
def make_gateway(running_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Running]]:
    """As `tests.running` has it, in the attacked cloud."""
    with gateways_in(running_cloud, tmp_path_factory) as make:
        yield make


@pytest.fixture(scope="session")
def ground(running_cloud: Any, make_gateway: Callable[..., Any]) -> Iterator[Ground]:
    """The database with its canaries, and a gateway whose agent has read its catalogue."""
    postgres = running_cloud.postgres
    postgres.sql(
        f"CREATE SCHEMA vault AUTHORIZATION e2e_owner; SET ROLE e2e_owner; {GROUND}; RESET ROLE; ANALYZE", "e2e"
    )
    dsn = psycopg.conninfo.make_conninfo(postgres.admin_dsn, dbname="e2e")
    with psycopg.connect(dsn, autocommit=True) as admin:
        made = Ground(make_gateway(policies=[POLICY]), admin)
        yield made
        for wire in made.wires:
            wire.close()
        for name in list(made.gateway.processes):
            made.gateway.stop(name)
