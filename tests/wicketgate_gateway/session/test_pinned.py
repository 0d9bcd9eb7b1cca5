"""A session in which a setting changes that decisions stand on must end."""

import pytest

from wicketgate_gateway.session.pinned import PinnedSettings
from wicketgate_gateway.session.session import SessionOverError
from wicketgate_gateway.wire.postgres.messages import ProtocolError

GOOD = {
    "standard_conforming_strings": "on",
    "client_encoding": "UTF8",
    "search_path": "app, public",
    "is_superuser": "off",
    "session_authorization": "app",
}


@pytest.mark.parametrize("bad", [{"standard_conforming_strings": "off"}, {"client_encoding": "LATIN1"}])
def test_a_server_that_is_not_as_pinned(bad: dict[str, str]) -> None:
    with pytest.raises(ProtocolError):
        PinnedSettings({**GOOD, **bad})
    with pytest.raises(ProtocolError):
        PinnedSettings({k: v for k, v in GOOD.items() if k not in bad})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("standard_conforming_strings", "off"),
        ("client_encoding", "SQL_ASCII"),
        ("search_path", "evil, public"),
        ("search_path", '"$user", public'),
        ("session_authorization", "postgres"),
        ("is_superuser", "on"),
    ],
)
def test_changes_that_end_it(name: str, value: str) -> None:
    with pytest.raises(SessionOverError, match=name):
        PinnedSettings(GOOD).reported(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("search_path", ""), ("search_path", "pg_catalog"), ("search_path", "app, public"), ("TimeZone", "UTC")],
)
def test_changes_that_do_not(name: str, value: str) -> None:
    PinnedSettings(GOOD).reported(name, value)


def test_without_a_path_no_bare_name_means_anything() -> None:
    assert PinnedSettings({k: v for k, v in GOOD.items() if k != "search_path"}).search_path == ""
