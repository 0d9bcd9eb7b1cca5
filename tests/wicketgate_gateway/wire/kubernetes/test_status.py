"""What clients print."""

from __future__ import annotations

import json

from wicketgate_gateway.wire.kubernetes.status import status, warning


def test_a_status() -> None:
    """As the API server's own."""
    told = json.loads(status(403, "no", cause="not-allowed"))
    assert (told["kind"], told["reason"], told["code"], told["message"]) == ("Status", "Forbidden", 403, "no")
    assert told["details"]["causes"][0]["reason"] == "not-allowed"
    assert json.loads(status(429, "wait", retry_after=30))["details"]["retryAfterSeconds"] == 30


def test_a_warning_cannot_break_out_of_its_header() -> None:
    """Quotes are escaped, all that is not plain becomes `?`."""
    assert warning('a "b"\r\nX: y ü') == '299 - "a \\"b\\"??X: y ?"'
