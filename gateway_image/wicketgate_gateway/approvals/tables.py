"""The control store's tables, and how a store of an older version becomes one of this.

How this works: a migration is a list of DDL statements that takes the schema from one version (table `control_schema`)
to the next; they only ever grow. `{id}` stands for the dialect's ever-growing key. The `Table` objects are for
building queries; a test holds them against what the migrations make.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, MetaData, String, Table, Text

METADATA = MetaData()

requests = Table(
    "requests",
    METADATA,
    Column("handle", String, primary_key=True),
    Column("digest", String, nullable=False),
    Column("seal", String, nullable=False),
    Column("bot_id", String, nullable=False),
    Column("target", String, nullable=False),
    Column("state", String, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("decided", BigInteger),
    Column("use_by", BigInteger),
    Column("uses", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("terms", Text, nullable=False),
)
votes = Table(
    "votes",
    METADATA,
    Column("handle", String, primary_key=True),
    Column("approver", String, primary_key=True),
    Column("name", Text, nullable=False),
    Column("choice", String, nullable=False),
    Column("comment", Text, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("seal", String, nullable=False),
)
uses = Table(
    "uses",
    METADATA,
    Column("id", String, primary_key=True),
    Column("handle", String, nullable=False),
    Column("session", String, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("outcome", String, nullable=False),
)
changes = Table(
    "changes",
    METADATA,
    Column("id", BigInteger, primary_key=True),
    Column("time", BigInteger, nullable=False),
    Column("kind", String, nullable=False),
    Column("handle", String, nullable=False),
    Column("data", Text, nullable=False),
    Column("journaled", BigInteger, nullable=False),
    Column("leased_until", BigInteger, nullable=False),
)
kills = Table(
    "kills",
    METADATA,
    Column("id", BigInteger, primary_key=True),
    Column("scope", String, nullable=False),
    Column("value", String, nullable=False),
    Column("by_name", Text, nullable=False),
    Column("by_id", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("lifted", BigInteger),
    Column("lifted_by", Text, nullable=False),
)
clock = Table(
    "clock", METADATA, Column("id", BigInteger, primary_key=True), Column("latest", BigInteger, nullable=False)
)
receivers = Table(
    "receivers",
    METADATA,
    Column("name", String, primary_key=True),
    Column("last", BigInteger, nullable=False),
)
deliveries = Table(
    "deliveries",
    METADATA,
    Column("receiver", String, primary_key=True),
    Column("change", BigInteger, primary_key=True),
    Column("kind", String, nullable=False),
    Column("handle", String, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("state", String, nullable=False),
    Column("tries", BigInteger, nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("leased_until", BigInteger, nullable=False),
    Column("holder", String, nullable=False),
)

once = Table(
    "once",
    METADATA,
    Column("kind", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("ends", BigInteger, nullable=False),
)
person_tokens = Table(
    "person_tokens",
    METADATA,
    Column("digest", String, primary_key=True),
    Column("person", Text, nullable=False),
    Column("ends", BigInteger, nullable=False),
)

VERSION_TABLE = "CREATE TABLE IF NOT EXISTS control_schema (version BIGINT NOT NULL)"
ID = {
    "sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "postgresql": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
}

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE requests (
            handle TEXT PRIMARY KEY,
            digest TEXT NOT NULL,
            seal TEXT NOT NULL,
            bot_id TEXT NOT NULL,
            target TEXT NOT NULL,
            state TEXT NOT NULL
                CHECK (state IN ('pending', 'approved', 'denied', 'expired', 'used', 'void')),
            created BIGINT NOT NULL,
            expires BIGINT NOT NULL,
            decided BIGINT,
            use_by BIGINT,
            uses BIGINT NOT NULL,
            note TEXT NOT NULL,
            operation TEXT NOT NULL,
            terms TEXT NOT NULL
        )""",
        # One open request for one operation, whatever two processes do at once.
        "CREATE UNIQUE INDEX requests_open ON requests (bot_id, digest) WHERE state IN ('pending', 'approved')",
        "CREATE INDEX requests_bot ON requests (bot_id, state)",
        "CREATE INDEX requests_state ON requests (state, created)",
        """CREATE TABLE votes (
            handle TEXT NOT NULL REFERENCES requests ON DELETE CASCADE,
            approver TEXT NOT NULL,
            name TEXT NOT NULL,
            choice TEXT NOT NULL CHECK (choice IN ('approve', 'deny')),
            comment TEXT NOT NULL,
            time BIGINT NOT NULL,
            seal TEXT NOT NULL,
            PRIMARY KEY (handle, approver)
        )""",
        """CREATE TABLE uses (
            id TEXT PRIMARY KEY,
            handle TEXT NOT NULL REFERENCES requests ON DELETE CASCADE,
            session TEXT NOT NULL,
            time BIGINT NOT NULL,
            outcome TEXT NOT NULL
        )""",
        "CREATE INDEX uses_handle ON uses (handle)",
        """CREATE TABLE changes (
            id {id},
            time BIGINT NOT NULL,
            kind TEXT NOT NULL,
            handle TEXT NOT NULL,
            data TEXT NOT NULL,
            journaled BIGINT NOT NULL,
            leased_until BIGINT NOT NULL
        )""",
        "CREATE INDEX changes_unjournaled ON changes (id) WHERE journaled = 0",
        """CREATE TABLE kills (
            id {id},
            scope TEXT NOT NULL CHECK (scope IN ('bot', 'group', 'target', 'session', 'all')),
            value TEXT NOT NULL,
            by_name TEXT NOT NULL,
            by_id TEXT NOT NULL,
            reason TEXT NOT NULL,
            time BIGINT NOT NULL,
            lifted BIGINT,
            lifted_by TEXT NOT NULL
        )""",
        "CREATE TABLE clock (id BIGINT PRIMARY KEY, latest BIGINT NOT NULL)",
        "INSERT INTO clock (id, latest) VALUES (1, 0)",
    ),
    (
        # Which change each webhook receiver has come to, and what it is still to be told.
        "CREATE TABLE receivers (name TEXT PRIMARY KEY, last BIGINT NOT NULL)",
        """CREATE TABLE deliveries (
            receiver TEXT NOT NULL REFERENCES receivers ON DELETE CASCADE,
            change BIGINT NOT NULL,
            kind TEXT NOT NULL,
            handle TEXT NOT NULL,
            time BIGINT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('open', 'told', 'dead')),
            tries BIGINT NOT NULL,
            due BIGINT NOT NULL,
            leased_until BIGINT NOT NULL,
            holder TEXT NOT NULL,
            PRIMARY KEY (receiver, change)
        )""",
        "CREATE INDEX deliveries_open ON deliveries (receiver, handle, change) WHERE state = 'open'",
    ),
    (
        # What serves once, whichever process sees it first; and the tokens that the API gave to people.
        "CREATE TABLE once (kind TEXT NOT NULL, key TEXT NOT NULL, ends BIGINT NOT NULL, PRIMARY KEY (kind, key))",
        "CREATE INDEX once_ends ON once (ends)",
        "CREATE TABLE person_tokens (digest TEXT PRIMARY KEY, person TEXT NOT NULL, ends BIGINT NOT NULL)",
        "CREATE INDEX person_tokens_ends ON person_tokens (ends)",
    ),
)
