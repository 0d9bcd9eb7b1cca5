"""Where the gateway's state is, for the verbs that look at it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from wicketgate_gateway.audit import ingest
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.store.base import Connection, is_sqlite
from wicketgate_gateway.store.place import open_store

ENVIRONMENT = "WICKETGATE_STATE"


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which gateway's state; without either, the folder that the environment variable WICKETGATE_STATE names."""

    state: Annotated[Path | None, Parameter(help="The gateway's state folder.")] = None
    config: Annotated[Path | None, Parameter(help="The gateway's `gateway.yaml`, which names the state folder.")] = None

    def folder(self) -> Path:
        """The state folder. Raises WicketgateError if it is not said, or not there."""
        if self.state is not None:
            folder, said = self.state, "--state"
        elif self.config is not None:
            folder, said = _configured(self.config), f"`state` in `{self.config}`"
        elif os.environ.get(ENVIRONMENT):
            folder, said = Path(os.environ[ENVIRONMENT]), ENVIRONMENT
        else:
            raise WicketgateError(
                "which gateway is not said",
                code="state-unknown",
                remedy=f"add `--state FOLDER` or `--config gateway.yaml`, or set {ENVIRONMENT}",
            )
        if not folder.is_dir():
            raise WicketgateError(
                f"there is no state folder `{folder}` ({said})",
                code="state-missing",
                remedy="check the path; a gateway makes the folder when it starts",
            )
        return folder

    def anchors(self) -> list[Path]:
        """The file that seals are anchored in, if the configuration is given and names one."""
        if self.config is None:
            return []
        from wicketgate_gateway.contract.gateway import GatewayConfig
        from wicketgate_gateway.contract.model import read

        anchor = read(GatewayConfig, self.config).audit.anchor
        return [self.config.parent / anchor.file] if anchor is not None and anchor.file is not None else []

    @contextmanager
    def store(self) -> Generator[tuple[Path, Connection]]:
        """The state folder and its audit store, up to date with the journal."""
        folder = self.folder()
        connection = open_store(folder)
        try:
            # A copy of a state folder leads to the same shared store.
            copy = not is_sqlite(connection)
            ingest.catch_up(folder, connection, progress=_Progress().tell, copy=copy)
            yield folder, connection
        finally:
            connection.close()


class _Progress:
    """Says that the journal is being read, if that takes over a second and a person is there."""

    def __init__(self) -> None:
        self._next = time.monotonic() + 1

    def tell(self, events: int) -> None:
        if time.monotonic() >= self._next and sys.stderr.isatty():
            self._next = time.monotonic() + 1
            print(f"reading the journal: {events:,} events", file=sys.stderr)


def _configured(path: Path) -> Path:
    # Only here: the documents' models cost a quarter second to import.
    from wicketgate_gateway.contract.gateway import GatewayConfig
    from wicketgate_gateway.contract.model import read

    return path.parent / read(GatewayConfig, path).state


def gateway_runs(state: Path) -> bool:
    """Whether a gateway holds this state folder's journal, or that of one of its workers."""
    return any(_held(folder) for folder in (state, *sorted(state.glob("workers/*"))))


def _held(state: Path) -> bool:
    import fcntl

    try:
        fd = os.open(ingest.journal_folder(state) / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Held for microseconds; a gateway that starts just now tries again (`journal`).
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
