"""Fixtures that every test may use."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
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


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Coroutine tests (`pytest.mark.anyio`) run on the loop that ships."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], Awaitable[None]]:
    """`await eventually(lambda: condition)`: polls until it holds; fails after `seconds` (10)."""

    async def wait(condition: Callable[[], object], seconds: float = 10.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - what is polled here tells of itself by no event
                await asyncio.sleep(0.005)

    return wait
