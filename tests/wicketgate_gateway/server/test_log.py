"""Logs are JSON lines on standard error."""

import json
import sys

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


def test_a_log_that_cannot_be_written_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, _: str) -> int:
            raise OSError(28, "No space left on device")

        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    try:
        monkeypatch.setattr(sys, "stderr", Full())
        configure_logging()
        structlog.get_logger("x").error("told", code="c")
    finally:
        structlog.reset_defaults()
