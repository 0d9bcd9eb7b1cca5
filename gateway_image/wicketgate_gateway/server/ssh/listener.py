"""SSH in the gateway's process: the SSH process is started and listened to, and its clients' sessions run here.

How this works: the address is bound here and handed to the SSH process (`server.ssh`), so that it stays the same when
that process is started again. Over the link come two kinds of streams: a client with its proof, and a client's channel.
The first becomes a session of the process's `Sessions`, as for every protocol; a channel is taken only from the link
that its session came over.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

import structlog

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import TargetKind
from wicketgate_gateway.contract.identity import Principal
from wicketgate_gateway.contract.values import seconds
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.server.children import Child
from wicketgate_gateway.server.sessions import LogInError, Sessions
from wicketgate_gateway.session.ssh import SshSession
from wicketgate_gateway.tunnel.messages import Control, Failed, Opened, SshChannel, SshConnect
from wicketgate_gateway.tunnel.mux import MAX_MESSAGE, Mux, Stream

MODULE = "wicketgate_gateway.server.ssh"
PROTOCOL = "ssh"
BACKLOG = 1024
CLOSE_SECONDS = 5.0

log = structlog.get_logger("wicketgate.ssh")


class SshListener:
    """All SSH clients of one gateway process: `listen`, then `close`."""

    def __init__(self, registry: Sessions) -> None:
        self.registry = registry
        self._login_seconds = seconds(registry.config.limits.login)
        self._child: Child | None = None
        self._socket: socket.socket | None = None
        self._sessions: dict[str, tuple[Mux, SshSession]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._stopping = False

    async def listen(self, *, shared: bool = False) -> int:
        """Starts the SSH process with the configured address, which others use too if `shared`; the port.

        Raises OSError.
        """
        config = self.registry.config
        address = config.listen.ssh
        assert address is not None
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, where = found[0]
        self._socket = socket.create_server(where[:2], family=family, backlog=BACKLOG, reuse_port=shared)
        self._child = Child(MODULE, config, self._sockets)
        self._child.start()
        return self._socket.getsockname()[1]

    async def close(self) -> None:
        """Ends all sessions by a line that says why, and the SSH process."""
        self._stopping = True
        for _, session in list(self._sessions.values()):
            session.end("57P01", "the gateway stops", hint="connect again", reason="the gateway stops")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._empty.wait()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._child is not None:
            await self._child.stop()
        if self._socket is not None:
            self._socket.close()

    @property
    def pid(self) -> int | None:
        """The SSH process."""
        return self._child.pid if self._child is not None else None

    def _sockets(self) -> list[socket.socket]:
        assert self._socket is not None
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        mux: Mux | None = None

        def opened(stream: Stream, message: Control) -> None:
            assert mux is not None
            self._opened(mux, stream, message)

        def make() -> Mux:
            nonlocal mux
            mux = Mux(opens=False, on_message=_nothing, on_lost=_nothing, on_open=opened)
            mux.max_message = MAX_MESSAGE
            return mux

        async def connect() -> None:
            await asyncio.get_running_loop().create_connection(make, sock=ours)

        self._start(connect())
        return [theirs, self._socket.dup()]

    def _opened(self, mux: Mux, stream: Stream, message: Control) -> None:
        if self._stopping:
            stream.close("the gateway stops")
        elif isinstance(message, SshConnect):
            self._start(self._log_in(mux, stream, message))
        elif isinstance(message, SshChannel):
            known = self._sessions.get(message.session)
            if known is None or known[0] is not mux:
                stream.close("there is no such session")
            else:
                known[1].open_channel(stream, message)
        else:
            stream.close("not understood")

    async def _log_in(self, mux: Mux, stream: Stream, request: SshConnect) -> None:
        principal: Principal | None = None
        try:
            async with asyncio.timeout(self._login_seconds):
                if self.registry.full:
                    raise self.registry.no_room()
                if not request.token:
                    raise Refused("token-missing", "there is no token", "log in by `wicketgate ssh-proxy`, or with the "
                                  "token as password")  # fmt: skip
                principal = await self.registry.authenticator.bot(request.token)
                await self._begin(mux, stream, request, principal)
        except TimeoutError:
            self._refused(stream, request, principal, "login-timeout", "the log-in took too long", "")
        except Refused as error:
            self._refused(stream, request, principal, error.code, error.reason, error.remedy)
        except WicketgateError as error:
            self._refused(stream, request, principal, error.code, error.message, error.remedy)
        except Exception:
            log.exception("a log-in failed inside", peer=request.peer)
            self._refused(stream, request, principal, "internal-error", "the log-in failed inside the gateway", "")

    async def _begin(self, mux: Mux, stream: Stream, request: SshConnect, principal: Principal) -> None:
        registry = self.registry
        session = registry.session_for(
            principal,
            request.target,
            TargetKind.SSH,
            peer=request.peer,
            client=request.client,
            missing="a target (no user is named)",
            named_by="as the user",
        )
        registry.refuse_killed(session)
        await registry.start_on_record(session)
        over = "the client hung up" if stream.closed is not None else ""
        try:
            registry.refuse_killed(session)
        except LogInError:
            over = over or "killed"
        if over:
            registry.gate.journal.submit([session.ended(over)])
            if session.recording is not None:
                session.recording.finish(over)
            registry.refuse_killed(session)
            return
        live = SshSession(session, stream, registry.agents.open, on_over=lambda: self._over(live))
        self._sessions[session.id] = (mux, live)
        self._empty.clear()
        # Ending it kills what runs; to cut it first would leave the client without the reason.
        registry.add(live, _cancelled_by_its_end)
        stream.send_control(Opened(parameters={"session": session.id}))

    def _over(self, live: SshSession) -> None:
        self.registry.remove(live)
        self._sessions.pop(live.session.id, None)
        if not self._sessions:
            self._empty.set()

    def _refused(
        self, stream: Stream, request: SshConnect, principal: Principal | None, code: str, reason: str, remedy: str
    ) -> None:
        self.registry.refused(
            code, reason, protocol=PROTOCOL, peer=request.peer, target=request.target, principal=principal
        )
        stream.send_control(Failed(code=code, reason=f"{reason}; {remedy}" if remedy else reason))
        stream.close(reason)

    def _start(self, work: asyncio._CoroutineLike[None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _nothing(_: object) -> None: ...


def _cancelled_by_its_end() -> None: ...
