"""`python -m wicketgate_gateway.agent --config agent.yaml`: the process that holds the credentials."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

import structlog
import uvloop

from wicketgate_gateway.agent import kinds
from wicketgate_gateway.agent.catalogue import CatalogueWatcher
from wicketgate_gateway.agent.gateway_link import GatewayLink
from wicketgate_gateway.agent.target import Target
from wicketgate_gateway.contract.catalogue import Catalogue
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import AgentConfig
from wicketgate_gateway.contract.model import read
from wicketgate_gateway.health import BEAT_SECONDS
from wicketgate_gateway.identity import http
from wicketgate_gateway.identity.workload import WorkloadCredential
from wicketgate_gateway.server import heap
from wicketgate_gateway.server.log import configure_logging

log = structlog.get_logger("wicketgate.agent")


async def _say_ready(ready: Path, links: list[GatewayLink]) -> None:
    """Keeps the file young while a tunnel is up, and away while none is."""
    try:
        while True:
            _mark(ready, any(link.up for link in links))
            await asyncio.sleep(BEAT_SECONDS)
    finally:
        _mark(ready, False)


def _mark(ready: Path, up: bool) -> None:
    if up:
        ready.touch()
    else:
        ready.unlink(missing_ok=True)


async def run(config: AgentConfig, stop: asyncio.Event, ready: Path | None = None) -> None:
    """Serves until `stop` is set. Raises WicketgateError for a configuration that cannot work."""
    links: list[GatewayLink] = []

    def changed(name: str, catalogue: Catalogue) -> None:
        for link in links:
            link.catalogue_changed(name, catalogue)

    targets = {name: kinds.make(name, one) for name, one in config.targets.items()}
    watchers = {name: CatalogueWatcher(one, changed) for name, one in targets.items() if isinstance(one, Target)}
    async with http.client(config.entra) as client:
        credential = WorkloadCredential(config.entra, config.workload, client)
        links += [GatewayLink(config, endpoint, credential, targets, watchers) for endpoint in config.gateways]
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(each.run()) for each in (*links, *watchers.values())]
        if ready is not None:
            tasks.append(loop.create_task(_say_ready(ready, links)))
        log.info("agent started", name=config.name, gateways=[link.where for link in links], targets=sorted(targets))
        stopped = loop.create_task(stop.wait())
        done, _ = await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in (stopped, *tasks):
            task.cancel()
        await asyncio.gather(stopped, *tasks, return_exceptions=True)
        for task in done - {stopped}:
            await task  # a loop that ended by itself did so by an error
        log.info("agent stopped")


async def _main(config: AgentConfig, ready: Path | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.call_later(heap.SECONDS, heap.settle)
    await run(config, stop, ready)


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 after SIGTERM or SIGINT, 2 for a configuration that is wrong."""
    parser = argparse.ArgumentParser(prog="wicketgate-agent", description="Holds credentials and logs in to targets.")
    parser.add_argument("--config", required=True, metavar="FILE", help="agent.yaml")
    parser.add_argument("--ready", type=Path, metavar="FILE", help="kept young while a tunnel is up, for health checks")
    options = parser.parse_args(arguments)
    configure_logging()
    try:
        uvloop.run(_main(read(AgentConfig, options.config), options.ready))
    except WicketgateError as error:
        log.error("agent cannot run", code=error.code, reason=str(error))
        return 2
    return 0
