"""All running sessions of a gateway process, whatever their protocol, and what lets one in or ends it.

How this works: a listener verifies its client's token here, asks for a `Session` (policy, target), has the start put on
record, and adds what it runs as a `Live`. From then on the session is checked again against Graph and the policies, and
a kill finds it. What was refused is on record in the same words for all protocols.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Protocol

import structlog

from wicketgate_gateway.approvals.model import Kill
from wicketgate_gateway.audit.events import AuditEvent, SessionRefused
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import GatewayConfig, TargetKind
from wicketgate_gateway.contract.identity import Principal
from wicketgate_gateway.contract.values import seconds
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.session.session import Gate, Opening, Session
from wicketgate_gateway.tunnel.messages import Open, Opened
from wicketgate_gateway.tunnel.mux import Stream

MAX_NAME = 63
"""Characters of a target's name that are put on record; a longer one is none."""

log = structlog.get_logger("wicketgate.sessions")


class Authenticates(Protocol):
    """What `identity.authenticator.Authenticator` is, as far as bots go."""

    async def bot(self, token: str) -> Principal:
        """The bot that a token proves. Raises Refused."""
        ...

    async def recheck(self, principal: Principal) -> Principal:
        """The principal as of now. Raises Refused."""
        ...


class Agents(Protocol):
    """What `server.agents.AgentRegistry` is, as far as sessions go."""

    async def open(self, target: str, opening: Open) -> tuple[Stream, Opened]:
        """A stream to a target. Raises WicketgateError."""
        ...

    def agent_of(self, target: str) -> str:
        """The name of the target's agent."""
        ...


class Live(Protocol):
    """A running session of any protocol."""

    @property
    def session(self) -> Session:
        """Who, under which policy, on record."""
        ...

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        ...

    @property
    def busy(self) -> bool:
        """Whether an operation runs at the target."""
        ...

    def become(self, principal: Principal) -> None:
        """The bot as Graph says it now; ends the session if no policy is left for it."""
        ...

    def end(self, sqlstate: str, message: str, *, hint: str = "", reason: str) -> None:
        """End it: tell the client `message` and `hint`, by whatever way its protocol has, and put `reason` on record.

        `sqlstate` is the class of the error as PostgreSQL has it: `57P01` (ended from outside), `28000` (not allowed).
        """
        ...


class LogInError(WicketgateError):
    """The client is not let in; `sqlstate` is what one of PostgreSQL is told."""

    def __init__(self, message: str, *, code: str, remedy: str = "", sqlstate: str = "28000") -> None:
        super().__init__(message, code=code, remedy=remedy)
        self.sqlstate = sqlstate


class Sessions:
    """The running sessions of one process. `start` begins the rechecks, `close` ends them."""

    def __init__(self, config: GatewayConfig, gate: Gate, authenticator: Authenticates, agents: Agents) -> None:
        self.config = config
        self.gate = gate
        self.authenticator = authenticator
        self.agents = agents
        self.killed: Callable[[Principal, str, str], Kill | None] = lambda _bot, _target, _session: None
        """The kill in force that a bot at a target, with a session's id, falls under."""
        self.strangers: Callable[[], int] = lambda: 0
        """Connections that take room and have no session yet."""
        self._every = seconds(config.limits.groups_cache) / 2
        self._live: dict[Live, Callable[[], None]] = {}
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._live)

    # Letting in.

    @property
    def full(self) -> bool:
        """Whether there is no room for another session."""
        return len(self._live) >= self.config.limits.sessions

    def no_room(self) -> LogInError:
        """What a client is told then."""
        return LogInError("the gateway has no room for another session", code="too-many-sessions", sqlstate="53300")

    def session_for(
        self,
        principal: Principal,
        name: str,
        kind: TargetKind,
        *,
        peer: str,
        client: str = "",
        missing: str = "",
        named_by: str = "",
    ) -> Session:
        """A session at the target `name` of that kind. Raises LogInError if no policy lets the bot use it.

        `client` is what the client calls itself; `missing` and `named_by` say how this protocol names a target: "a
        target (the database name is empty)", "as the database name".
        """
        target = self.config.targets.get(name)
        policies = self.gate.policies()
        if target is None or target.kind is not kind or policies.for_principal(principal, name, target) is None:
            # One answer for what does not exist and for what is not this bot's: nothing to find out by asking.
            reachable = [
                f"`{other}`"
                for other, one in sorted(self.config.targets.items())
                if one.kind is kind and policies.for_principal(principal, other, one) is not None
            ]
            asked = f"the target `{name[:MAX_NAME]}`" if name else missing or "a target (none is named)"
            raise LogInError(
                f"no policy lets this bot use {asked}",
                code="no-policy" if name else "target-missing",
                remedy=f"use {named_by + ' ' if named_by else ''}one of: {', '.join(reachable)}"
                if reachable
                else "ask for membership in a group whose policies name the target",
                sqlstate="3D000" if not name else "28000",
            )
        agent = self.agents.agent_of(name)
        return Session(self.gate, Opening(principal, name, target, kind.value, peer, agent, client[:200]))

    def refuse_killed(self, session: Session) -> None:
        """Raises LogInError if a kill in force meets the session: ask before it opens the target, and once it is on
        record (a kill may have been ordered meanwhile, when the session was not in the list)."""
        kill = self.killed(session.principal, session.opening.target_name, session.id)
        if kill is not None:
            said = f": {kill.reason}" if kill.reason else ""
            raise LogInError(
                f"cut off by {kill.by or 'an operator'}{said}",
                code="killed",
                remedy="do not connect again before the operator allows it",
                sqlstate="57P01",
            )

    async def start_on_record(self, session: Session) -> None:
        """Begin the session's recording, and wait until its start is in the journal. Raises WicketgateError."""
        started = session.start()
        try:
            await self.journalled([started])
        except BaseException:
            if session.recording is not None:
                session.recording.finish("the session did not start")
            raise

    async def journalled(self, events: Sequence[AuditEvent]) -> None:
        """Wait until these are durable. Raises LogInError if they cannot be."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def release(error: Exception | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(
                    LogInError(
                        "the session cannot be recorded, and what is not recorded does not happen",
                        code="journal-failed",
                        remedy="try again later",
                        sqlstate="58030",
                    )
                )

        self.gate.journal.submit(events, release)
        await done

    def refused(
        self,
        code: str,
        reason: str,
        *,
        protocol: str,
        peer: str,
        target: str = "",
        principal: Principal | None = None,
    ) -> None:
        """Put on record that someone was not let in."""
        log.warning("session refused", code=code, reason=reason, peer=peer, target=target[:MAX_NAME])
        event = SessionRefused(
            time=time.time_ns(),
            code=code,
            reason=reason,
            target=target[:MAX_NAME],
            protocol=protocol,
            peer=peer,
            bot=principal.name if principal is not None else "",
            bot_id=principal.object_id if principal is not None else "",
            token_id=principal.token_id if principal is not None else "",
        )
        self.gate.journal.submit([event])

    # Running sessions.

    def add(self, live: Live, cancel: Callable[[], None]) -> None:
        """A session runs; `cancel` has cancelled what it runs at the target."""
        self._live[live] = cancel

    def remove(self, live: Live) -> None:
        """It has ended."""
        self._live.pop(live, None)

    def running(self) -> list[tuple[Live, Callable[[], None]]]:
        """The sessions, each with what cancels its operation at the target."""
        return [(live, cancel) for live, cancel in self._live.items() if not live.over]

    def start(self) -> None:
        """Begin to check bots again."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._recheck_for_ever())

    async def close(self) -> None:
        """End the checks."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _recheck_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            bots: dict[str, list[Live]] = {}
            for live in self._live:
                if not live.over:
                    bots.setdefault(live.session.principal.object_id, []).append(live)
            await _some_at_a_time([self.recheck(sessions) for sessions in bots.values()])

    async def recheck(self, sessions: Iterable[Live]) -> None:
        """Check the bot of these sessions again, and end them if it is not let in any more."""
        sessions = list(sessions)
        principal = sessions[0].session.principal
        try:
            current = await self.authenticator.recheck(principal)
        except Refused as error:
            for live in sessions:
                if not live.over:
                    live.end("28000", error.reason, hint=error.remedy, reason=f"{error.code}: {error.reason}")
            return
        except Exception:
            log.exception("a bot could not be checked again")
            for live in sessions:
                if not live.over:
                    live.end("28000", "the bot could not be checked again", reason="internal-error")
            return
        for live in sessions:
            if not live.over:
                live.become(current)


async def _some_at_a_time(checks: Sequence[Coroutine[None, None, None]], many: int = 16) -> None:
    for start in range(0, len(checks), many):
        await asyncio.gather(*checks[start : start + many])
