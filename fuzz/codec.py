"""The PostgreSQL codecs and the tracker of answers, under bytes that a hostile peer might send.

How this works: the first byte says which part is fed, the second how the rest is cut into pieces. For each part an
oracle must hold: nothing is raised but the codec's own refusals, and how the bytes were cut changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.tunnel.frames import DATA, FrameDecoder, FrameError
from wicketgate_gateway.wire.postgres import errors, frontend, messages
from wicketgate_gateway.wire.postgres.backend import BackendDecoder
from wicketgate_gateway.wire.postgres.expected import Ask, Change, CopyFilter, Denial, Expected, Portal
from wicketgate_gateway.wire.postgres.frontend import FrontendDecoder
from wicketgate_gateway.wire.postgres.login import FirstMessage, Password
from wicketgate_gateway.wire.postgres.messages import FieldDescription, ProtocolError
from wicketgate_gateway.wire.postgres.responses import Responses
from wicketgate_gateway.wire.postgres.startup import Login, start_up_parameters

MAX_BYTES = 4096
WORDS = [
    *(bytes([kind]) + b"\0\0\0" + bytes([size]) for kind in b"QPBDECSHFdcfXRKZTtnIsGHNA123" for size in (4, 5, 9, 20)),
    b"\0\0\0\x08\x04\xd2\x16\x2f",
    b"\0\3\0\0user\0",
    b"SCRAM-SHA-256\0\0",
    b"SFATAL\0",
    b"C42601\0",
    b"M" + b"n0nce\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
]


def pieces(data: bytes, cut: int) -> Iterator[bytes]:
    """The bytes in pieces: of one size, or of sizes that vary."""
    if cut == 0:
        yield data
        return
    at = 0
    while at < len(data):
        size = cut if cut < 128 else 1 + (at * 31 + cut) % (cut - 120)
        yield data[at : at + size]
        at += size


def _frontend(data: bytes, cut: int) -> tuple[object, ...]:
    decoder = FrontendDecoder()
    taken: list[bytes] = []
    other: list[object] = []
    refused = ""
    try:
        for piece in pieces(data, cut):
            decoder.feed(piece)
            while (event := decoder.next()) is not None:
                taken.append(event.raw)
                if not isinstance(event, frontend.CopyBytes):
                    other.append(event)
                    _same_again(event)
    except ProtocolError as error:
        refused = error.message
    joined = b"".join(taken)
    assert data.startswith(joined), "events hold other bytes than came"
    if not refused:
        assert len(joined) + decoder.buffered == len(data)
    # Which part of unfinished COPY data was taken before a refusal may hang on the cuts; the rest may not.
    return (other, refused) if refused else (other, refused, joined)


def _same_again(event: object) -> None:
    # What the event says, said by our own encoder, is the same message: both read it alike.
    match event:
        case frontend.Query():
            assert messages.query(event.text) == event.raw
        case frontend.Describe():
            assert messages.describe(event.what.encode(), event.name) == event.raw
        case frontend.Close():
            assert messages.close(event.what.encode(), event.name) == event.raw
        case frontend.Execute():
            assert messages.execute(event.portal, event.max_rows) == event.raw
        case frontend.Bind():
            again = messages.bind(event.portal, event.statement, event.parameters, event.formats, event.result_formats)
            assert again == event.raw
        case _:
            pass


def _backend(data: bytes, cut: int) -> tuple[object, ...]:
    decoder = BackendDecoder(1 << 20)
    found: list[object] = []
    try:
        for piece in pieces(data, cut):
            decoder.feed(piece)
            for message in decoder:
                found.append(message)
                _read(message.kind, message.body)
    except ProtocolError as error:
        return (found, error.message)
    return (found, decoder.buffered)


def _read(kind: str, body: bytes) -> None:
    read: Callable[[bytes], object] | None = {
        "T": messages.read_row_description,
        "D": messages.read_data_row,
        "E": messages.read_report,
        "S": messages.read_parameter_status,
        "C": lambda b: messages.rows_of(messages.read_command_tag(b)),
    }.get(kind)
    if kind in "EN" and "P" not in messages.read_report(body):
        again = messages.read_report(errors.without_values(kind.encode(), body)[5:])
        assert not {"D", "H", "W", "q"} & again.keys(), "a field that may show a value is left"
    if read is not None:
        try:
            read(body)
        except ProtocolError:
            return


def _first(data: bytes, cut: int) -> tuple[object, ...]:
    reader: FirstMessage | Password = Password() if data[:1] == b"p" else FirstMessage()
    try:
        for piece in pieces(data, cut):
            event = reader.feed(piece)
            if event is not None:
                return (event,)
    except ProtocolError as error:
        return (error.message,)
    return ()


def _login(data: bytes, cut: int) -> tuple[object, ...]:
    secret = "s3cret-password-of-the-target"  # noqa: S105
    tls = cut % 2 == 1
    login = Login(start_up_parameters({}, user="u", database="d", search_path="public"), secret, tls=tls)
    sent = login.start()
    try:
        for piece in pieces(data, 0):
            sent += login.feed(piece)
            if login.done is not None:
                break
    except WicketgateError as error:
        said = str(error)
    else:
        said = ""
    assert secret not in said, "an error shows the password"
    if not tls:
        assert secret.encode() not in sent, "the password left without TLS"
    return ()


def _frames(data: bytes, cut: int) -> tuple[object, ...]:
    decoder = FrameDecoder()
    found: list[tuple[int, int, bytes]] = []
    try:
        for piece in pieces(data, cut):
            for kind, stream, payload in decoder.feed(piece):
                if kind == DATA and found and found[-1][:2] == (DATA, stream):
                    payload = found.pop()[2] + payload
                found.append((kind, stream, payload))
    except FrameError as error:
        return (str(error),)  # what was handed out before it hangs on the cuts
    return (found,)


class _Text:
    """A text whose answers are tracked."""

    def __init__(self, kind: int) -> None:
        self.masked = kind % 2 == 1
        self.hides_errors = self.masked
        self.written = frozenset[str]() if self.masked else None
        self.copies_in = kind % 8 == 2
        self.copies_out = kind % 8 == 4
        self.changes = ((Change(kind % 5), "ab"[kind % 2]),) if kind >= 8 else ()


class _Hooks:
    """Masks every value of masked texts; counts what began and ended."""

    def __init__(self) -> None:
        self.ended: list[tuple[object, str]] = []

    def masker(
        self, prepared: object, fields: tuple[FieldDescription, ...], formats: tuple[int, ...]
    ) -> Callable[[bytes, int, int], bytes]:
        return lambda data, start, end: messages.data_row([b"*"]) * _rows_in(data, start, end)

    def copying(self, prepared: object, looks: CopyFilter | None, *, binary: bool, columns: int) -> CopyFilter | None:
        return looks

    def finished(self, expected: Expected, outcome: str, ran: object) -> None:
        self.ended.append((expected.operation, outcome))

    def parameter(self, name: str, value: str) -> None:
        if name == "search_path":
            raise ProtocolError("pinned")


def _rows_in(data: bytes, start: int, end: int) -> int:
    rows = 0
    while start < end:
        assert data[start] == ord("D"), "the masker gets rows and nothing else"
        start += 1 + int.from_bytes(data[start + 1 : start + 5], "big")
        rows += 1
    assert start == end, "the masker gets whole rows"
    assert rows, "the masker gets rows"
    return rows


def _responses(data: bytes, cut: int) -> tuple[object, ...]:
    # The head of the data says what was asked, the rest is what the server answers.
    hooks = _Hooks()
    tracker = Responses(hooks, "n0nce")
    count = data[0] % 12 if data else 0
    asked = 0
    for number, byte in enumerate(data[1 : 1 + count]):
        _push(tracker, byte, number)
        asked += 1
    out: list[bytes] = []
    refused = ""
    try:
        for piece in pieces(data[1 + count :], cut):
            out += tracker.feed(piece)
    except ProtocolError as error:
        refused = error.message
    numbers = [operation for operation, _ in hooks.ended]
    assert len(set(numbers)) == len(numbers), "an operation ended twice"
    assert len(tracker) <= asked
    # Before a refusal, pieces decide how much went out already; without one, nothing hangs on them.
    return (refused, [] if refused else b"".join(out), hooks.ended, tracker.status, tracker.fatal)


def _push(tracker: Responses, byte: int, number: int) -> None:
    ask, kind = Ask(byte % 9), byte // 9
    name = ("", "a", "b")[kind % 3]
    text = _Text(kind % 16)
    match ask:
        case Ask.QUERY:
            denial = Denial(errors.error("ERROR", "42501", "denied")) if kind % 7 == 3 else None
            made = Expected(ask, prepared=text, operation=number, denial=denial)
        case Ask.PARSE:
            made = Expected(ask, name=name, prepared=text)
        case Ask.BIND:
            portal = Portal(tracker.statements.candidates(name), None, ())
            made = Expected(ask, name=name, statement=name, portal=portal)
        case Ask.EXECUTE:
            made = Expected(ask, name=name, operation=number)
        case _:
            made = Expected(ask, name=name, swallow=kind % 5 == 1)
    tracker.push(made)


_PARTS: list[Callable[[bytes, int], tuple[object, ...]]] = [
    _frontend, _backend, _first, _login, _frames, _responses, _responses,
]  # fmt: skip


def run(data: bytes) -> None:
    """One input."""
    if len(data) < 2:
        return
    part = _PARTS[data[0] % len(_PARTS)]
    whole, cut = part(data[2:], 0), part(data[2:], data[1])
    assert whole == cut, f"{part.__name__} hangs on how its bytes are cut: {whole!r} / {cut!r}"


def seeds() -> list[bytes]:
    """Conversations as they should be, from which mutation starts."""
    m = messages
    extended = (
        m.parse("s", "SELECT $1") + m.bind("p", "s", [b"1", None], [0, 1], [1]) + m.describe(b"P", "p")
        + m.execute("p", 7) + m.close(b"S", "s") + m.FLUSH + m.SYNC
    )  # fmt: skip
    fields = [FieldDescription("email", 20000, 3, 25), FieldDescription("id", 20000, 1, 23)]
    rows = m.row_description(fields) + m.data_row([b"x", None]) + m.command_complete("SELECT 1") + m.ready_for_query()
    frontend_side = [
        m.query("SELECT 1") + m.TERMINATE,
        extended,
        m.query("COPY t FROM STDIN") + m.copy_data(b"1\tx\n") + m.COPY_DONE + m.copy_fail("no"),
        m.message(b"F", b"\0\0\6\x3e\0\0\0\0\0\0"),
    ]
    server_side = [
        rows,
        m.report(b"E", {"S": "ERROR", "V": "ERROR", "C": "42601", "M": "n0nce", "D": "Key (email)=(x)", "P": "4"})
        + m.ready_for_query(b"E"),
        m.PARSE_COMPLETE + m.BIND_COMPLETE + m.NO_DATA + m.command_complete("INSERT 0 1") + m.ready_for_query(),
        m.copy_response(b"G", 2) + m.copy_response(b"H") + m.copy_data(b"x") + m.COPY_DONE,
        m.parameter_status("TimeZone", "UTC") + m.backend_key_data(1, b"abcd") + m.CLOSE_COMPLETE + m.PORTAL_SUSPENDED,
    ]
    start = [
        b"\0\0\0\x08\x04\xd2\x16\x2f", b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\1abcd",
        b"\0\0\0\x1e\0\3\0\0user\0bot\0_pq_.x\0y\0\0\0", m.password("token"),
    ]  # fmt: skip
    log_in = [
        m.AUTHENTICATION_CLEARTEXT, m.message(b"R", b"\0\0\0\5salt"), m.message(b"R", b"\0\0\0\x0aSCRAM-SHA-256\0\0"),
        m.AUTHENTICATION_OK + m.parameter_status("client_encoding", "UTF8") + m.backend_key_data(1, b"abcd")
        + m.ready_for_query(),
    ]  # fmt: skip
    frames = [b"\0\0\0\1" + bytes([kind]) + b"\0\0\4data" for kind in range(1, 8)]
    asks = [bytes([3, 0, 0, 9]), bytes([5, 1, 2, 4, 5, 8]), bytes([2, 18, 36]), bytes([7, 1, 10, 2, 11, 5, 14, 8])]
    found = [b"\0" + bytes([cut]) + data for data in frontend_side for cut in (1, 200)]
    found += [b"\1\3" + data for data in server_side]
    found += [b"\2\2" + data for data in start]
    found += [b"\3\1" + data for data in log_in] + [b"\3\2" + data for data in log_in]
    found += [b"\4\3" + data for data in frames]
    found += [b"\5\3" + ask + data for ask in asks for data in server_side]
    return found
