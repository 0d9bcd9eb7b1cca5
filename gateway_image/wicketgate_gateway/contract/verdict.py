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
class HoldTerms:
    """What must happen before a held operation may run. All times in seconds."""

    rule: str
    """The rules that hold it: `policy#3`, several joined by `+`. Part of what an approval is bound to."""
    approver_groups: tuple[str, ...]
    """Object ids; a member of any of them may approve."""
    approver_names: tuple[str, ...]
    """Their names, in the same order."""
    quorum: int = 1
    """How many different people must approve."""
    within: float = 600.0
    """How long the request stands unanswered."""
    use_within: float = 600.0
    """How long an approval may be used."""
    wait: float = 60.0
    """How long the client waits."""
    reason_required: bool = False
    """Whether the bot must say why."""
    reuse: float | None = None
    """How long an approval serves the same operation again and again; None: it serves one run."""
    count: bool = False
    """Whether approvers see the row count of a run that is rolled back."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One decision, with what a person (or a model) needs to understand it."""

    effect: Effect
    rule: str
    """The deciding rule, as `policy#3` (rules count from 1), or `builtin:NAME`."""
    reason: str = ""
    """Why it was denied or held, in words a model can act on. Lowercase, no full stop."""
    remedy: str = ""
    """What to do instead."""
    code: str = ""
    """Machine-readable reason, kebab-case, for denials."""
    masks: Any = None
    """The compiled masks that apply to the answer, or None; opaque to all but `masking`."""
    record: str = "full"
    hold: HoldTerms | None = None
    """What a held operation waits for; set exactly if `effect` is `hold`."""

    @property
    def allowed(self) -> bool:
        """True only for `allow`."""
        return self.effect is Effect.ALLOW
