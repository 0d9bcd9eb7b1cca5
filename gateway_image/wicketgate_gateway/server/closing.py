"""The end of a client's connection: what was written still goes out, for as long as the client takes any of it."""

from __future__ import annotations

import asyncio
from typing import Any

STALL_SECONDS = 30.0
"""How long a client may take nothing of what waits for it before the connection is broken off."""
SHUTDOWN_SECONDS = 300.0
"""How long the end may take in all (`ssl_shutdown_timeout`)."""


def close(transport: Any) -> None:
    """Close a transport once all is out. It is broken off when nothing went out for `STALL_SECONDS`."""
    if transport.is_closing():
        return
    loop = asyncio.get_running_loop()
    transport.close()
    loop.call_later(STALL_SECONDS, _look, loop, transport, transport.get_write_buffer_size())


def _look(loop: asyncio.AbstractEventLoop, transport: Any, before: int) -> None:
    left = transport.get_write_buffer_size()
    if 0 < left < before:
        loop.call_later(STALL_SECONDS, _look, loop, transport, left)
    else:
        transport.abort()
