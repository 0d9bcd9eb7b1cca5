"""Logs of the gateway's processes: JSON lines on standard error that hold no secrets."""

from __future__ import annotations

import logging
import sys

import structlog


def configure_logging() -> None:
    """JSON lines on stderr. Exceptions are logged without local variables, which could hold secrets."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
