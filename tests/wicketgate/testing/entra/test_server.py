"""The emulator as a whole: restarts, shared authorities, what it writes."""

import json
import ssl
import stat
from pathlib import Path

import httpx2
import pytest
from starlette.requests import Request

from wicketgate.testing.certs import client_context
from wicketgate.testing.entra import server
from wicketgate.testing.entra.seed import SeedError
from wicketgate.testing.entra.server import EntraEmulator
from wicketgate.testing.issuer.server import WorkloadIssuer


def test_state_address_and_keys_survive_a_restart(tmp_path: Path) -> None:
    seed = {"groups": [{"displayName": "kept"}], "applications": [{"displayName": "a"}]}
    with EntraEmulator(tmp_path / "e", seed=seed) as first:
        token = first.graph_token()
        seen = (first.url, first.ca_file.read_bytes(), first.admin_key_file.read_text(), first.core.keys.current.kid)
        context = client_context(first.ca_file, system=False)
        headers = {"Authorization": f"Bearer {token}"}
        with httpx2.Client(base_url=first.url, verify=context, headers=headers, trust_env=False) as web:
            made = web.post("/v1.0/applications", json={"displayName": "made"}).json()
    with EntraEmulator(tmp_path / "e", seed=seed) as again:
        assert (
            again.url,
            again.ca_file.read_bytes(),
            again.admin_key_file.read_text(),
            again.core.keys.current.kid,
        ) == seen
        with httpx2.Client(base_url=again.url, verify=context, headers=headers, trust_env=False) as web:
            assert web.get(f"/v1.0/applications/{made['id']}").json()["displayName"] == "made"
            assert len(web.get("/v1.0/groups").json()["value"]) == 1


def test_one_authority_for_issuer_and_emulator(tmp_path: Path) -> None:
    with (
        WorkloadIssuer(tmp_path / "i", ca_dir=tmp_path / "ca") as issuer,
        EntraEmulator(tmp_path / "e", ca_dir=tmp_path / "ca") as entra,
    ):
        assert entra.ca_file == issuer.ca_file
        entra.seed({"deployer": {"federatedCredentials": [{"name": "one", "issuer": issuer.url, "subject": "s"}]}})
        deployer = entra.core.directory.find_by("application", "displayName", "wicketgate-deployer")
        assert deployer is not None
        form = {
            "grant_type": "client_credentials",
            "client_id": deployer["appId"],
            "client_assertion": issuer.token("s", "api://AzureADTokenExchange"),
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "scope": f"{entra.graph}/.default",
        }
        context = ssl.create_default_context(cafile=str(entra.bundle_file))
        answer = httpx2.post(
            f"{entra.url}/{entra.tenant}/oauth2/v2.0/token", data=form, verify=context, trust_env=False
        )
        assert answer.status_code == 200


def test_secrets_on_disk_are_private(tmp_path: Path) -> None:
    with EntraEmulator(tmp_path / "e") as entra:
        assert stat.S_IMODE(entra.state.stat().st_mode) == 0o700
        for file in (
            entra.admin_key_file,
            entra.state / "emulator.db",
            entra.leaf.key_file,
            entra.state / "ca" / "ca.key",
        ):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
        entra.write_description()
        described = json.loads((entra.state / "emulator.json").read_text())
        assert described["url"] == described["graph"] == described["authority"] == entra.url
        assert entra.admin_key_file.read_text() not in json.dumps(described)


def test_memory_state_leaves_nothing() -> None:
    with EntraEmulator() as entra:
        folder = entra.state
        assert folder.exists()
    assert not folder.exists()


def test_a_failed_start_lets_the_folder_go(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(SeedError):
            EntraEmulator(tmp_path / "e", seed={"people": []})
    with EntraEmulator(tmp_path / "e"), pytest.raises(OSError, match="in use"):
        EntraEmulator(tmp_path / "e")


def test_a_tenant_must_be_a_guid(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="badly formed"):
        EntraEmulator(tmp_path / "e", tenant="contoso")


@pytest.mark.anyio
async def test_a_bug_is_501_and_names_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    request = Request({"type": "http", "method": "GET", "path": "/v1.0/x", "headers": [], "query_string": b"",
                       "server": ("localhost", 1), "scheme": "https"})  # fmt: skip
    answer = await server.report_bug(request, RuntimeError("boom"))
    assert answer.status_code == 501
    assert b"EmulatorBug" in answer.body
    assert b"boom" not in answer.body
    assert "boom" in capsys.readouterr().err
