"""issuer.json."""

import pytest
from pydantic import ValidationError

from wicketgate.testing.issuer.config import IssuerConfig


def test_the_documented_example() -> None:
    config = IssuerConfig.model_validate_json(
        """{"workflows": [{"name": "quickstart", "subject": "repo:acme/shop:ref:refs/heads/main",
                "claims": {"repository": "acme/shop"}, "audiences": ["api://AzureADTokenExchange"]}],
            "projected": [{"subject": "system:serviceaccount:bots:code-review",
                "audience": "api://AzureADTokenExchange", "path": "/run/bot/token", "lifetime": 3600}]}"""
    )
    assert config.workflows[0].audiences == ["api://AzureADTokenExchange"]
    assert str(config.projected[0].path) == "/run/bot/token"


@pytest.mark.parametrize(
    "text",
    [
        '{"workflow": []}',
        '{"workflows": [{"name": "../x", "subject": "s"}]}',
        '{"workflows": [{"name": "x", "subject": ""}]}',
        '{"workflows": [{"name": "x", "subject": "s", "request_token": "short"}]}',
        '{"projected": [{"subject": "s", "audience": "a", "path": "p", "lifetime": 1}]}',
    ],
)
def test_mistakes_are_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        IssuerConfig.model_validate_json(text)


def test_a_request_token_is_not_printed() -> None:
    text = '{"workflows": [{"name": "x", "subject": "s", "request_token": "0123456789abcdef"}]}'
    config = IssuerConfig.model_validate_json(text)
    assert "0123456789abcdef" not in repr(config)
    with pytest.raises(ValidationError) as refused:
        IssuerConfig.model_validate_json(text.replace('"s"', "5"))
    assert "0123456789abcdef" not in str(refused.value)
