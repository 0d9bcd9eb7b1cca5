from dataclasses import FrozenInstanceError

import pytest

from wicketgate_gateway.contract.identity import Principal, PrincipalKind


def test_a_principal_has_no_groups_unless_told_and_cannot_get_any():
    principal = Principal(PrincipalKind.BOT, "tenant", "oid", "client", "name", "uti", 1.0)
    assert principal.groups == principal.roles == frozenset()
    with pytest.raises(FrozenInstanceError):
        principal.groups = frozenset({"admins"})  # pyright: ignore[reportAttributeAccessIssue]
    assert hash(principal) == hash(Principal(PrincipalKind.BOT, "tenant", "oid", "client", "name", "uti", 1.0))
