"""A process of the gateway's beside it: started with its configuration, watched, started again, ended with it.

How this works: the child runs `python -m MODULE --config -`, reads the gateway's own configuration as one line of JSON
from standard input, and ends when that input does, so that a gateway that is killed leaves none behind. A child that
ends by itself is started again, after a pause that grows while it does not stay up.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import time
from collections.abc import Callable, Sequence

import structlog

from wicketgate_gateway.contract.gateway import GatewayConfig

FIRST_PAUSE, LAST_PAUSE = 0.2, 30.0
STAYED_UP_SECONDS = 30.0
STOP_SECONDS = 10.0
log = structlog.get_logger("wicketgate.gateway")


class Child:
    """One such process. `start` it on a running loop, then `stop` it."""

    def __init__(
        self,
        module: str,
        config: GatewayConfig,
        sockets: Callable[[], Sequence[socket.socket]] | None = None,
        *,
        arguments: Sequence[str] = (),
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        """`sockets` makes what a new process inherits, as one `--socket FD` each, and then closes here.

        `stop_seconds` is what it gets to end in order.
        """
        self._module = module
        self._sockets = sockets
        self._arguments = tuple(arguments)
        self._stop_seconds = stop_seconds
        self._input = json.dumps(config.document()).encode() + b"\n"
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self.starts = 0
        """How often it was started."""
        self.status: int | None = None
        """How the last one that ended did."""

    @property
    def pid(self) -> int | None:
        """The process that runs now."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    def start(self) -> None:
        """Begin to run it."""
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def stop(self) -> None:
        """End it and do not start it again: it is asked by the end of its input, and killed if it does not listen."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        process = self._process
        if process is None or process.returncode is not None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(self._stop_seconds):
                await process.wait()
        except TimeoutError:
            log.warning("a child had to be killed", module=self._module)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            code = self.status = await self._run()
            if time.monotonic() - began >= STAYED_UP_SECONDS:
                pause = FIRST_PAUSE
            log.error("a child ended; it is started again", module=self._module, status=code, pause=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_PAUSE)

    async def _run(self) -> int | None:
        inherited = self._sockets() if self._sockets is not None else ()
        files = [str(each.fileno()) for each in inherited]
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                self._module,
                "--config",
                "-",
                *self._arguments,
                *(argument for file in files for argument in ("--socket", file)),
                pass_fds=[each.fileno() for each in inherited],
                stdin=asyncio.subprocess.PIPE,
                # A Ctrl-C at the terminal is the gateway's to hear; it then ends its children in order.
                start_new_session=True,
            )
        except OSError as error:
            log.error("a child cannot be started", module=self._module, reason=error.strerror)
            return None
        finally:
            for each in inherited:
                each.close()
        self.starts += 1
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(self._input)
            await self._process.stdin.drain()
        return await self._process.wait()
