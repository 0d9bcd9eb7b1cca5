"""The address that kubectl and other clients of Kubernetes connect to, in place of an API server.

How this works: `https://host:port/t/TARGET` is what a kubeconfig names as its server. Each request brings the bot's
Entra token (`Authorization: Bearer`), which goes no further. A connection becomes a session with its first request; one
for another target, or by another bot, begins another. Handshake, head and body have deadlines, and each connection is a
task of its own, so that one silent client holds up nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Mapping

import structlog

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import TargetKind
from wicketgate_gateway.contract.identity import Principal
from wicketgate_gateway.contract.values import seconds
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.server.sessions import LogInError, Sessions
from wicketgate_gateway.session.kubernetes import KubernetesSession
from wicketgate_gateway.session.kubernetes_discovery import Discovery
from wicketgate_gateway.session.session import SessionOverError
from wicketgate_gateway.wire.http.body import Body
from wicketgate_gateway.wire.http.head import (
    LAST_CHUNK,
    HttpError,
    RequestHead,
    chunk,
    head_end,
    parse_request,
    request_length,
    write_response,
)
from wicketgate_gateway.wire.kubernetes import reason
from wicketgate_gateway.wire.kubernetes.body import MAX_BODY
from wicketgate_gateway.wire.kubernetes.status import status

IDLE_SECONDS = 120.0
BODY_SECONDS = 60.0
CLOSE_SECONDS = 10.0
MAX_CONNECTIONS = 4096
READ_BYTES = 64 * 1024
PREFIX = "/t/"
_PROTOCOL = "kubernetes"
_REASONS: Mapping[int, str] = {
    101: "Switching Protocols", 200: "OK", 201: "Created", 202: "Accepted", 400: "Bad Request", 401: "Unauthorized",
    403: "Forbidden", 404: "Not Found", 409: "Conflict", 413: "Content Too Large", 415: "Unsupported Media Type",
    422: "Unprocessable Content", 429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway",
    503: "Service Unavailable",
}  # fmt: skip

log = structlog.get_logger("wicketgate.kubernetes")


class KubernetesListener:
    """All clients of Kubernetes of one gateway process."""

    def __init__(self, registry: Sessions) -> None:
        self.registry = registry
        self.login_seconds = seconds(registry.config.limits.login)
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._discoveries: dict[str, Discovery] = {}

    def discovery(self, target: str) -> Discovery:
        """What the API server of a target has, as far as it is known."""
        found = self._discoveries.get(target)
        if found is None:
            found = self._discoveries[target] = Discovery()
        return found

    async def listen(self, context: ssl.SSLContext, *, shared: bool = False) -> int:
        """Start to listen where the configuration says, with other processes if `shared`; the port. Raises OSError."""
        context.set_alpn_protocols(["http/1.1"])
        address = self.registry.config.listen.kubernetes
        assert address is not None
        self._server = await asyncio.start_server(
            self._accepted,
            address.host,
            address.port,
            ssl=context,
            reuse_port=shared,
            ssl_handshake_timeout=self.login_seconds,
            limit=READ_BYTES,
            backlog=1024,
        )
        return self._server.sockets[0].getsockname()[1]

    async def close(self, wait: float = 5.0) -> None:
        """Stop listening and end all sessions."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.stop("the gateway stops")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=wait)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            writer.close()
            return
        connection = _Connection(self, reader, writer)
        self._connections.add(connection)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await connection.run()
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        except asyncio.CancelledError:
            if not connection.stopped:
                raise
        except Exception:
            log.exception("a connection failed inside", peer=connection.peer)
        finally:
            self._connections.discard(connection)
            self._tasks.discard(task)
            await connection.close()


class _Connection:
    """One client's connection: its requests, one after the other. A `session.kubernetes.Client`."""

    def __init__(
        self, listener: KubernetesListener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        address = writer.get_extra_info("peername")
        self.peer = f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address or "")
        self.stopped = False
        self._listener = listener
        self._registry = listener.registry
        self._reader = reader
        self._writer = writer
        self._buffer = b""
        self._live: KubernetesSession | None = None
        self._target = ""
        self._principal: Principal | None = None
        self._chunked = False
        self._bodiless = False
        self._asks_discovery = False
        self._answered = False
        self._keep = True
        self._task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until either side ends it."""
        self._task = asyncio.current_task()
        first = True
        while self._keep and not self.stopped:
            try:
                head = await self._head(self._listener.login_seconds if first else IDLE_SECONDS)
                if head is None:
                    return
                content = await self._content(head)
            except HttpError as error:
                self._registry.refused(error.code, error.message, protocol=_PROTOCOL, peer=self.peer)
                self._keep = False
                await self.answer(error.status, _JSON, status(error.status, error.message, cause=error.code))
                return
            first = False
            await self._request(head, content)

    async def _request(self, head: RequestHead, content: bytes) -> None:
        self._answered = False
        self._bodiless = head.method == "HEAD"
        self._asks_discovery = any("apidiscovery.k8s.io" in value for value in head.all("accept"))
        self._keep = head.version == 1 and "close" not in head.listed("connection")
        name = ""
        try:
            principal = await self._bot(head)
            name, target = target_of(head)
            live = await self._session(principal, name, head)
            await live.serve(head, target, content, self)
        except Refused as error:
            self._registry.refused(error.code, error.reason, protocol=_PROTOCOL, peer=self.peer, target=name)
            await self._tell(401, error.reason, error.remedy, error.code)
        except SessionOverError as error:
            self._keep = False
            self._end(error.code)
            await self._tell(403, error.message, error.remedy, error.code)
        except WicketgateError as error:
            self._keep = False
            if self._live is None:
                self._registry.refused(
                    error.code, error.message, protocol=_PROTOCOL, peer=self.peer, target=name,
                    principal=self._principal,
                )  # fmt: skip
            await self._tell(403, error.message, error.remedy, error.code)
        except ConnectionError:
            self._keep = False
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("a request failed inside", peer=self.peer)
            self._keep = False
            await self._tell(500, "the request failed inside the gateway", "", "internal-error")

    async def _tell(self, code: int, message: str, remedy: str, cause: str) -> None:
        if self._answered:
            self._keep = False
            return
        said = f"wicketgate: {message}; {remedy}" if remedy else f"wicketgate: {message}"
        await self.answer(code, _JSON, status(code, said, cause=cause))

    # Who, and where to.

    async def _bot(self, head: RequestHead) -> Principal:
        proofs = head.all("authorization")
        scheme, _, token = (proofs[0] if len(proofs) == 1 else "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refused("token-missing", "one `Authorization: Bearer` with the bot's token is needed",
                          "use the kubeconfig that `wicketgate kube login` writes")  # fmt: skip
        async with asyncio.timeout(self._listener.login_seconds):
            return await self._registry.authenticator.bot(reason.split(token.strip())[0])

    async def _session(self, principal: Principal, name: str, head: RequestHead) -> KubernetesSession:
        live = self._live
        if live is not None and not live.over:
            assert self._principal is not None
            if name == self._target and principal.object_id == self._principal.object_id:
                live.become(principal)
                if not live.over:
                    return live
            self._end("the client turned to something else")
        self._principal, self._target = principal, name
        registry = self._registry
        if registry.full:
            raise registry.no_room()
        session = registry.session_for(
            principal, name, TargetKind.KUBERNETES, peer=self.peer, client=head.first("user-agent"),
            missing="a target (the path does not begin with `/t/TARGET/`)", named_by="`/t/TARGET/` with",
        )  # fmt: skip
        registry.refuse_killed(session)
        await registry.start_on_record(session)
        live = KubernetesSession(session, registry.agents.open, self._listener.discovery(name))
        self._live = live
        registry.add(live, live.cut)
        try:
            registry.refuse_killed(session)
        except LogInError as error:
            self._end(error.code)
            raise
        return live

    def _end(self, reason: str) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.close(reason)
            self._registry.remove(live)

    # Reading.

    async def _head(self, within: float) -> RequestHead | None:
        async with asyncio.timeout(within):
            while (end := head_end(self._buffer)) < 0:
                data = await self._reader.read(READ_BYTES)
                if not data:
                    return None
                self._buffer += data
        data, self._buffer = self._buffer[:end], self._buffer[end:]
        return parse_request(data)

    async def _content(self, head: RequestHead) -> bytes:
        body = Body(request_length(head))
        if body.length > MAX_BODY:
            raise HttpError(f"the body is over {MAX_BODY} bytes", code="body-too-large", status=413)
        if body.done:
            return b""
        if head.first("expect").lower() == "100-continue":
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        pieces: list[bytes] = []
        async with asyncio.timeout(BODY_SECONDS):
            data, self._buffer = self._buffer, b""
            while True:
                pieces += body.feed(data)
                if body.size > MAX_BODY:
                    raise HttpError(f"the body is over {MAX_BODY} bytes", code="body-too-large", status=413)
                if body.done:
                    break
                data = await self._reader.read(READ_BYTES)
                if not data:
                    body.ended()
        self._buffer = body.rest
        return b"".join(pieces)

    # Answering: `session.kubernetes.Client`.

    async def answer(self, code: int, headers: Mapping[str, str] | list[tuple[str, str]], body: bytes) -> None:
        """See `Client`."""
        told = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        if code >= 400 and self._asks_discovery and body.startswith(b'{"kind": "Status"'):
            # There clients read no `Status`, and show plain text as it is.
            told, body = [("Content-Type", "text/plain")], str(json.loads(body)["message"]).encode()
        told.append(("Content-Length", str(len(body))))
        if not self._keep:
            told.append(("Connection", "close"))
        self._answered = True
        self._writer.write(write_response(code, _REASONS.get(code, "-"), told) + (b"" if self._bodiless else body))
        await self._writer.drain()

    async def begin(self, code: int, headers: list[tuple[str, str]]) -> None:
        """See `Client`."""
        self._chunked = True
        self._answered = True
        told = [*headers, ("Transfer-Encoding", "chunked")]
        if not self._keep:
            told.append(("Connection", "close"))
        self._writer.write(write_response(code, _REASONS.get(code, "-"), told))
        await self._writer.drain()

    async def piece(self, data: bytes) -> None:
        """See `Client`."""
        if not self._bodiless:
            self._writer.write(chunk(data))
            await self._writer.drain()

    async def finish(self) -> None:
        """See `Client`."""
        if not self._bodiless:
            self._writer.write(LAST_CHUNK)
            await self._writer.drain()

    async def upgrade(self, headers: list[tuple[str, str]]) -> None:
        """See `Client`."""
        self._keep = False
        self._answered = True
        self._writer.write(write_response(101, _REASONS[101], headers))
        await self._writer.drain()

    async def raw(self) -> bytes:
        """See `Client`."""
        if self._buffer:
            data, self._buffer = self._buffer, b""
            return data
        return await self._reader.read(READ_BYTES)

    def unread(self, data: bytes) -> None:
        """See `Client`."""
        self._buffer = data + self._buffer

    async def write(self, data: bytes) -> None:
        """See `Client`."""
        if data:
            self._writer.write(data)
            await self._writer.drain()

    async def gone(self) -> None:
        """See `Client`."""
        # What a client sends before it is answered is its next request: kept, up to a bound.
        while len(self._buffer) < READ_BYTES:
            data = await self._reader.read(READ_BYTES)
            if not data:
                return
            self._buffer += data
        await asyncio.Event().wait()

    # The end.

    def stop(self, reason: str) -> None:
        """End it from here."""
        self.stopped = True
        if self._live is not None:
            self._live.end("57P01", reason, reason=reason)
        elif self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """Whatever is left; what was written still goes out, to a client that takes it."""
        self._end("the client hung up")
        if self._answered and not self.stopped:
            # uvloop drops what a TLS transport still holds when it is closed: the client, who has been told that this
            # is the end, closes first.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CLOSE_SECONDS):
                    while await self._reader.read(READ_BYTES):
                        pass
        with contextlib.suppress(Exception):
            self._writer.close()


_JSON = [("Content-Type", "application/json")]


def target_of(head: RequestHead) -> tuple[str, str]:
    """The target's name and the request target that is its own. Raises LogInError."""
    target = head.target
    if not target.startswith(PREFIX):
        return "", target
    name, slash, rest = target[len(PREFIX) :].partition("/")
    if "?" in name:
        name, _, query = name.partition("?")
        return name, f"/?{query}"
    return name, slash + rest if slash else "/"
