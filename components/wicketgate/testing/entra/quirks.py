"""Entra's less pleasant habits as switches, settable at start and at run time."""

import dataclasses
import threading
from dataclasses import dataclass
from typing import Any, Literal, get_args

GroupsClaim = Literal["real", "none", "present", "overage"]
SamlSigning = Literal["assertion", "response", "both"]
_CHOICES = {"groups_claim": GroupsClaim, "saml_signing": SamlSigning}


class QuirkError(ValueError):
    """An unknown quirk, or a value it cannot take."""


@dataclass
class Quirks:
    """All switches, at the values of a tenant on a good day. Times in seconds, counters count down to 0."""

    replication_lag: float = 0.0
    """For so long after its creation an object is not found (404), nor listed, nor usable in a relation."""
    fic_lag: float = 0.0
    """For so long after its creation a federated credential does not match yet (AADSTS700211)."""
    assignment_lag: float = 0.0
    """For so long after its creation an app-role assignment is not in tokens yet."""
    fic_write_seconds: float = 0.05
    """How long a write to a federated credential takes; another write to the same application meanwhile gets 409."""
    throttle_next: int = 0
    """So many coming Graph requests get 429."""
    throttle_login_next: int = 0
    """So many coming token requests get 429."""
    retry_after: int = 1
    """The Retry-After of these."""
    fail_next: int = 0
    """So many coming Graph requests get `fail_status`."""
    fail_status: int = 503
    """The status of these."""
    stray_700213_next: int = 0
    """So many coming exchanges of a matching federated assertion fail with AADSTS700213 all the same."""
    groups_claim: GroupsClaim = "real"
    """`real`: as the API's groupMembershipClaims says, and never for bots. `none`: never. `present`: bots get it as
    well. `overage`: the overage marker instead of it, for both."""
    saml_signing: SamlSigning = "assertion"
    """What of a SAML answer is signed, as the portal's signing option says."""
    clock_skew: float = 0.0
    """Added to the times in tokens: positive means that the tenant's clock is ahead."""
    token_lifetime: int = 0
    """Lifetime of access tokens; 0 means a random 60-90 minutes, as Entra's."""
    hide_service_principals: bool = True
    """v1.0 `groups/{id}/members` leaves out service principals."""
    enforce_permissions: bool = False
    """Graph checks the caller's permissions (403)."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def update(self, changes: dict[str, Any]) -> None:
        """Sets several switches, all or none. Raises QuirkError."""
        fields = {field.name: field for field in dataclasses.fields(self)}
        for name, value in changes.items():
            if name not in fields:
                raise QuirkError(f"there is no quirk `{name}`; there are: {', '.join(sorted(fields))}")
            _check(name, getattr(Quirks, name), value)
        with self._lock:
            for name, value in changes.items():
                setattr(self, name, value)

    def take(self, counter: str) -> bool:
        """Whether the counter was above 0; counts it down."""
        with self._lock:
            left: int = getattr(self, counter)
            if left <= 0:
                return False
            setattr(self, counter, left - 1)
            return True

    def as_dict(self) -> dict[str, Any]:
        """All switches by name."""
        return dataclasses.asdict(self)


def _check(name: str, default: object, value: object) -> None:
    if name in _CHOICES:
        good = value in get_args(_CHOICES[name])
    elif isinstance(default, bool):
        good = isinstance(value, bool)
    elif isinstance(default, int):
        good = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    else:
        good = isinstance(value, int | float) and not isinstance(value, bool)
        good = good and (name == "clock_skew" or float(str(value)) >= 0)
    if not good:
        raise QuirkError(f"quirk `{name}` cannot be {value!r}")
