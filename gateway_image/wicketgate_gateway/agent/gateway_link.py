"""The agent's tunnel to one gateway: dial, say hello, serve streams, renew the token, and again after a loss.

How this works: a gateway may be several processes behind one address (`Welcome.workers`), and a session can only use a
tunnel of the process that its client reached. So the first link to an address brings up one more for each further
process; each says in its hello which processes have a tunnel already, and dials again if it reached one of those. They
dial one after the other, so that no two reach the same process at once.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Mapping
from functools import cache
from importlib import metadata

import structlog

from wicketgate_gateway.agent.catalogue import CatalogueWatcher
from wicketgate_gateway.agent.estimate import estimate
from wicketgate_gateway.agent.expiry import expiries
from wicketgate_gateway.agent.kinds import AnyTarget, serve
from wicketgate_gateway.agent.target import Target
from wicketgate_gateway.contract.catalogue import Catalogue
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import AgentConfig, Endpoint
from wicketgate_gateway.identity.http import tls_context
from wicketgate_gateway.identity.workload import RENEW_SECONDS, WorkloadCredential
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
    Rejected,
    Welcome,
)
from wicketgate_gateway.tunnel.mux import MAX_MESSAGE, Mux, Stream

BACKOFF_SECONDS = (0.2, 10.0)
KNOWN_SECONDS = (0.02, 1.0)
"""Pauses after a dial that reached a process which has a tunnel already."""
MAX_WORKERS = 64
DIAL_SECONDS = 10.0
WELCOME_SECONDS = 20.0
_RETRY_SECONDS = 30.0
MAX_ESTIMATES = 4
"""Estimates at once: each has a connection of its own, and holds are rare."""

log = structlog.get_logger("wicketgate.agent")


@cache
def version() -> str:
    """The version of this software; empty where it is not installed as a distribution."""
    try:
        return metadata.version("wicketgate")
    except metadata.PackageNotFoundError:
        return ""


class WorkerKnownError(WicketgateError):
    """The process that answered has a tunnel of this agent."""

    code = WORKER_KNOWN


class GatewayLink:
    """Keeps a tunnel to `endpoint` up until `run` is cancelled; the first one, a tunnel to each of its processes."""

    def __init__(
        self,
        config: AgentConfig,
        endpoint: Endpoint,
        credential: WorkloadCredential,
        targets: Mapping[str, AnyTarget],
        watchers: Mapping[str, CatalogueWatcher],
        first: GatewayLink | None = None,
    ) -> None:
        """`first` is the link to the same address that this one was brought up by."""
        self.where = f"{endpoint.host}:{endpoint.port}"
        self.sessions: set[object] = set()
        self._config = config
        self._endpoint = endpoint
        self._credential = credential
        self._targets = targets
        self._watchers = watchers
        self._estimates: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Semaphore(MAX_ESTIMATES)
        self._mux: Mux | None = None
        self._welcome: asyncio.Future[Welcome] | None = None
        self._up = False
        self._instance = ""
        self._known = False
        self._first = first or self
        self._others: dict[GatewayLink, asyncio.Task[None]] = {}
        self._dialling = asyncio.Lock() if first is None else first._dialling

    @property
    def up(self) -> bool:
        """Whether a tunnel stands."""
        return self._up or any(other._up for other in self._others)

    @property
    def tunnels(self) -> int:
        """How many processes of the gateway are reached."""
        return self._up + sum(other._up for other in self._others)

    async def run(self) -> None:
        """Connects, and again after each loss with growing, jittered pauses. Ends only by cancellation."""
        try:
            await self._keep()
        finally:
            self._spread(0)

    async def _keep(self) -> None:
        least, most = BACKOFF_SECONDS
        pause = least
        known, most_known = KNOWN_SECONDS
        said = ""
        while True:
            try:
                reason = await self._once()
                pause = least
                known = KNOWN_SECONDS[0]
                said = ""
            except WorkerKnownError:
                await asyncio.sleep(random.uniform(KNOWN_SECONDS[0], known))  # noqa: S311 - guards nothing
                known = min(known * 1.2, most_known)
                continue
            except WicketgateError as error:
                reason = str(error)
            if reason != said:
                said = reason
                log.warning("no tunnel", gateway=self.where, reason=reason)
            # Full jitter: agents that lost the same gateway do not come back in step.
            await asyncio.sleep(random.uniform(least / 2, pause))  # noqa: S311 - spreads load, guards nothing
            pause = min(pause * 2, most)

    def catalogue_changed(self, target: str, catalogue: Catalogue) -> None:
        """Tells the gateway."""
        if self._up and self._mux is not None:
            self._mux.send_message(CatalogueUpdate(target=target, catalogue=catalogue))
        for other in self._others:
            other.catalogue_changed(target, catalogue)

    def _spread(self, count: int) -> None:
        """Has so many further links to the same address."""
        loop = asyncio.get_running_loop()
        while len(self._others) < count:
            made = GatewayLink(
                self._config, self._endpoint, self._credential, self._targets, self._watchers, first=self
            )
            self._others[made] = loop.create_task(made.run())
        while len(self._others) > count:
            # One that has no tunnel, if there is one: the gateway has fewer processes than before.
            surplus = next((other for other in self._others if not other._up), next(iter(self._others)))
            self._others.pop(surplus).cancel()

    def _reached(self) -> list[str]:
        """The processes that have a tunnel from here."""
        first = self._first
        return [link._instance for link in (first, *first._others) if link._up and link._instance]

    async def _once(self) -> str:
        """One tunnel from dialling to its end; the reason of the end. Raises WicketgateError if it never came up."""
        loop = asyncio.get_running_loop()
        lost: asyncio.Future[str] = loop.create_future()
        async with self._dialling:
            mux, ends = await self._come_up(lost)
        try:
            for name, watcher in self._watchers.items():
                if watcher.current is not None:
                    mux.send_message(CatalogueUpdate(target=name, catalogue=watcher.current))
            renewal = loop.create_task(self._renew(mux, ends))
            try:
                return await lost
            finally:
                renewal.cancel()
        finally:
            self._down(mux)

    async def _come_up(self, lost: asyncio.Future[str]) -> tuple[Mux, float]:
        loop = asyncio.get_running_loop()
        self._known = False
        welcome = self._welcome = loop.create_future()
        hello, ends = await self._hello()
        mux = await self._dial(lost)
        self._mux = mux
        try:
            mux.send_message(hello)
            await asyncio.wait({lost, welcome}, timeout=WELCOME_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not welcome.done():
                if self._known:
                    raise WorkerKnownError(f"`{self.where}` is reached already")
                reason = lost.result() if lost.done() else "no answer to the hello"
                raise WicketgateError(f"`{self.where}` did not let this agent in: {reason}", code="gateway-refused")
        except BaseException:
            self._down(mux)
            raise
        said = welcome.result()
        self._up = True
        self._instance = said.instance
        log.info("tunnel up", gateway=self.where, name=said.gateway)
        self._first._spread(max(1, min(said.workers, MAX_WORKERS)) - 1)
        return mux, ends

    def _down(self, mux: Mux) -> None:
        self._up = False
        self._mux = None
        mux.close("the agent stops")

    async def _dial(self, lost: asyncio.Future[str]) -> Mux:
        context = tls_context(self._endpoint.ca_file)

        def ended(reason: str) -> None:
            if not lost.done():
                lost.set_result(reason)

        def make() -> Mux:
            mux = Mux(opens=False, on_message=self._message, on_lost=ended, on_open=self._open)
            mux.max_message = MAX_MESSAGE
            return mux

        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                return (await loop.create_connection(make, self._endpoint.host, self._endpoint.port, ssl=context))[1]
        except ssl.SSLCertVerificationError as error:
            raise WicketgateError(
                f"the certificate of `{self.where}` was refused: {error.verify_message}",
                code="gateway-certificate-refused",
                remedy="check `caFile` and the host name of the gateway",
            ) from None
        except TimeoutError:
            raise WicketgateError(f"`{self.where}` did not answer", code="gateway-unreachable") from None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise WicketgateError(f"`{self.where}` cannot be reached: {reason}", code="gateway-unreachable") from None

    async def _hello(self) -> tuple[Hello, float]:
        token = await self._credential.token(f"{self._config.audience}/.default")
        expires = await asyncio.to_thread(expiries, self._config.targets)
        targets = sorted(self._targets)
        software = version()
        hello = Hello(
            agent=self._config.name,
            token=token.token,
            targets=targets,
            software=software,
            expires=expires,
            holds=self._reached(),
        )
        return hello, token.expires_at

    async def _renew(self, mux: Mux, ends: float) -> None:
        while True:
            await asyncio.sleep(max(1.0, ends - RENEW_SECONDS - time.time() + 1.0))
            try:
                hello, ends = await self._hello()
            except WicketgateError as error:
                log.warning("token not renewed", gateway=self.where, code=error.code, reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            mux.send_message(hello)
            if ends - RENEW_SECONDS <= time.time():  # Entra is away and the old token came back
                await asyncio.sleep(_RETRY_SECONDS)

    def _message(self, message: Control) -> None:
        if isinstance(message, Welcome):
            if self._welcome is not None and not self._welcome.done():
                self._welcome.set_result(message)
        elif isinstance(message, Rejected) and message.code == WORKER_KNOWN:
            self._known = True
        elif isinstance(message, Rejected):
            log.warning("rejected", gateway=self.where, code=message.code, reason=message.reason)
        elif isinstance(message, CatalogueRefresh) and message.target in self._watchers:
            self._watchers[message.target].refresh()
        elif isinstance(message, Estimate) and self._mux is not None:
            task = asyncio.get_running_loop().create_task(self._estimate(self._mux, message))
            self._estimates.add(task)
            task.add_done_callback(self._estimates.discard)

    async def _estimate(self, mux: Mux, wanted: Estimate) -> None:
        target = self._targets.get(wanted.target)
        if not isinstance(target, Target):
            mux.send_message(Estimated(number=wanted.number, note="this agent has no such database"))
            return
        async with self._turn:
            found = await estimate(target, wanted)
        mux.send_message(found)

    def _open(self, stream: Stream, message: Control) -> None:
        target = self._targets.get(message.target) if isinstance(message, Open) else None
        if not isinstance(message, Open) or target is None:
            stream.send_control(Failed(code="target-unknown", reason="this agent has no such target"))
            stream.close("unknown target")
            return
        self.sessions.add(serve(target, stream, message, self.sessions.discard))
