"""Metrics are in Prometheus' format, few by number, and tell nothing of what bots do."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from wicketgate.testing.certs import CertificateAuthority
from wicketgate_gateway.audit.events import AgentRefused, Operation, PolicyLoaded, SessionRefused, SessionStarted
from wicketgate_gateway.contract.gateway import Listen
from wicketgate_gateway.server import metrics
from wicketgate_gateway.server.metrics import CountedJournal, MetricsListener, Sources

pytestmark = pytest.mark.anyio


def sources(folder: Path, *running: str, connected: tuple[str, ...] = ("desk",)) -> Sources:
    return Sources(CountedJournal(folder / "journal"), lambda: running, 50, ["desk", "far"], lambda: connected, "none")


def read(listener: MetricsListener) -> dict[tuple[str, ...], float]:
    """Every sample: name and labels' values, and its value."""
    status, body = listener.answer("/metrics")
    assert status == 200
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


async def test_what_goes_into_the_journal_is_counted(tmp_path: Path) -> None:
    given = sources(tmp_path, "postgres", "postgres", "ssh")
    now = time.time_ns()
    journal = given.journal
    started = SessionStarted(
        time=now, bot="b", bot_id="i", token_id="t", target="x", protocol="http", peer="p", agent="desk"
    )
    journal.submit([started, SessionRefused(time=now, code="c", reason="r"), AgentRefused(time=now, peer="p", code="c",
                                                                                           reason="r")])  # fmt: skip
    for effect in ("allow", "deny", "hold", "deny"):
        journal.submit([Operation(time=now, seq=1, statement="SELECT 'secret'", effect=effect, rule="r")])
    # What the fast path writes: an operation waits for its release, a notice does not.
    raw = msgspec.Raw(msgspec.msgpack.encode({"event": "operation"}))
    journal.submit([raw], lambda _: None)
    journal.submit([raw])
    journal.submit([PolicyLoaded(time=now, policy="digest")])
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    found = read(MetricsListener(given))
    assert found["wicketgate_operations_total", "allow"] == 2
    assert found["wicketgate_operations_total", "deny"] == 2
    assert found["wicketgate_operations_total", "hold"] == 1
    assert found["wicketgate_sessions", "postgres"] == 2
    assert found["wicketgate_sessions", "ssh"] == 1
    assert found["wicketgate_sessions", "http"] == 0
    assert found["wicketgate_sessions_limit",] == 50
    assert found["wicketgate_sessions_started_total", "http"] == 1
    assert found["wicketgate_sessions_refused_total", "other"] == 1
    assert found["wicketgate_agents_refused_total",] == 1
    assert (found["wicketgate_agent_up", "desk"], found["wicketgate_agent_up", "far"]) == (1, 0)
    assert found["wicketgate_policy_loaded_timestamp_seconds",] == pytest.approx(now / 1e9)
    assert found["wicketgate_journal_failed",] == 0
    assert found["process_resident_memory_bytes",] > 0
    journal.close()


async def test_nobody_makes_series_by_what_he_sends(tmp_path: Path) -> None:
    given = sources(tmp_path)
    listener = MetricsListener(given)
    before = read(listener).keys()
    for i in range(50):
        given.journal.submit([SessionRefused(time=1, code=f"code-{i}", reason="r", target=f"t{i}", protocol=f"p{i}",
                                             bot=f"bot-{i}", peer=f"10.0.0.{i}")])  # fmt: skip
        given.journal.submit([Operation(time=1, seq=i, statement=f"SELECT {i}", effect=f"e{i}", rule=f"r{i}")])
    assert read(listener).keys() - before == {("wicketgate_sessions_refused_total", "other")}
    assert not any("bot-1" in part for key in read(listener) for part in key)
    given.journal.close()


async def test_the_end_of_the_certificate_is_told(tmp_path: Path) -> None:
    leaf = CertificateAuthority.open(tmp_path / "ca").issue_files(tmp_path, "gate", ["gate"])
    given = sources(tmp_path)
    assert ("wicketgate_certificate_expiry_timestamp_seconds",) not in read(MetricsListener(given))
    with_one = Sources(given.journal, given.sessions, 1, [], given.connected, str(leaf.cert_file))
    assert read(MetricsListener(with_one))["wicketgate_certificate_expiry_timestamp_seconds",] > time.time()
    given.journal.close()


async def test_it_serves_get_and_nothing_else(tmp_path: Path) -> None:
    given = sources(tmp_path)
    listener = MetricsListener(given)
    port = await listener.listen(Listen(port=0))

    async def ask(data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        try:
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    answer = await ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"wicketgate_operations_total" in body
    assert (await ask(b"GET /healthz HTTP/1.1\r\n\r\n")).endswith(b"\r\n\r\nok\n")
    assert (await ask(b"GET / HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 404")
    assert (await ask(b"POST /metrics HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 405")
    assert await ask(b"x" * (metrics.MAX_HEAD * 3)) == b""
    await listener.close()
    given.journal.close()


async def test_few_at_once_and_not_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "SECONDS", 0.5)
    given = sources(tmp_path)
    listener = MetricsListener(given)
    port = await listener.listen(Listen(port=0))
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(metrics.MAX_CONNECTIONS + 4)]
    async with asyncio.timeout(30):
        assert [await reader.read() for reader, _ in silent] == [b""] * len(silent)
    for _, writer in silent:
        writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
    async with asyncio.timeout(30):
        assert (await reader.read()).endswith(b"ok\n")
    writer.close()
    await listener.close()
    given.journal.close()


async def test_a_journal_that_fails_is_not_healthy(tmp_path: Path) -> None:
    from wicketgate_gateway.recording.journal import JournalError

    given = sources(tmp_path)
    given.journal.failed = JournalError("full")
    listener = MetricsListener(given)
    assert listener.answer("/healthz")[0] == 503
    assert read(listener)["wicketgate_journal_failed",] == 1
    given.journal.failed = None
    given.journal.close()
