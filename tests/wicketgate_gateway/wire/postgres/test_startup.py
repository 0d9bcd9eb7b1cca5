"""Log-ins as conversations with a scripted server; real servers are in agent/test_target.py."""

import hashlib
import struct

import pytest
from scramp import ScramMechanism

from wicketgate_gateway.wire.postgres import messages, startup
from wicketgate_gateway.wire.postgres.messages import ProtocolError
from wicketgate_gateway.wire.postgres.startup import (
    Login,
    LoginRefusedError,
    LoginUnsupportedError,
    ParameterRefusedError,
    State,
    start_up_parameters,
)

PASSWORD = "pencil ä"
PARAMETERS = {"user": "svc", "database": "orders"}
GREETING = (
    messages.parameter_status("client_encoding", "UTF8")
    + messages.parameter_status("standard_conforming_strings", "on")
    + messages.parameter_status("server_version", "15.18")
    + messages.backend_key_data(4711, b"\1\2\3\4")
    + messages.ready_for_query()
)


def authentication(code: int, body: bytes = b"") -> bytes:
    return messages.message(b"R", struct.pack(">I", code) + body)


def login(*, tls: bool = False, binding: bytes | None = None) -> Login:
    return Login(PARAMETERS, PASSWORD, tls=tls, binding=binding)


class ScramServer:
    """The server's part, by the same library in its other role."""

    def __init__(self, *, binding: bytes | None = None, iterations: int = 4096) -> None:
        self.mechanism = ScramMechanism("SCRAM-SHA-256-PLUS" if binding else "SCRAM-SHA-256")
        salt, stored, server_key, count = self.mechanism.make_auth_info(PASSWORD, iterations)
        cb = ("tls-server-end-point", binding) if binding else None
        self.server = self.mechanism.make_server(lambda _: (salt, stored, server_key, count), channel_binding=cb)

    def offer(self) -> bytes:
        names = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0" if self.mechanism.use_binding else b"SCRAM-SHA-256\0\0"
        return authentication(10, names)

    def first(self, answer: bytes) -> bytes:
        name, _, rest = answer[5:].partition(b"\0")
        assert name.decode() == self.mechanism.name
        self.server.set_client_first(rest[4:].decode())
        return authentication(11, self.server.get_server_first().encode())

    def final(self, answer: bytes) -> bytes:
        self.server.set_client_final(answer[5:].decode())
        return authentication(12, self.server.get_server_final().encode())


def test_the_start_up_message() -> None:
    body = b"\0\3\0\0user\0svc\0database\0orders\0\0"
    assert login().start() == struct.pack(">I", len(body) + 4) + body
    assert bytes.fromhex("00000008 04d2162f") == startup.SSL_REQUEST
    assert startup.cancel_request(7, b"\0\0\0\x09") == bytes.fromhex("00000010 04d2162e 00000007 00000009")


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 1000])
@pytest.mark.parametrize("binding", [None, b"\xaa" * 32])
def test_scram_split_at_every_size(size: int, binding: bytes | None) -> None:
    subject, server = login(tls=binding is not None, binding=binding), ScramServer(binding=binding)

    def deliver(data: bytes) -> bytes:
        return b"".join(subject.feed(data[i : i + size]) for i in range(0, len(data), size))

    proof = deliver(server.first(deliver(server.offer())))
    assert deliver(server.final(proof)) == b""
    assert subject.state is State.SASL_FINISHED
    assert deliver(authentication(0) + GREETING) == b""
    assert subject.done is not None
    assert (subject.done.pid, subject.done.secret) == (4711, b"\1\2\3\4")
    assert subject.done.parameters["server_version"] == "15.18"


def test_what_follows_the_first_ready_is_handed_on() -> None:
    subject = login()
    subject.feed(authentication(0) + GREETING + b"N\0\0\0")
    assert subject.done is not None
    assert subject.done.rest == b"N\0\0\0"


def test_without_plus_a_client_with_binding_says_that_it_could() -> None:
    # `y`: if the server did offer PLUS and someone took it out of the list, the server now notices (RFC 5802, 6).
    answer = login(tls=True, binding=b"\xaa" * 32).feed(authentication(10, b"SCRAM-SHA-256\0\0"))
    assert b"y,,n=" in answer
    assert b"n,,n=" in login().feed(authentication(10, b"SCRAM-SHA-256\0\0"))


def test_another_certificate_in_between_is_noticed() -> None:
    subject, server = login(tls=True, binding=b"\xaa" * 32), ScramServer(binding=b"\xbb" * 32)
    answer = subject.feed(server.first(subject.feed(server.offer())))
    with pytest.raises(Exception, match="channel"):
        server.final(answer)


def test_md5() -> None:
    answer = login().feed(authentication(5, b"salt"))
    inner = hashlib.md5((PASSWORD + "svc").encode()).hexdigest()
    assert answer == messages.password("md5" + hashlib.md5(inner.encode() + b"salt").hexdigest())


def test_cleartext_over_tls_alone() -> None:
    subject = login(tls=True)
    assert subject.feed(authentication(3)) == messages.password(PASSWORD)
    subject.feed(authentication(0) + GREETING)
    assert subject.done
    with pytest.raises(LoginUnsupportedError, match="in clear"):
        login().feed(authentication(3))


def test_the_password_is_forgotten_once_used() -> None:
    for request in (authentication(3), authentication(5, b"salt"), authentication(0)):
        subject = login(tls=True)
        subject.feed(request)
        assert subject._password == ""
    subject, server = login(), ScramServer()
    final = server.final(subject.feed(server.first(subject.feed(server.offer()))))
    subject.feed(final + authentication(0))
    assert (subject._password, subject._scram) == ("", None)
    subject = login()
    with pytest.raises(LoginRefusedError):
        subject.feed(messages.report(b"E", {"C": "28P01", "M": "no"}))
    assert subject._password == ""


@pytest.mark.parametrize(("code", "name"), [(2, "Kerberos"), (7, "GSSAPI"), (9, "SSPI")])
def test_other_ways_are_named(code: int, name: str) -> None:
    with pytest.raises(LoginUnsupportedError, match=name):
        login().feed(authentication(code))


def test_other_sasl_mechanisms() -> None:
    for names in (b"OAUTHBEARER\0\0", b"SCRAM-SHA-1\0\0", b"\0", b"SCRAM-SHA-256-PLUS\0\0"):
        with pytest.raises(LoginUnsupportedError):
            login().feed(authentication(10, names))


# A hostile server.


def test_attack_skipping_the_servers_proof() -> None:
    server, subject = ScramServer(), login()
    subject.feed(server.first(subject.feed(server.offer())))
    with pytest.raises(ProtocolError):
        subject.feed(authentication(0))
    server, subject = ScramServer(), login()
    subject.feed(server.offer())
    with pytest.raises(ProtocolError):
        subject.feed(authentication(0))
    with pytest.raises(ProtocolError):
        login().feed(authentication(12, b"v=AAAA"))


def test_attack_a_wrong_proof_of_the_server() -> None:
    server, subject = ScramServer(), login()
    subject.feed(server.first(subject.feed(server.offer())))
    with pytest.raises(ProtocolError, match="could not prove"):
        subject.feed(authentication(12, b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="))


def test_attack_asking_for_the_password_after_scram_began() -> None:
    subject = login(tls=True)
    subject.feed(authentication(10, b"SCRAM-SHA-256\0\0"))
    with pytest.raises(ProtocolError):
        subject.feed(authentication(3))


@pytest.mark.parametrize("count", ["99999999", "1", "0", "-5", "x", "4096000000000"])
def test_attack_iterations(count: str) -> None:
    server, subject = ScramServer(), login()
    first = server.first(subject.feed(server.offer())).replace(b"i=4096", f"i={count}".encode())
    first = first[:1] + struct.pack(">I", len(first) - 1) + first[5:]
    with pytest.raises((LoginUnsupportedError, ProtocolError)):
        subject.feed(first)


@pytest.mark.parametrize(
    "data",
    [
        b"R\0\0\0\3",
        b"R\xff\xff\xff\xff",
        b"R\0\0\0\4",
        authentication(5, b"sal"),
        authentication(99),
        messages.ready_for_query(),
        messages.backend_key_data(1, b"\0\0\0\1"),
        messages.data_row([b"x"]),
        authentication(0) + authentication(3),
        authentication(0) + messages.message(b"K", b"\0\0\0\1"),
        authentication(0) + messages.message(b"K", b"\0" * 400),
        authentication(0) + messages.message(b"S", b"no end"),
        authentication(0) + b"".join(messages.parameter_status(f"x{n}", "y") for n in range(300)),
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
def test_attack_messages_out_of_place_or_shape(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        login(tls=True).feed(data)


@pytest.mark.parametrize(
    "greeting",
    [
        GREETING.replace(b"UTF8", b"LATN"),
        GREETING.replace(b"strings\0on\0", b"strings\0of\0"),
        messages.backend_key_data(1, b"\0\0\0\1") + messages.ready_for_query(),
        GREETING.replace(messages.backend_key_data(4711, b"\1\2\3\4"), b""),
    ],
)
def test_a_server_that_does_not_keep_what_policies_rely_on(greeting: bytes) -> None:
    with pytest.raises(LoginUnsupportedError):
        login().feed(authentication(0) + greeting)


def test_refusals_are_told_in_our_words() -> None:
    report = messages.report(b"E", {"S": "FATAL", "C": "28P01", "M": 'password authentication failed for user "svc"'})
    with pytest.raises(LoginRefusedError) as error:
        login().feed(messages.message(b"N", b"\0") + report)
    assert error.value.sqlstate == "28P01"
    assert "svc" not in str(error.value)
    assert "svc" in error.value.server_message
    for state in ("", "x", "28p01", "é8P01", "28P01more"):
        with pytest.raises(LoginRefusedError) as error:
            login().feed(messages.report(b"E", {"C": state, "M": "secret"}))
        assert error.value.sqlstate == "08006"
        assert "secret" not in str(error.value)


# Which of a client's parameters reach the server.


def parameters(**client: str) -> dict[str, str]:
    return start_up_parameters(client, user="svc", database="orders", search_path="public, shop")


def test_pinned_and_passed() -> None:
    got = parameters(user="bot", database="orders-db", application_name="psql", TimeZone="UTC", **{"_pq_.x": "1"})
    assert got == {
        "application_name": "psql",
        "timezone": "UTC",
        "client_encoding": "UTF8",
        "standard_conforming_strings": "on",
        "search_path": "public, shop",
        "user": "svc",
        "database": "orders",
    }


def test_nobody_overrides_what_is_ours() -> None:
    for name in ("User", "USER", "Database", "user "):
        try:
            got = parameters(**{name: "postgres"})
        except ParameterRefusedError:
            continue
        assert (got["user"], got["database"]) == ("svc", "orders")
        assert "postgres" not in got.values()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("client_encoding", "utf-8"),
        ("client_encoding", "'UTF8'"),
        ("client_encoding", "Unicode"),
        ("standard_conforming_strings", "on"),
        ("search_path", "public, shop"),
        ("replication", "false"),
        ("options", ""),
    ],
)
def test_what_holds_anyway_is_no_harm(name: str, value: str) -> None:
    assert parameters(**{name: value}) == parameters()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("client_encoding", "SQL_ASCII"),
        ("client_encoding", "SJIS"),
        ("standard_conforming_strings", "off"),
        ("search_path", "evil, public"),
        ("options", "-c search_path=evil"),
        ("Options", "-c x=y"),
        ("replication", "database"),
        ("replication", "true"),
        ("role", "postgres"),
        ("session_authorization", "postgres"),
        ("session_preload_libraries", "x"),
        ("backslash_quote", "on"),
        ("transform_null_equals", "on"),
        ("row_security", "off"),
        ("default_tablespace", "x"),
        ("application_name", "x" * 2000),
        ("application_name", "a\0b"),
        ("\0", ""),
        ("", "x"),
    ],
)
def test_what_changes_the_meaning_of_statements_is_refused(name: str, value: str) -> None:
    with pytest.raises(ParameterRefusedError) as error:
        parameters(**{name: value})
    assert error.value.code == "parameter-refused"
    assert "\0" not in str(error.value)
