"""Who sees and does what, by role and group; and which header holds a token."""

from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request

from wicketgate_gateway.api.access import Caller, bearer
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.identity.people import Person


def caller(*roles: str, groups: frozenset[str] = frozenset()) -> Caller:
    principal = Principal(PrincipalKind.PERSON, "t", "o", "c", "Dana", "u", 1.0, frozenset(roles), groups)
    return Caller(Person(principal, None), groups)


def held(*groups: str) -> Any:
    return SimpleNamespace(approver_groups=groups, approver_names=groups)


def test_an_approver_sees_what_their_groups_are_asked() -> None:
    dana = caller("Approval.Decide", groups=frozenset({"dba"}))
    assert dana.sees(held("dba", "leads"))
    assert not dana.sees(held("leads"))
    assert not dana.sees(held())
    with pytest.raises(WicketgateError, match="ask `leads`"):
        dana.require_sight(held("leads"))


@pytest.mark.parametrize("role", ["Session.Read", "Gateway.Admin"])
def test_auditors_and_administrators_see_all(role: str) -> None:
    assert caller(role).sees(held("leads"))


def test_roles_do_not_stand_in_for_each_other() -> None:
    caller("Session.Read", "Approval.Decide").require("Approval.Decide")
    with pytest.raises(Refused, match=r"`Gateway\.Admin`"):
        caller("Session.Read", "Approval.Decide").require("Gateway.Admin")


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ([(b"authorization", b"Bearer a.b.c")], "a.b.c"),
        ([(b"authorization", b"bearer a.b.c")], "a.b.c"),
        ([], None),
        ([(b"authorization", b"Bearer")], None),
        ([(b"authorization", b"Bearer ")], None),
        ([(b"authorization", b"Bearer  a.b.c")], None),
        ([(b"authorization", b"Basic a.b.c")], None),
        ([(b"authorization", b"a.b.c")], None),
        ([(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")], None),
        ([(b"x-authorization", b"Bearer a.b.c")], None),
    ],
)
def test_where_a_token_stands(headers: list[tuple[bytes, bytes]], token: str | None) -> None:
    request = Request({"type": "http", "headers": headers})
    if token is not None:
        assert bearer(request) == token
        return
    with pytest.raises(Refused) as error:
        bearer(request)
    assert error.value.code == "token-missing"
