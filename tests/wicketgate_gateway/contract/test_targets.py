"""Targets by kind: what each needs, and addresses that could lead elsewhere."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from wicketgate_gateway.contract.targets import (
    PROTOCOL_OF,
    AgentTarget,
    HttpAuth,
    HttpTarget,
    KubernetesTarget,
    SshTarget,
    TargetKind,
)

ADAPTER: TypeAdapter[AgentTarget] = TypeAdapter(AgentTarget)


def test_each_kind_is_told_by_its_name() -> None:
    """The union is read by `kind`."""
    http = ADAPTER.validate_python(
        {"kind": "http", "address": "https://api.internal/v2", "auth": "bearer", "credential": "/run/secrets/api"}
    )
    assert isinstance(http, HttpTarget)
    assert http.auth is HttpAuth.BEARER
    cluster = ADAPTER.validate_python({"kind": "kubernetes", "address": "https://k:6443", "credential": "/run/k"})
    assert isinstance(cluster, KubernetesTarget)
    shell = ADAPTER.validate_python(
        {"kind": "ssh", "address": "web:22", "hostKeys": ["ssh-ed25519 AAAA"], "user": "ops", "credential": "/run/s"}
    )
    assert isinstance(shell, SshTarget)
    assert set(PROTOCOL_OF) == set(TargetKind)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "ftp"}, "kind"),
        ({"address": "http://api.internal"}, "must be an https address"),
        ({"address": "https://a@b"}, "must hold no user"),
        ({"address": "https://api/x/../y"}, "perhaps with a plain path"),
        ({"address": "https://api/x%2fy"}, "perhaps with a plain path"),
        ({"address": "https://api/?q=1"}, "perhaps with a plain path"),
        ({"auth": "bearer"}, "`auth` and `credential` go together"),
        ({"credential": "/run/x"}, "`auth` and `credential` go together"),
        ({"auth": "header", "credential": "/run/x"}, "`header` goes with"),
        ({"auth": "bearer", "credential": "/run/x", "header": "X-Key"}, "`header` goes with"),
        ({"auth": "oauth-client", "credential": "/run/x"}, "`tokenUrl` goes with"),
        ({"auth": "cookie", "credential": "/run/x"}, "`loginPath` goes with"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, str], said: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValidationError) as failed:
        ADAPTER.validate_python({"kind": "http", "address": "https://api.internal", **changes})
    assert said in str(failed.value)
