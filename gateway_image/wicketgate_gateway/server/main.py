"""`python -m wicketgate_gateway.server --config gateway.yaml`: the gateway process.

How this works: everything is built here, once, and handed down. Order of the start: state folder, journal, recorder,
policies, identity, agents' address, clients' address; then `<state>/ports.json` says where, written as a whole, so that
whoever waits for it finds it complete. The end (SIGTERM, SIGINT) is the reverse: clients are told, then agents, then
what was recorded is written out. Logs are JSON lines on standard error and hold no secrets.

With `limits.workers` this is the process above several gateways (`workers`), each of which is a `Gateway` that was
started with `--worker`: it reads the configuration from standard input and ends when that does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import structlog
import uvloop
from pydantic import ValidationError

from wicketgate_gateway.approvals.gone import Gone
from wicketgate_gateway.audit.events import PolicyLoaded, PolicyRefused
from wicketgate_gateway.audit.ingest import Ingester, journal_folder
from wicketgate_gateway.audit.keeper import Duties, Keeper
from wicketgate_gateway.contract.errors import DocumentError, WicketgateError
from wicketgate_gateway.contract.gateway import GatewayConfig, Listen
from wicketgate_gateway.contract.model import read
from wicketgate_gateway.contract.values import seconds
from wicketgate_gateway.identity import http
from wicketgate_gateway.identity.authenticator import Authenticator
from wicketgate_gateway.policy.applied import account_of
from wicketgate_gateway.policy.load import PolicySet, PolicyStore
from wicketgate_gateway.recording.files import make_folder, write_whole
from wicketgate_gateway.recording.journal import Journal
from wicketgate_gateway.recording.recorder import Recorder
from wicketgate_gateway.server import heap, workers
from wicketgate_gateway.server.agents import AgentRegistry
from wicketgate_gateway.server.children import Child
from wicketgate_gateway.server.control import Control
from wicketgate_gateway.server.http import HttpListener
from wicketgate_gateway.server.keys import mask_key
from wicketgate_gateway.server.kubernetes import KubernetesListener
from wicketgate_gateway.server.log import configure_logging
from wicketgate_gateway.server.metrics import CountedJournal, MetricsListener, Sources
from wicketgate_gateway.server.postgres import PostgresListener
from wicketgate_gateway.server.sessions import Sessions
from wicketgate_gateway.server.ssh.listener import SshListener
from wicketgate_gateway.server.tls import server_context
from wicketgate_gateway.session.session import Gate, Notices
from wicketgate_gateway.store import place

POLICY_SECONDS = 0.5
MAX_CONFIG = 4 * 1024 * 1024
PORTS = workers.PORTS

log = structlog.get_logger("wicketgate.gateway")


def recordings_folder(state: Path) -> Path:
    """The recordings in a state folder."""
    return state / "recordings"


class Gateway:
    """The process's parts. `start`, then `stop`. `worker` is its part among several that share the ports."""

    def __init__(self, config: GatewayConfig, worker: workers.Part | None = None) -> None:
        self.config = config
        self.worker = worker
        self.state = Path(config.state) if worker is None else workers.folder(Path(config.state), worker.number)
        self.ports: dict[str, int] = {}
        self._stack = contextlib.AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Build all parts and listen. Raises WicketgateError for what cannot work."""
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise

    async def _start(self) -> None:
        config, stack = self.config, self._stack
        try:
            make_folder(self.state)
        except OSError as error:
            raise WicketgateError(f"the state folder `{self.state}` cannot be used: {error.strerror}") from None
        (self.state / PORTS).unlink(missing_ok=True)
        # What all workers have in common is in the folder that the configuration names.
        key = mask_key(Path(config.state), config.masks.key_file)
        # Before the keeper and the ingester, which look there.
        place.remember(self.state, config.audit.store)
        keeper = Keeper(_duties(config, self.state, self.worker))
        # After the journal is closed, so that its very end is sealed.
        stack.callback(keeper.stop)
        journal = (CountedJournal if config.listen.metrics else Journal)(journal_folder(self.state))
        stack.callback(journal.close)
        ingester = Ingester(self.state)
        stack.callback(ingester.stop)
        stack.push_async_callback(journal.drain)
        recorder = Recorder(recordings_folder(self.state))
        recorder.on_closed = lambda event: journal.submit([event])
        stack.push_async_callback(recorder.close)

        def loaded(policies: PolicySet) -> None:
            log.info("policies loaded", digest=policies.digest)
            found = account_of(policies.digest, Path(config.policies), Path(config.state))
            told = {"by": found.by, "by_id": found.by_id, "reason": found.reason} if found else {}
            journal.submit([PolicyLoaded(time=time.time_ns(), policy=policies.digest, **told)])

        def refused(error: DocumentError, current: PolicySet) -> None:
            log.error("policies refused: the ones before stay in force", reason=str(error))
            journal.submit([PolicyRefused(time=time.time_ns(), reason=str(error), policy=current.digest)])

        store = PolicyStore(config.policies, on_loaded=loaded, on_refused=refused)
        loaded(store.current)
        client = await stack.enter_async_context(http.client(config.entra))
        authenticator = Authenticator(
            config, groups=lambda: store.current.groups, bots=lambda: store.current.bots, http=client
        )
        gone = Gone(config.entra.tenant, authenticator, lambda: store.current.bots)
        control = await Control.open(
            config, lambda: store.current.digest, gone, seconds=seconds(config.limits.groups_cache) / 2
        )
        stack.push_async_callback(control.close)
        agents = AgentRegistry(
            config, authenticator, journal, instance=journal.instance, workers=self.worker.count if self.worker else 1
        )
        notices = Notices(journal)
        gate = Gate(
            journal,
            notices,
            recorder,
            lambda: store.current,
            agents.catalogue,
            agents.refresh_catalogue,
            key,
            config.limits.statement_bytes,
            control.holds,
            agents.estimate,
        )
        sessions = Sessions(config, gate, authenticator, agents)
        await control.watch(sessions, journal)
        sessions.start()
        stack.push_async_callback(sessions.close)
        listener = PostgresListener(sessions)
        shared = self.worker is not None
        if self.worker is not None:
            listener.cancel_elsewhere = self.worker.cancels.send
            self.worker.cancels.receive(listener.cancelled_elsewhere)
            stack.callback(self.worker.cancels.close)
        try:
            agents_port = await agents.listen(server_context(config.tls), shared=shared)
            stack.push_async_callback(agents.close)
            postgres_port = await listener.listen(server_context(config.tls), shared=shared)
            stack.callback(notices.flush)
            stack.push_async_callback(listener.close)
            ports = {"postgres": postgres_port, "agents": agents_port, "pid": os.getpid()}
            if config.listen.ssh is not None:
                ssh = SshListener(sessions)
                ports["ssh"] = await ssh.listen(shared=shared)
                stack.push_async_callback(ssh.close)
            if config.listen.http is not None:
                web = HttpListener(sessions)
                ports["http"] = await web.listen(server_context(config.tls), config.listen.http, shared=shared)
                stack.push_async_callback(web.close)
            if config.listen.kubernetes is not None:
                kubernetes = KubernetesListener(sessions)
                ports["kubernetes"] = await kubernetes.listen(server_context(config.tls), shared=shared)
                stack.push_async_callback(kubernetes.close)
            if config.listen.metrics is not None:
                assert isinstance(journal, CountedJournal)
                metrics = MetricsListener(_sources(config, journal, sessions, agents))
                ports["metrics"] = await metrics.listen(_metrics_address(config.listen.metrics, self.worker))
                stack.push_async_callback(metrics.close)
        except OSError as error:
            raise WicketgateError(
                f"the gateway cannot listen: {error.strerror or error}",
                code="address-unusable",
                remedy="check `listen` in gateway.yaml; port 0 takes a free one",
            ) from None
        watcher = asyncio.get_running_loop().create_task(_watch(store, keeper, ingester))
        stack.callback(watcher.cancel)
        if config.listen.api is not None and self.worker is None:
            api = Child("wicketgate_gateway.api", config)
            api.start()
            stack.push_async_callback(api.stop)
        self.ports = ports
        write_whole(self.state / PORTS, json.dumps(self.ports) + "\n")
        log.info("gateway ready", name=config.name, **self.ports)

    async def stop(self) -> None:
        """End sessions and tunnels, write everything out."""
        (self.state / PORTS).unlink(missing_ok=True)
        await self._stack.aclose()
        log.info("gateway stopped")


def _sources(config: GatewayConfig, journal: CountedJournal, sessions: Sessions, agents: AgentRegistry) -> Sources:
    return Sources(
        journal=journal,
        sessions=lambda: (live.session.opening.protocol for live, _ in sessions.running()),
        most_sessions=config.limits.sessions,
        agents=sorted(config.agents.values()),
        connected=agents.connected,
        certificate_file=config.tls.certificate_file,
    )


def _metrics_address(address: Listen, worker: workers.Part | None) -> Listen:
    # Each worker has counts of its own, so an address of its own: the port's number and those that follow it.
    if worker is None or not address.port:
        return address
    return address.model_copy(update={"port": address.port + worker.number})


def _duties(config: GatewayConfig, state: Path, worker: workers.Part | None) -> Duties:
    audit = config.audit
    if worker is not None and audit.anchor is not None and audit.anchor.file is not None:
        # Each worker's seals are a chain of their own.
        anchor = audit.anchor.model_copy(update={"file": f"{audit.anchor.file}.{worker.number}"})
        audit = audit.model_copy(update={"anchor": anchor})
    return Duties(
        state=str(state),
        policies=config.policies,
        targets=dict(config.targets),
        audit=audit,
        retention=config.retention,
        recordings=config.recordings,
        control=config.control,
    )


async def _watch(store: PolicyStore, keeper: Keeper, ingester: Ingester) -> None:
    while True:
        await asyncio.sleep(POLICY_SECONDS)
        if keeper.look():
            log.error("the audit's keeper died and was started again", pid=keeper.pid)
        if ingester.look():
            log.error("the audit's ingester died and was started again", pid=ingester.pid)
        try:
            store.refresh()
        except Exception:
            log.exception("the policies could not be looked at")


async def run(config: GatewayConfig, stop: asyncio.Event, worker: workers.Part | None = None) -> None:
    """Serve until `stop` is set. Raises WicketgateError for a configuration that cannot work."""
    if worker is None and config.limits.workers != 1:
        await workers.run(config, stop)
        return
    gateway = Gateway(config, worker)
    await gateway.start()
    try:
        await stop.wait()
    finally:
        await gateway.stop()


async def _main(config: GatewayConfig, worker: workers.Part | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if worker is not None:
        # A thread: standard input may be anything, and its end is that of the process above.
        def wait() -> None:
            while sys.stdin.readline(MAX_CONFIG):
                pass
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(stop.set)

        threading.Thread(target=wait, daemon=True).start()
    loop.call_later(heap.SECONDS, heap.settle)
    await run(config, stop, worker)


def _given() -> GatewayConfig:
    try:
        return GatewayConfig.model_validate_json(sys.stdin.readline(MAX_CONFIG))
    except ValidationError as error:
        raise WicketgateError(
            f"the configuration on standard input is wrong in {error.error_count()} places", code="config-invalid"
        ) from None


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 after SIGTERM or SIGINT, 2 for a configuration that is wrong."""
    parser = argparse.ArgumentParser(prog="wicketgate-gateway", description="Decides on, masks and records sessions.")
    parser.add_argument("--config", required=True, metavar="FILE", help="gateway.yaml")
    # For the process above several: see `workers`.
    parser.add_argument("--worker", metavar="K/N", help=argparse.SUPPRESS)
    parser.add_argument("--socket", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    configure_logging()
    try:
        if options.worker is None:
            config, worker = read(GatewayConfig, options.config), None
        else:
            config, worker = _given(), workers.Part.of(options.worker, socket.socket(fileno=options.socket))
        uvloop.run(_main(config, worker))
    except WicketgateError as error:
        log.error("gateway cannot run", code=error.code, reason=str(error))
        return 2
    return 0
