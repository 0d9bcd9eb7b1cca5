"""The address that agents dial, and the way to a target through them.

How this works: a connection has until the deadline to say hello with an Entra token; checking it happens in a task of
that connection, so that nobody's log-in waits for another's. An agent may have several tunnels (replicas, or an old
one that has not noticed its end): the newest takes new sessions, older ones keep theirs until they end. A tunnel whose
token ran out, or whose agent was disabled, is closed. No tunnel is up before its `AgentConnected` event is on file.

Where several processes share the address, an agent dials until it has a tunnel to each: a process that it has one to
says so (`worker-known`), which is neither a refusal nor on record.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec
import structlog

from wicketgate_gateway.audit.events import (
    AgentConnected,
    AgentCredentials,
    AgentDisconnected,
    AgentRefused,
    AuditEvent,
)
from wicketgate_gateway.contract.catalogue import Catalogue
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import GatewayConfig
from wicketgate_gateway.contract.identity import Principal
from wicketgate_gateway.contract.values import seconds
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.identity.tokens import LEEWAY
from wicketgate_gateway.session.estimates import Wanted
from wicketgate_gateway.tunnel.messages import (
    WORKER_KNOWN,
    CatalogueRefresh,
    CatalogueUpdate,
    Control,
    Estimate,
    Estimated,
    Failed,
    Hello,
    Open,
    Opened,
    Rejected,
    Welcome,
)
from wicketgate_gateway.tunnel.mux import MAX_MESSAGE, Mux, Stream, TooLongError

MAX_STRANGERS = 64
"""Connections at once that have not proved who they are."""
MAX_TUNNELS = 8
"""Tunnels of one agent; the oldest beyond it is closed."""
HANDSHAKE_SECONDS = 10.0
ARRIVAL_SECONDS = 10.0
"""A process among several that has just begun waits so long for an agent before it turns a session away."""
REFRESH_SPACING = 2.0
"""The least time between two requests for a target's catalogue."""
MAX_ESTIMATE = 1024 * 1024
"""Bytes of a statement and its parameters that are sent for an estimate: bots choose them, and all share the tunnel."""
MAX_TIME = 1 << 40
"""Seconds since 1970: what an agent says of a time must be below."""
_MAX_TEXT = 500

log = structlog.get_logger("wicketgate.agents")


class Journal(Protocol):
    """What `recording.journal.Journal` is."""

    def submit(self, events: Sequence[AuditEvent], release: Callable[[Exception | None], None] | None = None) -> None:
        """Writes events, then calls `release` with None or what went wrong."""
        ...


class Authenticates(Protocol):
    """What `identity.authenticator.Authenticator` is, as far as agents go."""

    async def agent(self, token: str) -> Principal:
        """The agent that a token proves. Raises Refused."""
        ...

    async def recheck(self, principal: Principal) -> Principal:
        """The principal as of now. Raises Refused."""
        ...


class TargetUnavailableError(WicketgateError):
    """No session with the target. `sqlstate` is what a PostgreSQL client is told."""

    code = "target-unavailable"

    def __init__(self, message: str, *, code: str, remedy: str = "", sqlstate: str = "08006") -> None:
        super().__init__(message, code=code, remedy=remedy)
        self.sqlstate = sqlstate


class _Tunnel:
    """One connection of an agent, or of someone who says so."""

    def __init__(self, registry: AgentRegistry, loop: asyncio.AbstractEventLoop) -> None:
        self.principal: Principal | None = None
        self.targets: frozenset[str] = frozenset()
        self.software = ""
        self.up = False
        self._expires: dict[str, int] = {}
        self._told = False
        self.mux = Mux(opens=True, on_message=self._message, on_lost=self._lost, on_connected=self._connected)
        self._registry = registry
        self._loop = loop
        self._checking: asyncio.Task[None] | None = None
        self._deadline = loop.call_later(registry.login_seconds, self._too_late)

    @property
    def name(self) -> str:
        return self.principal.name if self.principal is not None else ""

    def _connected(self) -> None:
        if not self._registry.admit(self):
            self.refuse("too-many-connections", "too many connections wait to be let in", "try again shortly")

    def _too_late(self) -> None:
        self.refuse("hello-late", "no hello within the deadline")

    def refuse(self, code: str, reason: str, remedy: str = "") -> None:
        """Says no, on record and to the peer, and closes."""
        if self.mux.lost is not None:
            return
        self._record_refusal(code, reason)
        self.mux.send_message(Rejected(code=code, reason=f"{reason}; {remedy}" if remedy else reason))
        self.mux.close(reason)

    def _record_refusal(self, code: str, reason: str) -> None:
        self._told = True
        event = AgentRefused(time=time.time_ns(), peer=self.mux.peer, code=code, reason=reason)
        self._registry.journal.submit([event])
        log.warning("agent refused", peer=self.mux.peer, code=code, reason=reason)

    def dismiss(self, reason: str) -> None:
        """Closes without a refusal: it is the gateway that goes."""
        self._told = True
        self.mux.close(reason)

    def _message(self, message: Control) -> None:
        if isinstance(message, Hello):
            if self._checking is not None:
                self.mux.abort("two hellos at once")
                return
            self._checking = self._loop.create_task(self._check(message))
            self._checking.add_done_callback(self._checked)
        elif isinstance(message, CatalogueUpdate) and self.up:
            self._registry.learned(self, message)
        elif isinstance(message, Estimated) and self.up:
            self._registry.estimated(self, message)
        else:
            self.mux.abort("an unexpected message")

    def _checked(self, task: asyncio.Task[None]) -> None:
        self._checking = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an agent's hello could not be checked", exc_info=error)
            self.mux.abort("internal error")

    async def _check(self, hello: Hello) -> None:
        try:
            principal = await self._registry.authenticator.agent(hello.token)
        except Refused as error:
            self.refuse(error.code, error.reason, error.remedy)
            return
        if self.mux.lost is not None:
            return
        if principal.name != hello.agent:
            self.refuse("agent-name", "the name in the hello is not the one that this gateway knows the agent by")
        elif self.principal is not None and principal.object_id != self.principal.object_id:
            self.refuse("agent-changed", "the token is another agent's than the tunnel's")
        elif self.principal is None and self._registry.instance in hello.holds:
            self.mux.send_message(Rejected(code=WORKER_KNOWN, reason="the agent has a tunnel to this process"))
            self.dismiss("the agent has a tunnel to this process")
        else:
            first = self.principal is None
            self.software = "".join(c for c in hello.software[:40] if c.isalnum() or c in ".+-")
            self.principal = principal
            self.targets = frozenset(hello.targets) & self._registry.targets_of(principal.name)
            self._deadline.cancel()
            # Renewed tokens move the end; a tunnel without a valid one does not stay.
            left = principal.expires_at + LEEWAY - time.time()
            self._deadline = self._loop.call_later(max(left, 0.0), self._expired)
            if first:
                self._greet()
            self._credentials(hello.expires)

    def _greet(self) -> None:
        assert self.principal is not None
        event = AgentConnected(
            time=time.time_ns(),
            agent=self.name,
            agent_id=self.principal.object_id,
            peer=self.mux.peer,
            targets=sorted(self.targets),
            version=self.software,
        )
        self._registry.journal.submit([event], self._recorded)

    def _credentials(self, told: Mapping[str, int]) -> None:
        """Puts on record when the credentials of this agent's own targets end, if it says so anew."""
        expires = {name: ends for name, ends in sorted(told.items()) if name in self.targets and 0 < ends < MAX_TIME}
        if expires != self._expires:
            self._expires = expires
            event = AgentCredentials(time=time.time_ns(), agent=self.name, expires=expires)
            self._registry.journal.submit([event])

    def _recorded(self, error: Exception | None) -> None:
        if self.mux.lost is not None:
            return
        if error is not None:
            self.dismiss("the journal cannot be written")
            return
        self.up = True
        self.mux.max_message = MAX_MESSAGE
        registry = self._registry
        self.mux.send_message(Welcome(gateway=registry.name, instance=registry.instance, workers=registry.workers))
        log.info("agent connected", agent=self.name, peer=self.mux.peer, targets=sorted(self.targets))
        self._registry.arrived(self)

    def _expired(self) -> None:
        self.mux.send_message(Rejected(code="token-expired", reason="the agent's token ended without a new one"))
        self.mux.close("the agent's token ended")

    def _lost(self, reason: str) -> None:
        self._deadline.cancel()
        if self._checking is not None:
            self._checking.cancel()
        was_up, self.up = self.up, False
        self._registry.gone(self)
        if was_up:
            log.warning("agent disconnected", agent=self.name, peer=self.mux.peer, reason=reason)
            event = AgentDisconnected(time=time.time_ns(), agent=self.name, reason=reason)
            self._registry.journal.submit([event])
        elif self.mux.ended_here and not self._told:
            self._record_refusal("protocol-violation", reason)


class AgentRegistry:
    """The agents of one gateway process: `listen`, then `open` sessions; `close` at the end."""

    def __init__(
        self,
        config: GatewayConfig,
        authenticator: Authenticates,
        journal: Journal,
        *,
        instance: str = "",
        workers: int = 1,
    ) -> None:
        """`instance` names this process among the `workers` that share the address."""
        self.name = config.name
        self.instance = instance
        self.workers = workers
        self.authenticator = authenticator
        self.journal = journal
        self.login_seconds = seconds(config.limits.login)
        self.on_catalogue: list[Callable[[str, Catalogue], None]] = []
        """Called with a target's name and its new catalogue."""
        self._config = config
        self._every = seconds(config.limits.groups_cache) / 2
        self._strangers: set[_Tunnel] = set()
        self._tunnels: dict[str, list[_Tunnel]] = {}
        self._catalogues: dict[str, Catalogue] = {}
        self._refreshed: dict[str, float] = {}
        self._asked = 0
        self._estimates: dict[int, tuple[_Tunnel, asyncio.Future[Estimated]]] = {}
        self._server: asyncio.Server | None = None
        self._rechecks: asyncio.Task[None] | None = None
        self._young_until = 0.0
        self._arrival = asyncio.Event()

    async def listen(self, context: ssl.SSLContext, *, shared: bool = False) -> int:
        """Starts to listen where the configuration says, with other processes if `shared`; the port. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._young_until = loop.time() + ARRIVAL_SECONDS if shared else 0.0
        address = self._config.listen.agents
        self._server = await loop.create_server(
            lambda: _Tunnel(self, loop).mux,
            address.host,
            address.port,
            ssl=context,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            backlog=256,
            reuse_port=shared,
        )
        self._rechecks = loop.create_task(self._recheck_for_ever())
        return self._server.sockets[0].getsockname()[1]

    async def close(self, reason: str = "the gateway stops") -> None:
        """Stops listening and ends all tunnels."""
        if self._server is not None:
            self._server.close()
        if self._rechecks is not None:
            self._rechecks.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._rechecks
        for tunnel in [*self._strangers, *self._all()]:
            tunnel.dismiss(reason)

    async def open(self, target: str, opening: Open) -> tuple[Stream, Opened]:
        """A stream to `target`, logged in. The caller sets its callbacks right away. Raises TargetUnavailableError."""
        tunnel = await self._tunnel_soon(target)
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Control | str] = loop.create_future()

        def answer(what: Control | str) -> None:
            if not answered.done():
                answered.set_result(what)

        try:
            stream = tunnel.mux.open(opening)
        except TooLongError:
            raise TargetUnavailableError(
                f"what the session with `{target}` begins with is too long", code="request-too-long",
                remedy="send shorter start-up parameters", sqlstate="54000",
            ) from None  # fmt: skip
        except ConnectionError as error:
            raise TargetUnavailableError(
                f"the agent of `{target}` cannot take a session: {error}", code="agent-unavailable"
            ) from None
        stream.on_control = answer
        stream.on_close = answer
        try:
            async with asyncio.timeout(self.login_seconds):
                result = await answered
        except TimeoutError:
            stream.close("the log-in took too long")
            raise TargetUnavailableError(
                f"`{target}` did not answer within {self.login_seconds:.0f} s", code="target-timeout"
            ) from None
        except BaseException:
            stream.close("the client gave up")
            raise
        stream.on_control = _ignore
        if isinstance(result, Opened):
            return stream, result
        stream.close("no log-in")
        if isinstance(result, Failed):
            raise TargetUnavailableError(result.reason[:_MAX_TEXT], code=result.code[:60], sqlstate=result.sqlstate[:5])
        reason = result if isinstance(result, str) else "an unexpected answer"
        raise TargetUnavailableError(f"`{target}` is not available: {reason[:_MAX_TEXT]}", code="agent-unavailable")

    async def estimate(
        self,
        target: str,
        wanted: Wanted,
        types: Sequence[int],
        parameters: Sequence[bytes | None],
        formats: Sequence[int],
    ) -> Estimated:
        """How far a statement would reach. Failures are in the answer's `note`. Waits until the caller gives up."""
        self._asked += 1
        number = self._asked
        message = Estimate(
            number=number,
            target=target,
            statement=wanted.statement,
            types=list(types),
            parameters=list(parameters),
            formats=list(formats),
            count=wanted.count,
        )
        try:
            tunnel = self._tunnel_for(target)
        except TargetUnavailableError as error:
            return Estimated(number=number, note=error.message[:_MAX_TEXT])
        answered: asyncio.Future[Estimated] = asyncio.get_running_loop().create_future()
        self._estimates[number] = (tunnel, answered)
        try:
            if _size(message) > MAX_ESTIMATE or not tunnel.mux.send_message(message):
                return Estimated(number=number, note="it is too long to be estimated")
            found = await answered
        finally:
            del self._estimates[number]
        if wanted.note:
            found = msgspec.structs.replace(found, note="; ".join(filter(None, (found.note, wanted.note))))
        return found

    def agent_of(self, target: str) -> str:
        """The name of the agent that the configuration gives `target` to; empty if there is no such target."""
        found = self._config.targets.get(target)
        return found.agent if found is not None else ""

    def connected(self) -> dict[str, frozenset[str]]:
        """The targets that each connected agent offers, by the agent's name."""
        return {name: tunnels[-1].targets for name, tunnels in self._tunnels.items() if tunnels}

    def catalogue(self, target: str) -> Catalogue | None:
        """The target's last known catalogue."""
        return self._catalogues.get(target)

    def refresh_catalogue(self, target: str) -> None:
        """Asks the agent to read the catalogue again; at most once in two seconds per target."""
        now = time.monotonic()
        if now - self._refreshed.get(target, float("-inf")) < REFRESH_SPACING:
            return
        with contextlib.suppress(TargetUnavailableError):
            tunnel = self._tunnel_for(target)
            self._refreshed[target] = now
            tunnel.mux.send_message(CatalogueRefresh(target=target))

    # For the tunnels.

    def admit(self, tunnel: _Tunnel) -> bool:
        """Whether one more stranger may wait for its hello to be checked."""
        if len(self._strangers) >= MAX_STRANGERS:
            return False
        self._strangers.add(tunnel)
        return True

    def targets_of(self, agent: str) -> frozenset[str]:
        """The targets that the configuration gives to `agent`."""
        return frozenset(name for name, target in self._config.targets.items() if target.agent == agent)

    def arrived(self, tunnel: _Tunnel) -> None:
        """A tunnel is up and takes its agent's new sessions."""
        self._strangers.discard(tunnel)
        tunnels = self._tunnels.setdefault(tunnel.name, [])
        tunnels.append(tunnel)
        arrival, self._arrival = self._arrival, asyncio.Event()
        arrival.set()
        if len(tunnels) > MAX_TUNNELS:
            tunnels[0].mux.close("the agent has too many tunnels")

    def gone(self, tunnel: _Tunnel) -> None:
        """A connection ended, whatever it was."""
        self._strangers.discard(tunnel)
        for number, (asked, answered) in self._estimates.items():
            if asked is tunnel and not answered.done():
                answered.set_result(Estimated(number=number, note="the agent's tunnel was lost"))
        tunnels = self._tunnels.get(tunnel.name, [])
        if tunnel in tunnels:
            tunnels.remove(tunnel)
            if not tunnels:
                del self._tunnels[tunnel.name]

    def learned(self, tunnel: _Tunnel, update: CatalogueUpdate) -> None:
        """Takes a catalogue, if the target is that agent's: what names mean is not for others to say."""
        if update.target not in tunnel.targets:
            log.warning("catalogue of a foreign target ignored", agent=tunnel.name, target=update.target[:63])
            return
        self._catalogues[update.target] = update.catalogue
        for callback in self.on_catalogue:
            callback(update.target, update.catalogue)

    def estimated(self, tunnel: _Tunnel, found: Estimated) -> None:
        """Takes an estimate from the agent that was asked for it; others are of no interest."""
        asked = self._estimates.get(found.number)
        if asked is not None and asked[0] is tunnel and not asked[1].done():
            asked[1].set_result(found)

    def _all(self) -> Iterable[_Tunnel]:
        return [tunnel for tunnels in self._tunnels.values() for tunnel in tunnels]

    async def _tunnel_soon(self, target: str) -> _Tunnel:
        # Agents need a moment to find a process that was started again, while clients come to it at once.
        loop = asyncio.get_running_loop()
        while True:
            try:
                return self._tunnel_for(target)
            except TargetUnavailableError as error:
                left = self._young_until - loop.time()
                if error.code != "agent-unavailable" or left <= 0:
                    raise
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._arrival.wait()

    def _tunnel_for(self, target: str) -> _Tunnel:
        agent = self.agent_of(target)
        if not agent:
            raise TargetUnavailableError(
                f"there is no target `{target[:63]}`", code="target-unknown", remedy="check its name", sqlstate="3D000"
            )
        for tunnel in reversed(self._tunnels.get(agent, ())):
            if target in tunnel.targets and tunnel.mux.lost is None:
                return tunnel
        if self._tunnels.get(agent):
            raise TargetUnavailableError(
                f"the agent `{agent}` does not offer `{target}`",
                code="target-unavailable",
                remedy="add it to the agent's configuration",
            )
        raise TargetUnavailableError(
            f"the agent `{agent}` of `{target}` is not connected",
            code="agent-unavailable",
            remedy="check that the agent runs and reaches this gateway",
        )

    async def _recheck_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            for tunnel in list(self._all()):
                if tunnel.principal is None:
                    continue
                try:
                    await self.authenticator.recheck(tunnel.principal)
                except Refused as error:
                    tunnel.refuse(error.code, error.reason, error.remedy)
                except Exception as error:
                    log.error("an agent could not be checked again", agent=tunnel.name, exc_info=error)
                    tunnel.refuse("internal-error", "the agent could not be checked again")


def _size(asked: Estimate) -> int:
    # Four bytes are the most that a character takes; each parameter, type and format has a head of its own.
    parts = len(asked.parameters) + len(asked.types) + len(asked.formats)
    return 4 * len(asked.statement) + sum(len(value) for value in asked.parameters if value is not None) + 9 * parts


def _ignore(_: Control) -> None: ...
