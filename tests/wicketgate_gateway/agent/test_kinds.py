"""Each kind of target is served by what is made for it."""

from __future__ import annotations

from wicketgate_gateway.agent import kinds
from wicketgate_gateway.agent.http_target import HttpService
from wicketgate_gateway.agent.target import Target
from wicketgate_gateway.contract.gateway import HttpTarget, KubernetesTarget, PostgresTarget


def test_each_kind_has_its_own() -> None:
    """A union by `kind`, all the way."""
    database = PostgresTarget(kind="postgres", address="db:5432", database="d", credential="/run/x")
    service = HttpTarget(kind="http", address="https://api.internal:8443/v2/")
    cluster = KubernetesTarget(kind="kubernetes", address="https://k:6443", credential="/run/k")
    assert isinstance(kinds.make("a", database), Target)
    made = kinds.make("b", service)
    assert isinstance(made, HttpService)
    assert (made.host, made.port, made.base, made.authority) == ("api.internal", 8443, "/v2", "api.internal:8443")
    assert isinstance(kinds.make("c", cluster), HttpService)
