"""What gateway and agent say to each other in control frames (MessagePack)."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from wicketgate_gateway.contract.catalogue import Catalogue


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """Base of the control messages."""


class Hello(Message, frozen=True, kw_only=True, tag="hello"):
    """Agent to gateway, first, and again before the token ends: who I am and what I offer."""

    agent: str
    token: str
    """Entra access token for the gateway's audience, with the role `Agent.Connect`."""
    targets: list[str]
    version: int = 1


class Welcome(Message, frozen=True, kw_only=True, tag="welcome"):
    """Gateway to agent: the tunnel is up."""

    gateway: str


class Rejected(Message, frozen=True, kw_only=True, tag="rejected"):
    """Gateway to agent, before closing: why not."""

    code: str
    reason: str


class Open(Message, frozen=True, kw_only=True, tag="open"):
    """Gateway to agent: log in to `target` for this bot. `parameters` are the client's start-up parameters."""

    target: str
    bot: str
    session: str
    parameters: dict[str, str]


class Opened(Message, frozen=True, kw_only=True, tag="opened"):
    """Agent to gateway: logged in; data frames may flow. `parameters` are the server's ParameterStatus values."""

    parameters: dict[str, str]


class Failed(Message, frozen=True, kw_only=True, tag="failed"):
    """Agent to gateway: no log-in. `reason` never holds credentials, nor the target's own words about them."""

    code: str
    reason: str
    sqlstate: str = "08006"


class Cancel(Message, frozen=True, kw_only=True, tag="cancel"):
    """Gateway to agent: ask the target to cancel what this stream's session runs."""


class CatalogueUpdate(Message, frozen=True, kw_only=True, tag="catalogue"):
    """Agent to gateway: the target's catalogue, at the start and whenever it changed."""

    target: str
    catalogue: Catalogue


class CatalogueRefresh(Message, frozen=True, kw_only=True, tag="catalogue-refresh"):
    """Gateway to agent: read the catalogue again soon (an unknown relation was seen)."""

    target: str


Control: TypeAlias = Hello | Welcome | Rejected | Open | Opened | Failed | Cancel | CatalogueUpdate | CatalogueRefresh
