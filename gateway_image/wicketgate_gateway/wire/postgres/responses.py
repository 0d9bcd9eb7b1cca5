"""What a server answers, matched with what was asked: bytes in, bytes for the client out.

How this works: for every message that goes to the server and has an answer, an `Expected` stands in a queue, in the
order sent. The server answers in that order, so the queue's head says what an answer belongs to. After an error in the
extended protocol the server skips all up to the next Sync, and so does the queue. `_TABLE` names for every message type
the handler; a message that no rule of the protocol allows here raises `ProtocolError`, and the session must end: rows
whose origin is unclear are never passed on.

Four things are changed in the stream, everything else is passed on as it came, in slices as large as possible:

- The answer to a denied message. Instead of the denied bytes a text that cannot parse was sent, so the server raises a
  syntax error at the very place, with all that follows from it (failed transaction, skipping to Sync). The error, known
  by its place and by the session's nonce within it, is replaced by our own.
- The answers to a Describe that we put in ourselves are swallowed.
- Rows of statements with masks go through the function that `Hooks.masker` returned for their columns.
- COPY data goes through what `Hooks.copying` returned for it; it, errors and notices through `filter`, if there is one.

Statements are opaque here (`Prepared`): the caller's text, verdict and masks hang on them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from struct import Struct

from wicketgate_gateway.wire.postgres import errors, messages
from wicketgate_gateway.wire.postgres.expected import (
    Ask,
    Change,
    CopyFilter,
    Expected,
    Filter,
    Hooks,
    Portal,
    Prepared,
    RowMasker,
    SqlPrepared,
)
from wicketgate_gateway.wire.postgres.messages import FieldDescription, ProtocolError
from wicketgate_gateway.wire.postgres.names import Names
from wicketgate_gateway.wire.postgres.rows import rows_end, whole_rows_end

_U32 = Struct(">I")
_unpack_u32 = _U32.unpack_from
_DATA_ROW = 68
_COPY_DATA = 100
_QUERY, _PARSE, _BIND, _EXECUTE, _SYNC = Ask.QUERY, Ask.PARSE, Ask.BIND, Ask.EXECUTE, Ask.SYNC
_KNOWN_BYTES = 4096
_KNOWN_MOST = 512

MAX_MASKED_ROW = 64 * 1024 * 1024
"""The largest row that is masked: it must be held as a whole. Others are passed on as they come."""
MAX_OTHER = 16 * 1024 * 1024
"""Bound for messages that are neither rows nor COPY data."""


class Responses:
    """The server's half of a session after log-in."""

    def __init__(self, hooks: Hooks, nonce: str) -> None:
        self.statements: Names[Prepared] = Names()
        self.portals: Names[Portal] = Names()
        self.copying: Expected | None = None
        """The message whose COPY reads data from the client now."""
        self.filter: Filter | None = None
        """What COPY data, errors and notices go through, if anything."""
        self.fatal = False
        """The server said that it ends the connection."""
        self.status = b"I"
        """Transaction status of the last ReadyForQuery."""
        self._hooks = hooks
        self._nonce = nonce
        self.under_way: deque[Expected] = deque()
        """All that was sent and is not answered, in order; to look at."""
        self._queue = self.under_way
        self._skipping = False  # the server drops everything until a Sync that has not been sent yet
        self._tail: list[bytes] = []  # a message that is not complete, in parts
        self._tail_size = 0
        self._need = 0  # its size, once its head has come
        self._passing = 0  # bytes of a message that is passed on in parts
        self._rows_open = False
        self._masker: RowMasker | None = None
        self._copy_out = False
        self._copy_filter: CopyFilter | None = None

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def within_message(self) -> bool:
        """Whether the client has got a part of a message: nothing else may be sent to it in between."""
        return self._passing > 0

    @property
    def skipping(self) -> bool:
        """Whether the server drops everything until a Sync that has not been sent yet."""
        return self._skipping

    @property
    def quiet(self) -> bool:
        """Whether nothing is under way, in either direction."""
        return not (self._queue or self._tail or self._passing or self._skipping or self.copying is not None)

    @property
    def held(self) -> int:
        """Bytes of a message that is not complete."""
        return self._tail_size

    def lost(self) -> list[Expected]:
        """All that is under way, when the connection broke."""
        return list(self._queue)

    def push(self, expected: Expected) -> None:
        """`expected` is sent to the server behind all that was pushed before."""
        if self._skipping:
            if expected.ask is not Ask.SYNC:
                self._settle(expected)
                self._finish(expected, "skipped", None)
                return
            self._skipping = False
        ask = expected.ask
        prepared = expected.prepared
        if prepared is not None:
            if ask is _PARSE:
                self.statements.sent(expected.name, prepared)
            elif prepared.changes:
                self._push_changes(expected, prepared)
        elif ask is _BIND and expected.portal is not None:
            self.portals.sent(expected.name, expected.portal)
        self._queue.append(expected)

    def _push_changes(self, expected: Expected, prepared: Prepared) -> None:
        expected.sql = {}
        for i, (change, name) in enumerate(prepared.changes):
            if change is Change.PREPARE:
                expected.sql[i] = made = SqlPrepared(prepared)
                self.statements.sent(name, made)

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes of the server; returns what goes to the client, in order. Raises ProtocolError."""
        if self._tail:
            self._tail.append(data)
            self._tail_size += len(data)
            if self._tail_size < self._need:
                return []
            data = b"".join(self._tail)
            self._tail.clear()
            self._tail_size = 0
        size = len(data)
        out: list[bytes] = []
        start = 0
        position = 0
        if self._passing:
            position = min(self._passing, size)
            self._passing -= position
        unpack = _unpack_u32
        table = _TABLE
        while size - position >= 5:
            kind = data[position]
            (length,) = unpack(data, position + 1)
            end = position + 1 + length
            if kind == _DATA_ROW:
                if not self._rows_open:
                    self._open_rows()
                masker = self._masker
                if masker is None:
                    # What bulk results run through: only heads are looked at.
                    after = rows_end(data, position)
                    if after is None:
                        raise ProtocolError("the server sent a row of impossible length")
                    position = after
                    if position > size:
                        self._passing = position - size
                        position = size
                    continue
                if length < 6 or length > MAX_MASKED_ROW:
                    raise ProtocolError("the server sent a row that is too large to mask", sqlstate="54000")
                if end > size:
                    break
                if position > start:
                    out.append(data[start:position])
                # All that are there as a whole at once; this one is.
                end = whole_rows_end(data, position)
                out.append(masker(data, position, end))
                start = position = end
                continue
            if kind == _COPY_DATA:
                if not self._copy_out or length < 4:
                    raise ProtocolError("the server sent COPY data out of place")
                if self._copy_filter is not None:
                    if length > MAX_MASKED_ROW:
                        raise ProtocolError("the server sent a row that is too large to mask", sqlstate="54000")
                    if end > size:
                        break
                    if position > start:
                        out.append(data[start:position])
                    out.append(self._copy_filter.feed(data[position + 5 : end]))
                    start = position = end
                    continue
                position = end
                if position > size:
                    self._passing = position - size
                    position = size
                continue
            handler = table.get(kind)
            if handler is None or length < 4 or length > MAX_OTHER:
                raise ProtocolError(f"the server sent a message of type {kind:#04x} that has no place here")
            if end > size:
                break
            replacement = handler(self, data, position + 5, end)
            if replacement is not None:
                if position > start:
                    out.append(data[start:position])
                if replacement:
                    out.append(replacement)
                start = end
            position = end
        if position < size:
            self._tail.append(data[position:])
            self._tail_size = size - position
            self._need = 5 if self._tail_size < 5 else 1 + unpack(data, position + 1)[0]
        if start == 0 and position == size:
            out.append(data)
        elif position > start:
            out.append(data[start:position])
        return out

    # Handlers return what goes to the client in the message's place, None for the message itself.

    def _head(self, *asks: Ask) -> Expected:
        if self._queue:
            head = self._queue[0]
            if head.denial is None and head.ask in asks:
                return head
        raise ProtocolError("the server's answer belongs to nothing that was asked")

    def _open_rows(self) -> None:
        head = self._head_of(_EXECUTE)  # rows of a Query were opened by their RowDescription
        portal = self.portals.confirmed.get(head.name)
        if portal is None or not portal.known or portal.prepared is None:
            raise ProtocolError("the server sent rows of an unknown portal")
        if portal.prepared.masked:
            if portal.fields is None:
                raise ProtocolError("the server sent rows whose columns are unknown")
            self._masker = self._hooks.masker(portal.prepared, portal.fields, portal.result_formats)
        else:
            self._masker = None
        self._rows_open = True

    def _head_of(self, ask: Ask) -> Expected:
        if self._queue:
            head = self._queue[0]
            if head.ask is ask and head.denial is None:
                return head
        raise ProtocolError("the server's answer belongs to nothing that was asked")

    def _close_rows(self) -> None:
        self._rows_open = False
        self._masker = None
        self._copy_out = False

    def _pop(self) -> Expected:
        head = self._queue.popleft()
        head.settled = True
        return head

    def _ran(self, expected: Expected) -> Prepared | None:
        if expected.ask is not Ask.EXECUTE:
            return expected.prepared
        portal = self.portals.confirmed.get(expected.name)
        return portal.prepared if portal is not None else None

    def _finish(self, expected: Expected, outcome: str, ran: Prepared | None) -> None:
        if expected.operation is not None:
            self._hooks.finished(expected, outcome, ran)

    def _settle(self, expected: Expected) -> None:
        # Whatever it would have bound is not under way any more.
        expected.settled = True
        if expected.ask is Ask.PARSE and expected.prepared is not None:
            self.statements.settle(expected.name, expected.prepared)
        elif expected.ask is Ask.BIND and expected.portal is not None:
            self.portals.settle(expected.name, expected.portal)
        elif expected.ask is Ask.DESCRIBE_PORTAL:
            for portal in self.portals.candidates(expected.name):
                portal.described = False
        elif expected.sql and expected.prepared is not None:
            for i, made in expected.sql.items():
                self.statements.settle(expected.prepared.changes[i][1], made)

    def _parse_complete(self, data: bytes, at: int, end: int) -> bytes | None:
        head = self._head_of(_PARSE)
        self._queue.popleft()
        head.settled = True
        if head.prepared is not None:
            self.statements.confirm(head.name, head.prepared)
        return None

    def _bind_complete(self, data: bytes, at: int, end: int) -> bytes | None:
        head = self._head_of(_BIND)
        self._queue.popleft()
        head.settled = True
        portal = head.portal
        assert portal is not None
        portal.prepared = prepared = self.statements.confirmed.get(head.statement)
        portal.known = True
        for candidate in portal.candidates:
            if candidate is prepared:
                break
        else:
            raise ProtocolError("the server bound a statement that was not decided on")
        self.portals.confirm(head.name, portal)
        return None

    def _close_complete(self, data: bytes, at: int, end: int) -> bytes | None:
        head = self._head(Ask.CLOSE_STATEMENT, Ask.CLOSE_PORTAL)
        self._pop()
        (self.statements if head.ask is Ask.CLOSE_STATEMENT else self.portals).drop(head.name)
        return None

    def _parameter_description(self, data: bytes, at: int, end: int) -> bytes | None:
        head = self._head(Ask.DESCRIBE_STATEMENT)
        return b"" if head.swallow else None

    def _row_description(self, data: bytes, at: int, end: int) -> bytes | None:
        head = self._head(_QUERY, Ask.DESCRIBE_STATEMENT, Ask.DESCRIBE_PORTAL)
        if head.ask is _QUERY:
            prepared = head.prepared
            assert prepared is not None
            self._masker = None
            if prepared.masked:
                description = data[at:end]
                fields = _known_fields.get(description) or known_fields(description)
                self._masker = self._hooks.masker(prepared, fields, ())
            self._rows_open = True
            return None
        self._queue.popleft()
        head.settled = True
        if head.ask is Ask.DESCRIBE_PORTAL:
            portal = self.portals.confirmed.get(head.name)
            if portal is not None and (portal.prepared is None or portal.prepared.masked):
                portal.fields = known_fields(data[at:end])
        return b"" if head.swallow else None

    def _no_data(self, data: bytes, at: int, end: int) -> bytes | None:
        head = self._head(Ask.DESCRIBE_STATEMENT, Ask.DESCRIBE_PORTAL)
        self._pop()
        if head.ask is Ask.DESCRIBE_PORTAL:
            portal = self.portals.confirmed.get(head.name)
            if portal is not None:
                portal.fields = ()
        return b"" if head.swallow else None

    def _command_complete(self, data: bytes, at: int, end: int) -> bytes | None:
        head = self._head(_QUERY, _EXECUTE)
        self._rows_open = self._copy_out = False
        self._masker = self.copying = None
        body = data[at:end]
        tag, head.rows, ends = _known_tags.get(body) or _tag(body)
        ran = head.prepared if head.ask is _QUERY else self._ran(head)
        if ran is not None and ran.changes and head.index < len(ran.changes):
            change, name = ran.changes[head.index]
            self._change(change, "" if tag.endswith(" ALL") else name, ran, head)
        elif ends and tag == "DISCARD ALL":
            self.statements.drop_all()
            self.portals.drop_all()
        if ends and tag in ("ROLLBACK", "COMMIT"):
            # After ROLLBACK TO the name may mean another portal by now: look at its columns again.
            for portal in self.portals.confirmed.values():
                portal.fields = None
                portal.described = False
        if head.ask is _QUERY:
            head.index += 1
        else:
            self._queue.popleft()
            head.settled = True
            if head.sql:
                self._settle(head)
            if head.operation is not None:
                self._hooks.finished(head, "ok", ran)
        return None

    def _change(self, change: Change, name: str, prepared: Prepared, head: Expected) -> None:
        if change is Change.PREPARE:
            made = head.sql.get(head.index) if head.sql and prepared is head.prepared else None
            self.statements.confirm(name, made or SqlPrepared(prepared))
        elif change is Change.DEALLOCATE:
            if name:
                self.statements.drop(name)
            else:
                self.statements.drop_all()
        elif change in (Change.DECLARE, Change.CLOSE):
            if name:
                self.portals.drop(name)
            else:
                self.portals.drop_all()

    def _empty_query(self, data: bytes, at: int, end: int) -> bytes | None:
        head = self._head(Ask.QUERY, Ask.EXECUTE)
        if head.ask is Ask.EXECUTE:
            self._pop()
            self._finish(head, "ok", self._ran(head))
        return None

    def _portal_suspended(self, data: bytes, at: int, end: int) -> bytes | None:
        head = self._head(Ask.EXECUTE)
        self._close_rows()
        self._pop()
        self._finish(head, "ok", self._ran(head))
        return None

    def _error(self, data: bytes, at: int, end: int) -> bytes | None:
        body = data[at:end]
        fields = messages.read_report(body)
        if fields.get("V", fields.get("S")) in ("FATAL", "PANIC"):
            self.fatal = True
            return self._report(b"E", body)
        if not self._queue:
            raise ProtocolError("the server sent an error that belongs to nothing that was asked")
        replacement = self._report(b"E", body)
        head = self._queue[0]
        self._close_rows()
        self.copying = None
        if head.denial is not None:
            if fields.get("C") == "42601" and self._nonce in fields.get("M", ""):
                replacement = head.denial.response
            head.error = "42501"
        else:
            head.error = fields.get("C", "XX000")
        if head.ask is Ask.SYNC:
            return replacement
        if head.ask is Ask.QUERY:
            head.settled = True
            return replacement
        ran = self._ran(head)
        self._pop()
        self._settle(head)
        self._finish(head, "cancelled" if head.error == "57014" else "error", ran)
        while self._queue and self._queue[0].ask is not Ask.SYNC:
            skipped = self._pop()
            self._settle(skipped)
            self._finish(skipped, "skipped", None)
        self._skipping = not self._queue
        return replacement

    def _report(self, kind: bytes, body: bytes) -> bytes | None:
        hidden = self._hide(kind, body)
        if self.filter is None:
            return hidden
        filtered = self.filter.report(kind, body if hidden is None else hidden[5:])
        return hidden if filtered is None else filtered

    def _hide(self, kind: bytes, body: bytes) -> bytes | None:
        if not self._queue:
            return None
        head = self._queue[0]
        ran: tuple[Prepared, ...] = ()
        if head.ask is Ask.EXECUTE or head.ask is Ask.DESCRIBE_PORTAL:
            portal = self.portals.confirmed.get(head.name)
            if portal is not None and portal.prepared is None:
                return errors.without_values(kind, body)
            ran = () if portal is None or portal.prepared is None else (portal.prepared,)
        elif head.ask is Ask.BIND and head.portal is not None:
            ran = head.portal.candidates
        elif head.ask is Ask.SYNC:
            # What fails at the commit (a deferred constraint) was run by some statement before.
            ran = tuple(self.statements.confirmed.values())
        elif head.prepared is not None:
            ran = (head.prepared,)
        hides = any(prepared.hides_errors for prepared in ran)
        if not hides and any(prepared.written is not None for prepared in ran):
            at_once = head.ask is not Ask.SYNC
            written = [prepared.written for prepared in ran if prepared.written is not None and at_once]
            hides = errors.tells_of_others(body, frozenset[str]().union(*written))
        return errors.without_values(kind, body) if hides else None

    def _ready(self, data: bytes, at: int, end: int) -> bytes | None:
        queue = self._queue
        if not queue or end != at + 1:
            raise ProtocolError("the server's answer belongs to nothing that was asked")
        ask = queue[0].ask
        if ask is not _QUERY and ask is not _SYNC:
            raise ProtocolError("the server's answer belongs to nothing that was asked")
        head = queue.popleft()
        head.settled = True
        if head.denial is not None and not head.error:
            raise ProtocolError("the server answered a denied statement with success")
        if head.sql:
            self._settle(head)
        self._rows_open = self._copy_out = False
        self._masker = self.copying = None
        self.status = data[at:end]
        if self.status == b"I":
            self.portals.confirmed.clear()
        if ask is _QUERY and head.operation is not None:
            outcome = "ok" if not head.error else "cancelled" if head.error == "57014" else "error"
            self._hooks.finished(head, outcome, head.prepared)
        return None

    def _copy_in(self, data: bytes, at: int, end: int) -> bytes | None:
        head = self._head(Ask.QUERY, Ask.EXECUTE)
        ran = self._ran(head)
        if ran is None or not ran.copies_in:
            raise ProtocolError("the server asks for COPY data that no statement announced")
        head.settled = True
        self.copying = head
        return None

    def _copy_out_start(self, data: bytes, at: int, end: int) -> bytes | None:
        head = self._head(Ask.QUERY, Ask.EXECUTE)
        ran = self._ran(head)
        if ran is None or not ran.copies_out:
            raise ProtocolError("the server sends COPY data that no statement announced")
        binary, columns = messages.read_copy_response(data[at:end])
        looks = None if self.filter is None else self.filter.copying(binary=binary)
        self._copy_filter = self._hooks.copying(ran, looks, binary=binary, columns=columns)
        self._copy_out = True
        return None

    def _copy_out_done(self, data: bytes, at: int, end: int) -> bytes | None:
        if not self._copy_out:
            raise ProtocolError("the server ends a COPY that it did not begin")
        self._copy_out = False
        rest = b"" if self._copy_filter is None else self._copy_filter.flush()
        return rest + data[at - 5 : end] if rest else None

    def _parameter_status(self, data: bytes, at: int, end: int) -> bytes | None:
        self._hooks.parameter(*messages.read_parameter_status(data[at:end]))
        return None

    def _notice(self, data: bytes, at: int, end: int) -> bytes | None:
        return self._report(b"N", data[at:end])

    def _notification(self, data: bytes, at: int, end: int) -> bytes | None:
        return None


def known_fields(description: bytes) -> tuple[FieldDescription, ...]:
    """The fields of a RowDescription's body. Raises ProtocolError if it is malformed."""
    # The same columns come again and again; the same tuple for them lets the session find its masker again.
    found = _known_fields.get(description)
    if found is None:
        found = messages.read_row_description(description)
        if len(description) <= _KNOWN_BYTES:
            if len(_known_fields) >= _KNOWN_MOST:
                _known_fields.clear()
            _known_fields[description] = found
    return found


def _tag(body: bytes) -> tuple[str, int | None, bool]:
    # A command tag, its row count, and whether names may mean less after it.
    found = _known_tags.get(body)
    if found is None:
        tag = messages.read_command_tag(body)
        found = (tag, messages.rows_of(tag), tag in ("DISCARD ALL", "ROLLBACK", "COMMIT"))
        if len(body) <= 64:
            if len(_known_tags) >= _KNOWN_MOST:
                _known_tags.clear()
            _known_tags[body] = found
    return found


_known_fields: dict[bytes, tuple[FieldDescription, ...]] = {}
_known_tags: dict[bytes, tuple[str, int | None, bool]] = {}

_Handler = Callable[[Responses, bytes, int, int], bytes | None]

# Authentication, BackendKeyData, FunctionCallResponse, CopyBothResponse, NegotiateProtocolVersion have no place here.
_TABLE: dict[int, _Handler] = {
    ord("1"): Responses._parse_complete,
    ord("2"): Responses._bind_complete,
    ord("3"): Responses._close_complete,
    ord("t"): Responses._parameter_description,
    ord("T"): Responses._row_description,
    ord("n"): Responses._no_data,
    ord("C"): Responses._command_complete,
    ord("I"): Responses._empty_query,
    ord("s"): Responses._portal_suspended,
    ord("E"): Responses._error,
    ord("Z"): Responses._ready,
    ord("G"): Responses._copy_in,
    ord("H"): Responses._copy_out_start,
    ord("c"): Responses._copy_out_done,
    ord("S"): Responses._parameter_status,
    ord("N"): Responses._notice,
    ord("A"): Responses._notification,
}
