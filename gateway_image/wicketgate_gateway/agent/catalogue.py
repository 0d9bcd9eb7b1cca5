"""Reads a target's catalogue: what names mean, and which columns a view is made of.

How this works: a connection of the agent's own, one read-only transaction, so that all parts are of the same moment.
Rows come as text through the simple protocol. `CatalogueWatcher` reads at the start, every minute and on demand, and
tells of changes; a target that is away keeps its last catalogue.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Callable

import msgspec
import structlog

from wicketgate_gateway.agent.target import Target, TargetConnection, TargetError
from wicketgate_gateway.contract.catalogue import Catalogue, Column, Relation
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.wire.postgres import messages
from wicketgate_gateway.wire.postgres.backend import BackendDecoder
from wicketgate_gateway.wire.postgres.startup import LoginRefusedError

EVERY_SECONDS = 60.0
SPACING_SECONDS = 1.0
"""The least time between two reads, however often they are asked for."""
READ_SECONDS = 60.0
MAX_BYTES = 4 * 1024 * 1024 - 1024
"""A longer catalogue does not fit into a message."""

log = structlog.get_logger("wicketgate.agent")

# No schema may stand in front of pg_catalog here, or a table of the target's could answer in its place.
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = pg_catalog"
_RELATIONS = """
SELECT c.oid, n.nspname, c.relname, c.relkind, (
    SELECT json_agg(json_build_array(a.attnum, a.attname, a.atttypid::int8) ORDER BY a.attnum)
    FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
    CASE WHEN c.relkind IN ('v', 'm') AND c.oid >= 16384 THEN
        (SELECT d FROM pg_get_viewdef(c.oid) d WHERE octet_length(d) <= 32768) END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname <> 'pg_catalog'
    AND n.nspname !~ '^pg_(toast|temp)'
ORDER BY c.oid
"""
_SOURCES = """
WITH rule AS (
    SELECT r.ev_class, d.refclassid, d.refobjid, d.refobjsubid
    FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE d.deptype = 'n' AND c.relkind IN ('v', 'm') AND n.nspname <> 'pg_catalog')
SELECT ev_class, refobjid, refobjsubid, false FROM rule
    WHERE refclassid = 'pg_class'::regclass AND refobjid <> ev_class
UNION SELECT ev_class, refobjid, 0, true FROM rule WHERE refclassid = 'pg_proc'::regclass
UNION SELECT ev_class, o.oprcode::oid, 0, true FROM rule JOIN pg_operator o ON o.oid = refobjid
    WHERE refclassid = 'pg_operator'::regclass
ORDER BY 1, 2, 3, 4
"""
_INHERITS = """
SELECT i.inhrelid, i.inhparent FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE c.relkind IN ('r', 'p', 'f') ORDER BY 1, 2
"""
# Up to PostgreSQL 14 the column itself depends on its sources, later its default does.
_GENERATED = """
SELECT DISTINCT a.attrelid, a.attnum, d.refobjsubid
FROM pg_attribute a JOIN pg_attrdef g ON g.adrelid = a.attrelid AND g.adnum = a.attnum
JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid > 0
    AND d.refobjsubid <> a.attnum
    AND (d.classid = 'pg_class'::regclass AND d.objid = a.attrelid AND d.objsubid = a.attnum
        OR d.classid = 'pg_attrdef'::regclass AND d.objid = g.oid)
WHERE a.attgenerated <> '' ORDER BY 1, 2, 3
"""
_SYSTEM = """
SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace
    AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S') ORDER BY 1
"""
_FUNCTIONS = """
SELECT DISTINCT n.nspname, p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)' ORDER BY 1, 2
"""

_FIRST_USER_OID = 16384
_NO_RELATION = 0xFFFF_FFFF

Row = list[str | None]


async def read_catalogue(target: Target) -> Catalogue:
    """The target's catalogue now. Raises WicketgateError."""
    try:
        async with asyncio.timeout(READ_SECONDS):
            connection, login = await target.log_in({"application_name": "wicketgate agent"})
            try:
                await _rows(connection, _BEGIN)
                relations = await _rows(connection, _RELATIONS)
                sources = await _rows(connection, _SOURCES)
                system = await _rows(connection, _SYSTEM)
                functions = await _rows(connection, _FUNCTIONS)
                inherits = await _rows(connection, _INHERITS)
                generated = await _rows(connection, _GENERATED)
                connection.write(messages.TERMINATE)
            finally:
                connection.close()
    except TimeoutError:
        raise TargetError(f"the catalogue of `{target.name}` took over {READ_SECONDS:.0f} s") from None
    except ConnectionError:
        raise TargetError(f"`{target.name}` closed the connection while its catalogue was read") from None
    version = login.parameters.get("server_version", "")
    listed = _relations(relations, sources)
    names = [row[0] or "" for row in system]
    callables = [(row[0] or "", row[1] or "") for row in functions]
    pairs = [(child, parent) for child, parent in map(_numbers, inherits)]
    triples = [(oid, column, source) for oid, column, source in map(_numbers, generated)]
    content = msgspec.msgpack.encode((version, listed, names, callables, pairs, triples))
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    return Catalogue(digest, version, listed, names, callables, pairs, triples)


def _relations(relations: list[Row], sources: list[Row]) -> list[Relation]:
    oids = {int(row[0] or 0) for row in relations}
    of: dict[int, list[tuple[int, int]]] = {}
    for *numbers, is_function in sources:
        view, source, column = _numbers(numbers)
        if is_function == "t":
            # Functions and relations are numbered apart: one that bears a relation's number must not pass for it.
            source = _NO_RELATION if source in oids else source
            if source < _FIRST_USER_OID:
                continue
        of.setdefault(view, []).append((source, column))
    listed: list[Relation] = []
    for oid, schema, name, kind, columns, definition in relations:
        number = int(oid or 0)
        parsed = [Column(*column) for column in json.loads(columns)] if columns else []
        listed.append(
            Relation(number, schema or "", name or "", kind or "", parsed, of.get(number, []), definition or "")
        )
    return listed


def _numbers(row: Row) -> list[int]:
    return [int(value or 0) for value in row]


async def _rows(connection: TargetConnection, sql: str) -> list[Row]:
    """The rows of a query by the simple protocol, as text. Raises TargetError with the server's SQLSTATE."""
    connection.write(messages.query(sql))
    decoder, rows, failure = BackendDecoder(), list[Row](), ""
    while True:
        decoder.feed(await connection.read())
        for kind, body in decoder:
            if kind == "D":
                rows.append([None if value is None else value.decode() for value in messages.read_data_row(body)])
            elif kind == "E":
                failure = messages.read_report(body).get("C", "?")
            elif kind == "Z":
                if failure:
                    raise TargetError(f"the catalogue cannot be read (SQLSTATE {failure})", code="catalogue-unreadable")
                return rows


class CatalogueWatcher:
    """Keeps a target's catalogue: `current` is None until the first read succeeded."""

    def __init__(self, target: Target, on_change: Callable[[str, Catalogue], None]) -> None:
        self.target = target
        self.current: Catalogue | None = None
        self._on_change = on_change
        self._asked = asyncio.Event()
        self._failure = ""

    def refresh(self) -> None:
        """Has the catalogue read again soon."""
        self._asked.set()

    async def run(self) -> None:
        """Reads until cancelled."""
        while True:
            self._asked.clear()
            await self._read()
            await asyncio.sleep(SPACING_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY_SECONDS):
                    await self._asked.wait()

    async def _read(self) -> None:
        try:
            catalogue = await read_catalogue(self.target)
        except WicketgateError as error:
            if str(error) != self._failure:
                self._failure = str(error)
                own = {"server": error.server_message} if isinstance(error, LoginRefusedError) else {}
                log.warning("catalogue not read", target=self.target.name, code=error.code, reason=self._failure, **own)
            return
        self._failure = ""
        if self.current is not None and self.current.version == catalogue.version:
            return
        if len(msgspec.msgpack.encode(catalogue)) > MAX_BYTES:
            log.error("catalogue too large", target=self.target.name, relations=len(catalogue.relations))
            return
        self.current = catalogue
        log.info("catalogue read", target=self.target.name, relations=len(catalogue.relations))
        self._on_change(self.target.name, catalogue)
