"""The vocabulary of a statement's facts: kinds, classes, names."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from wicketgate_gateway.contract.errors import WicketgateError


class SqlError(WicketgateError):
    """A text that cannot be analysed, and so is refused. `position` is a 1-based character offset, 0 if unknown."""

    code = "sql-refused"

    def __init__(self, message: str, *, code: str | None = None, remedy: str = "", position: int = 0) -> None:
        super().__init__(message, code=code, remedy=remedy)
        self.position = position


class SqlSyntaxError(SqlError):
    """PostgreSQL's grammar does not accept the text."""

    code = "sql-syntax"


class SqlTooLargeError(SqlError):
    """The text is longer, deeper or of more statements than we look at."""

    code = "sql-too-large"


class StatementKind(StrEnum):
    """What the statement is by its top node. `OTHER` is what no table of ours names: everyone is denied it."""

    SELECT = "select"
    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    MERGE = "merge"
    TRUNCATE = "truncate"
    COPY_IN = "copy_in"
    COPY_OUT = "copy_out"
    COPY_FILE = "copy_file"
    COPY_PROGRAM = "copy_program"
    DDL = "ddl"
    GRANT = "grant"
    ROLE = "role"
    TRANSACTION = "transaction"
    SET = "set"
    SHOW = "show"
    DISCARD = "discard"
    PREPARE = "prepare"
    EXECUTE = "execute"
    DEALLOCATE = "deallocate"
    EXPLAIN = "explain"
    DECLARE_CURSOR = "declare_cursor"
    FETCH = "fetch"
    CLOSE_CURSOR = "close_cursor"
    LOCK = "lock"
    LISTEN = "listen"
    UNLISTEN = "unlisten"
    NOTIFY = "notify"
    VACUUM = "vacuum"
    CALL = "call"
    DO = "do"
    COMMENT = "comment"
    SECURITY_LABEL = "security_label"
    CHECKPOINT = "checkpoint"
    LOAD = "load"
    REFRESH = "refresh"
    IMPORT_FOREIGN = "import_foreign"
    ADMIN = "admin"
    OTHER = "other"


class StatementClass(StrEnum):
    """What a statement may do, anywhere in its tree. A rule allows a statement if it allows **all** of its classes."""

    READ = "read"
    WRITE = "write"
    LOCK = "lock"
    DDL = "ddl"
    GRANT = "grant"
    ROLE = "role"  # becomes, makes or changes a role
    ADMIN = "admin"
    SESSION = "session"  # changes settings of the session
    TRANSACTION = "transaction"
    PREPARED = "prepared"  # runs what an earlier PREPARE said: look that up
    PROCEDURAL = "procedural"  # runs or defines code in the server
    FUNCTION = "function"  # calls a function or operator that is no harmless built-in
    DYNAMIC = "dynamic"  # reads relations or runs SQL named by a value
    FILE = "file"  # touches files of the server
    PROGRAM = "program"  # runs a program on the server
    LARGE_OBJECT = "large_object"
    EXTERNAL = "external"  # reaches another server
    NOTIFY = "notify"
    RESOURCE = "resource"  # sleeps, or holds advisory locks
    OTHER = "other"  # a node that no table of ours names


class RelationName(NamedTuple):
    """A table, view, sequence or the like, as written: `schema` is None where the search path decides.

    `catalog` is set for `database.schema.name`; PostgreSQL takes only the current database there.
    """

    schema: str | None
    name: str
    catalog: str | None = None

    def __str__(self) -> str:
        return ".".join(part for part in (self.catalog, self.schema, self.name) if part is not None)


class FunctionName(NamedTuple):
    """A function, procedure, aggregate or (in `Facts.operators`) an operator, as written."""

    schema: str | None
    name: str

    def __str__(self) -> str:
        return self.name if self.schema is None else f"{self.schema}.{self.name}"


class Setting(NamedTuple):
    """One parameter that a statement changes.

    `name` is in lower case, `all` for RESET ALL, None where an expression decides. `value` is the text of a constant,
    None for DEFAULT, RESET and expressions; `constant` tells the latter apart.
    """

    name: str | None
    value: str | None
    constant: bool
    local: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a policy can ask of one statement, taken from its whole tree.

    `start` and `end` are byte offsets into the UTF-8 text. `inner` are the facts of the statement within EXPLAIN,
    PREPARE, DECLARE, COPY (query) and CREATE TABLE AS; the outer facts include them.
    """

    kind: StatementKind
    classes: frozenset[StatementClass]
    start: int = 0
    end: int = 0
    reads: frozenset[RelationName] = frozenset()
    writes: frozenset[RelationName] = frozenset()
    functions: frozenset[FunctionName] = frozenset()
    dangerous_functions: frozenset[FunctionName] = frozenset()
    unknown_functions: frozenset[FunctionName] = frozenset()
    # Operators written OPERATOR(schema.op), and those that PostgreSQL does not bring along.
    operators: frozenset[FunctionName] = frozenset()
    # Names after a dot in a column reference that are built-in functions: `u.row_to_json` calls `row_to_json(u)`.
    attribute_functions: frozenset[str] = frozenset()
    # Column names anywhere in the statement; `taken` are those of them that are not only the target of an assignment.
    columns: frozenset[str] = frozenset()
    taken: frozenset[str] = frozenset()
    # For each relation that is written: the columns that UPDATE sets, None for whatever changes whole rows. A written
    # relation without an entry is changed in another way.
    assigned: frozenset[tuple[RelationName, str | None]] = frozenset()
    star: bool = False
    # A column list renames a relation's columns (`users AS u (a, b)`): names in `columns` mean nothing then.
    renames: bool = False
    # References of one name which is also a relation's name or alias: the whole row, unless a column has that name.
    whole_row_candidates: frozenset[str] = frozenset()
    regclass_cast: bool = False
    # Types that are named, with their schema where it is given and is not pg_catalog. A type of somebody's own can run
    # functions: a domain's CHECK, a cast WITH FUNCTION.
    types: frozenset[str] = frozenset()
    # Whether a definition runs the functions of its types at once: it rewrites rows, checks them, indexes them.
    runs_types: bool = False
    settings: tuple[Setting, ...] = ()
    # What PREPARE makes, DEALLOCATE drops (`all` too), or EXECUTE runs, also within EXPLAIN and CREATE TABLE AS.
    prepared_name: str | None = None
    cursor_name: str | None = None
    inner: Facts | None = None
    literals_matter: bool = True
    parameters: int = 0
    # The statement's own text, and how many statements around this one are to be taken off it: for who needs the tree.
    # Texts that differ in literals alone may have equal facts.
    text: str = field(default="", repr=False, compare=False)
    depth: int = field(default=0, compare=False)

    @property
    def relations(self) -> frozenset[RelationName]:
        """All relations, read or written."""
        return self.reads | self.writes


@dataclass(frozen=True, slots=True)
class StatementList:
    """The statements of one text, in order. A text of blanks and comments has none."""

    statements: tuple[Facts, ...]

    @property
    def literals_matter(self) -> bool:
        """Whether another text with the same stripped form could have other facts."""
        return any(facts.literals_matter for facts in self.statements)
