"""Sessions end to end: registry, tunnel, agent, real PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from wicketgate_gateway.agent import session
from wicketgate_gateway.server.agents import TargetUnavailableError
from wicketgate_gateway.tunnel.messages import Cancel, Open
from wicketgate_gateway.tunnel.mux import Stream
from wicketgate_gateway.wire.postgres import messages
from wicketgate_gateway.wire.postgres.backend import BackendDecoder

pytestmark = pytest.mark.anyio
Eventually = Callable[[Callable[[], object]], Awaitable[None]]


class Client:
    """Collects what a session's stream brings, as messages."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.decoder = BackendDecoder()
        self.messages: list[tuple[str, bytes]] = []
        self.ended: list[str] = []
        self.bytes = 0
        stream.on_data = self._data
        stream.on_close = self.ended.append

    def _data(self, data: bytes) -> None:
        self.bytes += len(data)
        self.stream.consumed(len(data))
        self.decoder.feed(data)
        self.messages += [(m.kind, m.body) for m in self.decoder]

    def kinds(self) -> str:
        return "".join(kind for kind, _ in self.messages)


async def connected(world: Any, running: Any, eventually: Eventually) -> None:
    running(world.link.run())
    await eventually(lambda: world.registry.connected())


def opening(**parameters: str) -> Open:
    return Open(target="orders-db", bot="b", session="s", parameters=parameters)


async def test_a_query_and_its_answer(world: Any, running: Any, eventually: Eventually) -> None:
    await connected(world, running, eventually)
    stream, opened = await world.registry.open("orders-db", opening(application_name="psql", TimeZone="UTC"))
    assert opened.parameters["client_encoding"] == "UTF8"
    assert opened.parameters["application_name"] == "psql"
    client = Client(stream)
    stream.send(messages.query("SELECT email FROM customers WHERE id = 7"))
    await eventually(lambda: client.kinds().endswith("Z"))
    assert client.kinds() == "TDCZ"
    assert messages.read_data_row(client.messages[1][1]) == [b"user7@example.com"]
    stream.send(messages.query("SHOW search_path"))
    await eventually(lambda: client.kinds().count("Z") == 2)
    assert messages.read_data_row(client.messages[5][1]) == [b"public"]
    stream.close("client gone")
    await eventually(lambda: not world.link.sessions)


async def test_terminate_ends_the_session_with_a_reason(world: Any, running: Any, eventually: Eventually) -> None:
    await connected(world, running, eventually)
    stream, _ = await world.registry.open("orders-db", opening())
    client = Client(stream)
    stream.send(messages.TERMINATE)
    await eventually(lambda: client.ended)
    assert client.ended == ["the target closed the connection"]
    assert not world.link.sessions


async def test_cancel_reaches_the_running_statement(world: Any, running: Any, eventually: Eventually) -> None:
    await connected(world, running, eventually)
    stream, _ = await world.registry.open("orders-db", opening())
    client = Client(stream)
    stream.send(messages.query("SELECT pg_sleep(60)"))
    await asyncio.sleep(0.05)
    stream.send_control(Cancel())
    await eventually(lambda: client.kinds().endswith("Z"))
    assert messages.read_report(client.messages[-2][1])["C"] == "57014"


async def test_what_a_session_left_running_is_cancelled(world: Any, running: Any, eventually: Eventually) -> None:
    await connected(world, running, eventually)
    stream, _ = await world.registry.open("orders-db", opening(application_name="left"))
    stream.send(messages.query("SELECT pg_sleep(60)"))
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'left'"
    await eventually(lambda: world.postgres.sql(count + " AND state = 'active'").strip() == "1")
    stream.close("the bot was disabled")
    await eventually(lambda: world.postgres.sql(count).strip() == "0")
    await eventually(lambda: not world.link.sessions)


async def test_a_cancel_right_before_the_end_is_carried_out_at_once(
    world: Any, running: Any, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "GRACE_SECONDS", 60.0)
    await connected(world, running, eventually)
    stream, _ = await world.registry.open("orders-db", opening(application_name="cut"))
    stream.send(messages.query("SELECT pg_sleep(60)"))
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cut'"
    await eventually(lambda: world.postgres.sql(count + " AND state = 'active'").strip() == "1")
    stream.send_control(Cancel())
    stream.send(messages.TERMINATE)
    stream.close("killed")
    await eventually(lambda: world.postgres.sql(count).strip() == "0")
    await eventually(lambda: not world.link.sessions)


async def test_a_bulk_answer_and_a_quick_one_beside_it(world: Any, running: Any, eventually: Eventually) -> None:
    await connected(world, running, eventually)
    bulk, _ = await world.registry.open("orders-db", opening())
    got: list[bytes] = []
    bulk.on_data = got.append  # takes, but gives no credit back: the session stalls
    bulk.send(messages.query("SELECT repeat('x', 1000) FROM generate_series(1, 20000)"))
    await eventually(lambda: sum(map(len, got)) == 256 * 1024)
    quick, _ = await world.registry.open("orders-db", opening())
    client = Client(quick)
    quick.send(messages.query("SELECT 1"))
    await eventually(lambda: client.kinds() == "TDCZ")
    await asyncio.sleep(0.1)
    assert sum(map(len, got)) == 256 * 1024

    def take(data: bytes) -> None:
        got.append(data)
        bulk.consumed(len(data))

    bulk.on_data = take
    bulk.consumed(256 * 1024)
    await eventually(lambda: got[-1].endswith(b"Z\0\0\0\5I"))
    assert sum(map(len, got)) > 20_000_000


async def test_copy_in_with_a_slow_server(world: Any, running: Any, eventually: Eventually) -> None:
    await connected(world, running, eventually)
    stream, _ = await world.registry.open("orders-db", opening())
    client = Client(stream)
    stream.send(messages.query("CREATE TEMP TABLE t (v text); COPY t FROM STDIN"))
    await eventually(lambda: client.kinds().endswith("G"))
    row = messages.copy_data(b"y" * 5000 + b"\n")
    for _ in range(2000):
        stream.send(row)
    stream.send(messages.message(b"c"))
    await eventually(lambda: client.kinds().endswith("Z"))
    assert client.messages[-2] == ("C", b"COPY 2000\0")


async def test_wrong_password_says_nothing_of_it(
    world: Any, running: Any, eventually: Eventually, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "wrong"
    folder.mkdir()
    (folder / "username").write_text("agent_demo")
    (folder / "password").write_text("not-the-passw0rd")
    target = world.link._targets["orders-db"]
    target.config = target.config.model_copy(update={"credential": str(folder)})
    await connected(world, running, eventually)
    with pytest.raises(TargetUnavailableError) as error:
        await world.registry.open("orders-db", opening())
    assert error.value.message == "the target refused the agent's credential"
    assert (error.value.code, error.value.sqlstate) == ("target-refused", "08006")
    output = "".join(capsys.readouterr())
    assert "not-the-passw0rd" not in output
    assert "28P01" not in error.value.message


@pytest.mark.parametrize("name", ["options", "replication", "search_path", "client_encoding", "role"])
async def test_a_parameter_that_changes_meaning_is_refused(
    world: Any, running: Any, eventually: Eventually, name: str
) -> None:
    await connected(world, running, eventually)
    with pytest.raises(TargetUnavailableError, match=name) as error:
        await world.registry.open("orders-db", opening(**{name: "on"}))
    assert (error.value.code, error.value.sqlstate) == ("parameter-refused", "0A000")


async def test_the_server_goes_down_in_mid_session(world: Any, running: Any, eventually: Eventually) -> None:
    await connected(world, running, eventually)
    stream, _ = await world.registry.open("orders-db", opening())
    client = Client(stream)
    stream.send(messages.query("SELECT pg_terminate_backend(pg_backend_pid())"))
    await eventually(lambda: client.ended)
    assert client.kinds() == "TDE"  # what the server said last came before the end
    assert client.ended == ["the target closed the connection"]


async def test_the_caller_giving_up_ends_the_log_in(world: Any, running: Any, eventually: Eventually) -> None:
    await connected(world, running, eventually)
    task = asyncio.get_running_loop().create_task(world.registry.open("orders-db", opening()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(lambda: not world.link.sessions)
