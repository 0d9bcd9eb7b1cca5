"""Runs an ASGI application over TLS, in a thread for tests or as a process that ends on SIGTERM."""

import asyncio
import contextlib
import signal
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Generator, Iterable, MutableMapping
from pathlib import Path
from types import TracebackType
from typing import Any

import uvicorn

from wicketgate.testing.certs import LeafFiles

Asgi = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]


_START_SECONDS = 30.0


class _Server(uvicorn.Server):
    """uvicorn, but a signal is an ordinary end (it would raise it again), and `ready` is called once it serves."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def bind(host: str, port: int, *, remembered: Path | None = None) -> socket.socket:
    """A listening TCP socket. Port 0 takes the port noted in `remembered` if it is free, else any, and notes it.

    An issuer's address is part of every token it signs, so a restart should find the same one. Raises OSError.
    """
    wanted = port
    if port == 0 and remembered is not None and remembered.is_file():
        with contextlib.suppress(ValueError):
            wanted = int(remembered.read_text())
    try:
        listener = _listen(host, wanted)
    except OSError:
        if port:
            raise
        listener = _listen(host, 0)
    if remembered is not None:
        remembered.write_text(str(listener.getsockname()[1]))
    return listener


def _listen(host: str, port: int) -> socket.socket:
    # Naming TCP matters: asyncio sets TCP_NODELAY on accepted sockets only then; without it each answer takes 40 ms.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(512)
    except BaseException:
        listener.close()
        raise
    return listener


def _server(app: Asgi, leaf: LeafFiles, ready: Callable[[], None]) -> _Server:
    config = uvicorn.Config(
        app,
        http="h11",
        loop="asyncio",
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        # Clients poll every few seconds over kept connections; one that closes just then looks like a failure.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
        log_level="critical",
        ssl_certfile=str(leaf.cert_file),
        ssl_keyfile=str(leaf.key_file),
        ssl_version=ssl.PROTOCOL_TLS_SERVER,
    )
    return _Server(config, ready)


class ThreadedServer:
    """A context manager that serves `app` from a thread until it ends. Raises RuntimeError if it does not start."""

    def __init__(self, app: Asgi, listener: socket.socket, leaf: LeafFiles) -> None:
        self._listener = listener
        self._ready = threading.Event()
        self._server = _server(app, leaf, self._ready.set)
        self._thread = threading.Thread(target=self._run, name="wicketgate-testing", daemon=True)
        self._failure: BaseException | None = None

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._listener])
        except BaseException as error:  # a start-up failure ends in SystemExit; the caller gets it below
            self._failure = error
        finally:
            self._ready.set()

    def __enter__(self) -> "ThreadedServer":
        self._thread.start()
        self._ready.wait(_START_SECONDS)
        if not self._server.started:
            self._listener.close()
            raise RuntimeError("the test server did not start") from self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._server.force_exit = True  # clients' idle connections are not waited for
        self._thread.join(10)
        self._listener.close()


def run_until_signalled(
    app: Asgi, listener: socket.socket, leaf: LeafFiles, ready: Callable[[], None], ended: Iterable[Callable[[], None]]
) -> None:
    """Serves `app` until SIGTERM or SIGINT; calls `ready` once it accepts connections and each of `ended` after."""

    async def main() -> None:
        server = _server(app, leaf, ready)
        loop = asyncio.get_running_loop()

        def stop() -> None:
            server.should_exit = True

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        await server.serve(sockets=[listener])
        if not server.started:
            raise RuntimeError("the server did not start")

    try:
        asyncio.run(main())
    finally:
        for hook in ended:
            hook()
        listener.close()
