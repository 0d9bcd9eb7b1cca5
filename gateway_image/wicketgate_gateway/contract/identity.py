"""Who acts: a bot, an agent or a person, as a verified token and Graph say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class PrincipalKind(StrEnum):
    """What kind of identity a token stands for."""

    BOT = "bot"
    AGENT = "agent"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified identity. Its key is (`tenant`, `object_id`); names are for people to read and decide nothing."""

    kind: PrincipalKind
    tenant: str
    object_id: str
    client_id: str
    name: str
    token_id: str
    """The token's `uti`, which Entra's sign-in log shows too."""
    expires_at: float
    """When the token ends, in seconds since 1970."""
    roles: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    """Object ids of those groups of the policy bundle that it is a member of."""
