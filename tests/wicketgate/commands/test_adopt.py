"""Adopting writes lines that the stack takes, from what the tenant (the emulator) has."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wicketgate.commands import adopt
from wicketgate.commands.stack_file import open_stack
from wicketgate.testing.entra.server import EntraEmulator
from wicketgate_gateway.contract.errors import WicketgateError

GROUP, APPLICATION = "8d3a6f52-1a0f-4a7e-9a64-2f6f0a6f5b01", "3c5f7c1e-52c5-4e0c-8b0e-6a1b6f1f9d02"
OPEN = "3c5f7c1e-52c5-4e0c-8b0e-6a1b6f1f9d03"
SEED: dict[str, Any] = {
    "groups": [{"displayName": "old-group", "id": GROUP}],
    "applications": [
        {"displayName": "signer", "graphRoles": ["Application.Read.All"], "secrets": [{"secretText": "signer-secret"}]},
        {
            "displayName": "old-pipeline",
            "appId": APPLICATION,
            "signInAudience": "AzureADMyOrg",
            "groups": ["old-group"],
            "secrets": [{"secretText": "old-secret"}],
            "federatedCredentials": [
                {
                    "name": "main",
                    "issuer": "https://token.actions.githubusercontent.com",
                    "subject": "repo:acme/shop:ref:refs/heads/main",
                },
                {"name": "odd", "issuer": "http://plain.example", "subject": "s"},
            ],
        },
        {"displayName": "open", "appId": OPEN, "signInAudience": "AzureADMultipleOrgs"},
    ],
}


@pytest.fixture(scope="module")
def entra() -> Iterator[EntraEmulator]:
    with EntraEmulator(seed=SEED) as emulator:
        yield emulator


@pytest.fixture
def tenant(entra: EntraEmulator, stack: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stack file, for this tenant, with somebody signed in."""
    signer = entra.core.directory.find_by("application", "displayName", "signer")
    assert signer is not None
    where = f"{{authority: {entra.authority}, graph: {entra.graph}, caFile: {entra.ca_file}}}"
    stack.write_text(stack.read_text().replace("config:\n", f"config:\n  wicketgate:entra: {where}\n", 1))
    for name in ("ARM_OIDC_TOKEN", "ARM_OIDC_TOKEN_FILE_PATH", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ARM_TENANT_ID", entra.tenant)
    monkeypatch.setenv("ARM_CLIENT_ID", signer["appId"])
    monkeypatch.setenv("ARM_CLIENT_SECRET", "signer-secret")
    monkeypatch.setenv("GATE_PORT", "5432")
    return stack


def test_a_group_and_then_its_bot_are_taken_in(tenant: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adopt.group("old", group=GROUP, policy=["orders-readonly"], json=True)
    told = json.loads(capsys.readouterr().out)
    assert [one.split("`")[1] for one in told["left"]] == ["old-pipeline"]
    adopt.bot(
        "pipeline", application=APPLICATION, owner="group:platform", group=["old"], expires="2099-01-31", json=True
    )
    told = json.loads(capsys.readouterr().out)
    assert [one.partition(":")[0] for one in told["left"]] == [
        "the federated credential `odd` cannot be adopted",
        "a client secret",
    ]
    written = open_stack(None, tenant).section("bots")["pipeline"]
    (credential,) = written["credentials"]
    assert credential["github"] == {"repository": "acme/shop", "branch": "main"}
    assert written["adopt"] == {"application": APPLICATION, "groups": ["old"]}
    assert "old-secret" not in tenant.read_text()
    assert "# who may use it" in tenant.read_text()


@pytest.mark.parametrize(
    ("application", "code"),
    [(OPEN, "not-adoptable"), ("00000000-0000-4000-8000-000000000009", "unknown")],
)
def test_what_cannot_be_is_told_and_nothing_is_written(tenant: Path, application: str, code: str) -> None:
    before = tenant.read_text()
    with pytest.raises(WicketgateError) as caught:
        adopt.bot("x", application=application, owner="group:g", group=["readers"], expires="2099-01-31")
    assert caught.value.code == code
    assert caught.value.remedy
    with pytest.raises(WicketgateError, match="has no group"):
        adopt.group("x", group="00000000-0000-4000-8000-000000000009", policy=["orders-readonly"])
    assert tenant.read_text() == before
