"""Tricks below SQL: with messages, their order, their pieces, COPY, names, cancel requests and the start-up.

Each is bytes on a TLS connection of the bot's. However the gateway answers, no canary may come back and nothing in the
database may change; where `ALSO` says so, a denial must be on record.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from wicketgate_gateway.audit.events import Operation, SessionEnded, SessionRefused
from wicketgate_gateway.wire.postgres import messages as m

pytestmark = pytest.mark.slow

SECRET, DELETE, GOOD = "SELECT value FROM secrets", "DELETE FROM customers", "SELECT id FROM orders LIMIT 1"
RUN = m.bind("", "") + m.execute("") + m.SYNC
END = m.query("SELECT 'the very end'")


def raw(kind: bytes, length: int, body: bytes = b"") -> bytes:
    """A message whose length says what we like."""
    return kind + struct.pack(">I", length) + body


def extended(text: str) -> bytes:
    return m.parse("", text) + RUN


DENIED: dict[str, bytes] = {
    # Something in here is denied, and must be on record.
    "parse, bind and execute at once": extended(SECRET),
    "parse without sync, then a query": m.parse("", SECRET) + m.query(GOOD),
    "parse alone": m.parse("s", SECRET) + m.FLUSH,
    "parse and describe alone": m.parse("s", SECRET) + m.describe(b"S", "s") + m.SYNC,
    "the denied name run afterwards": m.parse("s", SECRET) + m.SYNC + m.bind("", "s") + m.execute("") + m.SYNC,
    "the denied name run by SQL": m.parse("s", SECRET) + m.SYNC + m.query("EXECUTE s"),
    "an allowed name made again as a denied one": m.parse("s", GOOD) + m.parse("s", SECRET) + m.SYNC
    + m.bind("", "s") + m.execute("") + m.SYNC,
    "an allowed name closed and made again": m.parse("s", GOOD) + m.SYNC + m.close(b"S", "s") + m.parse("s", DELETE)
    + m.bind("", "s") + m.execute("") + m.SYNC,
    "a denied one over the unnamed": m.parse("", GOOD) + m.SYNC + m.parse("", DELETE) + RUN,
    "a denied one in a failed transaction": m.query("BEGIN; SELECT 1/0") + extended(DELETE),
    "a denied one after an error in the pipeline": m.parse("", "SELECT nonsense") + m.parse("", DELETE) + RUN
    + extended(DELETE),
    "a denied one between allowed ones": m.query(GOOD) + m.query(DELETE) + m.query(GOOD),
    "many denied at once": m.query(DELETE) * 50,
    "a denied one in a savepoint": m.query("BEGIN") + m.query("SAVEPOINT s") + m.query(DELETE)
    + m.query("ROLLBACK TO s") + m.query("COMMIT"),
    "a denied one in an implicit transaction": m.query("INSERT INTO uploads VALUES (66, 'x'); " + DELETE),
    "two statements by parse": extended(GOOD + "; " + DELETE),
    "good-bye behind it": m.query(DELETE) + m.TERMINATE,
    "execute of a portal that SQL declared": m.query("BEGIN; DECLARE c CURSOR FOR " + GOOD) + m.execute("c") + m.SYNC,
    "execute without anything": m.execute("") + m.SYNC,
    "execute of a guessed portal": m.execute("C_1") + m.SYNC,
    "a function call": m.message(b"F", struct.pack(">IHHH", 1598, 0, 0, 0)) + m.SYNC,
    "a function call with arguments": m.message(b"F", struct.pack(">IHHHi", 764, 1, 1, 1, 11) + b"/etc/passwd\0\0"),
    "a function call within a pipeline": m.parse("", GOOD) + m.message(b"F", struct.pack(">IHHH", 1598, 0, 0, 0)),
    "a function call in a failed transaction": m.query("BEGIN; SELECT 1/0")
    + m.message(b"F", struct.pack(">IHHH", 1598, 0, 0, 0)),
    "set_config with bound names": m.parse("", "SELECT set_config($1, $2, false)")
    + m.bind("", "", [b"role", b"postgres"]) + m.execute("") + m.SYNC,
    "a function of a bound query": m.parse("", "SELECT query_to_xml($1, true, true, '')")
    + m.bind("", "", [SECRET.encode()]) + m.execute("") + m.SYNC,
    "copy into a forbidden table": m.query("COPY secrets FROM STDIN") + m.copy_data(b"1\tx\n") + m.COPY_DONE,
    "copy out of a forbidden table": m.query("COPY secrets TO STDOUT"),
    "copy by messages": extended("COPY secrets TO STDOUT"),
    "copy, then a forbidden one": m.query("COPY uploads FROM STDIN") + m.copy_data(b"77\tx\n") + m.copy_fail("no")
    + m.query("COPY secrets FROM STDIN") + m.copy_data(b"78\tx\n") + m.COPY_DONE,
    "two copies in one text": m.query("COPY uploads FROM STDIN; COPY secrets FROM STDIN"),
    "a denied one behind copy data that nobody asked for": m.copy_data(b"1\tx\n") + m.COPY_DONE + m.query(DELETE),
    "a statement of two megabytes": m.query("SELECT '" + "x" * 2_000_000 + "'; " + DELETE),
    "a statement nested ten thousand deep": m.query("SELECT " + "(" * 10_000 + "1" + ")" * 10_000),
    "ten thousand statements": m.query("SELECT 1;" * 10_000 + DELETE),
    "a name like the gateway's own": m.parse("wicketgate_denied_0123456789abcdef", SECRET) + m.SYNC
    + m.bind("", "wicketgate_denied_0123456789abcdef") + m.execute("") + m.SYNC,
    "listen by messages": extended("LISTEN x"),
    "fetch of a cursor by messages": m.query("BEGIN") + m.parse("", "DECLARE c CURSOR FOR " + SECRET) + RUN
    + m.parse("", "FETCH ALL FROM c") + RUN,
}  # fmt: skip
BROKEN: dict[str, bytes] = {
    # The protocol is broken: the session ends, and says why.
    "a second statement behind a NUL": m.message(b"Q", b"SELECT 1\0DELETE FROM customers\0"),
    "no NUL at all": m.message(b"Q", b"DELETE FROM customers"),
    "bytes that are not UTF-8": m.message(b"Q", b"SELECT '\xc0\xa7; DELETE FROM customers --'\0"),
    "an overlong quote": m.message(b"Q", b"SELECT '\xe0\x80\xa7; DELETE FROM customers --'\0"),
    "a surrogate": m.message(b"Q", b"SELECT '\xed\xa0\x80'\0"),
    "a trailing byte": m.message(b"Q", b"SELECT 1\0x"),
    "a length of zero": raw(b"Q", 0, b"DELETE FROM customers\0"),
    "a length of three": raw(b"Q", 3, b"DELETE FROM customers\0"),
    "a negative length": raw(b"Q", 0xFFFFFFFF, b"DELETE FROM customers\0"),
    "a length of a gigabyte": raw(b"Q", 0x3FFFFFFF, b"DELETE FROM customers\0"),
    "a length that hides a message": raw(b"S", 4 + len(m.query(DELETE)), m.query(DELETE)),
    "a sync with a body": m.message(b"S", b"\0"),
    "a flush with a body": m.message(b"H", m.query(DELETE)),
    "a terminate with a body": m.message(b"X", m.query(DELETE)),
    "a message of the server's": m.message(b"T", b"\0\0"),
    "a message of type zero": m.message(b"\0", b"\0\0\0\0"),
    "a message of type 255": m.message(b"\xff", b"\0\0\0\0"),
    "replication's own copy": m.message(b"W", b"\0\0\0"),
    "the password again": m.password("x"),
    "TLS again": struct.pack(">II", 8, 80877103),
    "Kerberos again": struct.pack(">II", 8, 80877104),
    "start-up again": b"\0\0\0\x29\0\3\0\0user\0postgres\0database\0postgres\0\0",
    "cancel within the session": struct.pack(">IIII", 16, 80877102, 1, 1),
    "a statement's name of 64 bytes": m.parse("x" * 64, GOOD),
    "a portal's name of 64 bytes": m.bind("x" * 64, ""),
    "a name that is cut into another": m.parse("x" * 63 + "1", SECRET),
    "describe of neither": m.message(b"D", b"Xs\0"),
    "close of neither": m.message(b"C", b"Xs\0"),
    "bind with a wrong count of formats": m.bind("", "", [b"1", b"2", b"3"], [0, 1]),
    "bind with a wrong format": m.bind("", "", [b"1"], [7]),
    "bind with a value beyond its end": m.message(b"B", b"\0\0\0\0\0\1\0\0\xff\0"),
    "bind with a negative length": m.message(b"B", b"\0\0\0\0\0\1\xff\xff\xff\xfe\0\0"),
    "bind with fewer values than it says": m.message(b"B", b"\0\0\0\0\xff\xff"),
    "execute without a count": m.message(b"E", b"\0"),
    "parse without types": m.message(b"P", b"\0SELECT 1\0"),
    "parse with fewer types than it says": m.message(b"P", b"\0SELECT 1\0\xff\xff"),
    "copy fail without an end": m.message(b"f", b"x"),
    "copy data of a negative length": raw(b"d", 0xFFFFFFFF),
    "copy data of length three": raw(b"d", 3),
    "a function call cut short": m.message(b"F", b"\0"),
    "sync amid copy data": m.query("COPY uploads FROM STDIN") + m.copy_data(b"1\tx\n") + m.SYNC + m.copy_data(b"2\t")
    + m.COPY_DONE,
    "TLS within TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP": b"GET / HTTP/1.1\r\nHost: orders-db\r\n\r\n",
    "HTTP's post": b"POST / HTTP/1.1\r\nContent-Length: 30\r\n\r\n" + m.query(DELETE),
}  # fmt: skip
HARMLESS: dict[str, bytes] = {
    # Odd, but allowed to be answered: what counts is what comes back and what changed.
    "copy with the end of data inside": m.query("COPY uploads FROM STDIN")
    + m.copy_data(b"\\.\nDELETE FROM customers;\n") + m.copy_fail("no"),
    "a query amid copy data": m.query("COPY uploads FROM STDIN") + m.copy_data(b"1\tx\n") + m.query(DELETE)
    + m.copy_fail("no"),
    "a parse amid copy data": m.query("COPY uploads FROM STDIN") + m.copy_data(b"1\tx\n") + m.parse("", GOOD)
    + m.copy_fail("no"),
    "a function call amid copy data": m.query("COPY uploads FROM STDIN") + m.copy_data(b"1\tx\n")
    + m.message(b"F", struct.pack(">IHHH", 1598, 0, 0, 0)) + m.copy_fail("no"),
    "copy end without copy": m.COPY_DONE + m.query(GOOD),
    "copy data without copy": m.copy_data(m.query(DELETE)) + m.query(GOOD),
    "copy fail without copy": m.copy_fail(DELETE) + m.query(GOOD),
    "good-bye amid copy data": m.query("COPY uploads FROM STDIN") + m.copy_data(b"9\tx\n") + m.TERMINATE,
    "hang-up amid copy data": m.query("COPY uploads FROM STDIN") + m.copy_data(b"9\tx\n"),
    "bind of nothing": m.bind("", "nothing") + m.execute("") + m.SYNC,
    "bind too few values": m.parse("", "SELECT $1::int, $2::int") + m.bind("", "", [b"1"]) + m.execute("") + m.SYNC,
    "describe of nothing": m.describe(b"P", "nothing") + m.SYNC,
    "syncs": m.SYNC * 1000,
    "flushes": m.FLUSH * 1000 + m.SYNC,
    "closes": m.close(b"S", "x") * 1000 + m.SYNC,
    "empty queries": m.query("") * 1000,
    "a negative count of rows": m.parse("", GOOD) + m.bind("", "") + m.execute("", 0xFFFFFFFF) + m.SYNC,
    "the masked, a row at a time": m.query("BEGIN") + m.parse("", "SELECT email FROM customers") + m.bind("p", "")
    + m.execute("p", 1) * 5 + m.describe(b"P", "p") + m.execute("p", 2) + m.SYNC,
    "the masked, described as a statement": m.parse("s", "SELECT email, card FROM customers") + m.describe(b"S", "s")
    + m.bind("", "s", [], [], [1, 0]) + m.execute("") + m.SYNC,
    "the masked, in a portal over an innocent one": m.query("BEGIN") + m.parse("a", "SELECT name FROM customers")
    + m.parse("b", "SELECT email FROM customers") + m.bind("p", "a") + m.close(b"P", "p") + m.bind("p", "b")
    + m.execute("p") + m.SYNC,
    "the masked, after the portal's bind failed": m.query("BEGIN") + m.parse("b", "SELECT email FROM customers")
    + m.bind("p", "b", [b"x"]) + m.SYNC + m.query("ROLLBACK") + m.bind("p", "b") + m.execute("p") + m.SYNC,
    "the masked, by a portal through savepoints": m.query("BEGIN") + m.query("SAVEPOINT s")
    + m.parse("b", "SELECT email FROM customers") + m.bind("p", "b") + m.SYNC + m.query("ROLLBACK TO s")
    + m.parse("b", "SELECT item FROM orders") + m.bind("p", "b") + m.execute("p") + m.SYNC,
    "the masked, with another type for its parameter": m.parse("", "SELECT email || $1 FROM customers", [25])
    + m.bind("", "", [b"x"], [1], [1]) + m.execute("") + m.SYNC,
    "the masked, quoted by an error of a parameter": m.parse("", "SELECT email FROM customers WHERE id = $1", [23])
    + m.bind("", "", [b"canary?"[:3]]) + m.execute("") + m.SYNC,
    "hang-up behind an insert that is rolled back": m.query("BEGIN; INSERT INTO uploads VALUES (5, 'x')"),
    "half a message, then hang-up": m.query(DELETE)[:-3],
    "a header, then hang-up": m.query(DELETE)[:5],
    "a type that names a table": m.parse("", "SELECT $1::regclass") + m.bind("", "", [b"secrets"]) + m.execute("")
    + m.SYNC,
    "all types of parameters": m.parse("", "SELECT 1", list(range(1, 3000))) + RUN,
    "a hundred portals": m.query("BEGIN") + m.parse("s", GOOD)
    + b"".join(m.bind(f"p{i}", "s") + m.execute(f"p{i}", 1) for i in range(100)) + m.SYNC,
}  # fmt: skip


def conversation(wire: Any, data: bytes) -> tuple[list[tuple[str, bytes]], dict[str, str] | None]:
    """What is answered until the end is answered or the peer hangs up; and its last error."""
    wire.send(data, m.SYNC, m.query("ROLLBACK"), END)
    found = wire.read(lambda messages: messages[-1][0] == "D" and b"the very end" in messages[-1][1])
    errors = [m.read_report(body) for kind, body in found if kind == "E"]
    return found, errors[-1] if errors else None


@pytest.fixture
def judged(ground: Any) -> Iterator[Callable[[], Any]]:
    """Opens sessions; afterwards nothing may have changed and no canary been seen."""
    before, first = ground.digest(), len(ground.wires)
    yield ground.connect
    seen = b"".join(bytes(wire.seen) for wire in ground.wires[first:])
    for wire in ground.wires[first:]:
        wire.close()
    ground.clean(seen)
    end = time.monotonic() + 5
    while ground.digest() != before:  # what a session left open is undone when its backend ends
        assert time.monotonic() < end, "something has changed"
        time.sleep(0.05)


def test_the_tables_are_large() -> None:
    assert len(DENIED) + len(BROKEN) + len(HARMLESS) >= 100


@pytest.mark.parametrize("attack", DENIED)
@pytest.mark.parametrize("pace", ["at once", "in pieces"])
def test_denied(ground: Any, judged: Callable[[], Any], attack: str, pace: str) -> None:
    wire, known = judged(), len(ground.events())
    data = DENIED[attack]
    if pace == "in pieces":
        step = 1 if len(data) < 300 else 7 if len(data) < 20_000 else 100_003
        for at in range(0, len(data), step):
            wire.send(data[at : at + step])
        data = b""
    conversation(wire, data)
    ground.gateway.wait(lambda: [
        e for e in ground.events()[known:] if isinstance(e, Operation) and e.effect == "deny" and e.reason
    ])  # fmt: skip


@pytest.mark.parametrize("attack", BROKEN)
def test_broken(ground: Any, judged: Callable[[], Any], attack: str) -> None:
    wire, known = judged(), len(ground.events())
    wire.send(BROKEN[attack])
    if attack in ("a length of a gigabyte", "HTTP", "HTTP's post"):
        wire.send(b"\0" * 100)
    found, error = conversation(wire, b"")
    assert wire.closed
    assert error is not None
    assert error["V"] == "FATAL"
    assert error["C"] in ("08P01", "22021", "22023", "42622", "54000")
    assert not any(kind == "D" for kind, _ in found)
    ground.gateway.wait(lambda: [
        e for e in ground.events()[known:] if isinstance(e, SessionEnded) and "protocol violation" in e.reason
    ])  # fmt: skip


@pytest.mark.parametrize("attack", HARMLESS)
def test_harmless(judged: Callable[[], Any], attack: str) -> None:
    wire = judged()
    if "hang-up" in attack:
        wire.send(HARMLESS[attack])
        return
    found, _ = conversation(wire, HARMLESS[attack])
    assert found or wire.closed


def test_a_mask_holds_at_every_cut_of_the_stream(judged: Callable[[], Any]) -> None:
    data = m.parse("", "SELECT email, card FROM customers") + m.bind("", "") + m.execute("") + m.SYNC
    wire = judged()
    for cut in range(1, len(data), 3):
        wire.send(data[:cut])
        wire.send(data[cut:])
        assert wire.ready()[-1][0] == "Z"


@pytest.mark.parametrize("pid_and_secret", ["nearby", "zero", "long", "flipped"])
def test_guessed_cancel_keys(ground: Any, judged: Callable[[], Any], pid_and_secret: str) -> None:
    wire = judged()
    wire.send(m.query("SELECT pg_sleep(1.5)"))
    pids = [row[0] for row in ground.admin.execute("SELECT pid FROM pg_stat_activity WHERE usename = 'e2e_owner'")]
    for pid in pids:
        for i in range(20):
            secret = {
                "nearby": struct.pack(">I", i),
                "zero": b"\0" * 4,
                "long": b"\1" * (100 + i),
                "flipped": bytes([255 - i]) * 32,
            }[pid_and_secret]
            sock = ground.dial()
            sock.sendall(struct.pack(">III", 12 + len(secret), 80877102, pid) + secret)
            sock.close()
    found = wire.ready()
    assert not any(kind == "E" for kind, _ in found), "a guess has cancelled another's statement"


GOOD_START = {"user": "bot", "database": "orders-db"}


def start_up(protocol: int = 196608, body: bytes | None = None, **parameters: str) -> bytes:
    data = b"".join(m.cstring(k) + m.cstring(v) for k, v in parameters.items()) + b"\0" if body is None else body
    return struct.pack(">II", len(data) + 8, protocol) + data


STARTUPS: dict[str, bytes] = {
    "options": start_up(**GOOD_START, options="-c search_path=vault"),
    "options with a role": start_up(**GOOD_START, options="-c role=postgres"),
    "replication": start_up(**GOOD_START, replication="database"),
    "replication in upper case": start_up(**GOOD_START, REPLICATION="true"),
    "search path": start_up(**GOOD_START, search_path="vault"),
    "role": start_up(**GOOD_START, role="postgres"),
    "session authorization": start_up(**GOOD_START, session_authorization="postgres"),
    "strings that do not conform": start_up(**GOOD_START, standard_conforming_strings="off"),
    "another encoding": start_up(**GOOD_START, client_encoding="SJIS"),
    "preload": start_up(**GOOD_START, session_preload_libraries="x"),
    "row security": start_up(**GOOD_START, row_security="off"),
    "replication role": start_up(**GOOD_START, session_replication_role="replica"),
    "logging off": start_up(**GOOD_START, log_statement="none"),
    "an option of somebody's": start_up(**GOOD_START, **{"my.option": "x"}),
    "a very long value": start_up(**GOOD_START, application_name="x" * 9000),
    "the database's own name": start_up(user="bot", database="e2e"),
    "the maintenance database": start_up(user="bot", database="postgres"),
    "a template": start_up(user="bot", database="template1"),
    "a target without a policy": start_up(user="bot", database="other-db"),
    "a target with a path": start_up(user="bot", database="../orders-db"),
    "a target with a connection string": start_up(user="bot", database="dbname=orders-db user=postgres"),
    "a target in upper case": start_up(user="bot", database="ORDERS-DB"),
    "a target with a blank": start_up(user="bot", database="orders-db "),
    "no target": start_up(user="bot"),
    "a parameter twice": start_up(body=b"user\0bot\0database\0orders-db\0database\0other-db\0\0"),
    "a parameter without a value": start_up(body=b"user\0bot\0database\0"),
    "bytes behind the end": start_up(body=b"user\0bot\0database\0orders-db\0\0role\0postgres\0\0"),
    "no end": start_up(body=b"user\0bot\0database\0orders-db"),
    "protocol 2": start_up(0x20000, **GOOD_START),
    "protocol 4": start_up(0x40000, **GOOD_START),
    "a value that is not UTF-8": start_up(body=b"user\0\xff\0database\0orders-db\0\0"),
    "a length of zero": struct.pack(">II", 0, 196608),
    "a length of 2 GiB": struct.pack(">II", 0x7FFFFFFF, 196608),
    "the message twice": start_up(**GOOD_START) + start_up(**GOOD_START),
    "a query in place of the password": start_up(**GOOD_START) + m.query(SECRET),
    "SASL in place of the password": start_up(**GOOD_START) + m.message(b"p", b"SCRAM-SHA-256\0\0\0\0\0"),
    "TLS again": struct.pack(">II", 8, 80877103) * 3,
}


@pytest.mark.parametrize("attack", STARTUPS)
def test_start_up(ground: Any, attack: str) -> None:
    before, known = ground.digest(), len(ground.events())
    sock = ground.tls()
    token = m.password(ground.gateway.cloud.bot_token())
    seen = b""
    try:
        sock.sendall(STARTUPS[attack] + (b"" if "password" in attack else token) + m.query(SECRET))
        while data := sock.recv(65536):
            seen += data
            assert len(seen) < 100_000
    except OSError:
        pass
    finally:
        sock.close()
    ground.clean(seen)
    assert b"the very end" not in seen
    assert m.AUTHENTICATION_OK not in seen, "the session was opened"
    assert b"FATAL" in seen
    assert ground.digest() == before
    ground.gateway.wait(lambda: [e for e in ground.events()[known:] if isinstance(e, SessionRefused)])
