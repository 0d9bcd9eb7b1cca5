"""The allow-lists name what the grammar can produce, and nothing that it can't."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from google.protobuf.message import Message
from postgast import pg_query_pb2 as pb

from wicketgate_gateway.wire.postgres.sql import facts, statements, walk
from wicketgate_gateway.wire.postgres.sql.model import StatementClass as C
from wicketgate_gateway.wire.postgres.sql.model import StatementKind as K

ATTACKS: list[str] = [row[0] for row in runpy.run_path(str(Path(__file__).with_name("test_facts.py")))["TABLE"]]
# Nodes that only later stages of PostgreSQL make.
NOT_RAW = {"SetOperationStmt", "RawStmt", "PLAssignStmt", "ReturnStmt"}


def test_every_statement_node_has_a_row() -> None:
    known = {name for name in pb.DESCRIPTOR.message_types_by_name if name.endswith("Stmt")}
    assert known - set(statements.STATEMENTS) == NOT_RAW
    assert set(statements.STATEMENTS) - known == set()


def test_rows_have_classes_unless_their_inner_statement_does() -> None:
    bare = {name for name, row in statements.STATEMENTS.items() if not row.classes}
    assert bare == {"CopyStmt", "PrepareStmt", "ExplainStmt", "DeclareCursorStmt"}
    assert not any(C.OTHER in row.classes or row.kind is K.OTHER for row in statements.STATEMENTS.values())


def test_only_what_reads_counts_as_read() -> None:
    read = {name for name, row in statements.STATEMENTS.items() if row.classes == {C.READ}}
    assert read == {"SelectStmt", "VariableShowStmt", "FetchStmt", "ClosePortalStmt"}


def test_no_attack_has_a_node_that_the_lists_do_not_name() -> None:
    assert facts.analyze("SELECT 1").statements
    for sql in ATTACKS:
        assert all(C.OTHER not in f.classes for f in facts.analyze(sql).statements), sql


@pytest.mark.parametrize("node", [pb.Query(), pb.OpExpr(), pb.WithCheckOption(), pb.PLAssignStmt(), pb.RawStmt()])
def test_a_node_outside_the_lists_makes_the_statement_other(node: Message) -> None:
    walked = walk.Walk()
    walked.run(node)
    assert C.OTHER in walked.classes


def test_an_empty_statement_node_is_other() -> None:
    facts_of_nothing = facts._facts(pb.Node(), 0, 0)
    assert facts_of_nothing.kind is K.OTHER
    assert facts_of_nothing.literals_matter
