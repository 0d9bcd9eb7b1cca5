"""The database's password and the bots' tokens are where they belong, and nowhere else.

Looked for as they are, in base 64, hex, URL quoting and reversed; in every process's arguments and environment, in all
that gateway and agent wrote (logs, state, journal, audit database, recordings, unpacked), and in what a client sees.
"""

from __future__ import annotations

import base64
import os
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import zstandard

from wicketgate_gateway.recording.reader import Recording

pytestmark = pytest.mark.slow


def shapes(secret: str) -> set[bytes]:
    """How a secret may be written."""
    data = secret.encode()
    return {
        data,
        data[::-1],
        data.hex().encode(),
        base64.b64encode(data).rstrip(b"=")[:-2],
        urllib.parse.quote(secret, safe="").encode(),
        data.decode().encode("utf-16-le"),
    }


def processes() -> Iterator[tuple[str, bytes]]:
    """What every process shows to whoever looks."""
    for path in Path("/proc").glob("[0-9]*"):
        if int(path.name) == os.getpid():
            continue
        for name in ("cmdline", "environ"):
            try:
                yield str(path / name), (path / name).read_bytes()
            except OSError:
                continue


def files(*folders: Path) -> Iterator[tuple[Path, bytes]]:
    """All files, and what is in them if they are packed."""
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                yield path, data
                for at in _places(data, b"\x28\xb5\x2f\xfd"):
                    try:
                        yield path, zstandard.ZstdDecompressor().decompressobj().decompress(data[at:])
                    except zstandard.ZstdError:
                        continue


def _places(data: bytes, magic: bytes) -> Iterator[int]:
    at = data.find(magic)
    while at >= 0:
        yield at
        at = data.find(magic, at + 1)


@pytest.fixture(scope="module")
def used(make_gateway: Any) -> Any:
    """A gateway that has seen good and bad log-ins, statements, errors, COPY, and a server that says no."""
    running = make_gateway()
    cloud = running.cloud
    with psycopg.connect(running.dsn(), autocommit=True) as db:
        db.execute("SELECT email FROM customers")
        for text in ("SELECT * FROM secrets", "SELECT 1/0", "SELECT rolpassword FROM pg_authid", "SHOW all"):
            try:
                db.execute(text.encode())
            except psycopg.Error:
                continue
        with db.cursor().copy("COPY uploads FROM STDIN") as copy:
            copy.write_row((1, "x"))
    for target in ("down-db", "other-db", "nowhere"):
        assert running.psql("SELECT 1", target=target).returncode != 0
    running.psql("SELECT 1", token="hunter2-is-no-token")
    # The agent, told a wrong password by its secret, and then the right one again.
    good = (cloud.credential / "password").read_text()
    try:
        (cloud.credential / "password").write_text("wrong-" + good[::-1])
        assert running.psql("SELECT 1").returncode != 0
    finally:
        (cloud.credential / "password").write_text(good)
    running.wait_for_agent()
    return running


def test_the_search_finds_what_is_there(used: Any) -> None:
    password = (used.cloud.credential / "password").read_text()
    assert any(shape in data for _, data in files(used.cloud.credential) for shape in shapes(password))
    recorded = b"SELECT email FROM customers"
    sessions = {e.session for e in used.operations() if e.statement == recorded.decode()}
    assert sessions
    used.wait(lambda: any(recorded in data for _, data in files(used.state / "recordings")))
    for session in sessions:
        Recording(used.state / "recordings", session)


def test_the_database_password_is_only_in_its_secret(used: Any) -> None:
    password = (used.cloud.credential / "password").read_text()
    places = shapes(password) | shapes("wrong-" + password[::-1])
    for name in ("gateway", "agent"):
        own = Path(f"/proc/{used.processes[name].pid}")
        assert (own / "cmdline").read_bytes()
        assert not any(shape in (own / "environ").read_bytes() for shape in places)
    found = [where for where, data in processes() if any(shape in data for shape in places)]
    assert found == []
    held = [path for path, data in files(used.folder) if any(shape in data for shape in places)]
    assert held == []
    # In the cloud's folder: the agent's own secret alone.
    inside = {path for path, data in files(used.cloud.folder) if any(shape in data for shape in places)}
    assert inside == {used.cloud.credential / "password"}


def test_tokens_are_nowhere(used: Any) -> None:
    token = used.cloud.bot_token()
    signature = token.rpartition(".")[2]
    for path, data in files(used.folder):
        assert signature.encode() not in data, path
        assert b"hunter2" not in data, path
    # (The client's own process had it in its environment, as psql's users do; the gateway's must not.)
    for name in ("gateway", "agent"):
        for what in ("cmdline", "environ"):
            assert signature.encode() not in Path(f"/proc/{used.processes[name].pid}/{what}").read_bytes()


def test_what_is_kept_is_for_its_owner_alone(used: Any) -> None:
    readable = [
        path
        for path in used.state.rglob("*")
        if path.stat().st_mode & 0o077 and path.is_file() and path.name != "ports.json"
    ]
    folders_closed = used.state.stat().st_mode & 0o077 == 0
    assert readable == [] or folders_closed
