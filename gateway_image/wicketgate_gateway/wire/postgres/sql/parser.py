"""PostgreSQL's own parser, bounded.

How this works: the native crate (libpg_query 18.1) turns text into protobuf bytes, which postgast's message classes
read. Where the crate is not built, postgast's own copy of libpg_query parses. That older copy overflows the stack on
deep nesting instead of reporting an error, so it gets short texts only, and in the main thread only.

The result means what PostgreSQL will do only under `standard_conforming_strings = on` and `client_encoding = UTF8`,
which the session has to pin.
"""

from __future__ import annotations

import importlib
import re
import threading
from typing import Protocol, cast

from google._upb import _message
from google.protobuf.message import DecodeError
from postgast import errors as postgast_errors
from postgast import parse as postgast_parse
from postgast import pg_query_pb2 as pb

from wicketgate_gateway.wire.postgres.sql.model import SqlError, SqlSyntaxError, SqlTooLargeError


class Native(Protocol):
    """What we use of the crate in `gateway_image/native`."""

    ParseError: type[Exception]

    def parse(self, sql: bytes, /) -> bytes: ...

    def strip_literals(self, sql: bytes, /) -> bytes | None: ...


def _load_native() -> Native | None:
    try:
        return cast("Native", importlib.import_module("wicketgate_native"))
    except ModuleNotFoundError:
        return None


_native = _load_native()

NATIVE_LIMIT = 1 << 20
TWIN_LIMIT = 8 << 10
MAX_STATEMENTS = 1000
MAX_TREE = 6 << 20
_OPERATOR_RUN = re.compile(rb"[~!@#^&|`?+\-*/%<>=]{16,}")
_SHORT = 4 << 10
_MAX_RESCANS = 20_000_000
_TOO_LONG_HINT = "split the text, or send the data as parameters or by COPY"

# Deep trees are decoded too: the parser bounds the depth by its own stack, and we walk without recursion.
_message.SetAllowOversizeProtos(True)


def native() -> Native | None:
    """The native module where it is built; without it texts are limited to `TWIN_LIMIT` bytes."""
    return _native


def limit() -> int:
    """The longest text, in bytes of UTF-8, that `parse` looks at."""
    return TWIN_LIMIT if _native is None else NATIVE_LIMIT


def parse(sql: str) -> pb.ParseResult:
    """Parses a text of any number of statements.

    Raises `SqlSyntaxError` where PostgreSQL's grammar does, `SqlTooLargeError` past our bounds, and `SqlError` for
    a NUL byte or a lone surrogate.
    """
    data = encode(sql)
    result = _parse_twin(sql, data) if _native is None else _parse_native(_native, data)
    if len(result.stmts) > MAX_STATEMENTS:
        raise SqlTooLargeError(f"{len(result.stmts)} statements in one text, at most {MAX_STATEMENTS} are taken")
    return result


def encode(sql: str) -> bytes:
    """The text as UTF-8, checked for what no parser should see."""
    if len(sql) > limit():
        raise SqlTooLargeError(f"the text is over {limit()} bytes long", remedy=_TOO_LONG_HINT)
    try:
        data = sql.encode()
    except UnicodeEncodeError:
        raise SqlError("the text is not valid Unicode", code="sql-encoding") from None
    if len(data) > limit():
        raise SqlTooLargeError(f"the text is over {limit()} bytes long", remedy=_TOO_LONG_HINT)
    if b"\0" in data:
        raise SqlError("the text holds a NUL byte", code="sql-nul")
    _check_operator_runs(data)
    return data


def _check_operator_runs(data: bytes) -> None:
    """Refuses what makes PostgreSQL's lexer quadratic: `/*/*/*…` or `+-+-+-…`, of which it rescans the rest each time.

    The parser could be kept busy for minutes by one such text of a few hundred KiB.
    """
    if len(data) > _SHORT and sum((m.end() - m.start()) ** 2 for m in _OPERATOR_RUN.finditer(data)) > _MAX_RESCANS:
        raise SqlTooLargeError("the text has too long runs of operator characters")


def _parse_native(module: Native, data: bytes) -> pb.ParseResult:
    try:
        return _decode(module.parse(data))
    except module.ParseError as error:
        message, position = error.args
        raise _refusal(str(message), int(position)) from None


def _parse_twin(sql: str, data: bytes) -> pb.ParseResult:
    if len(data) > TWIN_LIMIT:
        raise SqlTooLargeError(f"the text is over {TWIN_LIMIT} bytes long", remedy=_TOO_LONG_HINT)
    if threading.current_thread() is not threading.main_thread():
        raise SqlError("without the native module statements are parsed in the main thread only", code="sql-no-native")
    try:
        return postgast_parse(sql)
    except postgast_errors.PgQueryError as error:
        raise _refusal(str(error.message), int(error.cursorpos or 0)) from None
    except DecodeError:
        raise SqlTooLargeError("the text is nested too deeply") from None


def _decode(data: bytes) -> pb.ParseResult:
    if len(data) > MAX_TREE:
        raise SqlTooLargeError("the text has too many parts", remedy=_TOO_LONG_HINT)
    try:
        return pb.ParseResult.FromString(data)
    except DecodeError:
        raise SqlTooLargeError("the text is nested too deeply") from None


def _refusal(message: str, position: int) -> SqlError:
    if "stack depth" in message or "too deeply" in message or "memory exhausted" in message:
        return SqlTooLargeError("the text is nested too deeply", position=position)
    return SqlSyntaxError(message, position=position)
