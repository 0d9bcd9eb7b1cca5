"""The local port with a real driver; PostgreSQL plays the gateway: it asks for the password in clear, over TLS."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from wicketgate_gateway.cli import client, connect
from wicketgate_gateway.cli.connect import Connector
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import ClientConfig
from wicketgate_gateway.identity.exchange import AccessToken, ExchangeError
from wicketgate_gateway.wire.postgres.messages import ProtocolError

pytestmark = pytest.mark.anyio
TOKEN = "header.payload." + "s" * 900
Eventually = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.fixture
def document(postgres: Any, tmp_path: Path) -> dict[str, Any]:
    if postgres.ca_file is None:
        pytest.fail("this needs a PostgreSQL with TLS: install Debian's `postgresql`")
    ids = "6f1c9a52-7a53-4c0e-9a55-3f2e6b1d8c40"
    return {
        "bot": "code-review",
        "entra": {"tenant": ids},
        "audience": ids,
        "workload": {"clientId": ids, "tokenFile": str(tmp_path / "none")},
        "gateway": {"host": "localhost", "port": postgres.port, "caFile": str(postgres.ca_file)},
        "targets": {"orders-db": "postgres"},
    }


@pytest.fixture
def config(postgres: Any, document: dict[str, Any]) -> ClientConfig:
    postgres.create_user("login_password", TOKEN)
    postgres.create_database("orders-db")
    # PostgreSQL asks this role alone for its password in clear.
    return ClientConfig.model_validate(document).model_copy(update={"bot": "login_password"})


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the exchange gives, in order; the last stays. An exception is raised."""
    given: list[Any] = [AccessToken(TOKEN, time.time() + 3600)]

    def fetch(settings: Any) -> AccessToken:
        token = given.pop(0) if len(given) > 1 else given[0]
        if isinstance(token, Exception):
            raise token
        return token

    monkeypatch.setattr(client, "fetch_token", fetch)
    return given


@pytest.fixture
async def port(config: ClientConfig, tokens: list[Any]) -> AsyncIterator[int]:
    connector = Connector(config, "orders-db")
    yield await connector.listen(0)
    await connector.close()


async def tool(port: int, **more: Any) -> psycopg.AsyncConnection[Any]:
    """A tool as people configure it: another user, another database, a password of its own."""
    settings = {"user": "tool", "password": "fixed", "dbname": "whatever", "connect_timeout": 10, **more}
    return await psycopg.AsyncConnection.connect(host="127.0.0.1", port=port, **settings)


@pytest.mark.parametrize("sslmode", ["prefer", "disable", "allow"])
async def test_a_tool_with_a_fixed_password(port: int, sslmode: str) -> None:
    async with await tool(port, sslmode=sslmode, application_name="my tool") as connection:
        row = await (
            await connection.execute("SELECT current_user, current_database(), current_setting('application_name')")
        ).fetchone()
        assert row == ("login_password", "orders-db", "my tool")


async def test_much_data_both_ways(port: int) -> None:
    async with await tool(port) as connection, connection.cursor() as cursor:
        await cursor.execute("CREATE TEMP TABLE t (v text)")
        async with cursor.copy("COPY t FROM STDIN") as copy:
            for _ in range(2000):
                await copy.write(b"x" * 2000 + b"\n")
        await cursor.execute("SELECT sum(length(v)), string_agg(v, '') FROM t")
        row = await cursor.fetchone()
        assert row is not None
        assert (row[0], len(row[1])) == (4_000_000, 4_000_000)


async def test_cancel_passes(port: int) -> None:
    async with await tool(port) as connection:
        running = asyncio.ensure_future(connection.execute("SELECT pg_sleep(60)"))
        await asyncio.sleep(0.1)
        await connection.cancel_safe()
        with pytest.raises(psycopg.errors.QueryCanceled):
            await running


async def test_the_gateways_refusal_reaches_the_tool(port: int, tokens: list[Any]) -> None:
    tokens[:] = [AccessToken("wrong.token.x", time.time() + 3600)]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        await tool(port)


async def test_a_failing_exchange_is_told_without_any_token(port: int, tokens: list[Any]) -> None:
    tokens[:] = [ExchangeError("Entra gave no token", remedy="do this")]
    with pytest.raises(psycopg.OperationalError, match="wicketgate: Entra gave no token; do this"):
        await tool(port)


async def test_the_token_is_kept_until_shortly_before_its_end(port: int, tokens: list[Any]) -> None:
    tokens[:] = [AccessToken(TOKEN, time.time() + 290), AccessToken(TOKEN, time.time() + 3600), ExchangeError("none")]
    for _ in range(4):
        await (await tool(port)).close()
    assert len(tokens) == 1  # two exchanges: the first token was too near its end to be kept


async def test_a_gateway_whose_certificate_is_not_trusted_gets_no_token(
    config: ClientConfig, tokens: list[Any], cloud: Any
) -> None:
    other = config.gateway.model_copy(update={"ca_file": str(cloud.entra.ca_file)})
    connector = Connector(config.model_copy(update={"gateway": other}), "orders-db")
    with pytest.raises(psycopg.OperationalError, match=r"certificate of .* was refused"):
        await tool(await connector.listen(0))
    await connector.close()


@pytest.mark.parametrize("answer", [b"N", b"S\0\0\0", b"E", b""])
async def test_a_gateway_without_tls_gets_no_token(config: ClientConfig, tokens: list[Any], answer: bytes) -> None:
    got: list[bytes] = []

    async def pose(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        got.append(await reader.read(65536))
        writer.close()

    server = await asyncio.start_server(pose, "127.0.0.1", 0)
    there = config.gateway.model_copy(update={"port": server.sockets[0].getsockname()[1]})
    connector = Connector(config.model_copy(update={"gateway": there}), "orders-db")
    with pytest.raises(psycopg.OperationalError, match="wicketgate"):
        await tool(await connector.listen(0))
    assert TOKEN.encode() not in b"".join(got)
    await connector.close()
    server.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"\0\0\0\x08\0\0\0\0",
        b"\0\0\0\x04\0\3\0\0",
        b"\0\0\x27\x11\0\3\0\0",
        b"\0\0\0\x0c\0\3\0\0user",
        b"\0\0\0\x08\0\2\0\0",
        b"\0\0\0\x08\x04\xd2\x16\x2f" * 9,
    ],
)
async def test_strangers_to_the_protocol(port: int, sent: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    async with asyncio.timeout(10):
        answer = await reader.read()
    assert answer.lstrip(b"N")[:1] == b"E"
    writer.close()


async def test_another_users_process_is_not_let_in(
    config: ClientConfig, tokens: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect.os, "getuid", lambda: 54321)
    connector = Connector(config, "orders-db")
    with pytest.raises(psycopg.OperationalError, match="belongs to another user"):
        await tool(await connector.listen(0))
    await connector.close()
    connector = Connector(config, "orders-db", any_user=True)
    await (await tool(await connector.listen(0))).close()
    await connector.close()


async def test_a_taken_port(config: ClientConfig, port: int) -> None:
    with pytest.raises(WicketgateError) as error:
        await Connector(config, "orders-db").listen(port)
    assert error.value.code == "port-unavailable"


def test_start_parameters() -> None:
    assert connect.start_parameters(b"user\0a\0options\0\0\0") == {"user": "a", "options": ""}
    assert connect.start_parameters(b"\0") == {}
    for body in (b"", b"user\0a\0", b"user", b"user\0a\0\0more", b"a\0\0", b"\xff\0b\0\0"):
        with pytest.raises(ProtocolError):
            connect.start_parameters(body)


def test_an_unknown_target_and_no_file(
    document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "client.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(WicketgateError, match="known: `orders-db`"):
        connect.connect("other", config=path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("WICKETGATE_CONFIG", raising=False)
    with pytest.raises(WicketgateError, match=r"no client\.yaml"):
        connect.connect("orders-db")
    monkeypatch.setattr(connect, "_SOCKETS", "/nowhere")
    with pytest.raises(WicketgateError) as error:
        connect.connect("orders-db", config=path)
    assert error.value.code == "peer-unknown"


async def test_as_a_process(document: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "client.yaml"
    path.write_text(yaml.safe_dump(document))
    script = "from wicketgate_gateway.cli.connect import connect; from pathlib import Path; "
    script += f"connect('orders-db', config=Path({str(path)!r}), json=True)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=subprocess.PIPE)
    try:
        assert process.stdout
        told = json.loads(await process.stdout.readline())
        assert (told["host"], told["target"], told["pid"]) == ("127.0.0.1", "orders-db", process.pid)
        with pytest.raises(psycopg.OperationalError, match="platform's token"):
            await tool(told["port"])
        os.kill(process.pid, signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
