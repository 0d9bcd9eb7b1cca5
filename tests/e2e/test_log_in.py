"""Who is not let in: each with a reason that its client shows, and on record, without a trace of the token."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import subprocess
import time
from typing import Any

import psycopg
import pytest

from wicketgate_gateway.audit.events import SessionRefused, SessionStarted
from wicketgate_gateway.wire.postgres import messages as m
from wicketgate_gateway.wire.postgres.backend import BackendDecoder

pytestmark = pytest.mark.slow
SSL_REQUEST = struct.pack(">II", 8, 80877103)
GSS_REQUEST = struct.pack(">II", 8, 80877104)


def start_up(protocol: int = 196608, **parameters: str) -> bytes:
    body = b"".join(m.cstring(k) + m.cstring(v) for k, v in parameters.items()) + b"\0"
    return struct.pack(">II", len(body) + 8, protocol) + body


def dial(gateway: Any) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.ports["postgres"]), 10)


def secure(gateway: Any, sock: socket.socket) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(gateway.ca_file))
    return context.wrap_socket(sock, server_hostname="localhost")


def tls(gateway: Any) -> ssl.SSLSocket:
    sock = dial(gateway)
    sock.sendall(SSL_REQUEST)
    assert sock.recv(1) == b"S"
    return secure(gateway, sock)


def read(sock: socket.socket) -> list[tuple[str, bytes]]:
    """All messages until the peer closes."""
    decoder = BackendDecoder()
    found: list[tuple[str, bytes]] = []
    while True:
        try:
            data = sock.recv(65536)
        except (ConnectionResetError, ssl.SSLError):
            data = b""
        if not data:
            return found
        decoder.feed(data)
        found += [tuple(message) for message in decoder]


def error_of(found: list[tuple[str, bytes]]) -> dict[str, str]:
    (body,) = [body for kind, body in found if kind == "E"]
    return m.read_report(body)


def refused(gateway: Any, code: str) -> SessionRefused:
    """The last refusal, which must have this code."""

    def last() -> SessionRefused | None:
        found = [e for e in gateway.events() if isinstance(e, SessionRefused)]
        return found[-1] if found and found[-1].code == code else None

    gateway.wait(last)
    event = last()
    assert event is not None
    assert event.peer
    return event


def attempt(gateway: Any, token: str, target: str = "orders-db", **more: str) -> str:
    with pytest.raises(psycopg.OperationalError) as caught:
        psycopg.connect(gateway.dsn(target, token, **more))
    if len(token) > 20:
        assert token[-20:] not in str(caught.value)
    return str(caught.value)


WRONG = {
    "expired": ("token-expired", {"exp": int(time.time()) - 1000, "iat": int(time.time()) - 5000}),
    "audience": ("wrong-audience", {"aud": "00000003-0000-0000-c000-000000000000"}),
    "issuer": ("wrong-issuer", {"iss": "https://login.example/x/v2.0"}),
    "tenant": ("wrong-tenant", {"tid": "99999999-9999-4999-8999-999999999999"}),
    "no role": ("role-missing", {"roles": None}),
    "ID token": ("not-an-app-token", {"idtyp": None, "nonce": "x"}),
}


@pytest.mark.parametrize("what", WRONG)
def test_tokens_with_wrong_claims(gateway: Any, what: str) -> None:
    code, claims = WRONG[what]
    said = attempt(gateway, gateway.cloud.mint(**claims))
    assert "FATAL" in said
    event = refused(gateway, code)
    assert event.target == "orders-db"
    assert event.bot_id == ""


@pytest.mark.parametrize(("alg", "code"), [("none", "token-malformed"), ("HS256", "wrong-algorithm")])
def test_tokens_with_another_algorithm(gateway: Any, alg: str, code: str) -> None:
    attempt(gateway, gateway.cloud.mint(alg=alg))
    refused(gateway, code)


def test_what_is_no_token(gateway: Any) -> None:
    attempt(gateway, "hunter2")
    event = refused(gateway, "token-malformed")
    assert "hunter2" not in repr(event)


def test_a_token_of_graph(gateway: Any) -> None:
    attempt(gateway, gateway.cloud.entra.graph_token())
    assert any(isinstance(e, SessionRefused) for e in gateway.events())


def test_no_token(gateway: Any) -> None:
    result = subprocess.run(
        ["psql", "-w", "-X", gateway.dsn(password=False), "-c", "SELECT 1"],
        capture_output=True, text=True, timeout=30, env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
    )  # fmt: skip
    assert result.returncode == 2
    refused(gateway, "token-missing")
    with tls(gateway) as sock:
        sock.sendall(start_up(user="bot", database="orders-db"))
        assert sock.recv(100) == m.AUTHENTICATION_CLEARTEXT
        sock.sendall(m.password(""))
        assert error_of(read(sock))["C"] == "28P01"


def test_a_bot_in_no_group(gateway: Any) -> None:
    said = attempt(gateway, gateway.cloud.bot_token("stranger"))
    assert "no policy lets this bot use the target `orders-db`" in said
    event = refused(gateway, "no-policy")
    assert event.bot_id == gateway.cloud.principal("stranger")
    assert event.token_id


def test_unknown_forbidden_and_missing_targets_look_alike(gateway: Any) -> None:
    token = gateway.cloud.bot_token()
    unknown = attempt(gateway, token, "nowhere")
    forbidden = attempt(gateway, token, "other-db")
    assert unknown.replace("nowhere", "other-db") == forbidden
    assert "use as the database name one of: `down-db`, `orders-db`" in unknown
    with tls(gateway) as sock:
        sock.sendall(start_up(user="bot"))
        sock.recv(100)
        sock.sendall(m.password(token))
        assert error_of(read(sock))["C"] == "3D000"
    # And before a token is proved, nothing is told at all.
    assert "orders-db`" not in attempt(gateway, "x.y.z", "nowhere")


def test_a_target_that_is_down(gateway: Any) -> None:
    said = attempt(gateway, gateway.cloud.bot_token(), "down-db")
    assert "down-db" in said
    assert "refused" in said.lower()


@pytest.mark.parametrize("parameter", ["options", "replication", "search_path", "role", "session_preload_libraries"])
def test_start_up_parameters_that_would_change_the_meaning(gateway: Any, parameter: str) -> None:
    with tls(gateway) as sock:
        sock.sendall(start_up(user="bot", database="orders-db", **{parameter: "-c role=x"}))
        sock.recv(100)
        sock.sendall(m.password(gateway.cloud.bot_token()))
        error = error_of(read(sock))
    assert error["C"] == "0A000"
    assert parameter in error["M"]


def test_plain_text_is_refused_in_words(gateway: Any) -> None:
    said = attempt(gateway, gateway.cloud.bot_token(), sslmode="disable", sslrootcert="")
    assert "not encrypted" in said
    refused(gateway, "tls-required")


def test_plain_text_beside_the_bot(make_gateway: Any) -> None:
    running = make_gateway()
    path = running.folder / "gateway.yaml"
    config = json.loads(path.read_text())
    config["listen"]["postgres"] |= {"host": "127.0.0.1", "plaintext": True}
    config["listen"]["agents"]["port"] = running.ports["agents"]  # the agent finds it again
    path.write_text(json.dumps(config))
    running.stop("gateway")
    running.start_gateway()
    running.wait_for_agent()
    for mode in ("disable", "prefer", "verify-full"):
        more = {"sslmode": mode, "sslrootcert": str(running.ca_file) if mode == "verify-full" else ""}
        said = running.psql("SELECT email FROM customers ORDER BY id LIMIT 1", host="127.0.0.1", **more)
        assert said.stdout == "a***@example.com\n", said.stderr
    denied = running.psql("SELECT * FROM secrets", host="127.0.0.1", sslmode="disable", sslrootcert="")
    assert "secrets are for people" in denied.stderr
    wrong = running.psql("SELECT 1", token="no token", host="127.0.0.1", sslmode="disable", sslrootcert="")
    assert wrong.returncode
    with socket.create_connection(("127.0.0.1", running.ports["postgres"]), 60) as sock:
        sock.sendall(SSL_REQUEST + start_up(user="evil", database="orders-db"))
        assert read_raw(sock) == b""
    refused(running, "bytes-before-tls")


def test_bytes_in_front_of_tls(gateway: Any) -> None:
    with dial(gateway) as sock:
        sock.sendall(SSL_REQUEST + start_up(user="evil", database="orders-db"))
        assert read_raw(sock) == b""
    refused(gateway, "bytes-before-tls")


def test_gss_then_tls(gateway: Any) -> None:
    with dial(gateway) as sock:
        sock.sendall(GSS_REQUEST)
        assert sock.recv(1) == b"N"
        sock.sendall(SSL_REQUEST)
        assert sock.recv(1) == b"S"
        with secure(gateway, sock) as secured:
            secured.sendall(start_up(user="bot", database="orders-db"))
            assert secured.recv(100) == m.AUTHENTICATION_CLEARTEXT


def test_encryption_requests_without_end(gateway: Any) -> None:
    with dial(gateway) as sock:
        sock.sendall(GSS_REQUEST * 10)
        assert len(read_raw(sock)) < 1000


def read_raw(sock: socket.socket) -> bytes:
    out = b""
    while True:
        try:
            data = sock.recv(1000)
        except ConnectionResetError:
            data = b""
        if not data:
            return out
        out += data


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\0" * 8,
        b"\xff" * 8,
        struct.pack(">II", 7, 196608),
        b"\0\0\0\x08\0\2\0\0",
    ],
)
def test_what_is_not_our_protocol(gateway: Any, data: bytes) -> None:
    with dial(gateway) as sock:
        sock.sendall(data)
        assert b"FATAL" in read_raw(sock)
    with tls(gateway) as sock:
        sock.sendall(data)
        assert error_of(read(sock))["S"] == "FATAL"


def test_newer_minor_versions_are_talked_down(gateway: Any) -> None:
    with tls(gateway) as sock:
        body = b"user\0bot\0database\0orders-db\0_pq_.future\0x\0\0"
        sock.sendall(struct.pack(">II", len(body) + 8, 196610) + body)
        data = sock.recv(1000)
        assert data.startswith(m.negotiate_protocol_version(0, ["_pq_.future"]))
        assert data.endswith(m.AUTHENTICATION_CLEARTEXT)


def test_direct_tls_without_alpn(gateway: Any) -> None:
    with secure(gateway, dial(gateway)) as sock:
        assert "ALPN" in error_of(read(sock))["M"]


def test_a_wrong_cancel_key_cancels_nothing(gateway: Any) -> None:
    with psycopg.connect(gateway.dsn(), autocommit=True) as db:
        pid = db.info.backend_pid
        for secret in (b"\0\0\0\0", b"", b"\1" * 200):
            with dial(gateway) as sock:
                sock.sendall(struct.pack(">III", 12 + len(secret), 80877102, pid) + secret)
                assert b"cancel" not in read_raw(sock)
        assert db.execute("SELECT 1").fetchone() == (1,)


def test_silent_clients_hold_nobody_up_and_are_cut_off(make_gateway: Any) -> None:
    gateway = make_gateway(login="2s")
    silent = [dial(gateway) for _ in range(50)]
    half = [dial(gateway) for _ in range(10)]
    for sock in half:
        sock.sendall(SSL_REQUEST[:5])
    within = [tls(gateway) for _ in range(10)]
    within[0].sendall(start_up(user="bot", database="orders-db"))
    begun = time.monotonic()
    with psycopg.connect(gateway.dsn()) as db:
        assert db.execute("SELECT 1").fetchone() == (1,)
    assert time.monotonic() - begun < 2
    for sock in (*silent, *half):
        assert sock.recv(1) == b""
        sock.close()
    for sock in within:
        assert error_of([x for x in read(sock) if x[0] == "E"])["C"] == "57014"
        sock.close()
    refused(gateway, "login-timeout")


def test_a_good_log_in_is_on_record(gateway: Any) -> None:
    with psycopg.connect(gateway.dsn(application_name="the-bot")) as db:
        assert db.info.parameter_status("server_version")
        assert db.execute("SHOW application_name").fetchone() == ("the-bot",)
    started = [e for e in gateway.events() if isinstance(e, SessionStarted)][-1]
    assert started.bot == "code-review"
    assert started.bot_id == gateway.cloud.principal("bot")
    assert (started.target, started.agent, started.client) == ("orders-db", "eu", "the-bot")
    assert started.token_id
    assert started.policy.startswith("sha256:")
