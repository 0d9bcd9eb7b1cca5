"""`listen.metrics`: `/metrics` in Prometheus' text format, and `/healthz`, for the platform that runs the gateway.

How this works: what exists anyway is read when it is asked for; verdicts and log-ins are counted as they go into
the journal. Labels have few values, which configuration and protocols bound: no bot, no statement, no address and no
digest is one. So nobody makes a series by what he sends, and nothing that the audit holds is told here. The listener
takes no body, keeps no connection and serves few at once: it is for a port that NetworkPolicies keep to the monitoring.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
from cryptography import x509
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from wicketgate_gateway.audit.events import (
    AgentRefused,
    AuditEvent,
    Operation,
    PolicyLoaded,
    PolicyRefused,
    SessionRefused,
    SessionStarted,
)
from wicketgate_gateway.contract.gateway import Listen
from wicketgate_gateway.recording.journal import Journal, Release

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_CONNECTIONS = 16
MAX_HEAD = 8192
SECONDS = 5.0
PROTOCOLS = ("postgres", "http", "kubernetes", "ssh")
EFFECTS = ("allow", "deny", "hold")


class Counters:
    """What was counted since the start, by a few words each."""

    def __init__(self) -> None:
        self.operations: Counter[str] = Counter(dict.fromkeys(EFFECTS, 0))
        self.started: Counter[str] = Counter(dict.fromkeys(PROTOCOLS, 0))
        self.refused: Counter[str] = Counter(dict.fromkeys(PROTOCOLS, 0))
        self.agents_refused = 0
        self.policies_refused = 0
        self.policy_loaded = 0.0
        """When the bundle in force came, in seconds since 1970."""

    def count(self, events: Sequence[AuditEvent | msgspec.Raw], release: Release | None) -> None:
        """Count these events."""
        for event in events:
            if type(event) is msgspec.Raw:
                # What comes encoded and waits for its release is an operation that the fast path lets through.
                self.operations["allow"] += release is not None
            elif isinstance(event, Operation):
                self.operations[event.effect if event.effect in EFFECTS else "deny"] += 1
            elif isinstance(event, SessionStarted):
                self.started[_protocol(event.protocol)] += 1
            elif isinstance(event, SessionRefused):
                self.refused[_protocol(event.protocol)] += 1
            elif isinstance(event, AgentRefused):
                self.agents_refused += 1
            elif isinstance(event, PolicyRefused):
                self.policies_refused += 1
            elif isinstance(event, PolicyLoaded):
                self.policy_loaded = event.time / 1e9


def _protocol(name: str) -> str:
    return name if name in PROTOCOLS else "other"


class CountedJournal(Journal):
    """A journal that counts what goes into it."""

    def __init__(self, folder: Path) -> None:
        self.counters = Counters()
        super().__init__(folder)

    def submit(self, events: Sequence[AuditEvent | msgspec.Raw], release: Release | None = None) -> None:
        """As `Journal.submit`."""
        self.counters.count(events, release)
        super().submit(events, release)


@dataclass(frozen=True)
class Sources:
    """Where the numbers are."""

    journal: CountedJournal
    sessions: Callable[[], Iterable[str]]
    """The protocol of each running session."""
    most_sessions: int
    agents: Sequence[str]
    """All agents of the configuration."""
    connected: Callable[[], Iterable[str]]
    """The agents with a tunnel."""
    certificate_file: str
    clock: Callable[[], float] = time.time


class _Collector:
    """What `prometheus_client` asks for the numbers."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterable[Metric]:
        """All that is ours, as of now."""
        sources, counters = self._sources, self._sources.journal.counters
        yield _gauge("build_info", "Always 1; the label tells the version.", {(_version(),): 1.0}, "version")
        running: Counter[str] = Counter(dict.fromkeys(PROTOCOLS, 0))
        running.update([_protocol(name) for name in sources.sessions()])
        yield _gauge("sessions", "Sessions that run.", {(p,): n for p, n in running.items()}, "protocol")
        yield _gauge("sessions_limit", "The most sessions at once.", {(): sources.most_sessions})
        yield _counter("sessions_started", "Sessions that began.", counters.started, "protocol")
        yield _counter("sessions_refused", "Connections of bots that were not let in.", counters.refused, "protocol")
        yield _counter("operations", "Operations by verdict.", counters.operations, "effect")
        up = frozenset(sources.connected())
        yield _gauge(
            "agent_up", "Whether the agent has a tunnel.", {(a,): float(a in up) for a in sources.agents}, "agent"
        )
        yield _counter(
            "agents_refused", "Connections to the agents' port that were not let in.", counters.agents_refused
        )
        yield _counter("policies_refused", "Policy bundles that did not compile.", counters.policies_refused)
        yield _gauge("policy_loaded_timestamp_seconds", "When the bundle in force came.", {(): counters.policy_loaded})
        failed = float(sources.journal.failed is not None)
        yield _gauge("journal_failed", "Whether the journal cannot be written: then nothing is let out.", {(): failed})
        expires = _expires(sources.certificate_file)
        if expires is not None:
            yield _gauge("certificate_expiry_timestamp_seconds", "The end of the certificate's file.", {(): expires})


def _gauge(name: str, text: str, values: dict[tuple[str, ...], float], *labels: str) -> Metric:
    made = GaugeMetricFamily(f"wicketgate_{name}", text, labels=labels)
    for each, value in values.items():
        made.add_metric(each, value)
    return made


def _counter(name: str, text: str, values: Counter[str] | int, *labels: str) -> Metric:
    made = CounterMetricFamily(f"wicketgate_{name}", text, labels=labels)
    for each, value in ({(): values} if isinstance(values, int) else {(k,): n for k, n in values.items()}).items():
        made.add_metric(each, value)
    return made


def _version() -> str:
    try:
        return version("wicketgate")
    except PackageNotFoundError:
        return "unknown"


def _expires(certificate_file: str) -> float | None:
    try:
        return x509.load_pem_x509_certificate(Path(certificate_file).read_bytes()).not_valid_after_utc.timestamp()
    except (OSError, ValueError):
        return None


class MetricsListener:
    """The listener. `listen`, then `close`."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._registry = CollectorRegistry()
        self._registry.register(_Collector(sources))
        ProcessCollector(registry=self._registry)
        self._server: asyncio.Server | None = None
        self._open = 0

    async def listen(self, where: Listen, context: ssl.SSLContext | None = None) -> int:
        """The port. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, where.host, where.port, ssl=context, limit=MAX_HEAD)
        return self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def answer(self, target: str) -> tuple[int, bytes]:
        """Status and body for a path."""
        if target.partition("?")[0] == "/metrics":
            return 200, generate_latest(self._registry)
        if target == "/healthz":
            failed = self._sources.journal.failed is not None
            return (503, b"the journal cannot be written\n") if failed else (200, b"ok\n")
        return 404, b"there are /metrics and /healthz\n"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= MAX_CONNECTIONS:
                async with asyncio.timeout(SECONDS):
                    status, body = await self._asked(reader)
                    writer.write(_head(status, len(body)) + body)
                    await writer.drain()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asked is gone, or was no client of ours
        finally:
            self._open -= 1
            writer.close()

    async def _asked(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        head = await reader.readuntil(b"\r\n\r\n")
        method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        if method != "GET":
            return 405, b"only GET\n"
        return self.answer(rest.rpartition(" ")[0])


_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


def _head(status: int, size: int) -> bytes:
    lines = (
        f"HTTP/1.1 {status} {_REASONS[status]}",
        f"Content-Type: {CONTENT_TYPE}",
        f"Content-Length: {size}",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n"
