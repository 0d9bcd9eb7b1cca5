"""The document on who may do what: one form, nothing unknown in it."""

import pytest
from pydantic import ValidationError

from wicketgate_gateway.contract.access import Access

DOCUMENT = {
    "policies": [
        {
            "policy": "readers",
            "targets": ["orders-db"],
            "groups": ["reviewers"],
            "rules": [{"allow": {"sql": {"statements": ["read"]}}}],
        }
    ],
    "targets": {"orders-db": {"kind": "postgres"}},
    "bots": {"code-review": {"owner": "group:team", "groups": ["reviewers"], "expires": "2027-06-30"}},
}


def test_the_form_does_not_hang_on_the_order() -> None:
    turned = {key: DOCUMENT[key] for key in reversed(DOCUMENT)}
    text = Access.model_validate(DOCUMENT).render()
    assert text == Access.model_validate(turned).render()
    assert "\n" not in text
    assert Access.model_validate_json(text).render() == text


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(ValidationError):
        Access.model_validate({**DOCUMENT, "address": "db.internal:5432"})
