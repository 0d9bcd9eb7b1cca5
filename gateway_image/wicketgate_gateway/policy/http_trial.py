"""An HTTP request written as text, decided without a server: `GET /orders/7?x=1`, perhaps with headers and a body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.policy.api_operations import Operations
from wicketgate_gateway.policy.engine import TargetPolicy
from wicketgate_gateway.policy.http import ABSENT, RequestPoint
from wicketgate_gateway.policy.http_facts import with_facts
from wicketgate_gateway.wire.http.head import HttpError
from wicketgate_gateway.wire.http.target import parse_target


def point_of(
    text: str,
    headers: Mapping[str, str] | None = None,
    body: Any = ABSENT,
    upgrade: str = "",
    operations: Operations | None = None,
) -> RequestPoint:
    """The request as the gateway understands it. Raises HttpError for what it refuses."""
    method, blank, target = text.partition(" ")
    if not blank or not method.isupper():
        raise HttpError("not a request: write it as `GET /orders/7?x=1`")
    found = parse_target(target)
    values = {name.lower(): (value,) for name, value in (headers or {}).items()}
    operation, may_be = operations.find(method, found.segments) if operations is not None else ("", None)
    return RequestPoint(method, found.segments, found.query, values, body, operation, upgrade, may_be)


def decide(
    policy: TargetPolicy,
    text: str,
    now: float | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    body: Any = ABSENT,
    upgrade: str = "",
    facts: Mapping[str, list[str]] | None = None,
) -> Verdict:
    """The verdict on a request; one that the gateway refuses for its form is denied, as there.

    `facts` are what the audit has of it beside the text: they stand for headers, body and upgrade. Raises
    UndecidableError where rules look at what they do not have.
    """
    try:
        point = point_of(text, headers, body, upgrade, policy.operations)
        if facts is not None:
            point = with_facts(point, facts, policy.rules)
    except HttpError as error:
        return Verdict(Effect.DENY, "builtin:http", error.message, error.remedy, error.code)
    return policy.decide_points([point], point.values(), text, now)
