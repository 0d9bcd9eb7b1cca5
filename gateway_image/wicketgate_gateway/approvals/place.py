"""Which control store a gateway's configuration means: the same for every process that reads it."""

from __future__ import annotations

from pathlib import Path

from wicketgate_gateway.approvals.database import default_url
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import ControlStore, GatewayConfig

_MAX_URL = 4096


def store_url(config: GatewayConfig) -> str:
    """The store's URL, for `open_store`: from `control.urlFile`, else SQLite in the state folder.

    Raises WicketgateError (`store-url-unreadable`), without what the file holds.
    """
    return url_of(config.control, Path(config.state))


def url_of(control: ControlStore, state: Path) -> str:
    """The same, for a process that has only these parts of the configuration."""
    path = control.url_file
    if path is None:
        return default_url(state)
    try:
        with open(path, encoding="utf-8") as file:
            url = file.read(_MAX_URL + 1).strip()
    except (OSError, UnicodeDecodeError):
        url = ""
    if not url or len(url) > _MAX_URL or any(c.isspace() for c in url):
        raise WicketgateError(
            f"`{path}` does not hold the URL of the control store",
            code="store-url-unreadable",
            remedy="write `postgresql+asyncpg://USER:PASSWORD@HOST/DATABASE` into it, readable for the gateway",
        )
    return url
