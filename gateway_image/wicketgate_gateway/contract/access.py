"""Who may do what, by names alone: a stack's policies, groups, bots and targets before any object id is known.

The toolkit makes one from a stack file and its policies; `wicketgate access diff` compares two. No field holds an id,
an address or a credential, so it is known at preview and may stand in a stack's state.
"""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import Field

from wicketgate_gateway.contract.model import Model
from wicketgate_gateway.contract.policy import Policy
from wicketgate_gateway.contract.targets import TargetKind
from wicketgate_gateway.contract.values import Date, Name


class AccessTarget(Model):
    """A target, as far as policies can tell targets apart."""

    kind: Annotated[TargetKind, Field(strict=False)]
    """The protocol."""
    labels: dict[str, str] = Field(default_factory=dict[str, str])
    """Its labels."""


class AccessBot(Model):
    """A bot."""

    owner: str = ""
    """Who answers for it."""
    groups: list[Name] = Field(default_factory=list[Name])
    """The groups that it is in."""
    expires: Date | None = None
    """Its last day (UTC)."""


class AccessPolicy(Policy):
    """A policy, and to whom the stack gives it."""

    groups: list[Name] = Field(default_factory=list[Name])
    """Groups that it applies to."""
    bots: list[Name] = Field(default_factory=list[Name])
    """Bots that it applies to directly."""


class Access(Model):
    """Who may do what."""

    version: int = 1
    policies: list[AccessPolicy]
    """All policies."""
    targets: dict[Name, AccessTarget] = Field(default_factory=dict[str, AccessTarget])
    """Targets by name."""
    bots: dict[str, AccessBot] = Field(default_factory=dict[str, AccessBot])
    """Bots by name."""
    approvers: dict[Name, str] = Field(default_factory=dict[str, str])
    """Groups of people that `hold` rules may name, each with its name in Entra, or its object id."""

    def render(self) -> str:
        """The one canonical form: JSON on one line, sorted keys."""
        return json.dumps(self.document(), separators=(",", ":"), sort_keys=True, ensure_ascii=False)
