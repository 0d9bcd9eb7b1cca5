"""Watches for many at once, large copies, and execs before an API server that does nothing else: `bench.kubernetes`."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import random
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path

from tests.clusters import KubeRunning
from tools.kubernetes.cluster import Cluster

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_DONE = json.dumps({"metadata": {}, "status": "Success"}, separators=(",", ":")).encode()
_ABOUT = {"items": [], "major": "1", "minor": "36", "gitVersion": "v1.36.3"}
WORDS = ("order", "sent", "to", "a", "customer", "in", "Berlin", "on", "Monday", "INFO", "took", "ms", "GET", "/health")


async def fan_out(
    port: int,
    prefix: str,
    token: str,
    context: ssl.SSLContext,
    watchers: int,
    objects: int,
    make: Callable[[int], None],
) -> dict[str, float]:
    """So many watches of one collection, each of which sees every object that `make` creates: events a second, all
    watchers together, and how long after an object's creation the last of them saw it."""
    seen = [0] * watchers
    at: list[list[float]] = [[] for _ in range(objects)]
    ready = asyncio.Semaphore(0)
    head = (
        f"GET {prefix}/api/v1/namespaces/fan/configmaps?watch=true HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {token}\r\nAccept: application/json\r\n\r\n"
    ).encode()

    async def watch(number: int) -> None:
        reader, writer = await asyncio.open_connection("localhost", port, ssl=context, server_hostname="localhost")
        try:
            writer.write(head)
            answer = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in answer.split(b"\r\n")[0]:
                raise RuntimeError(answer.decode())
            ready.release()
            rest = b""
            while seen[number] < objects:
                rest += await reader.read(65536)
                count = rest.count(b'"type":"ADDED"')
                rest = rest[rest.rfind(b"\n") + 1 :] if count else rest
                for _ in range(count):
                    at[seen[number]].append(time.perf_counter())
                    seen[number] += 1
        finally:
            writer.close()

    tasks = [asyncio.create_task(watch(number)) for number in range(watchers)]
    try:
        async with asyncio.timeout(120):
            for _ in range(watchers):
                waiting = asyncio.create_task(ready.acquire())
                await asyncio.wait((waiting, *tasks), return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    if task.done():
                        task.result()
                await waiting
            began = time.perf_counter()
            made: list[float] = []
            for number in range(objects):
                await asyncio.to_thread(make, number)
                made.append(time.perf_counter())
            await asyncio.gather(*tasks)
            took = time.perf_counter() - began
    finally:
        for task in tasks:
            task.cancel()
    last = sorted((max(times) - when) * 1000 for times, when in zip(at, made, strict=True))
    return {
        "events_per_second": watchers * objects / took,
        "last_ms_p50": last[len(last) // 2],
        "last_ms_max": last[-1],
    }


def copies(base: list[str], folder: Path, source: Path, name: str) -> dict[str, float]:
    """MB/s of `kubectl cp` into a pod and out of it, byte for byte."""
    env = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    size = source.stat().st_size
    found: dict[str, float] = {}
    for label, here, there in (("in", source.name, f"web:/tmp/{name}"), ("out", f"web:/tmp/{name}", f"out-{name}")):
        started = time.perf_counter()
        subprocess.run([*base, "cp", here, there], cwd=folder, env=env, check=True, capture_output=True, timeout=600)
        found[label] = size / (time.perf_counter() - started) / 1e6
    back = folder / f"out-{name}"
    if _digest(back) != _digest(source):
        raise RuntimeError(f"the copy `{name}` is not the same")
    back.unlink()
    subprocess.run([*base, "exec", "web", "--", "rm", f"/tmp/{name}"], env=env, capture_output=True, timeout=60)
    return found


def file_of(folder: Path, kind: str, megabytes: int) -> Path:
    """Random bytes, or lines as logs have them: nothing that detectors find."""
    path = folder / kind
    pick = random.Random(4)
    lines = (" ".join(pick.choices(WORDS, k=12)) + f" {pick.random():.4f}\n" for _ in range(16_000))
    text = "".join(lines).encode()[:1_000_000]
    with path.open("wb") as file:
        for _ in range(megabytes):
            file.write(pick.randbytes(1_000_000) if kind == "random" else text)
    return path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def direct_kubectl(cluster: Cluster) -> list[str]:
    """kubectl straight to the API server."""
    return [str(cluster.binaries.kubectl), "--kubeconfig", str(cluster.kubeconfig()), "-n", "shop"]


def through(kube: KubeRunning) -> list[str]:
    """kubectl through the gateway."""
    return kube.command("-n", "shop")


@contextlib.asynccontextmanager
async def stand_in(certificate: Path, key: Path) -> AsyncGenerator[int]:
    """An API server that has pods alone, and whose commands end at once: what a gateway before it can do at most."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    resources = [{"resource": "pods", "scope": "Namespaced", "subresources": [{"subresource": "exec"}]}]
    core = {"items": [{"metadata": {}, "versions": [{"version": "v1", "resources": resources}]}]}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")
                path = lines[0].split(" ")[1]
                headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines[1:] if line)}
                if "sec-websocket-key" not in headers:
                    body = json.dumps(core if path == "/api" else _ABOUT).encode()
                    told = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                    writer.write(told.encode() + body)
                    continue
                proof = hashlib.sha1(headers["sec-websocket-key"].encode() + _GUID, usedforsecurity=False).digest()
                frame = b"\x03" + _DONE
                writer.write(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Protocol: v5.channel.k8s.io\r\nSec-WebSocket-Accept: "
                    + base64.b64encode(proof) + b"\r\n\r\n" + bytes((0x82, len(frame))) + frame + b"\x88\x02\x03\xe8"
                )  # fmt: skip
                await writer.drain()
                break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context, backlog=512)
    async with server:
        yield server.sockets[0].getsockname()[1]


@contextlib.contextmanager
def stand_in_for(cluster: Cluster, folder: Path) -> Generator[Cluster]:
    """The stand-in, in a process of its own, as a cluster: with the certificates and tokens of this one."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.kubernetes_more", str(cluster.folder / "server.pem"),
         str(cluster.folder / "server.key")], stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        made = Cluster(folder, cluster.binaries, port, cluster.tokens)
        (folder / "ca").mkdir(parents=True)
        made.ca_file.write_bytes(cluster.ca_file.read_bytes())
        yield made
    finally:
        process.terminate()
        process.wait(10)


async def _serve(certificate: Path, key: Path) -> None:
    async with stand_in(certificate, key) as port:
        print(port, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), Path(sys.argv[2])))
