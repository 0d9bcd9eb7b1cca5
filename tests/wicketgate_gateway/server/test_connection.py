"""A client's connection: log-in by bytes, flow control in both directions, ends. (The whole of it: tests/e2e.)"""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import pytest

from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.server.connection import CREDIT_BYTES, MAX_EARLY, TURN_BYTES, ClientConnection, State
from wicketgate_gateway.tunnel.messages import Cancel
from wicketgate_gateway.wire.postgres import messages as m

pytestmark = pytest.mark.anyio
BODY = b"user\0bot\0database\0db\0\0"
START = struct.pack(">II", len(BODY) + 8, 196608) + BODY


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def connect(fakes: Any, **more: Any) -> tuple[ClientConnection, Any, Any]:
    desk, transport = fakes.desk(), fakes.transport()
    connection = ClientConnection(desk, direct=False, login_seconds=more.get("login_seconds", 5.0))
    connection.connection_made(transport)
    return connection, desk, transport


async def running(fakes: Any) -> tuple[ClientConnection, Any, Any, Any]:
    connection, desk, transport = connect(fakes)
    stream, session = fakes.stream(), fakes.session(connection)

    async def begin(_: Any) -> None:
        connection.begin(stream, session, b"greeting")

    desk.log_in_with = begin
    connection.data_received(START)
    connection.data_received(m.password("token"))
    await turns()
    assert connection.state is State.RUNNING
    transport.written = b""
    return connection, transport, stream, session


async def test_log_in_split_at_every_byte(fakes: Any) -> None:
    data = START + m.password("token")
    for cut in range(len(data)):
        connection, desk, transport = connect(fakes)
        connection.data_received(data[:cut])
        connection.data_received(data[cut:])
        await turns()
        assert desk.tokens == ["token"]
        assert transport.written == m.AUTHENTICATION_CLEARTEXT
        connection.connection_lost(None)


async def test_a_refusal_is_told_and_on_record(fakes: Any) -> None:
    connection, desk, transport = connect(fakes)

    async def refuse(_: Any) -> None:
        raise Refused("token-expired", "the token has ended", "get a new one")

    desk.log_in_with = refuse
    connection.data_received(START + m.password("token"))
    await turns()
    error = m.read_report(transport.written[len(m.AUTHENTICATION_CLEARTEXT) + 5 :])
    assert (error["S"], error["C"], error["H"]) == ("FATAL", "28P01", "get a new one")
    assert desk.refusals == ["token-expired"]
    assert transport.closing


async def test_a_fault_inside_is_a_refusal_without_details(fakes: Any) -> None:
    connection, desk, transport = connect(fakes)

    async def fail(_: Any) -> None:
        raise ValueError("internals")

    desk.log_in_with = fail
    connection.data_received(START + m.password("token"))
    await turns()
    assert desk.refusals == ["internal-error"]
    assert b"internals" not in transport.written


async def test_hanging_up_instead_of_a_password(fakes: Any) -> None:
    connection, desk, _ = connect(fakes)
    connection.data_received(START)
    connection.connection_lost(None)
    assert desk.refusals == ["token-missing"]
    assert desk.gone_count == 1


async def test_the_deadline(fakes: Any) -> None:
    connection, desk, transport = connect(fakes, login_seconds=0.01)
    connection.data_received(START)
    await asyncio.sleep(0.05)
    assert desk.refusals == ["login-timeout"]
    assert transport.closing


async def test_too_much_before_the_log_in_ended(fakes: Any) -> None:
    connection, desk, _ = connect(fakes)
    waiting = asyncio.Event()

    async def wait(_: Any) -> None:
        await waiting.wait()

    desk.log_in_with = wait
    connection.data_received(START + m.password("token"))
    await turns()
    connection.data_received(b"x" * (MAX_EARLY + 1))
    assert desk.refusals == ["protocol-violation"]


async def test_a_cancel_request_within_tls(fakes: Any) -> None:
    connection, desk, transport = connect(fakes)
    connection.data_received(struct.pack(">III", 16, 80877102, 9) + b"1234")
    assert desk.cancels[0].pid == 9
    assert transport.written == b""
    assert transport.closing
    assert connection.closed


async def test_credit_goes_back_when_the_client_has_taken_the_bytes(fakes: Any) -> None:
    connection, transport, stream, _ = await running(fakes)
    piece = b"a" * CREDIT_BYTES
    stream.on_data(piece)
    assert (transport.written, stream.returned) == (piece, CREDIT_BYTES)
    connection.pause_writing()
    stream.on_data(piece)
    assert stream.returned == CREDIT_BYTES
    connection.resume_writing()
    assert stream.returned == 2 * CREDIT_BYTES


async def test_small_answers_share_a_return_of_credit(fakes: Any) -> None:
    _, _, stream, _ = await running(fakes)
    stream.on_data(b"a" * (CREDIT_BYTES - 1))
    assert stream.returned == 0
    stream.on_data(b"b")
    assert stream.returned == CREDIT_BYTES


async def test_a_recorder_that_is_behind_stops_both_directions(fakes: Any) -> None:
    connection, transport, stream, session = await running(fakes)
    session.recording.backlogged = True
    stream.on_data(b"a" * 100)
    connection.data_received(b"x")
    assert stream.returned == 0
    assert transport.paused
    session.recording.backlogged = False
    session.recording.on_drained()
    assert stream.returned == 100
    assert not transport.paused


async def test_the_client_is_not_read_while_the_target_takes_no_more(fakes: Any) -> None:
    connection, transport, stream, session = await running(fakes)
    stream.writable = False
    connection.data_received(b"x")
    assert transport.paused
    stream.writable = True
    stream.on_writable()
    assert not transport.paused
    session.hungry = False
    connection.data_received(b"y")
    assert transport.paused
    session.hungry = True
    connection.wake()
    await turns()
    assert session.pumps == 1
    assert not transport.paused


async def test_a_bulk_stream_has_its_share_of_each_turn(fakes: Any) -> None:
    _, transport, stream, _ = await running(fakes)
    pieces = [bytes([i]) * 16_384 for i in range(32)]
    for piece in pieces:
        stream.on_data(piece)
    assert len(transport.written) <= TURN_BYTES
    before = len(transport.written)
    await turns(1)
    assert before < len(transport.written) <= before + TURN_BYTES + 16_384
    await turns(20)
    assert transport.written == b"".join(pieces)
    assert stream.returned == len(transport.written)


async def test_ends(fakes: Any) -> None:
    connection, transport, stream, session = await running(fakes)
    over: list[int] = []
    connection.on_over = lambda: over.append(1)
    connection.cancel()
    assert isinstance(stream.controls[0], Cancel)
    connection.ended(terminate=True)
    assert stream.sent.endswith(m.TERMINATE)
    assert stream.closed
    assert transport.closing
    assert over == [1]
    connection.connection_lost(None)
    assert session.lost == ["client"]
    connection.to_target(b"late")
    assert not stream.sent.endswith(b"late")


async def test_a_cancel_is_for_the_wait_or_for_the_server(fakes: Any) -> None:
    connection, _, stream, session = await running(fakes)
    session.waits = True
    connection.cancel()
    assert stream.controls == []
    connection.cancel_at_target()
    assert stream.controls == [Cancel()]
    session.waits = False
    connection.cancel()
    assert stream.controls == [Cancel(), Cancel()]
