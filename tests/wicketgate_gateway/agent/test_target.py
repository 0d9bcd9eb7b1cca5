"""Log-ins to the real server, over TLS and without, and the ways in which they fail."""

import asyncio
import contextlib
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from pydantic import ValidationError

from wicketgate_gateway.agent import target as target_module
from wicketgate_gateway.agent.target import Key, Target, TargetError, certificate_digest, read_credential
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import PostgresTarget, TlsMode
from wicketgate_gateway.wire.postgres import messages, startup
from wicketgate_gateway.wire.postgres.backend import BackendDecoder

pytestmark = pytest.mark.anyio


def target(config: PostgresTarget, **changes: Any) -> Target:
    return Target("orders-db", config.model_copy(update=changes))


async def ask(connection: Any, sql: str) -> list[list[bytes | None]]:
    connection.write(messages.query(sql))
    decoder, rows = BackendDecoder(), []
    while True:
        decoder.feed(await connection.read())
        for kind, body in decoder:
            if kind == "D":
                rows.append(messages.read_data_row(body))
            if kind == "Z":
                return rows


async def test_scram_with_channel_binding_over_tls(postgres: Any, agent_target: PostgresTarget) -> None:
    if postgres.ca_file is None:
        pytest.fail("this needs a PostgreSQL with TLS: install Debian's `postgresql`")
    seen: list[str] = []
    real = startup.ScramClient.get_client_first

    def spy(self: Any) -> str:
        seen.append(self.mechanism_name)
        return real(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(startup.ScramClient, "get_client_first", spy)
        connection, login = await target(agent_target).log_in({"application_name": "test"})
    assert seen == ["SCRAM-SHA-256-PLUS"]
    assert login.parameters["is_superuser"] == "off"
    assert await ask(connection, "SELECT current_user, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == [
        [b"agent_demo", b"t"]
    ]
    connection.close()


async def test_scram_without_tls(agent_target: PostgresTarget) -> None:
    connection, login = await target(agent_target, tls=TlsMode.DISABLE, search_path="public, pg_temp").log_in({})
    assert login.pid
    assert await ask(connection, "SHOW search_path") == [[b"public, pg_temp"]]
    connection.close()


@pytest.mark.parametrize("method", ["md5", "password", "trust"])
async def test_other_methods(postgres: Any, agent_target: PostgresTarget, tmp_path: Path, method: str) -> None:
    name = f"login_{method}"
    postgres.create_user(name, "it's a passwörd", encryption="md5" if method == "md5" else "scram-sha-256")
    (tmp_path / "username").write_text(name)
    (tmp_path / "password").write_text("it's a passwörd\r\n")
    changes = {"credential": str(tmp_path), "database": "postgres"}
    if method != "password" or agent_target.tls is not TlsMode.DISABLE:
        connection, _ = await target(agent_target, **changes).log_in({})
        assert await ask(connection, "SELECT current_user") == [[name.encode()]]
        connection.close()
    plain = target(agent_target, tls=TlsMode.DISABLE, **changes)
    if method == "password":
        with pytest.raises(WicketgateError, match="in clear"):
            await plain.log_in({})
    else:
        (await plain.log_in({}))[0].close()


async def test_a_long_password_and_one_with_odd_characters(
    postgres: Any, agent_target: PostgresTarget, tmp_path: Path
) -> None:
    for password in ("x" * 900, "a\u00a0b ﬁ ☃", " leading and trailing "):
        postgres.create_user("odd", password)
        (tmp_path / "username").write_text("odd")
        (tmp_path / "password").write_text(password)
        connection, _ = await target(agent_target, credential=str(tmp_path), database="postgres").log_in({})
        connection.close()


async def test_cancel(agent_target: PostgresTarget) -> None:
    subject = target(agent_target)
    connection, login = await subject.log_in({})
    connection.write(messages.query("SELECT pg_sleep(60)"))
    await asyncio.sleep(0.05)
    await subject.cancel(Key(login.pid, login.secret))
    assert b"57014" in await connection.read()
    connection.close()


async def test_the_servers_certificate_is_verified(postgres: Any, agent_target: PostgresTarget, tmp_path: Path) -> None:
    if postgres.ca_file is None:
        pytest.fail("this needs a PostgreSQL with TLS: install Debian's `postgresql`")
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    for changes in ({"ca_file": str(tmp_path / "other.pem")}, {"ca_file": None}):
        with pytest.raises(TargetError) as error:
            await target(agent_target, **changes).log_in({})
        assert error.value.code == "target-certificate-refused"


async def test_a_name_that_the_certificate_lacks(postgres: Any, agent_target: PostgresTarget) -> None:
    if postgres.ca_file is None:
        pytest.fail("this needs a PostgreSQL with TLS: install Debian's `postgresql`")
    with pytest.raises(TargetError) as error:
        await target(agent_target, address=f"127.0.0.2:{postgres.port}").log_in({})
    assert error.value.code in ("target-certificate-refused", "target-unavailable")


async def serve(handle: Any) -> tuple[asyncio.Server, int]:
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("answer", [b"N", b"E", b"SN\0\0\0", b"S" + b"x" * 50, b""])
async def test_a_server_without_tls_or_with_more_to_say(agent_target: PostgresTarget, answer: bytes) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(answer)
        await writer.drain()
        writer.close()

    server, port = await serve(handle)
    with pytest.raises(TargetError) as error:
        await target(agent_target, address=f"localhost:{port}", tls=TlsMode.VERIFY_FULL, ca_file=None).log_in({})
    assert error.value.code == ("target-without-tls" if answer else "target-unavailable")
    server.close()


async def test_a_server_that_hangs_up_in_mid_log_in(agent_target: PostgresTarget) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.close()

    server, port = await serve(handle)
    with pytest.raises(TargetError, match="closed the connection"):
        await target(agent_target, address=f"127.0.0.1:{port}", tls=TlsMode.DISABLE).log_in({})
    server.close()


async def test_a_server_that_says_nothing(agent_target: PostgresTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_module, "DIAL_SECONDS", 0.1)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server, port = await serve(handle)
    with pytest.raises(TargetError, match="did not answer"):
        await target(agent_target, address=f"127.0.0.1:{port}", tls=TlsMode.VERIFY_FULL).log_in({})
    server.close()


async def test_a_target_that_floods_the_log_in_is_left_unread(
    agent_target: PostgresTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = [0]

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        with contextlib.suppress(ConnectionError):
            while sent[0] < 100_000_000:
                writer.write(b"x" * 100_000)
                sent[0] += 100_000
                await writer.drain()
        writer.close()

    server, port = await serve(handle)
    connection = await target(agent_target, address=f"127.0.0.1:{port}", tls=TlsMode.DISABLE).connect()
    connection.write(b"begin")
    before = -1
    while before != sent[0]:
        before = sent[0]
        await asyncio.sleep(0.1)
    assert sent[0] < 30_000_000
    got: list[int] = []
    ended = asyncio.Event()
    connection.relay(lambda data: got.append(len(data)), ended.set, lambda: None)
    async with asyncio.timeout(20):
        await ended.wait()
    assert sum(got) == 100_000_000
    server.close()


async def test_nobody_listens(agent_target: PostgresTarget) -> None:
    with pytest.raises(TargetError, match="cannot be reached"):
        await target(agent_target, address="127.0.0.1:1").log_in({})


@pytest.mark.parametrize("address", ["db", "db:", ":5432", "db:x", "db:0", "db:65536", ""])
def test_addresses_that_are_none(agent_target: PostgresTarget, address: str) -> None:
    with pytest.raises((WicketgateError, ValidationError)):
        target(agent_target, address=address)


def test_an_ipv6_address(agent_target: PostgresTarget) -> None:
    subject = target(agent_target, address="[::1]:5432")
    assert (subject.host, subject.port) == ("::1", 5432)


def test_credential_files(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="`username` cannot be read") as error:
        read_credential(str(tmp_path))
    assert error.value.code == "credential-unreadable"
    (tmp_path / "username").write_text("svc\n")
    for content in (b"", b"\n", b"a\0b", b"\xff"):
        (tmp_path / "password").write_bytes(content)
        with pytest.raises(TargetError):
            read_credential(str(tmp_path))
    (tmp_path / "password").write_text("pass word \n")
    assert read_credential(str(tmp_path)) == ("svc", "pass word ")


def test_the_certificates_digest() -> None:
    class Transport(asyncio.BaseTransport):
        def __init__(self, der: bytes | None) -> None:
            self.der = der

        def get_extra_info(self, name: str, default: Any = None) -> Any:
            outer = self

            class Tls:
                def getpeercert(self, binary_form: bool = False) -> bytes | None:
                    return outer.der

            return Tls() if name == "ssl_object" else default

    pem = trustme.CA().cert_pem.bytes().decode()
    der = ssl.PEM_cert_to_DER_cert(pem)
    expected = x509.load_der_x509_certificate(der).fingerprint(hashes.SHA256())
    assert certificate_digest(Transport(der)) == expected
    assert certificate_digest(Transport(None)) is None
    assert certificate_digest(asyncio.BaseTransport()) is None
