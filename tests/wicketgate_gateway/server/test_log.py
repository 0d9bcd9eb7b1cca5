"""Logs are JSON lines on standard error."""

import json

import pytest
import structlog

from wicketgate_gateway.server.log import configure_logging


def test_a_line_is_json(capfd: pytest.CaptureFixture[str]) -> None:
    try:
        configure_logging()
        structlog.get_logger("x").warning("told", code="c")
        line = json.loads(capfd.readouterr().err)
        assert (line["event"], line["code"], line["level"]) == ("told", "c", "warning")
    finally:
        structlog.reset_defaults()
