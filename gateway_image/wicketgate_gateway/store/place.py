"""Which audit store a state folder's journal goes to: SQLite in the folder, or PostgreSQL by a URL in a file.

How this works: the gateway notes in `<state>/audit-store.json` where the URL stands (never the URL: it may hold a
password), so that every process and verb that is told the state folder finds the same store. `<state>/journal-id` is a
random name for this journal, by which a store that many gateways share tells them apart.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from pathlib import Path

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.keeping import AuditStore
from wicketgate_gateway.recording import format as fmt
from wicketgate_gateway.recording.files import FILE_MODE, make_folder
from wicketgate_gateway.recording.ids import new_session_id
from wicketgate_gateway.store import postgres, sqlite
from wicketgate_gateway.store.base import FAILURES, Connection, StoreError, Writer

WHERE = "audit-store.json"
JOURNAL_ID = "journal-id"
_MAX_URL = 4096


def remember(state: Path, setting: AuditStore) -> None:
    """Note which store the journal in this folder goes to. Raises OSError."""
    make_folder(state)
    path = state / WHERE
    if setting.url_file is None:
        path.unlink(missing_ok=True)
        return
    new = state / f".{WHERE}.new"
    new.write_text(json.dumps({"urlFile": str(Path(setting.url_file).absolute())}) + "\n")
    new.replace(path)


def _url(state: Path) -> str | None:
    """The store's URL; None for SQLite."""
    try:
        where = Path(str(json.loads((state / WHERE).read_bytes())["urlFile"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"`{state / WHERE}` cannot be read: {type(error).__name__}", remedy="restart the gateway, which writes it"
        ) from None
    try:
        with where.open(encoding="utf-8") as file:
            url = file.read(_MAX_URL + 1).strip()
    except (OSError, UnicodeDecodeError):
        url = ""
    if not url or len(url) > _MAX_URL or any(c.isspace() for c in url):
        raise WicketgateError(
            f"`{where}` does not hold the URL of the audit store",
            code="store-url-unreadable",
            remedy="write `postgresql://USER:PASSWORD@HOST/DATABASE` into it, readable for the gateway",
        )
    return url


def journal_id(state: Path) -> str:
    """The random name of this folder's journal, made once. Raises OSError."""
    path = state / JOURNAL_ID
    with contextlib.suppress(FileNotFoundError):
        return path.read_text("ascii").strip()
    new = state / f".{JOURNAL_ID}.{os.getpid()}-{new_session_id()}"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    with os.fdopen(fd, "w") as file:
        file.write(new_session_id() + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        # Whoever links first has named it.
        with contextlib.suppress(FileExistsError):
            os.link(new, path)
    finally:
        new.unlink()
    return path.read_text("ascii").strip()


def own_journal(state: Path) -> str:
    """What `SessionRow.journal` is for this folder's sessions. Raises OSError."""
    return journal_id(state) if (state / WHERE).exists() else ""


def open_store(state: Path) -> Connection:
    """Open (and make, and migrate) the store of a state folder. Raises WicketgateError (`store-failed`, `store-newer`,
    `store-url-unreadable`, `store-url-invalid`)."""
    url = _url(state)
    return sqlite.connect(sqlite.database(state)) if url is None else postgres.connect(url)


def open_reader(state: Path) -> Connection | None:
    """Open the store to read alone, making and changing nothing; None if it was not made yet.

    Raises one of `base.FAILURES`, or WicketgateError as `open_store`.
    """
    url = _url(state)
    if url is not None:
        return postgres.connect(url, migrate=False)
    path = sqlite.database(state)
    if not path.exists():
        return None
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=2)


def writer(state: Path, connection: Connection) -> Writer:
    """What writes this folder's journal into an open store. Raises OSError."""
    if isinstance(connection, postgres.PostgresConnection):
        return postgres.PostgresWriter(connection, journal_id(state), fmt.GENESIS)
    assert isinstance(connection, sqlite3.Connection)
    return sqlite.SqliteWriter(connection, fmt.GENESIS)


def own(state: Path, connection: Connection) -> tuple[str, tuple[str, ...]]:
    """A condition on rows of `events`, `sessions` and `journal_position`: that they are of this folder's journal, and
    its values. Raises OSError."""
    if isinstance(connection, postgres.PostgresConnection):
        return "journal = ?", (journal_id(state),)
    return "1 = 1", ()


def purge_statements(connection: Connection) -> None:
    """Delete the texts that no event has any more, within a transaction. Raises one of `base.FAILURES`."""
    if isinstance(connection, postgres.PostgresConnection):
        postgres.purge_statements(connection)
    else:
        assert isinstance(connection, sqlite3.Connection)
        sqlite.purge_statements(connection)


def empty(state: Path) -> int:
    """Delete all that the store has of this folder's journal, so that it is built again from the start; gives how many
    events that were. Raises one of `base.FAILURES`, or WicketgateError as `open_store`.

    What a store cannot get back: events whose journal files retention has deleted. It deletes those of the store, too.
    """
    connection = open_store(state)
    try:
        ours, values = own(state, connection)
        connection.execute("BEGIN IMMEDIATE" if isinstance(connection, sqlite3.Connection) else "BEGIN")
        try:
            query = f"SELECT count(*) FROM events WHERE {ours}"  # noqa: S608 - built of constants
            count = int(connection.execute(query, values).fetchone()[0])
            for table in ("journal_position", "events", "sessions"):
                connection.execute(f"DELETE FROM {table} WHERE {ours}", values)  # noqa: S608 - built of constants
            purge_statements(connection)
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(*FAILURES):
                connection.execute("ROLLBACK")
            raise
        return count
    finally:
        connection.close()
