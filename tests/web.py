"""A running gateway and agent in front of a raw HTTP server that keeps the very bytes that it got.

`web` is shared by a whole run. A plugin (see `tests/conftest.py`); what is slow to import waits until it is needed.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.running import DBA, Cloud, Running, cloud_in

if TYPE_CHECKING:
    from wicketgate.testing.postgres import PostgresServer

TARGET = "orders-api"
SECRET = "canary-token-of-the-target"
CUSTOMER = {"id": 7, "name": "Ann", "email": "ann@example.com", "card": "4111111111111111", "total": 12.5}
POLICY: dict[str, Any] = {
    "policy": "web",
    "targets": [TARGET, "down-api", "plain-api"],
    "rules": [
        {"allow": {"http": {"routes": ["/orders", "/orders/**", "/echo/**", "/bytes/**", "/chunked/**", "/events"]}}},
        {"allow": {"http": {"methods": ["POST", "PUT"], "routes": ["/echo/**", "/upload", "/slow-upload"]}}},
        {"allow": {"http": {"methods": "POST", "routes": "/payments", "json": {"$.currency": ["EUR", "USD"]}},
                   "when": "op.body.amount < 100"}},
        {"allow": {"http": {"routes": "/ws", "upgrade": "websocket"}}},
        {"allow": {"http": {"routes": ["/status/*", "/redirect/**", "/search", "/cookies", "/trailers"]}}},
        {"hold": {"http": {"methods": "DELETE", "routes": "/orders/{id}"}, "approvers": {"groups": ["dba"]},
                  "wait": "1s", "because": "orders are money"}},
        {"hold": {"http": {"methods": "POST", "routes": "/refunds"}, "approvers": {"groups": ["dba"]}, "wait": "20s"}},
        {"deny": {"http": {"routes": "/orders/secret/**"}, "because": "it is secret"}},
        {"deny": {"http": {"query": {"debug": "*"}}}},
    ],
}  # fmt: skip
MASKED: dict[str, Any] = {
    "policy": "masked",
    "targets": ["masked-api"],
    "rules": [{"allow": {"http": {"methods": "*", "routes": "/**"}}}],
    "mask": [
        {"json": ["$.**.email", "$.email"], "with": "partial"},
        {"json": "$.**.card", "with": "redact"},
        {"json": "$.**.total", "with": "null"},
    ],
}

DESCRIBED: dict[str, Any] = {
    "policy": "described",
    "targets": ["described-api"],
    "rules": [
        {"allow": {"http": {"operations": ["listOrders", "getOrder"]}}},
        {"allow": {"http": {"methods": "*", "routes": ["/echo/**", "/orders/{id}"]}}},
        {"deny": {"http": {"operations": "deleteOrder"}, "because": "orders stay"}},
    ],
}
"""A policy that speaks of the operations of `OPENAPI`."""
OPENAPI = """\
openapi: 3.0.3
paths:
  /orders: {get: {operationId: listOrders}}
  /orders/{id}:
    get: {operationId: getOrder}
    delete: {operationId: deleteOrder}
"""
DETECTING: dict[str, Any] = {
    "policy": "detecting",
    "targets": ["detecting-api"],
    "rules": [
        {"allow": {"http": {"methods": "*", "routes": "/**"}}},
        {"hold": {"http": {"methods": "*", "routes": "/held/**"}, "approvers": {"groups": ["dba"]}, "wait": "1s"}},
        {"deny": {"http": {"routes": "/denied/**"}}},
    ],
    "mask": [{"detect": ["card", "email", "api-key", "jwt"], "with": "redact"}],
}
"""A policy with detectors and no masks by path."""

# Put together here, so that no scanner takes this file for a leak.
KEY = "AKIA" + "IOSFODNN7" + "EXAMPLE"
CARD = "4111 1111 1111 1111"
LEAKS = {
    "json": ("application/json", json.dumps({"mail": "ann@example.com", "card": CARD, "key": KEY, "fine": "kept"})),
    "escaped": (
        "application/json",
        r'{"mail": "ann\u0040example.com", "card": "4111\u00201111 1111 1111", "key": "\u0041'
        + KEY[1:]
        + '", "fine": "kept"}',
    ),
    "number": ("application/json", '{"card": 4111111111111111, "fine": "kept"}'),
    "text": ("text/plain; charset=utf-8", f"mail ann@example.com card {CARD} key {KEY} fine kept\n"),
    "html": (
        "text/html; charset=utf-8",
        "<p>mail ann&#64;example.com or ann&commat;example&period;com card 4111&#32;1111&#x20;1111&#32;1111 key &#65;"
        + KEY[1:]
        + " &lt;fine&gt; kept</p>",
    ),
    "form": (
        "application/x-www-form-urlencoded",
        f"mail=ann%40example.com&card={CARD.replace(' ', '+')}&key={KEY}&fine=kept",
    ),
    "ndjson": (
        "application/x-ndjson",
        json.dumps({"m": "ann@example.com", "k": KEY}) + "\n" + json.dumps({"c": CARD, "f": "kept"}) + "\n",
    ),
    "events": ("text/event-stream", f'event: kept\ndata: {{"m": "ann@example.com", "c": "{CARD}"}}\n\ndata: {KEY}\n\n'),
}
"""Answers with what detectors find, by type."""


class Upstream:
    """A server that answers by path, keeps what it reads, and understands as little of HTTP as it can.

    `seen` has the raw bytes of each request. Paths: `/echo/…` (the request's head as text), `/orders…` (JSON),
    `/bytes/N`, `/chunked/N`, `/gzip`, `/events`, `/status/N`, `/ws` (echoes raw bytes), `/upload`, and more below.
    """

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.seen: list[bytes] = []
        self.connections = 0
        self.release = threading.Event()
        """Lets go of what waits: `/wait`, `/slow-upload`."""
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self.release.set()
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError), contextlib.ExitStack() as stack:
            stack.callback(sock.close)
            sock.settimeout(30)
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
                stack.callback(sock.close)
            buffer = b""
            while True:
                while b"\r\n\r\n" not in buffer:
                    data = sock.recv(65536)
                    if not data:
                        return
                    buffer += data
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                index = len(self.seen)
                self.seen.append(head + b"\r\n\r\n")
                if b" /slow-upload" in head.partition(b"\r\n")[0]:
                    self.release.wait(30)
                body, buffer = self._body(sock, head, buffer)
                self.seen[index] += body if len(body) < 1 << 20 else b"(long)"
                if not self._answer(sock, head, body):
                    return

    def _body(self, sock: socket.socket, head: bytes, buffer: bytes) -> tuple[bytes, bytes]:
        lines = [line.lower() for line in head.split(b"\r\n")[1:]]
        length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)
        if any(line.startswith(b"transfer-encoding:") for line in lines):
            while b"0\r\n\r\n" not in buffer[-4096:]:
                buffer += sock.recv(65536)
            return buffer, b""
        while len(buffer) < length:
            buffer += sock.recv(65536)
        return buffer[:length], buffer[length:]

    def _answer(self, sock: socket.socket, head: bytes, body: bytes) -> bool:
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        path = target.partition("?")[0].removeprefix("/base")
        last = path.rpartition("/")[2]
        if path == "/ws":
            sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            while data := sock.recv(65536):
                sock.sendall(data)
            return False
        if path.startswith("/echo"):
            self._send(sock, head + b"\r\n\r\n" + body, "text/plain")
        elif path.startswith("/bytes/"):
            count = int(last)
            sock.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % count
            )
            piece = bytes(range(256)) * 256
            while count > 0:
                sock.sendall(piece[:count])
                count -= len(piece)
        elif path.startswith("/chunked/"):
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
            for i in range(int(last)):
                sock.sendall(b"%x\r\nline %05d\n\r\n" % (11, i))
            sock.sendall(b"0\r\n\r\n")
        elif path == "/events":
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            for i in range(3):
                event = b'data: {"n": %d, "email": "ann@example.com"}\n\n' % i
                sock.sendall(b"%x\r\n%b\r\n" % (len(event), event))
                time.sleep(0.05)
            sock.sendall(b"0\r\n\r\n")
        elif path == "/ndjson":
            lines = b"".join(b'{"email": "ann@example.com", "n": %d}\n' % i for i in range(3))
            self._send(sock, lines, "application/x-ndjson")
        elif path == "/gzip":
            self._send(
                sock, gzip.compress(json.dumps(CUSTOMER).encode()), "application/json", ("Content-Encoding: gzip",)
            )
        elif path == "/br" or path == "/zstd" or path == "/deflate":
            self._send(sock, _encoded(last), "application/json", (f"Content-Encoding: {last}",))
        elif path == "/bad-gzip":
            self._send(sock, b"not gzip at all", "application/json", ("Content-Encoding: gzip",))
        elif path.startswith("/leak/"):
            self._leak(sock, path.split("/")[2], "piecewise" in target)
        elif path == "/parts":
            parts = (
                b"--x\r\nContent-Range: bytes 0-9/30\r\n\r\n" + json.dumps(CUSTOMER).encode()[30:60] + b"\r\n--x--\r\n"
            )
            self._send(sock, parts, "multipart/byteranges; boundary=x", status="206 Partial Content")
        elif path == "/csv":
            self._send(sock, b"email\nann@example.com\n", "text/csv")
        elif path.startswith("/status/"):
            sock.sendall(
                f"HTTP/1.1 {last} X\r\n{'' if last in ('204', '304') else 'Content-Length: 0'}\r\n".replace(
                    "\r\n\r\n", "\r\n"
                ).encode()
                + b"\r\n"
            )
        elif path.startswith("/redirect"):
            where = target.partition("to=")[2] or "/orders/7"
            self._send(sock, b"", "text/plain", (f"Location: {where}",), status="302 Found")
        elif path == "/cookies":
            self._send(sock, SECRET.encode() + b" and more", "text/plain", ("Set-Cookie: session=abc", "ETag: x"))
        elif path == "/trailers":
            sock.sendall(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"
            )
        elif path == "/close":
            sock.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end")
            return False
        elif path == "/hang-up":
            return False
        elif path == "/broken":
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello")
            return False
        elif path in ("/upload", "/slow-upload"):
            self._send(sock, json.dumps({"got": len(body)}).encode(), "application/json")
        else:
            content = json.dumps(CUSTOMER if path.count("/") > 1 else [CUSTOMER]).encode()
            if method == "HEAD":
                sock.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\nETag: "x"\r\n\r\n' % len(content))
            else:
                self._send(sock, content, "application/json", ('ETag: "x"',))
        return True

    def _leak(self, sock: socket.socket, kind: str, piecewise: bool) -> None:
        """An answer with a card, an address and a key in it, perhaps with a chunk for each two bytes."""
        name, _, coding = kind.partition("+")
        content_type, body = LEAKS[name]
        data = body.encode()
        headers = [f"Content-Type: {content_type}"]
        if coding:
            data = _encoded(coding, data)
            headers.append(f"Content-Encoding: {coding}")
        if not piecewise:
            self._send(sock, data, content_type, tuple(headers[1:]))
            return
        head = "\r\n".join(["HTTP/1.1 200 OK", *headers, "Transfer-Encoding: chunked", "", ""])
        sock.sendall(head.encode())
        for i in range(0, len(data), 2):
            sock.sendall(b"%x\r\n%b\r\n" % (len(data[i : i + 2]), data[i : i + 2]))
        sock.sendall(b"0\r\n\r\n")

    def _send(
        self, sock: socket.socket, body: bytes, kind: str, headers: tuple[str, ...] = (), status: str = "200 OK"
    ) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
        sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def _encoded(name: str, data: bytes | None = None) -> bytes:
    import brotli
    import zstandard

    if data is None:
        data = json.dumps(CUSTOMER).encode()
    if name == "gzip":
        return gzip.compress(data)
    if name == "br":
        return brotli.compress(data)
    return zstandard.compress(data) if name == "zstd" else zlib.compress(data)


class NoDatabase:
    """Stands where `cloud_in` wants a PostgreSQL server: there is none here."""

    host, port, ca_file = "127.0.0.1", 1, None

    def create_user(self, *_: Any) -> None: ...

    def create_database(self, *_: Any) -> None: ...

    def sql(self, *_: Any) -> None: ...


@dataclass
class WebRunning(Running):
    """A gateway and its agent before an HTTP server."""

    upstream: Upstream = field(default=cast("Upstream", None))
    plain: Upstream = field(default=cast("Upstream", None))
    targets: dict[str, dict[str, Any]] = field(default_factory=dict[str, "dict[str, Any]"])
    """The agent's targets, beside those of all."""

    def write_policies(self, *policies: dict[str, Any]) -> None:
        """See `Running`; with the operations of `described-api`."""
        from wicketgate_gateway.contract import openapi
        from wicketgate_gateway.contract.policy import Bundle

        super().write_policies(*policies)
        document = self.folder / "openapi.yaml"
        document.write_text(OPENAPI)
        path, new = self.folder / "policies.json", self.folder / "policies.new"
        bundle = Bundle.model_validate_json(path.read_text())
        operations = {"described-api": list(openapi.read(document).operations)}
        new.write_text(bundle.model_copy(update={"operations": operations}).render())
        new.replace(path)

    def write_gateway(self, **limits: Any) -> None:
        """Writes gateway.yaml."""
        super().write_gateway(**limits)
        path = self.folder / "gateway.yaml"
        config = json.loads(path.read_text())
        config["listen"]["http"] = {"port": 0}
        target = {"kind": "http", "agent": "eu", "labels": {"env": "test"}}
        names = [TARGET, "plain-api", "masked-api", "down-api", "other-api", "described-api", "detecting-api"]
        names += self.targets
        config["targets"] = dict.fromkeys(names, target)
        path.write_text(json.dumps(config))

    def _write_agent(self) -> None:
        super()._write_agent()
        credential = self.folder / "web-credential"
        credential.mkdir(mode=0o700, exist_ok=True)
        (credential / "token").write_text(SECRET)
        target = {
            "kind": "http",
            "address": f"https://localhost:{self.upstream.port}",
            "caFile": str(self.cloud.ca.cert_file),
            "auth": "bearer",
            "credential": str(credential),
        }
        path = self.folder / "agent.yaml"
        config = json.loads(path.read_text())
        config["targets"] = {
            TARGET: target,
            "masked-api": target,
            "described-api": target,
            "detecting-api": target,
            "plain-api": {"kind": "http", "address": f"http://127.0.0.1:{self.plain.port}/base"},
            "down-api": {**target, "address": "https://127.0.0.1:1"},
            **self.targets,
        }
        path.write_text(json.dumps(config))

    def url(self, path: str, target: str = TARGET) -> str:
        """The address of a path of a target through the gateway."""
        return f"https://localhost:{self.ports['http']}/t/{target}{path}"

    def curl(
        self, *arguments: str, token: str | None = None, target: str = TARGET, timeout: float = 60
    ) -> subprocess.CompletedProcess[bytes]:
        """Stock curl; an argument that begins with `/` is a path of the target."""
        given = self.cloud.bot_token() if token is None else token
        command = ["curl", "-sS", "--http1.1", "--path-as-is", "--cacert", str(self.ca_file)]
        if given:
            command += ["-H", f"Authorization: Bearer {given}"]
        command += [self.url(a, target) if a.startswith("/") else a for a in arguments]
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
        return subprocess.run(command, capture_output=True, timeout=timeout, env=env)

    def raw(self, data: bytes, seconds: float = 10.0, until: Callable[[bytes], bool] | None = None) -> bytes:
        """What the gateway answers to these very bytes, until it closes, is silent for a while, or `until`."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        found = b""
        with (
            socket.create_connection(("localhost", self.ports["http"]), timeout=seconds) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as sock,
        ):
            with contextlib.suppress(OSError):
                sock.sendall(data)
            with contextlib.suppress(OSError):
                while piece := sock.recv(65536):
                    found += piece
                    if until is not None and until(found):
                        break
        return found

    def head(self, line: str, *headers: str, token: str | None = None, host: str = "localhost") -> bytes:
        """A request's head with the bot's token."""
        given = self.cloud.bot_token() if token is None else token
        return "\r\n".join((line, f"Host: {host}", f"Authorization: Bearer {given}", *headers, "", "")).encode(
            "latin-1"
        )

    def wait_for_agent(self) -> None:
        """Until a request to the target works."""
        self._wait(lambda: b"200" in self.curl("-o", "/dev/null", "-w", "%{http_code}", self.url("/orders/7")).stdout,
                   "agent", pause=0.1)  # fmt: skip


@contextlib.contextmanager
def web_in(folder: Path, cloud: Cloud, *policies: dict[str, Any], **targets: Any) -> Generator[WebRunning]:
    """A gateway, an agent and servers of one's own."""
    folder.mkdir(parents=True, exist_ok=True)
    leaf = cloud.ca.issue_files(folder, "upstream", ["localhost", "127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert_file, leaf.key_file)
    upstream, plain = Upstream(context), Upstream(None)
    made = WebRunning(folder, cloud, cloud.ca.cert_file, upstream=upstream, plain=plain, targets=targets)
    made.write_policies(*(policies or (POLICY, MASKED, DESCRIBED, DETECTING)))
    made.write_gateway()
    try:
        made.start_gateway()
        made.start_agent()
        made.wait_for_agent()
        yield made
    finally:
        for name in list(made.processes):
            made.stop(name)
        upstream.close()
        plain.close()


@pytest.fixture(scope="session")
def web_cloud() -> Iterator[Cloud]:
    """What a gateway before an HTTP server stands in."""
    with (
        tempfile.TemporaryDirectory(prefix="wicketgate-web-cloud-") as folder,
        cloud_in(Path(folder), cast("PostgresServer", NoDatabase())) as made,
    ):
        yield made


@pytest.fixture(scope="session")
def web(web_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebRunning]:
    """The shared gateway before the shared server."""
    with web_in(tmp_path_factory.mktemp("web"), web_cloud) as made:
        yield made


__all__ = [
    "DBA",
    "DESCRIBED",
    "DETECTING",
    "MASKED",
    "OPENAPI",
    "POLICY",
    "SECRET",
    "TARGET",
    "NoDatabase",
    "Upstream",
    "WebRunning",
    "web_in",
]
