"""Problem documents."""

from __future__ import annotations

import json

from wicketgate_gateway.wire.http.problem import document


def test_what_is_known_stands_in_it() -> None:
    """Empty members are left out."""
    found = json.loads(document(403, "not-allowed", "no rule allows it", "ask for less", rule="p#1", handle=""))
    assert found == {
        "type": "urn:wicketgate:not-allowed", "title": "Denied by policy", "status": 403, "code": "not-allowed",
        "detail": "no rule allows it", "whatToDo": "ask for less", "rule": "p#1",
    }  # fmt: skip
