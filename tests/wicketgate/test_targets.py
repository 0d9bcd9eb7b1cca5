"""Targets of each kind in a stack's settings, and what the agent is told of them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from wicketgate.targets import Target

ADAPTER: TypeAdapter[Target] = TypeAdapter(Target)
HTTP = {"kind": "http", "agent": "desk", "address": "https://api.internal/v1"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {
                "kind": "postgres",
                "agent": "desk",
                "address": "db:5432",
                "database": "d",
                "credential": {"secret": "db"},
            },
            {"kind": "postgres", "address": "db:5432", "database": "d", "credential": "/run/db"},
        ),
        (
            {**HTTP, "auth": "bearer", "credential": {"secret": "api"}},
            {"kind": "http", "address": "https://api.internal/v1", "auth": "bearer", "credential": "/run/api"},
        ),
        (
            {**HTTP, "auth": "header", "header": "X-Key", "credential": {"secret": "api"}},
            {"kind": "http", "auth": "header", "header": "X-Key", "credential": "/run/api"},
        ),
        (
            {
                "kind": "kubernetes",
                "agent": "desk",
                "address": "https://k:6443",
                "credential": {"secret": "k"},
                "impersonate": True,
            },
            {"kind": "kubernetes", "address": "https://k:6443", "credential": "/run/k", "impersonate": True},
        ),
        (
            {
                "kind": "ssh",
                "agent": "desk",
                "address": "web:22",
                "hostKeys": ["ssh-ed25519 A"],
                "user": "ops",
                "credential": {"secret": "s"},
            },
            {"kind": "ssh", "address": "web:22", "hostKeys": ["ssh-ed25519 A"], "user": "ops", "credential": "/run/s"},
        ),
    ],
)
def test_what_the_agent_is_told(given: dict[str, Any], told: dict[str, Any]) -> None:
    """The secret's folder stands for the secret."""
    document = ADAPTER.validate_python(given).for_agent("/run").document()
    assert {key: document[key] for key in told} == told


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({**HTTP, "auth": "bearer"}, "`auth` and `credential` go together"),
        ({**HTTP, "auth": "oauth-client", "credential": {"secret": "a"}}, "`tokenUrl` goes with"),
        ({**HTTP, "address": "http://api.internal"}, "must be an https address"),
        ({**HTTP, "database": "d"}, "extra_forbidden"),
        ({**HTTP, "kind": "gopher"}, "kind"),
    ],
)
def test_what_is_wrong_is_said(given: dict[str, Any], said: str) -> None:
    """Before anything is deployed."""
    with pytest.raises(ValidationError) as failed:
        ADAPTER.validate_python(given)
    assert said in str(failed.value)
