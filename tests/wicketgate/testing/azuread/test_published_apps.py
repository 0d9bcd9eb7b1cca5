"""Well-known applications."""

from wicketgate.testing.azuread.published_apps import PUBLISHED_APPS
from wicketgate.testing.azuread.validators import is_uuid_text


def test_they_are_applications() -> None:
    assert all(is_uuid_text(value) for value in PUBLISHED_APPS.values())
    assert PUBLISHED_APPS["MicrosoftGraph"] == "00000003-0000-0000-c000-000000000000"
