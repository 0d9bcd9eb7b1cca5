"""Why someone is not let in."""

from __future__ import annotations

from wicketgate_gateway.contract.errors import WicketgateError


class Refused(WicketgateError):  # noqa: N818 - a decision, not a fault
    """An identity that was not accepted. `code` is stable; the text never holds a token or a part of one."""

    code = "refused"

    def __init__(self, code: str, reason: str, remedy: str = "") -> None:
        super().__init__(reason, code=code, remedy=remedy)

    @property
    def reason(self) -> str:
        """What was wrong, in words; lowercase, no full stop."""
        return self.message
