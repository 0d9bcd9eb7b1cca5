"""The two directions out of a session: its client's, and its target's."""

from __future__ import annotations

from typing import Protocol


class Ends(Protocol):
    """Where the session's bytes go."""

    def to_client(self, data: bytes) -> None:
        """Send to the client."""
        ...

    def to_target(self, data: bytes) -> None:
        """Send to the target."""
        ...

    def wake(self) -> None:
        """Call `pump` in the next loop turn."""
        ...

    def ended(self, *, terminate: bool) -> None:
        """The session is over; `terminate` says that the target should still be sent a Terminate."""
        ...
