"""What the server lends to a session is what a session asks for."""

from __future__ import annotations

from wicketgate_gateway.server.http_exchange import Served
from wicketgate_gateway.session.exchange import Exchange


def test_the_server_has_it_all() -> None:
    """Each method of the protocol."""
    wanted = {name for name in vars(Exchange) if not name.startswith("_")}
    assert wanted <= set(dir(Served))
