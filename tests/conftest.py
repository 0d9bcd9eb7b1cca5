"""Fixtures that every test may use."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from wicketgate.testing.postgres import PostgresServer


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A real PostgreSQL for the whole run: SCRAM, and TLS where the build has it (`.ca_file` is None where not).

    The roles `login_md5`, `login_password` and `login_trust`, once made, log in by the method of that name.
    """
    methods = [f"host all login_{method} 127.0.0.1/32 {method}" for method in ("md5", "password", "trust")]
    folder: Path = tmp_path_factory.mktemp("postgres")
    with PostgresServer(folder, hba=methods) as server:
        yield server
