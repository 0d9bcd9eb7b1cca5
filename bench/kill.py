"""`python -m bench.kill`: from an order in the control store to the statement cancelled at the server.

How this works: the product runs as in `python -m bench`. Each round a client runs a join without end through gateway
and agent; once `pg_stat_activity` shows it, a kill of the session's target is written to the store, and we look until
the server runs it no more. The clock starts before the store's transaction begins. Other sessions stand by, so that
there is something to search. The order is lifted before the next round.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import threading
import time
from pathlib import Path

import psycopg

from bench.endpoints import Endpoint, endpoints
from wicketgate_gateway.approvals.database import FILE_NAME
from wicketgate_gateway.approvals.model import Scope
from wicketgate_gateway.approvals.store import open_store

LONG = "SELECT count(*) FROM accounts a, accounts b"
LOOK_SECONDS = 0.002
LIMIT_SECONDS = 20.0
_ACTIVE = (
    "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = %s AND backend_type = 'client backend' "
    "AND pid <> pg_backend_pid()"
)


def _connect(endpoint: Endpoint, user: str = "") -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(
        host=endpoint.host,
        port=endpoint.port,
        dbname=endpoint.database,
        user=user or endpoint.user,
        password=endpoint.password,
        sslmode="verify-full",
        sslrootcert=endpoint.ca_file,
        autocommit=True,
    )


def _wait(watch: psycopg.Connection[tuple[object, ...]], wanted: int) -> float:
    end = time.perf_counter() + LIMIT_SECONDS
    while True:
        row = watch.execute(_ACTIVE, (LONG,)).fetchone()
        now = time.perf_counter()
        if row is not None and row[0] == wanted:
            return now
        if now > end:
            raise SystemExit(f"error: the server did not come to {wanted} running statements in {LIMIT_SECONDS:.0f} s")
        time.sleep(LOOK_SECONDS)


def _run(connection: psycopg.Connection[tuple[object, ...]], told: list[float]) -> None:
    try:
        connection.execute(LONG)
    except psycopg.Error:
        told.append(time.perf_counter())


def _round(direct: Endpoint, through: Endpoint, url: str, idle: int) -> tuple[float, float]:
    """Milliseconds until the server ran it no more, and until the client knew."""
    bystanders = [_connect(through) for _ in range(idle)]
    victim, told = _connect(through), list[float]()
    victim.execute("SET jit = off")  # compiling cannot be interrupted, and is not what we measure
    runner = threading.Thread(target=_run, args=(victim, told))

    async def order() -> tuple[float, float]:
        store = await open_store(url)
        try:
            await store.kills()  # connected: an operator's API is, too
            begin = time.perf_counter()
            kill = await store.kill(Scope.TARGET, through.database, by="bench", by_id="", reason="measured")
            done = await asyncio.to_thread(_wait, watch, 0)
            await asyncio.to_thread(runner.join)
            await store.lift(kill.id, by="bench", by_id="")
        finally:
            await store.close()
        return begin, done

    with _connect(direct) as watch:
        runner.start()
        _wait(watch, 1)
        begin, done = asyncio.run(order())
    for connection in (victim, *bystanders):
        connection.close()
    _until_lifted(through)
    return (done - begin) * 1000, (told[0] - begin) * 1000


def _until_lifted(through: Endpoint) -> None:
    end = time.monotonic() + LIMIT_SECONDS
    while True:
        try:
            _connect(through).close()
        except psycopg.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def main() -> int:
    """Measure and print; gives the exit status: 1 if a cancel took a second or longer."""
    parser = argparse.ArgumentParser(prog="python -m bench.kill", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="how many kills are measured")
    parser.add_argument("--idle", type=int, default=20, help="sessions that stand by")
    options = parser.parse_args()
    with endpoints(pgbouncer=False) as found:
        direct, through = found[0], found[-1]
        url = f"sqlite+aiosqlite:///{_state(through) / FILE_NAME}"
        rounds = [_round(direct, through, url, options.idle) for _ in range(options.rounds)]
    server, client = [r[0] for r in rounds], [r[1] for r in rounds]
    for name, values in (("cancelled at the server", server), ("client told", client)):
        print(f"{name}: median {statistics.median(values):.0f} ms, worst {max(values):.0f} ms of {len(values)}")
    return 1 if max(server) >= 1000 else 0


def _state(through: Endpoint) -> Path:
    # The gateway's own working files say where its state is; its command line names the configuration.
    command = Path(f"/proc/{through.processes['gateway']}/cmdline").read_bytes().split(b"\0")
    config = Path(command[command.index(b"--config") + 1].decode())
    return config.parent / "state"


if __name__ == "__main__":
    raise SystemExit(main())
