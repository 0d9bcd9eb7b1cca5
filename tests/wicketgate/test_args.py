"""The components' arguments keep to what Pulumi's schema inference can read."""

import ast
import inspect
from enum import StrEnum
from typing import is_typeddict

from wicketgate import args


def test_every_argument_type_is_a_typed_dict_or_an_enum() -> None:
    types = [t for _, t in inspect.getmembers(args, inspect.isclass) if t.__module__ == args.__name__]
    assert len(types) >= 6
    for t in types:
        assert is_typeddict(t) or issubclass(t, StrEnum), t.__name__


def test_what_the_inference_cannot_read_is_absent() -> None:
    source = inspect.getsource(args)
    assert "from __future__ import annotations" not in source
    assert "Literal" not in source
    unions = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.BitOr)]
    assert unions == []


def test_every_field_is_described() -> None:
    for node in ast.walk(ast.parse(inspect.getsource(args))):
        if isinstance(node, ast.ClassDef) and node.name.endswith("Args"):
            for before, after in zip(node.body, [*node.body[1:], None], strict=True):
                if isinstance(before, ast.AnnAssign):
                    assert isinstance(after, ast.Expr), f"{node.name}.{ast.unparse(before.target)} has no description"
