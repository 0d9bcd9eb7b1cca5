"""The table is consistent: every token can be compiled, starts where its trigger says, and belongs to a detector."""

import re

import pytest

from wicketgate_gateway.contract.policy import BUILT_IN_DETECTORS
from wicketgate_gateway.masking.detectors_table import CLASSES, COUNTRIES, ISSUERS, TOKENS, Token


def test_every_detector_has_tokens_and_none_has_others() -> None:
    assert {token.detector for token in TOKENS} == set(BUILT_IN_DETECTORS)


@pytest.mark.parametrize("token", TOKENS, ids=lambda token: token.trigger[:40])
def test_tokens(token: Token) -> None:
    re.compile(token.trigger.encode())
    assert token.matcher in ("steps", "card", "iban", "email", "phone", "pem")
    assert bool(token.steps) == (token.matcher == "steps")
    for step in token.steps:
        assert isinstance(step, bytes) or (step[0] in CLASSES and 0 <= step[1] <= step[2])
    assert token.shown < max(1, len(token.steps))


def test_no_token_is_there_twice() -> None:
    triggers = [token.trigger for token in TOKENS]
    assert len(set(triggers)) == len(triggers)


def test_countries_and_issuers() -> None:
    assert COUNTRIES["DE"] == 22
    assert COUNTRIES["NO"] == 15
    assert all(15 <= length <= 33 for length in COUNTRIES.values())
    assert all(100_000 <= first <= last <= 999_999 and lengths >> 13 for first, last, lengths in ISSUERS)
