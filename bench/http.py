"""`python -m bench.http`: HTTP directly and through gateway and agent, in turns: latency, requests a second, bulk.

Everything runs on this machine: the emulated Entra, gateway, agent, and a server that answers by as little code as
possible. Direct and through the gateway take turns within each repeat, so that a slow minute slows both; figures are
medians over the repeats, and ratios medians of the ratios within a repeat. TLS on every leg. Clients keep their
connections, as kubectl's, SDKs' and browsers' do.

Bulk is bound by processors: client and server need some for TLS, gateway and agent twice as much again. So the time of
all processes a gigabyte is told, too, which a loaded machine changes little.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import ssl
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from tests.web import WebRunning
    from wicketgate.testing.postgres import PostgresServer

BULK = 64 * 1024 * 1024


class Client:
    """One connection, one request after the other."""

    def __init__(self, host: str, port: int, ca: str, headers: str, prefix: str) -> None:
        context = ssl.create_default_context(cafile=ca)
        plain = socket.create_connection((host, port), timeout=60)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = context.wrap_socket(plain, server_hostname=host)
        self._headers, self._prefix = headers, prefix

    def get(self, path: str) -> int:
        """GET it; the size of the body. Raises RuntimeError for another status than 200."""
        head = f"GET {self._prefix}{path} HTTP/1.1\r\nHost: localhost\r\n{self._headers}\r\n"
        self._socket.sendall(head.encode())
        buffer = b""
        while b"\r\n\r\n" not in buffer:
            buffer += self._read()
        answer, _, rest = buffer.partition(b"\r\n\r\n")
        if b" 200 " not in answer[:16]:
            raise RuntimeError(answer.decode("latin-1", "replace")[:200])
        length = int(answer.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        left = length - len(rest)
        while left > 0:
            left -= len(self._read())
        return length

    def _read(self) -> bytes:
        data = self._socket.recv(1 << 18)
        if not data:
            raise RuntimeError("the connection ended")
        return data

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def latency(make: Callable[[], Client], count: int) -> float:
    """The median of so many small requests on one connection, in milliseconds."""
    client = make()
    client.get("/orders/7")
    found: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        client.get("/orders/7")
        found.append((time.perf_counter() - began) * 1000)
    client.close()
    return statistics.median(found)


def rate(make: Callable[[], Client], clients: int, seconds: float) -> float:
    """Small requests a second by so many clients."""
    counts = [0] * clients
    end = time.perf_counter() + seconds

    def work(number: int) -> None:
        client = make()
        while time.perf_counter() < end:
            client.get("/orders/7")
            counts[number] += 1
        client.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def bulk(make: Callable[[], Client], size: int) -> float:
    """Megabytes a second of one large answer."""
    client = make()
    client.get("/orders/7")
    began = time.perf_counter()
    client.get(f"/bytes/{size}")
    taken = time.perf_counter() - began
    client.close()
    return size / taken / 1e6


def spent(web: WebRunning) -> float:
    """Seconds of processor time of this process, the gateway and the agent so far."""
    total = time.process_time()
    for process in web.processes.values():
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def bulk_time(make: Callable[[], Client], size: int, web: WebRunning) -> float:
    """Seconds of processor time a gigabyte of one large answer."""
    client = make()
    client.get("/orders/7")
    began = spent(web)
    client.get(f"/bytes/{size}")
    taken = spent(web) - began
    client.close()
    return taken / size * 1e9


def measure(web: WebRunning, repeats: int, *, quick: bool) -> dict[str, Any]:
    """All figures."""
    token = web.cloud.bot_token()
    ca = str(web.ca_file)
    ways: dict[str, Callable[[], Client]] = {
        "direct": lambda: Client("localhost", web.upstream.port, ca, "", ""),
        "wicketgate": lambda: Client(
            "localhost", web.ports["http"], ca, f"Authorization: Bearer {token}\r\n", "/t/orders-api"
        ),
    }
    parts: dict[str, Callable[[Callable[[], Client]], float]] = {
        "latency, 1 client (ms)": lambda make: latency(make, 50 if quick else 400),
        "requests/s, 1 client": lambda make: rate(make, 1, 1 if quick else 4),
        "requests/s, 8 clients": lambda make: rate(make, 8, 1 if quick else 4),
        "bulk (MB/s)": lambda make: bulk(make, BULK // (8 if quick else 1)),
        "bulk, processor time (s/GB)": lambda make: bulk_time(make, BULK * (1 if quick else 2), web),
    }
    found: dict[str, dict[str, list[float]]] = {part: {way: [] for way in ways} for part in parts}
    for repeat in range(repeats):
        for part, work in parts.items():
            for way in list(ways)[:: 1 if repeat % 2 else -1]:
                found[part][way].append(work(ways[way]))
    return found


def main() -> int:
    """Measure and print; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.http", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one short repeat, to see that it runs")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tests.running import cloud_in
    from tests.web import NoDatabase, web_in

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wicketgate-bench-http-")))
        (folder / "cloud").mkdir()
        cloud = stack.enter_context(cloud_in(folder / "cloud", cast("PostgresServer", NoDatabase())))
        web = stack.enter_context(web_in(folder / "web", cloud))
        found = measure(web, 1 if options.quick else options.repeats, quick=options.quick)
    if options.json:
        sys.stdout.write(json.dumps(found) + "\n")
        return 0
    table = Table("", "direct", "through Wicketgate", "added or ratio")
    for part, ways in found.items():
        pairs = list(zip(ways["direct"], ways["wicketgate"], strict=True))
        if "ms" in part:
            last = f"+{statistics.median(through - direct for direct, through in pairs):.2f}"
        else:
            last = f"{statistics.median(through / direct for direct, through in pairs):.2f}"
        table.add_row(part, *(f"{statistics.median(ways[way]):.2f}" for way in ways), last)
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
