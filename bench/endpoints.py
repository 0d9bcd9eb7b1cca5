"""What is measured: the same PostgreSQL reached directly, through PgBouncer, and through gateway and agent."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

from tools.provide import provide
from tools.quickstart import layout as layouts
from tools.quickstart import play, processes, pulumi, services
from wicketgate.testing.certs import CertificateAuthority
from wicketgate.testing.postgres import PostgresServer

ACCOUNTS = 500_000
BULK_ROWS = 150_000


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a client connects, and the processes in between (their CPU is what we look at)."""

    name: str
    host: str
    port: int
    database: str
    user: str
    password: str
    ca_file: str
    processes: dict[str, int] = field(default_factory=dict[str, int])
    tls: bool = True
    """Whether the client's leg has TLS; those behind a proxy always have."""

    @property
    def environment(self) -> dict[str, str]:
        """libpq's variables."""
        return {
            **os.environ,
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGDATABASE": self.database,
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            **({"PGSSLMODE": "verify-full", "PGSSLROOTCERT": self.ca_file} if self.tls else {"PGSSLMODE": "disable"}),
        }


class Endpoints(list[Endpoint]):
    """All of them, and what they stand on."""

    def __init__(self, found: list[Endpoint], layout: layouts.Layout, server: PostgresServer) -> None:
        super().__init__(found)
        self.layout = layout
        self.server = server


@contextlib.contextmanager
def endpoints(pgbouncer: bool) -> Generator[Endpoints]:
    """Start everything in a folder of its own; yields the endpoints, and ends everything afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="wicketgate-bench-"))
    folder.chmod(0o755)  # the database's own user must get through
    layout = layouts.load(folder)
    bouncer: subprocess.Popen[bytes] | None = None
    try:
        server = _product(layout)
        if server.ca_file is None:
            raise SystemExit("error: this PostgreSQL has no TLS; install a server that has it (postgresql)")
        password = layout.path("secrets", layouts.TARGET, "password").read_text()
        ca = str(server.ca_file)
        found = [Endpoint("direct", server.host, server.port, "orders", "wicketgate", password, ca)]
        if pgbouncer:
            port, bouncer = _pgbouncer(folder, server, password)
            pids = {"pgbouncer": bouncer.pid}
            found.append(
                Endpoint("pgbouncer", "127.0.0.1", port, "orders", "wicketgate", password, str(layout.ca), pids)
            )
        pids = {n: p for n, p in services.pids(layout).items() if n in ("gateway", "agent")}
        token = play.token(layout)
        port = layout.ports["gateway"]
        found.append(
            Endpoint("wicketgate", "127.0.0.1", port, layouts.TARGET, layouts.BOT, token, str(layout.ca), pids)
        )
        yield Endpoints(found, layout, server)
    finally:
        if bouncer is not None:
            bouncer.send_signal(signal.SIGKILL)
            bouncer.wait()
        services.stop(layout)
        PostgresServer(layout.path("postgres")).destroy()
        shutil.rmtree(folder, ignore_errors=True)


def _product(layout: layouts.Layout) -> PostgresServer:
    engine = provide(folder=layout.path("engine"))
    services.certificates(layout)
    services.issuer(layout)
    services.entra(layout)
    server = services.database(layout)
    columns = ", ".join(f"md5((n * {k})::text) || md5(n::text) AS c{k}" for k in range(1, 11))
    server.sql(
        f"""CREATE TABLE accounts AS SELECT n AS id, n * 7 % 1000 AS balance, repeat('x', 60) AS filler
              FROM generate_series(1, {ACCOUNTS}) n;
            ALTER TABLE accounts ADD PRIMARY KEY (id);
            CREATE TABLE bulk AS SELECT {columns}
              FROM generate_series(1, {BULK_ROWS}) n;
            ALTER TABLE customers {", ".join(f"ADD COLUMN c{k} text" for k in range(1, 10))};
            INSERT INTO customers (id, name, email, {", ".join(f"c{k}" for k in range(1, 10))})
              SELECT n + 1000, 'x', substr(md5(n::text), 1, 20) || '@' || md5(n::text) || '.example',
                     {", ".join(f"md5((n * {k})::text) || md5(n::text)" for k in range(1, 10))}
              FROM generate_series(1, {BULK_ROWS}) n;
            ALTER SYSTEM SET max_connections = 400;
            GRANT SELECT ON accounts, bulk TO wicketgate;
            VACUUM ANALYZE;""",
        "orders",
    )
    server.stop()
    server.start()
    if server.pid is not None:
        processes.adopt(layout.folder, "postgres", server.pid)
    pulumi.up(layout, engine, pulumi.environment(layout, engine, server))
    services.gateway(layout)
    services.agent(layout)
    return server


def _pgbouncer(folder: Path, server: PostgresServer, password: str) -> tuple[int, subprocess.Popen[bytes]]:
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        raise SystemExit("error: there is no `pgbouncer`; install it (Debian: pgbouncer), or give --no-pgbouncer")
    place = folder / "pgbouncer"
    place.mkdir()
    leaf = CertificateAuthority.open(folder / "ca").issue_files(place, "pgbouncer", ["127.0.0.1"])
    port = layouts.free_ports(1)[0]
    shutil.copy(str(server.ca_file), place / "server-ca.pem")  # the original lies where PgBouncer's user may not look
    (place / "users.txt").write_text(f'"wicketgate" "{password}"\n')
    (place / "pgbouncer.ini").write_text(
        f"""[databases]
orders = host={server.host} port={server.port} dbname=orders
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {place}/users.txt
pool_mode = session
default_pool_size = 350
max_client_conn = 1000
client_tls_sslmode = allow
client_tls_cert_file = {leaf.cert_file}
client_tls_key_file = {leaf.key_file}
server_tls_sslmode = verify-full
server_tls_ca_file = {place}/server-ca.pem
logfile = {place}/log
pidfile = {place}/pid
"""
    )
    for path in (place, *place.iterdir()):
        shutil.chown(path, *_unprivileged()) if os.geteuid() == 0 else None
    user = ["-u", _unprivileged()[0]] if os.geteuid() == 0 else []
    process = subprocess.Popen(
        [program, "-q", *user, str(place / "pgbouncer.ini")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 10
    while not (place / "pid").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            log = place / "log"
            sys.stderr.write(log.read_text() if log.exists() else "")
            raise SystemExit("error: pgbouncer did not start; its log is above")
        time.sleep(0.05)
    return port, process


def _unprivileged() -> tuple[str, str]:
    return ("postgres", "postgres") if Path("/var/lib/postgresql").exists() else ("nobody", "nogroup")
