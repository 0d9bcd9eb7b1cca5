"""Logs of the gateway's processes: JSON lines on standard error that hold no secrets."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from typing import TextIO, cast

import structlog


class Unfailing(io.TextIOBase):
    """Standard error as logs need it: a line that cannot be written (the disk is full, nobody reads the pipe) is lost,
    and whoever wrote it goes on, since what refuses an operation on a full disk logs that first."""

    def write(self, text: str, /) -> int:
        """See TextIOBase."""
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        """See TextIOBase."""
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()


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
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", Unfailing())),
        cache_logger_on_first_use=True,
    )
