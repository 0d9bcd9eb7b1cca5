"""A typing error must not pass for a kill."""

from types import SimpleNamespace
from typing import Any

import pytest

from wicketgate_gateway.api.names import Names
from wicketgate_gateway.approvals.model import Scope
from wicketgate_gateway.contract.errors import WicketgateError

BOT, ONE, TWO = (f"00000000-0000-4000-8000-00000000000{n}" for n in (1, 2, 3))


@pytest.fixture
def names() -> Names:
    policies: Any = SimpleNamespace(
        bots={BOT: SimpleNamespace(name="code-review")},
        bundle=SimpleNamespace(
            policies=[SimpleNamespace(groups={ONE: "reviewers", TWO: "twins"}), SimpleNamespace(groups={BOT: "twins"})]
        ),
    )
    config: Any = SimpleNamespace(targets={"orders-db": None})
    return Names(config, lambda: policies)


def test_names_and_object_ids(names: Names) -> None:
    assert names.of_kill(Scope.BOT, "code-review") == BOT
    assert names.of_kill(Scope.BOT, TWO) == TWO  # one that the bundle no longer names can be killed, too
    assert names.of_kill(Scope.GROUP, "reviewers") == ONE
    assert names.of_kill(Scope.TARGET, "orders-db") == "orders-db"
    assert names.of_kill(Scope.ALL, "") == ""
    assert names.shown(Scope.BOT, BOT) == "code-review"
    assert names.shown(Scope.GROUP, ONE) == "reviewers"
    assert names.shown(Scope.BOT, TWO) == TWO


@pytest.mark.parametrize(
    ("scope", "value", "code"),
    [
        (Scope.BOT, "code-revew", "bot-unknown"),
        (Scope.BOT, "", "bot-unknown"),
        (Scope.GROUP, "reviewer", "group-unknown"),
        (Scope.GROUP, "twins", "group-ambiguous"),
        (Scope.TARGET, "orders", "target-unknown"),
    ],
)
def test_unknown_ones(names: Names, scope: Scope, value: str, code: str) -> None:
    with pytest.raises(WicketgateError) as error:
        names.of_kill(scope, value)
    assert error.value.code == code
