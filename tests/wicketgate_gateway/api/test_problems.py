"""Errors in HTTP: the status, what to do, and nothing of what was sent."""

import json

import pytest
from fastapi import Request
from fastapi.exceptions import RequestValidationError

from wicketgate_gateway.api import problems
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.identity.errors import Refused


@pytest.mark.parametrize(
    ("error", "status", "challenge"),
    [
        (Refused("token-missing", "there is no token"), 401, "Bearer"),
        (Refused("bad-signature", "wrong"), 401, 'Bearer error="invalid_token"'),
        (Refused("sign-in-too-old", "old"), 401, 'Bearer error="insufficient_user_authentication"'),
        (Refused("role-missing", "no"), 403, None),
        (Refused("graph-unavailable", "down"), 503, None),
        (WicketgateError("no", code="hold-unknown"), 404, None),
        (WicketgateError("no", code="something-new"), 500, None),
    ],
)
def test_statuses(error: WicketgateError, status: int, challenge: str | None) -> None:
    answer = problems.of_error(error)
    assert (answer.status_code, answer.headers.get("www-authenticate")) == (status, challenge)
    assert answer.media_type == "application/problem+json"
    assert json.loads(bytes(answer.body))["code"] == error.code


@pytest.mark.anyio
async def test_neither_input_nor_a_defects_text_is_repeated() -> None:
    request = Request({"type": "http"})
    wrong = {"loc": ("body", "seal"), "msg": "bad", "input": "SECRET", "type": "x"}
    for answer in (
        await problems.on_invalid(request, RequestValidationError([wrong])),
        await problems.on_defect(request, RuntimeError("SECRET")),
    ):
        assert b"SECRET" not in bytes(answer.body)
