"""A running issuer."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from wicketgate.testing.certs import client_context
from wicketgate.testing.issuer.server import WorkloadIssuer


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[WorkloadIssuer]:
    with WorkloadIssuer(tmp_path / "issuer") as running:
        yield running


@pytest.fixture
def web(issuer: WorkloadIssuer) -> Iterator[httpx2.Client]:
    context = client_context(issuer.ca_file, system=False)
    with httpx2.Client(base_url=issuer.url, verify=context, trust_env=False) as client:
        yield client
