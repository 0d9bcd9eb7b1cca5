"""Several gateway processes on the same ports, and the process above them (`limits.workers`).

How this works: each worker is a whole gateway, as a replica on another machine is, but for what they share: the ports
(SO_REUSEPORT: the kernel gives each connection to one of them), the control store, the audit store, the key of masks,
the SSH host keys. What one writes alone stands in `<state>/workers/K`: journal, recordings, seals. Agents keep a tunnel
to each (`server.agents`); the API is one process for all.

The process above takes no traffic. It binds each port without listening, so that no other program gets it while a
worker is away; starts the workers, starts one again that ended, and passes on the keys of cancel requests, which come
by a connection of their own and so reach any worker. When it ends, however it does, the workers' standard input ends,
and so do they.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import structlog

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import GatewayConfig, Listen
from wicketgate_gateway.recording.files import make_folder, write_whole
from wicketgate_gateway.server.children import Child
from wicketgate_gateway.server.keys import mask_key
from wicketgate_gateway.store import place

PORTS = "ports.json"
FOLDER = "workers"
MODULE = "wicketgate_gateway.server"
READY_SECONDS = 120.0
STOP_SECONDS = 45.0
"""A worker that is asked to end gets so long to tell its clients and to write everything out."""
_SERVERS = ("postgres", "agents", "http", "kubernetes", "ssh")
_LOOK_SECONDS = 0.05
_MAX_KEY = 260

log = structlog.get_logger("wicketgate.gateway")


def folder(state: Path, number: int) -> Path:
    """What a worker writes alone, in the state folder."""
    return state / FOLDER / str(number)


class Cancels:
    """Cancel keys on their way between a worker and the process above: u32 number, then the secret, a packet each."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        link.setblocking(False)

    def send(self, pid: int, secret: bytes) -> None:
        """Pass a key on. A reader that is far behind loses it, as a client's cancel request may always be."""
        with contextlib.suppress(OSError):
            self._link.send(pid.to_bytes(4, "big") + secret[: _MAX_KEY - 4])

    def receive(self, present: Callable[[int, bytes], None]) -> None:
        """Have `present` called with each key that comes."""
        asyncio.get_running_loop().add_reader(self._link, self._read, present)

    def _read(self, present: Callable[[int, bytes], None]) -> None:
        try:
            data = self._link.recv(_MAX_KEY)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if len(data) > 4:
            present(int.from_bytes(data[:4], "big"), data[4:])
        elif not data:
            asyncio.get_running_loop().remove_reader(self._link)

    def close(self) -> None:
        """No more of them."""
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().remove_reader(self._link)
        self._link.close()


@dataclass(frozen=True, slots=True)
class Part:
    """One worker's: its number from 0, how many there are, and the way to the others."""

    number: int
    count: int
    cancels: Cancels

    @classmethod
    def of(cls, said: str, link: socket.socket) -> Self:
        """From the command line's `K/N`."""
        number, _, count = said.partition("/")
        return cls(int(number), int(count), Cancels(link))


def count_of(config: GatewayConfig) -> int:
    """How many workers a configuration asks for."""
    return config.limits.workers or len(os.sched_getaffinity(0))


class Workers:
    """The process above: `start`, then `stop`."""

    def __init__(self, config: GatewayConfig) -> None:
        self.config = config
        self.state = Path(config.state)
        self.count = count_of(config)
        self.children: list[Child] = []
        self._stack = contextlib.AsyncExitStack()
        self._links: dict[int, Cancels] = {}

    async def start(self) -> None:
        """Start all workers and the API, and say where they listen. Raises WicketgateError."""
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise

    async def _start(self) -> None:
        config, state = self.config, self.state
        try:
            make_folder(state)
        except OSError as error:
            raise WicketgateError(f"the state folder `{state}` cannot be used: {error.strerror}") from None
        (state / PORTS).unlink(missing_ok=True)
        # What workers share is made here, so that no two make it at once.
        mask_key(state, config.masks.key_file)
        place.remember(state, config.audit.store)
        if config.listen.ssh is not None:
            from wicketgate_gateway.server.ssh.host_keys import host_keys

            host_keys(state, config.tls.certificate_file, config.name)
        ports = await self._bind()
        self._stack.callback(self._close_links)
        for number in range(self.count):
            (folder(state, number) / PORTS).unlink(missing_ok=True)
            child = Child(
                MODULE,
                config.model_copy(update={"listen": _at(config, ports)}),
                lambda number=number: [self._link(number)],
                arguments=("--worker", f"{number}/{self.count}"),
                stop_seconds=STOP_SECONDS,
            )
            self.children.append(child)
            child.start()
        self._stack.push_async_callback(self._stop_children)
        await self._ready()
        if config.listen.api is not None:
            api = Child("wicketgate_gateway.api", config)
            api.start()
            self._stack.push_async_callback(api.stop)
        write_whole(state / PORTS, json.dumps({**ports, "pid": os.getpid()}) + "\n")
        log.info("gateway ready", name=config.name, workers=self.count, **ports)

    async def stop(self) -> None:
        """End the API, then all workers at once."""
        (self.state / PORTS).unlink(missing_ok=True)
        await self._stack.aclose()
        log.info("gateway stopped")

    @property
    def pids(self) -> list[int | None]:
        """The workers' processes, by number."""
        return [child.pid for child in self.children]

    async def _bind(self) -> dict[str, int]:
        loop = asyncio.get_running_loop()
        ports: dict[str, int] = {}
        for name in _SERVERS:
            address: Listen | None = getattr(self.config.listen, name)
            if address is None:
                continue
            try:
                found = await loop.getaddrinfo(
                    address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
                )
                family, _, _, _, where = found[0]
                bound = socket.socket(family, socket.SOCK_STREAM)
                self._stack.callback(bound.close)
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                bound.bind(where[:2])
            except OSError as error:
                raise WicketgateError(
                    f"the gateway cannot listen: {error.strerror or error}",
                    code="address-unusable",
                    remedy=f"check `listen.{name}` in gateway.yaml; port 0 takes a free one",
                ) from None
            ports[name] = int(bound.getsockname()[1])
        return ports

    async def _ready(self) -> None:
        files = [folder(self.state, number) / PORTS for number in range(self.count)]
        try:
            async with asyncio.timeout(READY_SECONDS):
                while not all(file.exists() for file in files):
                    if any(child.status is not None for child in self.children):
                        raise WicketgateError(
                            "a worker ended at its start", code="worker-ended", remedy="its own words are above"
                        )
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            raise WicketgateError(
                f"the workers were not ready within {READY_SECONDS:.0f} s", code="worker-late"
            ) from None

    async def _stop_children(self) -> None:
        await asyncio.gather(*(child.stop() for child in self.children))

    # Cancel requests.

    def _link(self, number: int) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        old = self._links.pop(number, None)
        if old is not None:
            old.close()
        link = self._links[number] = Cancels(ours)
        link.receive(lambda pid, secret: self._pass_on(number, pid, secret))
        return theirs

    def _pass_on(self, number: int, pid: int, secret: bytes) -> None:
        for other, link in self._links.items():
            if other != number:
                link.send(pid, secret)

    def _close_links(self) -> None:
        for link in self._links.values():
            link.close()


def _at(config: GatewayConfig, ports: dict[str, int]) -> Any:
    changed: dict[str, Listen] = {}
    for name, port in ports.items():
        address: Listen = getattr(config.listen, name)
        changed[name] = address.model_copy(update={"port": port})
    return config.listen.model_copy(update=changed)


async def run(config: GatewayConfig, stop: asyncio.Event) -> None:
    """Keep the workers running until `stop` is set. Raises WicketgateError for a configuration that cannot work."""
    workers = Workers(config)
    await workers.start()
    try:
        await stop.wait()
    finally:
        await workers.stop()
