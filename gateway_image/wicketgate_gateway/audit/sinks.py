"""Where events are streamed to: syslog (RFC 5424) and OpenTelemetry collectors (OTLP/HTTP with JSON).

How this works: a sink sends a batch, or raises, and then the batch comes again. Over TCP and TLS a syslog message is
framed by its length (RFC 6587, 5425); over UDP and a local socket each is a datagram, cut to what fits. Syslog has no
answer: what a connection took before it broke may be lost, so a broken one is looked for before each batch. A collector
answers; one event that it will never take (status 400 or 413) is told and left out, all else is tried again.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from wicketgate_gateway.audit.events import Operation
from wicketgate_gateway.audit.follow import Entry
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.keeping import Otlp, Syslog

_SECONDS = 10.0
_FACILITY = 13
"""Log audit (RFC 5424, table 1)."""
_DATAGRAM = 60_000


class SinkError(WicketgateError):
    """A batch was not taken; it is sent again."""

    code = "stream-failed"


class Sink(Protocol):
    """Somewhere that events go."""

    name: str

    def send(self, entries: Sequence[Entry]) -> None:
        """Send a batch. Raises SinkError."""
        ...


def severity(entry: Entry) -> int:
    """RFC 5424: 4 warning for what was denied or refused, 5 notice for what people and gateways did, 6 for the rest."""
    event = entry.event
    if isinstance(event, Operation):
        return 6 if event.effect == "allow" else 4
    kind = entry.kind
    if kind.endswith("-refused") or kind in ("journal-recovered", "session-killed", "kill-ordered"):
        return 4
    return 6 if kind in ("operation-finished", "recording-closed", "session-started", "session-ended") else 5


def _ascii(document: dict[str, Any]) -> str:
    # ASCII: no control character can break a line of whoever reads it.
    return json.dumps(document, separators=(",", ":"), ensure_ascii=True)


def syslog_message(entry: Entry, form: str, host: str, process: int, *, limit: int | None = None) -> bytes:
    """One message: `<pri>1 time host app procid msgid - json`, at most `limit` bytes."""
    when = datetime.fromtimestamp(entry.event.time // 1_000_000_000, UTC).replace(
        microsecond=entry.event.time // 1000 % 1_000_000
    )
    time = when.isoformat(timespec="microseconds").replace("+00:00", "Z")
    head = f"<{_FACILITY * 8 + severity(entry)}>1 {time} {host} wicketgate {process} {entry.kind[:32]} - "
    body = _ascii(entry.document(form))
    if limit is not None and len(head) + len(body) > limit:
        cut = {"uid": entry.uid, "event": entry.kind, "session": entry.event.session, "cut": True}
        body = _ascii(cut | {"start": body[: limit - len(head) - len(_ascii(cut)) - 200]})
        body = body if len(head) + len(body) <= limit else _ascii(cut)
    return (head + body).encode("ascii")


class SyslogSink:
    """Messages to a syslog server."""

    def __init__(self, settings: Syslog) -> None:
        self.name = settings.address
        self._form = settings.format
        parts = urlsplit(settings.address)
        self._kind = parts.scheme
        self._host, self._port = parts.hostname or "", parts.port or {"tls": 6514, "tcp": 601}.get(parts.scheme, 514)
        self._path = parts.path
        self._context = ssl.create_default_context(cafile=settings.ca_file) if self._kind == "tls" else None
        self._socket: socket.socket | None = None
        self._me = "".join(c for c in socket.gethostname() if c.isalnum() or c in "-.")[:255] or "-"

    def send(self, entries: Sequence[Entry]) -> None:
        """See `Sink.send`."""
        stream = self._kind in ("tcp", "tls")
        try:
            connection = self._connected()
            if stream:
                data = b""
                for entry in entries:
                    message = syslog_message(entry, self._form, self._me, os.getpid())
                    data += b"%d %b" % (len(message), message)
                connection.sendall(data)
            else:
                for entry in entries:
                    connection.send(syslog_message(entry, self._form, self._me, os.getpid(), limit=_DATAGRAM))
        except OSError as error:
            self._close()
            raise SinkError(f"`{self.name}`: {(error.strerror or type(error).__name__).lower()}") from None

    def _connected(self) -> socket.socket:
        if self._socket is not None and self._kind in ("tcp", "tls") and self._ended(self._socket):
            self._close()
        if self._socket is None:
            self._socket = self._connect()
        return self._socket

    def _connect(self) -> socket.socket:
        if self._kind == "unix":
            made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            made.settimeout(_SECONDS)
            made.connect(self._path)
            return made
        if self._kind == "udp":
            family, kind, protocol, _, address = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)[0]
            made = socket.socket(family, kind, protocol)
            made.settimeout(_SECONDS)
            made.connect(address)
            return made
        made = socket.create_connection((self._host, self._port), _SECONDS)
        return self._context.wrap_socket(made, server_hostname=self._host) if self._context else made

    @staticmethod
    def _ended(connection: socket.socket) -> bool:
        """Whether the server closed: it never says anything, so what can be read is the end."""
        connection.settimeout(0)
        try:
            return not connection.recv(4096)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        finally:
            connection.settimeout(_SECONDS)

    def _close(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None


_SEVERITY_NUMBER = {4: (13, "WARN"), 5: (10, "INFO2"), 6: (9, "INFO")}


def log_record(entry: Entry, form: str) -> dict[str, Any]:
    """An OpenTelemetry log record in OTLP's JSON; the body is one text of JSON."""
    number, text = _SEVERITY_NUMBER[severity(entry)]
    attributes = {"event.name": f"wicketgate.{entry.kind}", "wicketgate.uid": entry.uid}
    if entry.event.session:
        attributes["session.id"] = entry.event.session
    return {
        "timeUnixNano": str(entry.event.time),
        "observedTimeUnixNano": str(entry.event.time),
        "severityNumber": number,
        "severityText": text,
        "eventName": f"wicketgate.{entry.kind}",
        "body": {"stringValue": _ascii(entry.document(form))},
        "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()],
    }


class OtlpSink:
    """Log records to an OpenTelemetry collector."""

    def __init__(self, settings: Otlp, tell: Callable[[str], None] = lambda _: None) -> None:
        import httpx2

        self.name = settings.url
        self._form = settings.format
        self._token_file = settings.token_file
        self._tell = tell
        self._client = httpx2.Client(
            timeout=_SECONDS, follow_redirects=False, verify=ssl.create_default_context(cafile=settings.ca_file)
        )

    def send(self, entries: Sequence[Entry]) -> None:
        """See `Sink.send`."""
        status = self._post(entries)
        if 200 <= status < 300:
            return
        if status not in (400, 413):
            raise SinkError(f"`{self.name}` answered {status}")
        if len(entries) > 1:
            middle = len(entries) // 2
            self.send(entries[:middle])
            self.send(entries[middle:])
            return
        self._tell(f"`{self.name}` answered {status} to event {entries[0].uid} ({entries[0].kind}): it is left out")

    def _post(self, entries: Sequence[Entry]) -> int:
        import httpx2

        resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "wicketgate"}}]}
        scope = {"scope": {"name": "wicketgate.audit"}, "logRecords": [log_record(e, self._form) for e in entries]}
        content = _ascii({"resourceLogs": [{"resource": resource, "scopeLogs": [scope]}]})
        headers = {"content-type": "application/json"}
        try:
            if self._token_file:
                headers["authorization"] = "Bearer " + Path(self._token_file).read_text().strip()
            return self._client.post(self.name, content=content, headers=headers).status_code
        except (httpx2.HTTPError, OSError) as error:
            raise SinkError(f"`{self.name}`: {type(error).__name__}") from None
