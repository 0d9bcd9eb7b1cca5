"""The decision point, under texts that a hostile bot might send.

How this works: mutation works on the bytes of a text (seeds are statements and tricks, the dictionary SQL's words). For
each text, under two policies, must hold:

- a verdict comes, whatever the text; nothing is raised;
- with the cache and without it the verdict is the same, also for the same text with other literals, which the cache
  may have under one key;
- the native module and its twin in Python strip the same literals;
- the native parser and postgast's own copy agree (short, shallow texts: the copy has no depth limit);
- comments and blanks between the tokens change nothing;
- a denied text stays denied behind an innocent statement.
"""

from __future__ import annotations

import random
import re
from typing import Any

import postgast
from google.protobuf.message import DecodeError

from wicketgate_gateway.contract.catalogue import Catalogue, Column, Relation
from wicketgate_gateway.contract.gateway import GatewayTarget, TargetKind
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.contract.policy import Bundle, BundledBot, BundledPolicy
from wicketgate_gateway.policy.engine import Decision, TargetPolicy, decide_text
from wicketgate_gateway.policy.load import PolicySet
from wicketgate_gateway.policy.operation import SessionFacts
from wicketgate_gateway.wire.postgres.sql import parser
from wicketgate_gateway.wire.postgres.sql.builtins import CATALOG_RELATIONS
from wicketgate_gateway.wire.postgres.sql.literals import strip_literals, strip_literals_twin

MAX_BYTES = 700
TENANT, BOT, GROUP = (f"00000000-0000-0000-0000-00000000000{i}" for i in (1, 2, 3))
READER: dict[str, Any] = {
    "policy": "reader",
    "targets": ["db"],
    "rules": [
        {"allow": {"sql": {"statements": ["read"], "relations": ["public.*", "pg_catalog.*"]}}},
        {"allow": {"sql": {"statements": ["write"], "relations": ["public.orders"]}}},
        {"deny": {"sql": {"relations": ["public.secrets"]}}},
        {"deny": {"sql": {"statements": ["write"], "relations": ["public.customers"]}}},
    ],
    "mask": [{"columns": ["public.customers.email"], "with": "partial"}],
}
OWNER: dict[str, Any] = {
    "policy": "owner",
    "targets": ["db"],
    "rules": [
        {"allow": {"sql": {"statements": ["read", "write", "ddl", "session", "maintenance"], "relations": ["*.*"]}}},
        {"allow": {"sql": {"functions": ["*.*", "*"]}}},
        {"deny": {"sql": {"relations": ["public.secrets"]}}},
    ],
}


def _catalogue() -> Catalogue:
    def table(oid: int, name: str, *columns: str, kind: str = "r", sources: list[tuple[int, int]] | None = None) -> Any:
        return Relation(oid, "public", name, kind, [Column(i, c, 25) for i, c in enumerate(columns, 1)], sources or [])

    relations = [
        table(20000, "customers", "id", "name", "email"),
        table(20001, "orders", "id", "customer_id", "item", "amount"),
        table(20002, "secrets", "id", "value"),
        table(20003, "mails", "id", "email", kind="v", sources=[(20000, 1), (20000, 3)]),
    ]
    return Catalogue("1", "18.1", relations, sorted(CATALOG_RELATIONS))


def _policy(document: dict[str, Any]) -> tuple[PolicySet, GatewayTarget, Principal]:
    bundled = BundledPolicy.model_validate({**document, "groups": {GROUP: "bots"}}, strict=False)
    bundle = Bundle(tenant=TENANT, policies=[bundled], bots={BOT: BundledBot(name="bot", owner="x")})
    principal = Principal(PrincipalKind.BOT, TENANT, BOT, BOT, "bot", "uti", 4e9, groups=frozenset({GROUP}))
    return PolicySet(bundle), GatewayTarget(kind=TargetKind.POSTGRES, agent="eu", labels={}), principal


def _found(document: dict[str, Any]) -> TargetPolicy:
    policies, target, principal = _policy(document)
    found = policies.for_principal(principal, "db", target)
    assert found is not None
    return found


POLICIES = [(_found(document), _found(document)) for document in (READER, OWNER)]
"""For each the one that keeps its cache, and one whose cache is emptied."""
SESSION = SessionFacts(catalogue=_catalogue())
_TOKENS_OF_SQL = r"""
SELECT INSERT UPDATE DELETE FROM INTO VALUES WHERE WITH RECURSIVE MERGE USING RETURNING EXPLAIN ANALYZE COPY
TO STDOUT STDIN PROGRAM PREPARE EXECUTE DEALLOCATE DECLARE CURSOR FETCH CREATE TABLE VIEW AS TEMP FUNCTION
LANGUAGE DO $$ $a$ E'\' U&' U&" UESCAPE B'1' X'f' N' '' " -- /* */ ; :: ( ) [ ] , . * = || $1 orders customers
secrets mails public. pg_catalog. email SET ROLE search_path LOCAL SESSION RESET SHOW UNION EXCEPT INTERSECT
LATERAL TABLE ONLY TABLESAMPLE LIMIT ORDER BY GROUP HAVING WINDOW OVER FOR UPDATE BEGIN COMMIT ROLLBACK
SAVEPOINT LOCK TRUNCATE VACUUM CALL GRANT ALTER DROP COMMENT LISTEN NOTIFY IF EXISTS set_config( query_to_xml(
nextval( lo_import( currval( JSON_TABLE( XMLTABLE( ROW( CASE WHEN CAST( EXISTS( ON CONFLICT DO NOTHING DEFAULT
NULL ARRAY OPERATOR( COLLATE AT TIME ZONE IS DISTINCT BETWEEN ILIKE
"""
WORDS = [word.encode() for word in _TOKENS_OF_SQL.split()]
WORDS.extend([b"\xe2\x80\x83", b"\xc2\xa0", b"\0", b"\r", b"\n", b"\f", b"\v", b"\xff"])
_LITERAL = re.compile(r"'[^']*'|(?<![\w$.'\"])\d+(?![\w$.'\"])")
_TOKENS = postgast.pg_query_pb2.Token
_STRINGS = {_TOKENS.SCONST, _TOKENS.USCONST, _TOKENS.BCONST, _TOKENS.XCONST, _TOKENS.UIDENT}
# With a blank in front: a comment right behind a minus or a slash would be part of the operator, or start elsewhere.
_BETWEEN = (" ", "\n", "\t", " /**/", " /* ; */", " -- x\n", " /* /* ' */ $$ */", "\f", "\r\n", " --'\n")


def _said(decision: Decision) -> tuple[object, ...]:
    verdict = decision.verdict
    plan = verdict.masks
    masks = None if plan is None else (plan.masked, plan.untraced, plan.system, plan.hides_errors)
    return (verdict.effect, verdict.rule, verdict.code, verdict.reason, decision.kinds, decision.relations, masks)


def _same(a: Decision, b: Decision) -> bool:
    return _said(a) == _said(b)


def _shallow(text: str) -> bool:
    # What postgast's copy can be given without the danger of running out of stack.
    return len(text) < 400 and sum(map(text.count, "([{")) < 20 and text.upper().count("NOT") < 10


def run(data: bytes) -> None:
    """One input."""
    assert strip_literals(data) == strip_literals_twin(data), "the twins strip differently"
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    for kept, fresh in POLICIES:
        _check(kept, fresh, text)


def _check(kept: TargetPolicy, fresh: TargetPolicy, text: str) -> None:
    cached, again, new = decide_text(kept, text, SESSION), decide_text(kept, text, SESSION), _anew(fresh, text)
    assert _same(cached, new), f"the cache changes the verdict: {_said(cached)} / {_said(new)}"
    assert _same(again, new)
    chance = random.Random(text)  # noqa: S311 - the same for the same text
    other = _LITERAL.sub(lambda match: _another(match[0], chance), text)
    if other != text:
        assert _same(decide_text(kept, other, SESSION), _anew(fresh, other)), f"a literal changes it: {other!r}"
    if new.verdict.code.startswith(("sql-", "syntax")) or new.verdict.rule == "builtin:syntax":
        return
    _insert(fresh, text, new, chance)
    _twin(fresh, text, new)
    if not new.verdict.allowed:
        for before in ("SELECT 1;\n", "/* reason: none */ SELECT 'x'; ", "BEGIN; SELECT id FROM orders; "):
            assert not _anew(fresh, before + text).verdict.allowed, f"hidden behind {before!r}"


def _anew(policy: TargetPolicy, text: str) -> Decision:
    policy.cache.clear()
    return decide_text(policy, text, SESSION)


def _another(literal: str, chance: random.Random) -> str:
    if literal.startswith("'"):
        return chance.choice(("''", "'x'", "'secrets'", "'orders'", "'role'", "'; DELETE FROM secrets --'", "'$$'"))
    return chance.choice(("0", "7", "123456789"))


def _insert(fresh: TargetPolicy, text: str, found: Decision, chance: random.Random) -> None:
    data = text.encode()
    try:
        tokens = list(postgast.scan(text).tokens)
    except (postgast.PgQueryError, DecodeError):
        return
    out: list[bytes] = []
    at = 0
    for token in tokens:
        out.append(data[at : token.start])
        # Two string constants with a line end between them are one, so nothing is put in front of a string.
        if token.token not in _STRINGS:
            out.append(chance.choice(_BETWEEN).encode())
        out.append(data[token.start : token.end])
        at = token.end
    out.append(data[at:])
    other = b"".join(out).decode()
    changed = _anew(fresh, other)
    x, y = found.verdict, changed.verdict
    assert (x.effect, x.code, x.rule, found.kinds, found.relations) == (
        y.effect, y.code, y.rule, changed.kinds, changed.relations,
    ), f"blanks and comments change the verdict: {other!r}: {x} / {y}"  # fmt: skip


def _twin(fresh: TargetPolicy, text: str, found: Decision) -> None:
    if parser.native() is None or not _shallow(text):
        return
    module, parser._native = parser._native, None
    try:
        twin = _anew(fresh, text)
    finally:
        parser._native = module
    assert _same(found, twin), f"the twin of the parser comes to another verdict: {_said(found)} / {_said(twin)}"


_PIECE = re.compile(r"\s+|\w+|'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/|\$\w*\$|.", re.DOTALL)


def mutate(data: bytes, most: int, seed: int) -> bytes:
    """Another text: with words swapped, dropped, doubled or taken from elsewhere, so that many of them still parse."""
    chance = random.Random(seed)  # noqa: S311 - libFuzzer's seed makes it repeatable
    words = _PIECE.findall(data.decode(errors="ignore"))
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(words))
        match chance.randrange(7):
            case 0:
                words[at : at + chance.randint(1, 4)] = []
            case 1:
                words[at:at] = words[at : at + chance.randint(1, 8)]
            case 2 | 3:
                words[at : at + chance.randint(0, 1)] = [" ", _WORDS[chance.randrange(len(_WORDS))], " "]
            case 4:
                other = _PARTS[chance.randrange(len(_PARTS))]
                start = chance.randrange(len(other))
                words[at : at + chance.randint(0, 3)] = other[start : start + chance.randint(1, 20)]
            case 5:
                other = _PARTS[chance.randrange(len(_PARTS))]
                words[at : at + chance.randint(0, 3)] = ["(", *other, ")"]
            case _:
                words += ["; ", *_PARTS[chance.randrange(len(_PARTS))]]
    return "".join(words).encode()[:most]


def seeds() -> list[bytes]:
    """Statements and tricks from which mutation starts."""
    return [text.encode() for text in _SEEDS]


_SEEDS = [
    "SELECT 1",
    "SELECT id, item FROM orders WHERE item = 'x' AND amount > 5 ORDER BY id LIMIT 10",
    "SELECT email FROM customers",
    "SELECT * FROM mails m JOIN orders o ON o.customer_id = m.id",
    "INSERT INTO orders (id, item) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET item = excluded.item RETURNING id",
    "UPDATE orders SET item = 'y' FROM customers c WHERE c.id = customer_id",
    "DELETE FROM orders USING secrets WHERE orders.id = secrets.id",
    "MERGE INTO orders o USING secrets s ON o.id = s.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN DO NOTHING",
    "WITH x AS (DELETE FROM customers RETURNING id) SELECT id FROM x",
    "WITH RECURSIVE secrets AS (SELECT 1 UNION ALL SELECT 2) SELECT * FROM secrets",
    "EXPLAIN (ANALYZE, COSTS OFF) DELETE FROM customers",
    "COPY orders (id, item) FROM STDIN WITH (FORMAT csv)",
    "COPY (SELECT email FROM customers) TO STDOUT",
    "COPY orders TO PROGRAM 'id'",
    "PREPARE p AS SELECT * FROM orders WHERE id = $1",
    "DECLARE c CURSOR FOR SELECT * FROM orders; FETCH ALL FROM c; CLOSE c",
    "CREATE TABLE t AS SELECT * FROM secrets",
    "CREATE TEMP TABLE t (id int DEFAULT nextval('orders_id_seq'))",
    "CREATE VIEW v AS SELECT * FROM secrets",
    "DO $$ BEGIN DELETE FROM secrets; END $$",
    "SELECT $a$ ; $a$; DELETE FROM secrets WHERE value = $a$ SELECT $a$",
    "SELECT set_config('search_path', 'evil', false)",
    "SET search_path = public; SET ROLE postgres; RESET ALL; SHOW all",
    "SELECT query_to_xml('SELECT * FROM secrets', true, true, '')",
    'SELECT * FROM "secrets"; SELECT * FROM U&"secret\\0073"',
    "SELECT U&'\\0041' || E'\\x41' || B'101' || X'1F' || N'x'",
    "SELECT (SELECT value FROM secrets LIMIT 1), ARRAY(SELECT value FROM secrets), EXISTS(TABLE secrets)",
    "SELECT * FROM JSON_TABLE('[]', '$[*]' COLUMNS (a int PATH '$.a')) t, XMLTABLE('/x' PASSING '<x/>' COLUMNS a int)",
    "SELECT CASE WHEN amount > 1 THEN (SELECT max(id) FROM customers) ELSE -1.5e3 END FROM ONLY orders FOR UPDATE",
    "SELECT id FROM orders TABLESAMPLE system(1) FOR SHARE OF orders SKIP LOCKED",
    "SELECT count(*) FILTER (WHERE id > 1) OVER (PARTITION BY item ORDER BY id ROWS 1 PRECEDING) FROM orders",
    "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY; SAVEPOINT s; ROLLBACK TO s; RELEASE s; COMMIT AND CHAIN",
    "TRUNCATE orders; LOCK TABLE secrets IN SHARE MODE; VACUUM (ANALYZE) orders; CLUSTER; REINDEX TABLE orders",
    "GRANT SELECT ON secrets TO public; ALTER TABLE orders ADD CHECK (id > 0); DROP TABLE IF EXISTS secrets CASCADE",
    "SELECT 1 -- ;\n; /* /* nested */ */ DELETE FROM secrets",
    "SELECT c.*, (c).email, c::text, row_to_json(c) FROM customers c",
    "VALUES (1, 'a'), (2, 'b') UNION SELECT id, value FROM public.secrets INTERSECT TABLE pg_catalog.pg_class",
]
_PARTS = [_PIECE.findall(text) for text in _SEEDS]
_WORDS = [word.decode(errors="replace") for word in WORDS]
