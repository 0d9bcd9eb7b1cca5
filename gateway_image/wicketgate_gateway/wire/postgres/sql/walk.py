"""The walk over a parse tree that gathers a statement's facts.

How this works: a stack of work items instead of recursion, since trees are as deep as a client likes. An item is a
protobuf message, the CTE names visible to it, and whether a relation found in it is a target. `HANDLERS` has a function
for each node that needs one; every other node that the allow-lists name gets its children pushed, and a node that they
don't name makes the statement `other`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message
from postgast import pg_query_pb2 as pb

from wicketgate_gateway.wire.postgres.sql import builtins
from wicketgate_gateway.wire.postgres.sql.model import FunctionName, RelationName, Setting, SqlTooLargeError
from wicketgate_gateway.wire.postgres.sql.model import StatementClass as C
from wicketgate_gateway.wire.postgres.sql.statements import PARTS, STATEMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


Scope = frozenset[str]
# About half a second of work; constants in lists of values are not counted.
MAX_NODES = 100_000
NO_CTES: Scope = frozenset()
_SPELLED_OPERATORS = frozenset({"BETWEEN", "NOT BETWEEN", "BETWEEN SYMMETRIC", "NOT BETWEEN SYMMETRIC"})
_SCALAR, _ONE, _MANY = range(3)
_field_kinds: dict[Any, int] = {}


class Walk:
    """The facts gathered so far, and what is left to look at."""

    __slots__ = (
        "aliases",
        "assigned",
        "attribute_functions",
        "classes",
        "columns",
        "functions",
        "literals",
        "operators",
        "parameters",
        "reads",
        "regclass",
        "renames",
        "runs_types",
        "settings",
        "single_names",
        "star",
        "targets",
        "todo",
        "types",
        "writes",
    )

    def __init__(self) -> None:
        self.todo: list[tuple[Any, Scope, bool]] = []
        self.classes: set[C] = set()
        self.reads: set[RelationName] = set()
        self.writes: set[RelationName] = set()
        self.functions: set[FunctionName] = set()
        self.operators: set[FunctionName] = set()
        self.attribute_functions: set[str] = set()
        self.columns: set[str] = set()
        self.targets: set[str] = set()
        self.assigned: set[tuple[RelationName, str | None]] = set()
        self.single_names: set[str] = set()
        self.aliases: set[str] = set()
        self.types: set[str] = set()
        self.settings: list[Setting] = []
        self.star = self.renames = self.regclass = self.literals = self.runs_types = False
        self.parameters = 0

    def run(self, root: Message, *, writes: bool = False) -> None:
        """Walks the tree under `root`."""
        todo = self.todo
        todo.append((root, NO_CTES, writes))
        node_type, handlers = pb.Node, HANDLERS
        left = MAX_NODES
        while todo:
            left -= 1
            if left < 0:
                raise SqlTooLargeError(f"a statement of over {MAX_NODES} nodes", remedy="send the data by COPY")
            message, scope, target = todo.pop()
            if type(message) is node_type:
                which = message.WhichOneof("node")
                if which is None:
                    continue
                message = getattr(message, which)
            handler = handlers.get(type(message))
            if handler is not None:
                handler(self, message, scope, target)
            else:
                self.classes.add(C.OTHER)
                self.push_children(message, scope, target)

    def push(self, message: Message, scope: Scope, target: bool = False) -> None:
        """Adds one message to look at."""
        self.todo.append((message, scope, target))

    def push_all(self, messages: Iterable[Any], scope: Scope, target: bool = False) -> None:
        """Adds a repeated field to look at."""
        self.todo.extend([(message, scope, target) for message in messages])

    def push_children(self, message: Message, scope: Scope, target: bool, skip: frozenset[str] = frozenset()) -> None:
        """Adds all message-typed fields that are set, but for those in `skip`."""
        todo = self.todo
        for field, value in message.ListFields():
            kind = _field_kinds.get(field)
            if kind is None:
                kind = _SCALAR if field.message_type is None else _ONE if isinstance(value, Message) else _MANY
                _field_kinds[field] = kind
            content: Any = value
            if kind == _SCALAR or field.name in skip:
                continue
            if kind == _ONE:
                todo.append((content, scope, target))
            else:
                todo.extend([(item, scope, target) for item in content])

    def relation(self, var: pb.RangeVar, target: bool) -> None:
        """Notes a relation that is certainly not a CTE."""
        name = relation_name(var)
        (self.writes if target else self.reads).add(name)
        if target and name.name == "pg_settings":
            # A rule of this view turns an UPDATE into set_config().
            self.classes |= {C.SESSION, C.ROLE}
            self.settings.append(Setting(None, None, False))
            self.literals = True
        self.aliases.add(var.relname)
        if var.HasField("alias"):
            self.aliases.add(var.alias.aliasname)
            if var.alias.colnames:
                self.renames = self.star = True

    def call(self, name: FunctionName) -> None:
        """Notes a function that is called, and the classes it brings."""
        self.functions.add(name)
        danger = builtins.danger_of(name.name)
        if danger is not None:
            self.classes.add(danger)
            self.literals = True
        elif not builtins.is_plain(name.schema, name.name):
            self.classes.add(C.FUNCTION)
            self.literals = True

    def operator(self, names: Iterable[pb.Node]) -> None:
        """Notes an operator if it may be one that PostgreSQL does not bring along."""
        parts = strings(names)
        if not parts:
            return
        schema, name = (parts[-2] if len(parts) > 1 else None), parts[-1]
        known = name in builtins.OPERATORS or name in _SPELLED_OPERATORS
        if schema is not None or not known:
            self.operators.add(FunctionName(schema, name))
            if schema not in (None, "pg_catalog") or not known:
                self.classes.add(C.FUNCTION)
                self.literals = True


def relation_name(var: pb.RangeVar) -> RelationName:
    """A RangeVar's name as written."""
    return RelationName(var.schemaname or None, var.relname, var.catalogname or None)


def strings(nodes: Iterable[pb.Node]) -> list[str]:
    """The texts of the String nodes in a list."""
    return [node.string.sval for node in nodes if node.WhichOneof("node") == "string"]


def relation_of(parts: list[str]) -> RelationName | None:
    """The relation of a dotted name, None for an empty one."""
    if not parts:
        return None
    padded = [None, None, *parts]
    return RelationName(padded[-2], parts[-1], padded[-3])


def constant_text(node: pb.Node) -> str | None:
    """The text of a constant, also a cast or negated one; None for NULL and for every other expression."""
    while node.WhichOneof("node") == "type_cast":
        node = node.type_cast.arg
    if node.WhichOneof("node") != "a_const" or node.a_const.isnull:
        return None
    const = node.a_const
    match const.WhichOneof("val"):
        case "sval":
            return const.sval.sval
        case "ival":
            return str(const.ival.ival)
        case "fval":
            return const.fval.fval
        case "boolval":
            return "on" if const.boolval.boolval else "off"
        case "bsval":
            return const.bsval.bsval
        case _:
            return None


HANDLERS: dict[type, Callable[[Walk, Any, Scope, bool], None]] = {}


def handles(*types: type) -> Callable[[Callable[[Walk, Any, Scope, bool], None]], Any]:
    """Registers a handler for message classes."""

    def register(function: Callable[[Walk, Any, Scope, bool], None]) -> Any:
        for cls in types:
            HANDLERS[cls] = function
        return function

    return register


def _plain(walk: Walk, message: Any, scope: Scope, target: bool) -> None:
    walk.push_children(message, scope, target)


def _list(walk: Walk, message: pb.List, scope: Scope, target: bool) -> None:
    """Mostly rows of VALUES, mostly of constants."""
    walk.push_all((item for item in message.items if item.WhichOneof("node") != "a_const"), scope, target)


def _leaf(walk: Walk, message: Any, scope: Scope, target: bool) -> None:
    """A node without anything to look at below it."""


def _statement(walk: Walk, message: Any, scope: Scope, target: bool) -> None:
    row = STATEMENTS[message.DESCRIPTOR.name]
    walk.classes |= row.classes
    walk.literals = True
    walk.push_children(message, scope, row.writes)


for _name in PARTS:
    HANDLERS[getattr(pb, _name)] = _plain
for _name in STATEMENTS:
    HANDLERS[getattr(pb, _name)] = _statement
for _name in ("A_Const", "String", "Integer", "Float", "Boolean", "BitString", "A_Star", "RoleSpec", "SetToDefault"):
    HANDLERS[getattr(pb, _name)] = _leaf
HANDLERS[pb.List] = _list
