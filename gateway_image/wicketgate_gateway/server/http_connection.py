"""One HTTP client's connection: heads read strictly, each request handed to its session, answers written.

How this works: one task reads a head, finds the target (`X-Wicketgate-Target`, a path prefix `/t/NAME`, or the first
label of the host), takes the bot's token out of the head, and has the session serve the request before it looks at the
next: requests that were sent ahead wait. A session lasts as long as the connection, the bot and the target stay the
same.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from typing import Protocol, cast

import structlog

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import TargetKind
from wicketgate_gateway.contract.identity import Principal
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.server import closing
from wicketgate_gateway.server.http_exchange import Served
from wicketgate_gateway.server.sessions import LogInError, Sessions
from wicketgate_gateway.session.http import HttpSession
from wicketgate_gateway.wire.http import headers as rules
from wicketgate_gateway.wire.http import problem
from wicketgate_gateway.wire.http.head import (
    HttpError,
    RequestHead,
    head_end,
    parse_request,
    request_length,
    write_response,
)
from wicketgate_gateway.wire.http.target import Target, parse_target

HIGH_WATER = 256 * 1024
IDLE_SECONDS = 120.0
"""How long a connection may wait for its next request."""
_PREFIX = "t"

log = structlog.get_logger("wicketgate.http")


class Desk(Protocol):
    """What a connection needs of its listener: `server.http.HttpListener`."""

    registry: Sessions
    login_seconds: float

    def arrived(self, connection: HttpConnection) -> bool:
        """Whether there is room for it."""
        ...

    def gone(self, connection: HttpConnection) -> None:
        """It is over."""
        ...


class HttpConnection(asyncio.Protocol):
    """See the module."""

    def __init__(self, desk: Desk) -> None:
        self.peer = ""
        self.closed = False
        self.ending = False
        """No further request is served."""
        self._desk = desk
        self._registry = desk.registry
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._eof = False
        self._paused = False
        self._more: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._full = False
        self._task: asyncio.Task[None] | None = None
        self._session: HttpSession | None = None
        self._proof: tuple[str, Principal] | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        peer = transport.get_extra_info("peername")
        self.peer = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else ""
        if not self._desk.arrived(self):
            self._transport.abort()
            return
        self._task = self._loop.create_task(self._run())

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._buffer += data
        if len(self._buffer) >= HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        _wake(self._more)

    def eof_received(self) -> bool:
        """See asyncio.Protocol."""
        self._eof = True
        _wake(self._more)
        return False

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio.Protocol."""
        self.closed = self._eof = True
        _wake(self._more)
        _wake(self._room)
        if self._task is not None:
            self._task.cancel()
        self._over("the client hung up")
        self._desk.gone(self)

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._full = True

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._full = False
        _wake(self._room)

    # Ends.

    def stop(self, reason: str) -> None:
        """End it from outside."""
        self._over(reason)
        self.close()

    def close(self) -> None:
        """Close once what was written is out."""
        self.ending = True
        if self._transport is not None:
            closing.close(self._transport)

    def _over(self, reason: str) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.finish(reason)
            self._registry.remove(session)

    # Reading and writing.

    async def more(self) -> bool:
        """Wait for further bytes; False at the end of the connection."""
        if self._eof:
            return False
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
        self._more = self._loop.create_future()
        await self._more
        return True

    def take(self) -> bytes:
        """All that came and was not read."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def put_back(self, data: bytes) -> None:
        """What was read and is not the reader's."""
        if data:
            self._buffer[:0] = data

    def write(self, data: bytes) -> None:
        """To the client."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def drained(self) -> None:
        """Wait while the client is behind."""
        while self._full and not self.closed:
            self._room = self._loop.create_future()
            await self._room

    # Requests.

    async def _run(self) -> None:
        try:
            first = True
            while not self.ending and not self.closed:
                async with asyncio.timeout(self._desk.login_seconds if first else IDLE_SECONDS):
                    raw = await self._head()
                if raw is None:
                    break
                first = False
                await self._request(raw)
        except TimeoutError:
            log.info("no request came in time", peer=self.peer)
        except HttpError as error:
            self._malformed(error)
        except Exception:
            log.exception("a request failed inside", peer=self.peer)
            self.write(_refusal(500, "internal-error", "the request failed inside the gateway", ""))
        finally:
            if not self.closed:
                self._over("the client ended it" if self._eof else "the connection ended")
                self.close()

    async def _head(self) -> bytes | None:
        seen = 0
        while True:
            end = head_end(self._buffer, seen - 3)
            if end > 0:
                raw = bytes(self._buffer[:end])
                del self._buffer[:end]
                return raw
            # Blank lines before a request are refused, too: nobody needs them.
            if b"\n\n" in self._buffer or b"\0" in self._buffer or bytes(self._buffer[:1]) in (b"\r", b"\n"):
                raise HttpError("a bare LF, NUL or blank line where a head should be")
            seen = len(self._buffer)
            if not await self.more():
                return None

    def _malformed(self, error: HttpError) -> None:
        principal = self._proof[1] if self._proof is not None else None
        self._registry.refused(error.code, error.message, protocol="http", peer=self.peer, principal=principal)
        self.write(_refusal(error.status, error.code, error.message, error.remedy))
        self.ending = True

    async def _request(self, raw: bytes) -> None:
        head = parse_request(raw)
        length = request_length(head)
        name, prefix, target = self._find(head, parse_target(head.target))
        exchange = Served(self, head, target, prefix, length)
        if not rules.keeps_alive(head):
            self.ending = True
        try:
            session = await self._session_for(head, name)
        except (Refused, WicketgateError) as error:
            self._not_let_in(exchange, error, name)
        else:
            await session.serve(exchange)
            if session.over:
                self._over("")
                self.ending = True
        await exchange.settle()

    def _find(self, head: RequestHead, target: Target) -> tuple[str, str, Target]:
        segments = target.segments
        if named := head.all("x-wicketgate-target"):
            if len(named) > 1:
                raise HttpError("more than one `X-Wicketgate-Target`", code="target-form")
            return named[0], "", target
        if segments[0] == _PREFIX and len(segments) >= 2 and segments[1]:
            name = segments[1]
            return name, f"/{_PREFIX}/{name}", target.below(2)
        label, dot, _ = head.first("host").lower().partition(".")
        known = self._registry.config.targets.get(label)
        if dot and known is not None and known.kind is TargetKind.HTTP:
            return label, "", target
        return "", "", target

    async def _session_for(self, head: RequestHead, name: str) -> HttpSession:
        registry = self._registry
        principal = await self._principal(token_of(head))
        session = self._session
        if session is not None:
            opening = session.session.opening
            same = opening.target_name == name and session.session.principal.object_id == principal.object_id
            if same and not session.over:
                return session
            self._over("another target or bot")
        if registry.full:
            raise registry.no_room()
        made = registry.session_for(
            principal,
            name,
            TargetKind.HTTP,
            peer=self.peer,
            client=head.first("user-agent"),
            missing="a target (the path names none)",
            named_by="as `/t/NAME/` before the path, by `X-Wicketgate-Target`, or as the first label of the host,",
        )
        registry.refuse_killed(made)
        await registry.start_on_record(made)
        session = HttpSession(made, registry, self.close)
        try:
            registry.refuse_killed(made)
        except LogInError:
            session.finish("killed")
            raise
        if self.closed:
            session.finish("the client hung up")
            raise LogInError("the client hung up", code="client-gone")
        registry.add(session, session.cancel)
        self._session = session
        return session

    async def _principal(self, token: str) -> Principal:
        if not token:
            raise Refused("token-missing", "there is no token", "send `Authorization: Bearer` with an Entra token")
        proof = self._proof
        if proof is not None and proof[0] == token and proof[1].expires_at > time.time():
            session = self._session
            return session.session.principal if session is not None and not session.over else proof[1]
        self._proof = None
        principal = await self._registry.authenticator.bot(token)
        self._proof = (token, principal)
        return principal

    def _not_let_in(self, exchange: Served, error: Refused | WicketgateError, name: str) -> None:
        principal = self._proof[1] if self._proof is not None else None
        reason = error.reason if isinstance(error, Refused) else error.message
        code, remedy = error.code, error.remedy
        self._registry.refused(code, reason, protocol="http", peer=self.peer, target=name, principal=principal)
        if isinstance(error, Refused):
            status = 401
        elif code in ("too-many-sessions", "journal-failed"):
            status = 503
        else:
            status = 403 if isinstance(error, LogInError) else 502
        self.ending = self.ending or status in (401, 503)
        exchange.problem(status, code, reason, remedy)


def token_of(head: RequestHead) -> str:
    """The bot's token: of its own header, of the proxy's, of `Authorization`; bearer, or a password of Basic. Empty if
    there is none, or more than one."""
    own = head.all("x-wicketgate-token")
    if own:
        return own[0].strip() if len(own) == 1 else ""
    for name in ("proxy-authorization", "authorization"):
        values = head.all(name)
        if not values:
            continue
        scheme, _, value = values[0].partition(" ")
        if len(values) > 1 or scheme.lower() not in ("bearer", "basic"):
            return ""
        if scheme.lower() == "bearer":
            return value.strip()
        try:
            return base64.b64decode(value.strip(), validate=True).decode("ascii").partition(":")[2]
        except (binascii.Error, ValueError):
            return ""
    return ""


def _refusal(status: int, code: str, detail: str, remedy: str) -> bytes:
    body = problem.document(status, code, detail, remedy)
    headers = [("Content-Type", problem.TYPE), ("Content-Length", str(len(body))), ("Connection", "close")]
    return write_response(status, problem.REASONS.get(status, "Error"), headers) + body


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
