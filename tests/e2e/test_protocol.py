"""The protocol, message by message: the same bytes to the gateway and to the server itself have the same answers."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wicketgate_gateway.wire.postgres import messages as m
from wicketgate_gateway.wire.postgres.backend import BackendDecoder
from wicketgate_gateway.wire.postgres.startup import Login, start_up_parameters

pytestmark = pytest.mark.slow
TLS_REQUEST = struct.pack(">II", 8, 80877103)


class Wire:
    """A logged-in connection on which bytes are sent and messages read."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.decoder = BackendDecoder()

    def send(self, *parts: bytes) -> None:
        self.sock.sendall(b"".join(parts))

    def until_ready(self, count: int = 1) -> list[tuple[str, bytes]]:
        """Messages up to the ReadyForQuery of this number, or all until the peer closes."""
        found: list[tuple[str, bytes]] = []
        while count:
            for message in self.decoder:
                found.append(tuple(message))
                if message.kind == "Z":
                    count -= 1
                    if not count:
                        break
            else:
                try:
                    data = self.sock.recv(65536)
                except (ConnectionResetError, ssl.SSLError):
                    data = b""
                if not data:
                    break
                self.decoder.feed(data)
        return found

    def close(self) -> None:
        self.sock.close()


def through(gateway: Any) -> Wire:
    sock = socket.create_connection(("127.0.0.1", gateway.ports["postgres"]), 20)
    sock.sendall(TLS_REQUEST)
    assert sock.recv(1) == b"S"
    context = ssl.create_default_context(cafile=str(gateway.ca_file))
    wire = Wire(context.wrap_socket(sock, server_hostname="localhost"))
    body = b"user\0bot\0database\0orders-db\0\0"
    wire.send(struct.pack(">II", len(body) + 8, 196608) + body)
    assert wire.sock.recv(9) == m.AUTHENTICATION_CLEARTEXT
    wire.send(m.password(gateway.cloud.bot_token()))
    assert wire.until_ready()[-1][0] == "Z"
    return wire


def direct(cloud: Any) -> Wire:
    sock: socket.socket = socket.create_connection((cloud.postgres.host, cloud.postgres.port), 20)
    if cloud.postgres.ca_file:
        sock.sendall(TLS_REQUEST)
        assert sock.recv(1) == b"S"
        sock = ssl.create_default_context(cafile=str(cloud.postgres.ca_file)).wrap_socket(
            sock, server_hostname=cloud.postgres.host
        )
    user = (cloud.credential / "username").read_text()
    login = Login(
        start_up_parameters({}, user=user, database="e2e", search_path="public"),
        (cloud.credential / "password").read_text(),
        tls=bool(cloud.postgres.ca_file),
    )
    sock.sendall(login.start())
    while login.done is None:
        sock.sendall(login.feed(sock.recv(65536)))
    return Wire(sock)


@pytest.fixture
def wire(gateway: Any) -> Iterator[Wire]:
    made = through(gateway)
    yield made
    made.close()


def shape(found: list[tuple[str, bytes]]) -> list[object]:
    """What must be equal: everything, but for the wording of errors."""
    return [(kind, m.read_report(body)["C"] if kind in "EN" else body) for kind, body in found if kind != "S"]


STATEMENTS = [
    "SELECT 1",
    "SELECT g, $1::text FROM generate_series(1, 3) g",
    "SELECT 1/0",
    "SELECT id, item FROM orders ORDER BY id LIMIT 5",
    "INSERT INTO uploads VALUES (900, 'x') RETURNING id",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT s",
    "ROLLBACK TO s",
    "SHOW search_path",
    "SELECT nonsense",
    "",
    "EXPLAIN SELECT 1",
    "DECLARE z CURSOR FOR SELECT 7",
    "FETCH 1 FROM z",
    "CLOSE z",
    "DEALLOCATE a",
    "DEALLOCATE ALL",
    "COPY (SELECT 1) TO STDOUT",
]
name = st.sampled_from(["", "a", "b"])
simple = st.sampled_from([*STATEMENTS, "SELECT 1; SELECT 2", "SELECT 1; SELECT 1/0; SELECT 2", "DISCARD ALL"])
step = st.one_of(
    st.builds(lambda n, s: m.parse(n, s), name, st.sampled_from(STATEMENTS)),
    st.builds(lambda p, s, f: m.bind(p, s, [b"v"], [], [f]), name, name, st.integers(0, 1)),
    st.builds(lambda p, s: m.bind(p, s), name, name),
    st.builds(lambda w, n: m.describe(w, n), st.sampled_from([b"S", b"P"]), name),
    st.builds(lambda n, r: m.execute(n, r), name, st.sampled_from([0, 0, 1, 2])),
    st.builds(lambda w, n: m.close(w, n), st.sampled_from([b"S", b"P"]), name),
    st.just(m.FLUSH),
    st.just(m.SYNC),
    simple.map(m.query),
    st.just(m.copy_data(b"1\tx\n")),
    st.just(m.COPY_DONE),
)
unit = st.one_of(
    st.lists(step, max_size=6).map(b"".join),
    # What drivers do: parse, bind, describe, execute.
    st.builds(
        lambda n, p, s, what, rows: (
            m.parse(n, s) + m.bind(p, n, [b"v"] if "$1" in s else []) + m.describe(what, p if what == b"P" else n)
            + m.execute(p, rows) + m.execute(p, rows)
        ),
        name, name, st.sampled_from(STATEMENTS), st.sampled_from([b"S", b"P"]), st.sampled_from([0, 1]),
    ),
)  # fmt: skip


MARK = m.query("ROLLBACK") + m.query("SELECT 'the very end'")


def run(wire: Wire, data: bytes) -> list[tuple[str, bytes]]:
    wire.send(data, m.SYNC, MARK)
    found: list[tuple[str, bytes]] = []
    while True:
        part = wire.until_ready()
        found += part
        if not part or (len(part) > 3 and b"the very end" in part[-3][1]):
            return found
        if part and any(k == "E" and m.read_report(b).get("V") == "FATAL" for k, b in part):
            return found


@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(unit, min_size=1, max_size=4), st.integers(0, 400))
def test_random_conversations_are_answered_as_by_the_server_itself(gateway: Any, units: list[bytes], cut: int) -> None:
    data = b"".join(units)
    # Cursors have names of their own: a portal that no Bind made is refused here, where the server would run it.
    ours, theirs = through(gateway), direct(gateway.cloud)
    try:
        ours.send(data[:cut])
        got = shape(run(ours, data[cut:]))
        wanted = shape(run(theirs, data))
        assert got == wanted
    finally:
        ours.close()
        theirs.close()


def test_function_calls_are_refused_and_the_session_goes_on(gateway: Any, wire: Wire) -> None:
    call = m.message(b"F", struct.pack(">IHHiH", 1598, 0, 0, 0, 0)[:-2])
    wire.send(call, m.query("SELECT 1"))
    found = wire.until_ready(2)
    error = m.read_report(next(body for kind, body in found if kind == "E"))
    assert error["C"] == "42501"
    assert "function-call" in error["M"]
    assert ("D", m.data_row([b"1"])[5:]) in found
    operation = gateway.operations()[-2]
    assert (operation.effect, operation.code) == ("deny", "function-call")


@pytest.mark.parametrize(
    "attack",
    [
        m.message(b"Q", b"SELECT 1\0DELETE FROM customers\0"),
        m.message(b"Q", b"SELECT '\xff'\0"),
        m.password("again"),
        m.message(b"Y"),
        m.parse("x" * 64, "SELECT 1"),
        b"\x16\x03\x01\0\xa5",
        b"Q\xff\xff\xff\xff",
    ],
)
def test_what_breaks_the_protocol_ends_the_session(gateway: Any, wire: Wire, attack: bytes) -> None:
    wire.send(m.query("SELECT 1"), attack, m.query("SELECT 2"))
    found = wire.until_ready(9)
    fatal = m.read_report([body for kind, body in found if kind == "E"][-1])
    assert fatal["V"] == "FATAL"
    ended = lambda: [e for e in gateway.events() if type(e).__name__ == "SessionEnded"][-1]  # noqa: E731
    gateway.wait(lambda: "protocol violation" in ended().reason)


def test_sync_amid_copy_data_ends_the_session(wire: Wire) -> None:
    wire.send(m.query("COPY uploads FROM STDIN"))
    wire.send(m.copy_data(b"1\tx\n"), m.SYNC, m.copy_data(b"2\tx\n"), m.COPY_DONE)
    found = wire.until_ready(2)
    assert m.read_report(found[-1][1])["V"] == "FATAL"


@pytest.mark.parametrize("end", [m.COPY_DONE, m.copy_fail("no")])
@pytest.mark.parametrize("row", [b"5\tx\n", b"wrong\tx\n"])
def test_copy_by_the_extended_protocol_as_libpq_sends_it(gateway: Any, end: bytes, row: bytes) -> None:
    answers: list[Any] = []
    for wire in (through(gateway), direct(gateway.cloud)):
        wire.send(m.parse("", "COPY uploads FROM STDIN"), m.bind("", ""), m.describe(b"P", ""), m.execute(""), m.SYNC)
        while not any(message.kind == "G" for message in wire.decoder):
            wire.decoder.feed(wire.sock.recv(1000))
        wire.send(m.FLUSH, m.copy_data(row), end, m.SYNC, m.query("SELECT 1"))
        answers.append(shape(wire.until_ready(2)))
        wire.close()
    assert answers[0] == answers[1]
    assert answers[0][-1] == ("Z", b"I")


def test_everything_at_once_around_a_copy(gateway: Any) -> None:
    """A client that waits for nothing: the Sync behind a COPY is swallowed if the COPY runs, and not if it fails."""
    for table in ("uploads", "uploads(nothing)"):
        answers: list[Any] = []
        for wire in (through(gateway), direct(gateway.cloud)):
            wire.send(
                m.parse("", f"COPY {table} FROM STDIN"), m.bind("", ""), m.execute(""), m.SYNC,
                m.copy_data(b"6\tx\n"), m.COPY_DONE, m.SYNC, m.query("SELECT 1"),
            )  # fmt: skip
            answers.append(shape(wire.until_ready(2 if table == "uploads" else 3)))
            wire.close()
        assert answers[0] == answers[1]


def test_masks_where_the_client_describes_nothing(wire: Wire) -> None:
    wire.send(m.parse("s", "SELECT email, id FROM customers WHERE id = 1"), m.SYNC)
    wire.until_ready()
    for formats in ([], [1], [0, 1]):
        wire.send(m.bind("", "s", [], [], formats), m.execute(""), m.SYNC)
        found = wire.until_ready()
        assert [kind for kind, _ in found] == ["2", "D", "C", "Z"]
        email, _ = m.read_data_row(found[1][1])
        assert email == b"a***@example.com"


def test_masked_portals_that_are_suspended(wire: Wire) -> None:
    wire.send(m.query("BEGIN"), m.parse("", "SELECT email FROM customers ORDER BY id"), m.bind("p", ""))
    wire.send(m.execute("p", 1), m.execute("p", 1), m.describe(b"P", "p"), m.execute("p", 5), m.SYNC)
    found = wire.until_ready(2)
    rows = [m.read_data_row(body)[0] for kind, body in found if kind == "D"]
    assert rows == [b"a***@example.com", b"b***@example.org", None]
    assert [kind for kind, _ in found].count("T") == 1


def pipelines() -> dict[str, bytes]:
    secret, innocent = "SELECT email FROM customers ORDER BY id", "SELECT name FROM customers ORDER BY id"
    run_it = m.bind("", "s") + m.execute("") + m.SYNC
    return {
        "a name that is taken": m.parse("s", secret) + m.SYNC + m.parse("s", innocent) + m.SYNC + run_it,
        "a parse that is skipped": m.parse("", secret) + m.SYNC + m.describe(b"S", "nope") + m.parse("", innocent)
        + m.SYNC + m.bind("", "") + m.execute("") + m.SYNC,
        "a portal bound before": m.query("BEGIN") + m.parse("", secret) + m.bind("p", "") + m.parse("", innocent)
        + m.execute("p") + m.SYNC,
        "a close that is skipped": m.parse("s", secret) + m.SYNC + m.describe(b"S", "nope") + m.close(b"S", "s")
        + m.parse("s", innocent) + m.SYNC + run_it,
        "a portal of SQL": m.query("BEGIN; DECLARE c CURSOR FOR " + secret) + m.execute("c") + m.SYNC,
        "a portal's name taken over by SQL": m.query("BEGIN") + m.parse("", innocent) + m.bind("c", "") + m.SYNC
        + m.query("CLOSE c") + m.query("DECLARE c CURSOR FOR " + secret) + m.execute("c") + m.SYNC,
        "the same in one text": m.query("BEGIN") + m.parse("", innocent) + m.bind("c", "") + m.SYNC
        + m.query("CLOSE c; DECLARE c CURSOR FOR " + secret) + m.execute("c") + m.SYNC
        + m.describe(b"P", "c") + m.execute("c") + m.SYNC,
        "a statement of SQL": m.query("PREPARE s AS " + secret) + run_it,
        "a statement's name taken over by SQL": m.parse("s", innocent) + m.SYNC + m.query("DEALLOCATE s")
        + m.query("PREPARE s AS " + secret) + run_it,
        "SQL's EXECUTE of a parsed one": m.parse("s", secret) + m.SYNC + m.query("EXECUTE s"),
        "FETCH of a bound portal": m.query("BEGIN") + m.parse("", secret) + m.bind("p", "") + m.SYNC
        + m.query("FETCH ALL FROM p"),
        "FETCH by messages": m.query("BEGIN; DECLARE c CURSOR FOR " + secret) + m.parse("", "FETCH ALL FROM c")
        + m.bind("", "") + m.execute("") + m.SYNC,
        "a COPY of a parsed one": m.parse("", "COPY customers TO STDOUT") + m.bind("", "") + m.execute("") + m.SYNC,
    }  # fmt: skip


@pytest.mark.parametrize("attack", list(pipelines()))
@pytest.mark.parametrize("waiting", [False, True])
def test_no_trick_with_names_shows_a_masked_value(gateway: Any, wire: Wire, attack: str, waiting: bool) -> None:
    data = pipelines()[attack]
    found: list[tuple[str, bytes]] = []
    if waiting:
        pieces = data.split(m.SYNC)
        for piece in pieces[:-1]:
            wire.send(piece, m.SYNC)
            found += wire.until_ready(1 + piece.count(b"Q\0\0"))
        wire.send(pieces[-1])
    else:
        wire.send(data)
    wire.send(m.query("ROLLBACK"), m.query("SELECT 'the very end'"))
    while not any(kind == "D" and b"the very end" in body for kind, body in found):
        part = wire.until_ready()
        if not part:
            break
        found += part
    assert found
    for kind, body in found:
        for value in (b"ann@", b"bob@"):
            assert value not in body, (attack, kind)


def test_statements_by_the_hundred_thousand_do_not_hold_up_others(gateway: Any, wire: Wire) -> None:
    flood = m.query("SELECT 1") * 2000
    stop = threading.Event()

    def pour() -> None:
        while not stop.is_set():
            wire.send(flood)
            wire.until_ready(2000)

    thread = threading.Thread(target=pour, daemon=True)
    thread.start()
    other = through(gateway)
    try:
        slowest = 0.0
        for _ in range(20):
            begun = time.monotonic()
            other.send(m.query("SELECT 2"))
            assert other.until_ready()[-1][0] == "Z"
            slowest = max(slowest, time.monotonic() - begun)
        assert slowest < 1.0
    finally:
        stop.set()
        other.close()
        thread.join(10)
