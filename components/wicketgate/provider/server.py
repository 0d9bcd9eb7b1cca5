"""The process around a provider: a gRPC server on a free loopback port, as the Pulumi engine starts one.

How this works: the engine starts the plugin with its own address as the last argument, reads the plugin's
port from the first line of standard output, and talks gRPC to it. It ends the plugin with SIGINT or
SIGTERM, or (if it is killed itself) not at all, so the plugin also ends when its parent has gone.
Source: pulumi `sdk/go/common/resource/plugin/plugin.go`.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent import futures
from typing import IO, Any, Final

import grpc
from pulumi.runtime.proto import provider_pb2_grpc

MAX_MESSAGE_BYTES: Final = 400 * 1024 * 1024  # the engine's own limit
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # Requests queue while earlier ones wait for a slow API; the default would cancel them after 30 s.
    ("grpc.server_max_unrequested_time_in_server", 30 * 60),
    ("grpc.so_reuseport", 0),
)
_GRACE_SECONDS: Final = 2.0
_PARENT_POLL_SECONDS: Final = 1.0


def start(register: Callable[[grpc.Server], None], *, workers: int = 16) -> tuple[grpc.Server, int]:
    """Start a server on a free port of 127.0.0.1; `register` adds the services. Gives the server and its
    port.
    """
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=workers), options=list(_OPTIONS))
    register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    if port == 0:
        raise OSError("no free port on 127.0.0.1 for the plugin's server")
    server.start()
    return server, port


def start_provider(servicer: Any, *, workers: int = 16) -> tuple[grpc.Server, int]:
    """Start `servicer` (a `ResourceProviderServicer`) as `start` does: what tests use, in their own
    process.
    """

    def register(server: grpc.Server) -> None:
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)

    return start(register, workers=workers)


def serve(servicer: Any, *, workers: int = 16, out: IO[str] | None = None) -> None:
    """Serve `servicer` until the engine ends it: prints the port, then blocks. Call it from the main thread.

    A servicer's `Cancel` may set its own flags; the process itself ends on SIGINT, SIGTERM or its parent's
    death, after requests in flight had two seconds to finish.
    """
    run_until_ended(lambda: start_provider(servicer, workers=workers), out=out)


def run_until_ended(
    starter: Callable[[], tuple[grpc.Server, int]],
    *,
    before_stop: Callable[[], None] | None = None,
    out: IO[str] | None = None,
) -> None:
    """Start a server, announce its port on `out` (standard output), and block until this process is to end.

    `before_stop` then runs first: it is to make calls in flight return.
    """
    ended = threading.Event()
    parent = os.getppid()  # before anything slow: if the parent dies meanwhile, the poll below sees another

    def on_signal(_number: int, _frame: object) -> None:
        ended.set()

    # Before the port is printed: from then on the engine may end us at any time.
    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    server, port = starter()
    stream = out or sys.stdout
    stream.write(f"{port}\n")
    stream.flush()
    while not ended.wait(_PARENT_POLL_SECONDS):
        if os.getppid() != parent:
            break
    if before_stop is not None:
        before_stop()
    server.stop(_GRACE_SECONDS).wait()
