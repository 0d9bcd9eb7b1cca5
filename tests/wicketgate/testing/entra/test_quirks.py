"""The switches."""

import pytest

from wicketgate.testing.entra.quirks import QuirkError, Quirks


def test_all_or_none() -> None:
    quirks = Quirks()
    with pytest.raises(QuirkError, match="no quirk `speling`"):
        quirks.update({"replication_lag": 5, "speling": 1})
    assert quirks.as_dict() == Quirks().as_dict()
    quirks.update(
        {"replication_lag": 5, "groups_claim": "overage", "clock_skew": -30, "hide_service_principals": False}
    )
    assert (quirks.replication_lag, quirks.groups_claim, quirks.clock_skew) == (5, "overage", -30)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("replication_lag", -1),
        ("replication_lag", "5"),
        ("replication_lag", True),
        ("throttle_next", 1.5),
        ("throttle_next", -1),
        ("groups_claim", "sometimes"),
        ("hide_service_principals", 1),
        ("clock_skew", None),
    ],
)
def test_values_are_checked(name: str, value: object) -> None:
    with pytest.raises(QuirkError, match=f"quirk `{name}` cannot be"):
        Quirks().update({name: value})


def test_counters_count_down() -> None:
    quirks = Quirks(throttle_next=2)
    assert [quirks.take("throttle_next") for _ in range(3)] == [True, True, False]
    assert quirks.throttle_next == 0
