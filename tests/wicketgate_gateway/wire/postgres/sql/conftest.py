"""Both parsers: the native crate (a build) and postgast, its twin."""

from __future__ import annotations

import pytest

from wicketgate_gateway.wire.postgres.sql import parser


@pytest.fixture(params=["twin", pytest.param("native", marks=pytest.mark.build)])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Makes the analysis use one of the two parsers, and names it."""
    name: str = request.param
    if name == "twin":
        monkeypatch.setattr(parser, "_native", None)
    else:
        assert parser.native() is not None, "the native module is missing: uv sync --group native"
    return name
