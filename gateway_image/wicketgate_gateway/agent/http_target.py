"""An HTTP or Kubernetes target: how it is reached, and the streams that the gateway opens to it.

How this works: a stream is one connection to the target. A request's head comes as a message (`HttpRequest`), to which
the credential is added; its body follows as data, framed already. The gateway sends the next head only when the answer
before it is complete, so the agent need not follow bodies: after each head that it sent it reads the answer's, takes
out the target's cookies, and passes on all that follows. Known secrets are taken out of what is passed on. The host
header is the target's own, whatever the bot asked for.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import structlog

from wicketgate_gateway.agent import http_answer, tls
from wicketgate_gateway.agent.http_credential import Credential
from wicketgate_gateway.agent.redact import Redactor
from wicketgate_gateway.agent.target import DIAL_SECONDS, TargetConnection, TargetError
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import HttpTarget, KubernetesTarget
from wicketgate_gateway.tunnel.messages import Cancel, Control, Failed, HttpRequest, Open, Opened
from wicketgate_gateway.tunnel.mux import Stream
from wicketgate_gateway.wire.http.head import HttpError, head_end, parse_response, write_request, write_response

OPEN_SECONDS = 15.0
RELEASE_SECONDS = 0.02
CONTEXT_SECONDS = 60.0
"""How often a TLS context is made anew, for certificates that were renewed."""

BOTS_GROUP = "wicketgate:bots"
"""The group of Kubernetes that bots are in, where the agent impersonates them: for role bindings."""

log = structlog.get_logger("wicketgate.agent")


class HttpService:
    """A target of kind `http` or `kubernetes`."""

    def __init__(self, name: str, config: HttpTarget | KubernetesTarget) -> None:
        self.name = name
        self.config = config
        parts = urlsplit(config.address)
        self.tls = parts.scheme == "https"
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if self.tls else 80)
        self.authority = parts.netloc
        self.base = parts.path.rstrip("/")
        self.credential = Credential(config, self._plain_context)
        self._context: tuple[ssl.SSLContext, float] | None = None

    def serve(self, stream: Stream, opening: Open, on_done: Callable[[Any], None]) -> HttpStream:
        """See `kinds.Serves`."""
        return HttpStream(stream, opening, self, on_done)

    def _plain_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.config.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def context(self) -> ssl.SSLContext:
        """The TLS context, with the client certificate if there is one. Raises TargetError."""
        now = asyncio.get_running_loop().time()
        if self._context is None or self._context[1] < now:
            try:
                context = self._plain_context()
                context.set_alpn_protocols(["http/1.1"])
                if self.credential.certificate is not None:
                    context.load_cert_chain(*self.credential.certificate)
            except (OSError, ssl.SSLError) as error:
                reason = error.strerror or type(error).__name__
                raise TargetError(
                    f"the certificates for `{self.name}` cannot be read: {reason}",
                    code="credential-unreadable",
                    remedy="check `caFile` and `credential`",
                ) from None
            self._context = (context, now + CONTEXT_SECONDS)
        return self._context[0]

    async def connect(self) -> TargetConnection:
        """A connection. Raises TargetError."""
        loop = asyncio.get_running_loop()
        context = self.context() if self.tls else None
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                if context is not None:
                    return await tls.connect(TargetConnection, self.host, self.port, context)
                return (await loop.create_connection(TargetConnection, self.host, self.port))[1]
        except TimeoutError:
            raise TargetError(f"`{self.name}` did not answer within {DIAL_SECONDS:.0f} s") from None
        except ssl.SSLCertVerificationError as error:
            raise TargetError(
                f"the certificate of `{self.name}` was refused: {error.verify_message}",
                code="target-certificate-refused",
                remedy="check `caFile` and the host name in `address`",
            ) from None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise TargetError(f"`{self.name}` cannot be reached: {reason}") from None

    async def added(self, opening: Open) -> list[tuple[str, str]]:
        """The headers that are added to each request of this stream. Raises WicketgateError."""
        headers = await self.credential.headers()
        if isinstance(self.config, KubernetesTarget) and self.config.impersonate:
            headers = [*headers, ("Impersonate-User", f"wicketgate:{opening.bot}"), ("Impersonate-Group", BOTS_GROUP)]
        return headers

    def told(self, name: str, value: str) -> str:
        """A header of an answer as it is passed on; `name` in lower case."""
        if name not in http_answer.ADDRESSES or isinstance(self.config, KubernetesTarget):
            return value
        return http_answer.told(name, value, tls=self.tls, host=self.host, port=self.port, base=self.base)

    @property
    def taken(self) -> frozenset[str]:
        """Headers that no bot says anything by, in lower case."""
        return self.credential.names


class HttpStream:
    """Serves one stream: one connection to the target."""

    def __init__(self, stream: Stream, opening: Open, service: HttpService, on_done: Callable[[Any], None]) -> None:
        self._stream = stream
        self._opening = opening
        self._service = service
        self._on_done = on_done
        self._loop = asyncio.get_running_loop()
        self._connection: TargetConnection | None = None
        self._redactor = Redactor(())
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: deque[bytes] = deque()
        """Data that came while a head is not out yet."""
        self._writing = False
        self._owed = 0
        self._reading = True
        self._head: bytearray | None = None
        """The answer's head so far, while it is awaited."""
        self._tasks: set[asyncio.Task[None]] = set()
        stream.on_close = self._stream_ended
        stream.on_control = self._control
        self._start(self._open())

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await self._service.added(self._opening)  # a credential that cannot be had is told now
                connection = await self._service.connect()
        except TimeoutError:
            self._failed(TargetError(f"`{self._service.name}` did not answer in time"))
        except WicketgateError as error:
            self._failed(error)
        except Exception:
            log.exception("no connection", target=self._service.name, session=self._opening.session)
            self._failed(TargetError("the agent failed inside", code="internal-error"))
        else:
            self._connection = connection
            self._stream.on_writable = self._stream_writable
            self._stream.send_control(Opened(parameters={}))
            connection.relay(self._from_target, self._target_ended, self._target_drained)
            self._stream.on_data = self._to_target

    def _failed(self, error: WicketgateError) -> None:
        log.warning(
            "target not reached",
            target=self._service.name,
            session=self._opening.session,
            bot=self._opening.bot,
            code=error.code,
            reason=str(error),
        )
        self._stream.send_control(Failed(code=error.code, reason=error.message))
        self._stream.close(error.message)
        self._done()

    # Gateway to target.

    def _control(self, message: Control) -> None:
        if isinstance(message, HttpRequest):
            self._writing = True
            self._start(self._begin(message))
        elif isinstance(message, Cancel):
            self._end("cancelled")

    async def _begin(self, request: HttpRequest) -> None:
        service = self._service
        try:
            added = await service.added(self._opening)
            kept = [
                (n, v)
                for n, v in request.headers
                if n.lower() not in service.taken and n.lower() != "host" and not n.lower().startswith("impersonate")
            ]
            self._redactor = Redactor(service.credential.secrets())
            if self._redactor:
                # In an answer that is compressed no secret could be seen.
                kept = [(n, v) for n, v in kept if n.lower() != "accept-encoding"]
                kept.append(("Accept-Encoding", "identity"))
            head = write_request(
                request.method, service.base + request.path, [("Host", service.authority), *kept, *added]
            )
        except WicketgateError as error:
            log.warning("request not sent", target=service.name, session=self._opening.session, reason=str(error))
            self._end(error.message)
            return
        connection = self._connection
        if connection is None or connection.ended:
            return
        self._head = bytearray()
        connection.write(head)
        self._writing = False
        while self._waiting:
            self._to_target(self._waiting.popleft())

    def _to_target(self, data: bytes) -> None:
        if self._writing:
            self._waiting.append(data)
            return
        connection = self._connection
        assert connection is not None
        connection.write(data)
        if connection.paused:
            self._owed += len(data)
        else:
            self._stream.consumed(len(data))

    def _target_drained(self) -> None:
        owed, self._owed = self._owed, 0
        self._stream.consumed(owed)

    # Target to gateway.

    def _from_target(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            try:
                data = self._answers()
            except HttpError as error:
                log.warning("answer not understood", target=self._service.name, reason=error.message)
                self._end(f"the answer of `{self._service.name}` cannot be understood: {error.message}")
                return
        if data:
            self._send(self._redactor.feed(data))
            if self._redactor.holding and self._timer is None:
                self._timer = self._loop.call_later(RELEASE_SECONDS, self._release)

    def _answers(self) -> bytes:
        """Heads, written anew, and what follows the last. Raises HttpError."""
        out = b""
        while self._head is not None:
            end = head_end(self._head)
            if end < 0:
                return out
            head = parse_response(bytes(self._head[:end]))
            rest = self._head[end:]
            if head.status == 401:
                self._service.credential.refused()
            told = self._service.told
            headers = [(n, told(n.lower(), v)) for n, v in head.headers if n.lower() != "set-cookie"]
            out += write_response(head.status, head.reason, headers)
            if head.status >= 200 or head.status == 101:
                self._head = None
                return out + bytes(rest)
            self._head = bytearray(rest)
        return out

    def _send(self, data: bytes) -> None:
        stream = self._stream
        stream.send(data)
        if self._reading and not stream.writable and self._connection is not None:
            self._reading = False
            try:
                self._connection.transport.pause_reading()
            except (ConnectionError, RuntimeError):
                return

    def _release(self) -> None:
        self._timer = None
        if self._redactor.holding:
            self._send(self._redactor.release())

    def _stream_writable(self) -> None:
        if not self._reading and self._connection is not None:
            self._reading = True
            try:
                self._connection.transport.resume_reading()
            except (ConnectionError, RuntimeError):
                return

    # Ends.

    def _target_ended(self) -> None:
        self._release()
        self._stream.close("the target closed the connection")
        self._done()

    def _end(self, reason: str) -> None:
        self._stream.close(reason)
        if self._connection is not None:
            self._connection.abort()
        self._done()

    def _stream_ended(self, _reason: str) -> None:
        for task in self._tasks:
            task.cancel()
        if self._connection is not None:
            # Whoever hangs up wants no more of it: a target that still works on it should notice.
            self._connection.abort()
        self._done()

    def _start(self, work: asyncio._CoroutineLike[None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _done(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        on_done, self._on_done = self._on_done, _nothing
        on_done(self)


def _nothing(_: object) -> None: ...
