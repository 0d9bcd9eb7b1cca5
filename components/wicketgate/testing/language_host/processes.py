"""The host's children: none outlives it.

Every child is registered while it runs. It is asked to end (SIGTERM) when its call is cancelled, when the
engine says `Cancel`, or when the host itself ends, and killed if it has not ended five seconds later.
"""

import queue
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Final

_GRACE_SECONDS: Final = 5.0
_CHUNK_BYTES: Final = 64 * 1024

Output = tuple[str, bytes]
"""`("stdout" | "stderr", chunk)`."""


class Children:
    """The running children of one host. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def run(self, command: list[str], cwd: Path, env: Mapping[str, str], on_call_end: "CallEnd") -> int:
        """Run a child whose output is the host's own; gives its exit code (negative: the signal that ended
        it).
        """
        child = self._start(command, cwd, env, piped=False)
        on_call_end(lambda: end(child))
        try:
            return child.wait()
        finally:
            self._forget(child)

    def stream(
        self, command: list[str], cwd: Path, env: Mapping[str, str], on_call_end: "CallEnd"
    ) -> Iterator[Output | int]:
        """Run a child; gives its output piece by piece as it comes, and last its exit code."""
        child = self._start(command, cwd, env, piped=True)
        on_call_end(lambda: end(child))
        pieces: queue.SimpleQueue[Output | None] = queue.SimpleQueue()
        pumps = [
            threading.Thread(target=_pump, args=(name, stream, pieces), daemon=True)
            for name, stream in (("stdout", child.stdout), ("stderr", child.stderr))
        ]
        for pump in pumps:
            pump.start()
        try:
            for _ in pumps:
                while (piece := pieces.get()) is not None:
                    yield piece
            yield child.wait()
        finally:
            end(child)
            self._forget(child)

    def end_all(self) -> None:
        """End every running child; none is started from now on."""
        with self._lock:
            self._closed = True
        self.cancel()

    def cancel(self) -> None:
        """End every child that runs now."""
        with self._lock:
            running = list(self._running)
        for child in running:
            child.terminate()
        for child in running:
            end(child)

    def _start(self, command: list[str], cwd: Path, env: Mapping[str, str], *, piped: bool) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE if piped else None
        with self._lock:  # so that end_all either sees the child or prevents it
            if self._closed:
                raise RuntimeError("the language host is ending")
            child = subprocess.Popen(
                command, cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe
            )
            self._running.add(child)
        return child

    def _forget(self, child: subprocess.Popen[bytes]) -> None:
        for stream in (child.stdout, child.stderr):
            if stream is not None:
                stream.close()
        with self._lock:
            self._running.discard(child)


CallEnd = Callable[[Callable[[], None]], object]
"""Registers what is to be done when the call ends for whatever reason:
`grpc.ServicerContext.add_callback`.
"""


def end(child: subprocess.Popen[bytes]) -> None:
    """Ask a child to end, then make it. Nothing happens to one that has ended."""
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _pump(name: str, stream: IO[bytes] | None, pieces: "queue.SimpleQueue[Output | None]") -> None:
    assert stream is not None
    read1: Callable[[int], bytes] = getattr(stream, "read1")  # noqa: B009  a BufferedReader; IO lacks the method
    try:
        while chunk := read1(_CHUNK_BYTES):
            pieces.put((name, chunk))
    except ValueError:  # closed under us: the call was cancelled
        pass
    finally:
        pieces.put(None)
