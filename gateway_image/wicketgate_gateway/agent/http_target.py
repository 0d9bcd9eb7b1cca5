"""An HTTP or Kubernetes target: how it is reached, and the streams that the gateway opens to it.

How this works: a stream is one connection to the target. A request's head comes as a message (`HttpRequest`), to which
the credential is added; its body follows as data, framed already. The gateway sends the next head only when the answer
before it is complete: after each head that it sent the agent reads the answer's, takes out the target's cookies, and
passes on what follows, without known secrets (`http_body`). Where there are secrets, bots get no parts of answers
(`Range`), no compressed ones, and no extensions of WebSocket. The host header is the target's own, whatever the bot
asked for.

An answer of 401 is about the credential that the agent holds. One that can be asked for anew is, and a request without
a body that changes nothing is sent again with it; else the gateway is told (`headers.TROUBLE`), and answers itself.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin, urlsplit

import structlog

from wicketgate_gateway.agent import http_answer, tls
from wicketgate_gateway.agent.http_body import AnswerBody
from wicketgate_gateway.agent.http_credential import Credential, Stamps
from wicketgate_gateway.agent.redact import Redactor
from wicketgate_gateway.agent.target import DIAL_SECONDS, TargetConnection, TargetError
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import HttpTarget, KubernetesTarget
from wicketgate_gateway.tunnel.messages import Cancel, Control, Failed, HttpRequest, Open, Opened
from wicketgate_gateway.tunnel.mux import Stream
from wicketgate_gateway.wire.http import headers as rules
from wicketgate_gateway.wire.http.head import (
    HttpError,
    ResponseHead,
    head_end,
    parse_response,
    write_request,
    write_response,
)

OPEN_SECONDS = 15.0
RELEASE_SECONDS = 0.02
CONTEXT_SECONDS = 60.0
"""How often a TLS context is made anew, for certificates that were renewed."""

_UNSEEN = rules.RANGES | {"accept-encoding", "sec-websocket-extensions"}
"""What is not asked for where answers are looked into: parts, and what would have to be undone."""
_SAFE = ("GET", "HEAD", "OPTIONS")

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
        self._context: tuple[ssl.SSLContext, float, Stamps] | None = None

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
        stamps = () if self.credential.certificate is None else self.credential.stamps("tls.crt", "tls.key")
        if self._context is None or self._context[1] < now or self._context[2] != stamps:
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
            self._context = (context, now + CONTEXT_SECONDS, stamps)
        return self._context[0]

    async def connect(self) -> HttpConnection:
        """A connection. Raises TargetError."""
        loop = asyncio.get_running_loop()
        context = self.context() if self.tls else None
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                if context is not None:
                    return await tls.connect(HttpConnection, self.host, self.port, context)
                return (await loop.create_connection(HttpConnection, self.host, self.port))[1]
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

    def refuses(self, head: ResponseHead, path: str) -> bool:
        """Whether an answer says that the credential is none (any more): 401, or the way to the log-in form."""
        if head.status == 401:
            return True
        form = self.credential.login_path
        if not form or head.status not in (302, 303, 307):
            return False
        here = f"{'https' if self.tls else 'http'}://{self.authority}{self.base}"
        where = urljoin(here + path, head.first("location"))
        return where.partition("?")[0] == here + form and path.partition("?")[0] != form

    @property
    def taken(self) -> frozenset[str]:
        """Headers that no bot says anything by, in lower case."""
        return self.credential.names


class HttpConnection(TargetConnection):
    """Knows why TLS ended: that a server refuses a certificate comes after the handshake (RFC 8446 section 4.4.2)."""

    trouble = ""

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio.Protocol."""
        if isinstance(exc, ssl.SSLError):
            self.trouble = (exc.reason or "TLS failed").replace("_", " ").lower()
        super().connection_lost(exc)


class HttpStream:
    """Serves one stream: one connection to the target."""

    def __init__(self, stream: Stream, opening: Open, service: HttpService, on_done: Callable[[Any], None]) -> None:
        self._stream = stream
        self._opening = opening
        self._service = service
        self._on_done = on_done
        self._loop = asyncio.get_running_loop()
        self._connection: HttpConnection | None = None
        self._redactor = Redactor(())
        self._request: HttpRequest | None = None
        self._added: list[tuple[str, str]] = []
        self._again = False
        """Whether this request was sent again with a new credential."""
        self._body: AnswerBody | None = None
        self._told = False
        """Whether anything of the answer went on."""
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: deque[bytes] = deque()
        """Data that came while a head is not out yet."""
        self._writing = False
        self._owed = 0
        self._reading = True
        self._head: bytearray | None = None
        """The answer's head so far, while it is awaited."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = False
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
        self._request, self._again = request, False
        try:
            head = await self._head_of(request)
        except WicketgateError as error:
            log.warning("request not sent", target=service.name, session=self._opening.session, reason=str(error))
            self._end(error.message)
            return
        self._sent(head)
        self._writing = False
        while self._waiting:
            self._to_target(self._waiting.popleft())

    async def _head_of(self, request: HttpRequest) -> bytes:
        """The head as it goes to the target. Raises WicketgateError."""
        service = self._service
        self._added = added = await service.added(self._opening)
        self._redactor = Redactor(service.credential.secrets())
        kept = [
            (n, v)
            for n, v in request.headers
            if n.lower() not in service.taken and n.lower() != "host" and not n.lower().startswith("impersonate")
        ]
        if self._redactor:
            kept = [(n, v) for n, v in kept if n.lower() not in _UNSEEN]
            kept.append(("Accept-Encoding", "identity"))
        return write_request(request.method, service.base + request.path, [("Host", service.authority), *kept, *added])

    def _sent(self, head: bytes) -> None:
        connection = self._connection
        if connection is None or connection.ended:
            return
        self._head, self._body, self._told = bytearray(), None, False
        connection.write(head)

    async def _send_again(self, request: HttpRequest) -> None:
        """The same on a new connection, with a new credential: what is left of the answer is nobody's."""
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                head = await self._head_of(request)
                connection = await self._service.connect()
        except (WicketgateError, TimeoutError) as error:
            told = error.message if isinstance(error, WicketgateError) else "it did not answer in time"
            log.warning("request not sent again", target=self._service.name, reason=told)
            self._end(told)
            return
        if self._over:
            connection.abort()
            return
        self._reading = True  # the new one does; a stream without room stops it again
        self._connection = connection
        connection.relay(self._from_target, self._target_ended, self._target_drained)
        self._sent(head)

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
        try:
            if self._head is not None:
                self._head += data
                data = self._answers()
            elif self._body is not None:
                data = self._body.pass_on(data)
        except HttpError as error:
            log.warning("answer not passed on", target=self._service.name, code=error.code, reason=error.message)
            if not self._told:
                self._send(_trouble(error))
            self._end(f"the answer of `{self._service.name}` cannot be passed on: {error.message}")
            return
        if data:
            self._told = True
            self._send(data)
        if self._body is not None and self._body.waits and self._timer is None:
            self._timer = self._loop.call_later(RELEASE_SECONDS, self._release)

    def _answers(self) -> bytes:
        """Heads, written anew, and what follows the last. Raises HttpError."""
        out = b""
        service, request = self._service, self._request
        while self._head is not None and request is not None:
            end = head_end(self._head)
            if end < 0:
                return out
            head = parse_response(bytes(self._head[:end]))
            rest = bytes(self._head[end:])
            told = service.told
            headers = tuple(
                (n, told(low, v))
                for n, v in head.headers
                if (low := n.lower()) != "set-cookie" and not low.startswith("x-wicketgate-")
            )
            if head.status >= 200 or head.status == 101:
                self._head = None
                if service.refuses(head, request.path):
                    if self._refused(request, head):
                        return b""
                    if isinstance(service.config, HttpTarget) and self._added_any:
                        raise HttpError(
                            "the target refuses the credential that the agent holds for it",
                            code="target-credential-refused",
                            status=502,
                        )
                else:
                    service.credential.taken()
                self._body = body = AnswerBody(self._redactor, head, request.method)
                written = write_response(head.status, head.reason, body.headers(headers))
                return out + self._redactor.feed(written) + body.pass_on(rest)
            out += self._redactor.feed(write_response(head.status, head.reason, headers))
            self._head = bytearray(rest)
        return out

    @property
    def _added_any(self) -> bool:
        return bool(self._added) or self._service.credential.certificate is not None

    def _refused(self, request: HttpRequest, head: ResponseHead) -> bool:
        """The target does not take the credential; True if the request is sent again with a new one."""
        service = self._service
        renewed = service.credential.refused(self._added)
        names = {name.lower() for name, _ in request.headers}
        plain = request.method in _SAFE and not names & {"content-length", "transfer-encoding", "upgrade"}
        again = renewed and plain and not self._again
        log.warning("credential refused", target=service.name, status=head.status, again=again)
        if not again:
            return False
        self._again = True
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        self._start(self._send_again(request))
        return True

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
        if self._body is not None and (held := self._body.release()):
            self._send(held)

    def _stream_writable(self) -> None:
        if not self._reading and self._connection is not None:
            self._reading = True
            try:
                self._connection.transport.resume_reading()
            except (ConnectionError, RuntimeError):
                return

    # Ends.

    def _target_ended(self) -> None:
        reason = "the target closed the connection"
        if self._connection is not None and self._connection.trouble:
            reason = f"the target broke TLS off ({self._connection.trouble})"
            log.warning("target broke off", target=self._service.name, reason=self._connection.trouble)
        try:
            if self._body is not None and (last := self._body.ended()):
                self._send(last)
        except HttpError as error:
            reason = error.message
        self._stream.close(reason)
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
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        on_done, self._on_done = self._on_done, _nothing
        on_done(self)


def _trouble(error: HttpError) -> bytes:
    """An answer that tells the gateway why there is none."""
    words = error.message.encode("ascii", "replace").decode()
    return write_response(502, "Bad Gateway", [(rules.TROUBLE, f"{error.code} {words}"), ("Content-Length", "0")])


def _nothing(_: object) -> None: ...
