"""The SSH process: asyncssh, its keys, the door, and the link to the gateway's process.

How this works: the gateway starts it with its configuration on standard input, a socket that is the link (the tunnel's
frames, `tunnel.mux`), and the socket that listens. It decides nothing, holds no policy, no recording and no way to a
target: a client that broke asyncssh would find the tokens of those who log in at that moment, and nothing else. It ends
when its input or the link does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import sys
from pathlib import Path

import asyncssh
import structlog
import uvloop
from asyncssh.constants import DISC_BY_APPLICATION

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import GatewayConfig
from wicketgate_gateway.contract.values import seconds
from wicketgate_gateway.server import heap
from wicketgate_gateway.server.log import configure_logging
from wicketgate_gateway.server.ssh.door import Door
from wicketgate_gateway.server.ssh.host_keys import host_keys
from wicketgate_gateway.server.tls import server_context
from wicketgate_gateway.tunnel.messages import Control
from wicketgate_gateway.tunnel.mux import MAX_MESSAGE, Mux

DRAIN_SECONDS = 1.0

log = structlog.get_logger("wicketgate.ssh")


async def run(config: GatewayConfig, link: socket.socket, listening: socket.socket, stop: asyncio.Event) -> None:
    """Serve until `stop` is set or the link is lost. Raises WicketgateError."""
    keys = host_keys(Path(config.state), config.tls.certificate_file, config.name)
    loop = asyncio.get_running_loop()

    def make() -> Mux:
        made = Mux(opens=True, on_message=_nothing, on_lost=lambda _reason: stop.set())
        made.max_message = MAX_MESSAGE
        return made

    link.setblocking(False)
    _, mux = await loop.create_connection(make, sock=link)
    door = Door(listening, mux, keys, server_context(config.tls), seconds(config.limits.login))
    await door.open()
    log.info("ssh ready", names=keys.names)
    try:
        await stop.wait()
    finally:
        door.close()
        for connection in list(door.connections):
            connection.disconnect(DISC_BY_APPLICATION, "the gateway stops")
        await asyncio.wait(
            [loop.create_task(each.wait_closed()) for each in door.connections] or [loop.create_task(asyncio.sleep(0))],
            timeout=DRAIN_SECONDS,
        )
        mux.close("the SSH process stops")


def _nothing(_: Control) -> None: ...


async def _main(config: GatewayConfig, link: socket.socket, listening: socket.socket) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def ended() -> None:
        if not sys.stdin.buffer.read(1):
            loop.remove_reader(sys.stdin)
            stop.set()

    loop.add_reader(sys.stdin, ended)
    loop.call_later(heap.SECONDS, heap.settle)
    await run(config, link, listening, stop)


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 when it is told to end, 2 if it cannot work."""
    parser = argparse.ArgumentParser(prog="wicketgate-ssh")
    parser.add_argument("--config", required=True, choices=["-"])
    parser.add_argument("--socket", type=int, action="append", required=True)
    options = parser.parse_args(arguments)
    configure_logging()
    asyncssh.set_log_level("ERROR")
    link, listening = (socket.socket(fileno=number) for number in options.socket)
    config = GatewayConfig.model_validate(json.loads(sys.stdin.readline()))
    try:
        uvloop.run(_main(config, link, listening))
    except WicketgateError as error:
        log.error("ssh cannot run", code=error.code, reason=str(error))
        return 2
    return 0
