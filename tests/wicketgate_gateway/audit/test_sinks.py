from __future__ import annotations

import http.server
import json
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from wicketgate_gateway.audit.events import Operation, PolicyLoaded, SessionRefused
from wicketgate_gateway.audit.follow import Entry
from wicketgate_gateway.audit.sinks import OtlpSink, SinkError, SyslogSink, log_record, severity, syslog_message
from wicketgate_gateway.contract.keeping import Otlp, Syslog

HEAD = re.compile(rb"<(\d+)>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) (\S+) wicketgate (\d+) ([\x21-\x7e]{1,32}) - ")


def operation(statement: str = "SELECT 1", effect: str = "allow") -> Operation:
    return Operation(
        time=1_700_000_000_123_456_789, session="01k", seq=1, statement=statement, effect=effect, rule="p#1", bot="b"
    )


def entry(event: Any = None, uid: str = "1-2-3") -> Entry:
    return Entry(uid, event or operation(), None)


def read(message: bytes) -> tuple[int, dict[str, Any]]:
    head = HEAD.match(message)
    assert head, message
    return int(head[1]), json.loads(message[head.end() :])


def test_a_syslog_message() -> None:
    message = syslog_message(entry(), "ndjson", "gate", 7)
    assert message.startswith(b"<110>1 2023-11-14T22:13:20.123456Z gate wicketgate 7 operation - {")
    _, document = read(message)
    assert (document["uid"], document["statement"], document["bot"]) == ("1-2-3", "SELECT 1", "b")
    assert read(syslog_message(entry(), "ocsf", "gate", 7))[1]["class_uid"] == 6005


def test_no_statement_breaks_a_line_or_forges_a_message() -> None:
    evil = "x'\n<110>1 2023-01-01T00:00:00Z gate wicketgate 7 operation - {}\x00\x1b[2J\u2028é"
    message = syslog_message(entry(operation(evil)), "ndjson", "gate", 7)
    assert all(0x20 <= byte < 0x7F for byte in message)
    assert read(message)[1]["statement"] == evil


@pytest.mark.parametrize("size", [100, 59_000, 200_000])
def test_a_datagram_is_cut_and_says_so(size: int) -> None:
    message = syslog_message(entry(operation('"' * size)), "ndjson", "gate", 7, limit=60_000)
    assert len(message) <= 60_000
    document = read(message)[1]
    assert document["uid"] == "1-2-3"
    assert ("cut" in document) == (size > 100)


def test_severities() -> None:
    assert severity(entry()) == 6
    assert severity(entry(operation(effect="deny"))) == severity(entry(operation(effect="hold"))) == 4
    assert severity(entry(SessionRefused(time=1, code="c", reason="r"))) == 4
    assert severity(entry(PolicyLoaded(time=1, policy="p"))) == 5


def frames(data: bytes) -> list[bytes]:
    """RFC 6587: octet counting."""
    found: list[bytes] = []
    while data:
        size, _, data = data.partition(b" ")
        found.append(data[: int(size)])
        assert len(found[-1]) == int(size)
        data = data[int(size) :]
    return found


def test_over_tcp_and_again_after_the_server_went() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sink = SyslogSink(Syslog(address=f"tcp://127.0.0.1:{server.getsockname()[1]}"))
        sink.send([entry(), entry(uid="4-5-6")])
        first, _ = server.accept()
        data = b""
        while data.count(b"4-5-6") < 1 or not data.endswith(b"}"):
            data += first.recv(65536)
        assert [read(message)[1]["uid"] for message in frames(data)] == ["1-2-3", "4-5-6"]
        first.close()
        sink.send([entry(uid="7-8-9")])
        second, _ = server.accept()
        data = b""
        while not data.endswith(b"}"):
            data += second.recv(65536)
        assert [read(message)[1]["uid"] for message in frames(data)] == ["7-8-9"]
        second.close()
    with pytest.raises(SinkError, match="refused"):
        sink.send([entry()])


def test_over_tls_to_a_server_that_is_trusted_alone(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for _ in range(2):
                plain, _ = server.accept()
                try:
                    with context.wrap_socket(plain, server_side=True) as connection:
                        got.append(connection.recv(65536))
                except ssl.SSLError:
                    plain.close()

        thread = threading.Thread(target=serve)
        thread.start()
        address = f"tls://localhost:{server.getsockname()[1]}"
        with pytest.raises(SinkError):
            SyslogSink(Syslog(address=address)).send([entry()])
        SyslogSink(Syslog(address=address, ca_file=str(tmp_path / "ca.pem"))).send([entry()])
        thread.join()
    assert len(got) == 1
    assert read(frames(got[0])[0])[1]["uid"] == "1-2-3"


def test_over_udp_and_a_local_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        SyslogSink(Syslog(address=f"udp://127.0.0.1:{server.getsockname()[1]}")).send([entry()])
        assert read(server.recv(65536))[1]["uid"] == "1-2-3"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log"))
        sink = SyslogSink(Syslog(address=f"unix:{tmp_path / 'log'}"))
        sink.send([entry(operation("x" * 100_000))])
        assert read(server.recv(65536))[1]["cut"] is True
    (tmp_path / "log").unlink()
    with pytest.raises(SinkError):
        sink.send([entry()])


class _Collector(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        records = body["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
        status = server.answer(records)
        if status == 200:
            server.got += records
        server.headers.append(dict(self.headers))
        self.send_response(status)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Any]:
    server: Any = http.server.HTTPServer(("127.0.0.1", 0), _Collector)
    server.got, server.headers, server.answer = [], [], lambda records: 200
    server.url = f"http://127.0.0.1:{server.server_address[1]}/v1/logs"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_collector_gets_log_records(tmp_path: Path, collector: Any) -> None:
    (tmp_path / "token").write_text("secret\n")
    OtlpSink(Otlp(url=collector.url, token_file=str(tmp_path / "token"), format="ocsf")).send([entry()])
    [record] = collector.got
    assert collector.headers[0]["authorization"] == "Bearer secret"
    assert record["timeUnixNano"] == "1700000000123456789"
    assert (record["severityNumber"], record["eventName"]) == (9, "wicketgate.operation")
    assert json.loads(record["body"]["stringValue"])["class_uid"] == 6005
    attributes = {each["key"]: each["value"]["stringValue"] for each in record["attributes"]}
    assert attributes == {"event.name": "wicketgate.operation", "wicketgate.uid": "1-2-3", "session.id": "01k"}


def test_a_record_is_what_opentelemetry_reads() -> None:
    from google.protobuf import json_format
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

    record = json_format.ParseDict(log_record(entry(operation(effect="deny")), "ndjson"), LogRecord())
    assert record.time_unix_nano == 1_700_000_000_123_456_789
    assert record.severity_text == "WARN"


def test_a_collector_that_is_busy_gets_the_batch_again(collector: Any) -> None:
    sink = OtlpSink(Otlp(url=collector.url))
    for status in (301, 401, 429, 503):
        collector.answer = lambda records, status=status: status
        with pytest.raises(SinkError, match=str(status)):
            sink.send([entry()])
    assert collector.got == []


def test_an_event_that_a_collector_never_takes_is_told_and_left_out(collector: Any) -> None:
    collector.answer = lambda records: 400 if any("bad" in json.dumps(record) for record in records) else 200
    told: list[str] = []
    sink = OtlpSink(Otlp(url=collector.url), told.append)
    sink.send([entry(operation("bad" if n == 5 else "good"), f"1-1-{n}") for n in range(9)])
    assert len(collector.got) == 8
    assert len(told) == 1
    assert "1-1-5" in told[0]


def test_no_collector() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(SinkError, match="ConnectError"):
        OtlpSink(Otlp(url=f"http://127.0.0.1:{port}/v1/logs")).send([entry()])
