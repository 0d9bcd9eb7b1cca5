"""The verdict on one operation."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Effect(StrEnum):
    """What happens to an operation; `deny` beats `hold` beats `allow`."""

    ALLOW = "allow"
    HOLD = "hold"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One decision, with what a person (or a model) needs to understand it."""

    effect: Effect
    rule: str
    """The deciding rule, as `policy#3` (rules count from 1), or `builtin:NAME`."""
    reason: str = ""
    """Why it was denied, in words a model can act on. Lowercase, no full stop."""
    remedy: str = ""
    """What to do instead."""
    code: str = ""
    """Machine-readable reason, kebab-case, for denials."""
    masks: Any = None
    """The compiled masks that apply to the answer, or None; opaque to all but `masking`."""
    record: str = "full"

    @property
    def allowed(self) -> bool:
        """True only for `allow`."""
        return self.effect is Effect.ALLOW
