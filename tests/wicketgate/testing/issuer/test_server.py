"""The issuer as a whole: restarts, a shared authority, the process."""

from pathlib import Path

import httpx2

from wicketgate.testing.certs import client_context
from wicketgate.testing.issuer.config import IssuerConfig
from wicketgate.testing.issuer.server import WorkloadIssuer


def test_address_key_and_request_tokens_survive_a_restart(tmp_path: Path) -> None:
    with WorkloadIssuer(tmp_path / "i", ca_dir=tmp_path / "ca") as first:
        _, request_token = first.allow("ci", "s")
        seen = (first.url, first.key.kid, first.ca_file.read_text(), request_token)
    with WorkloadIssuer(tmp_path / "i", ca_dir=tmp_path / "ca") as again:
        _, request_token = again.allow("ci", "s")
        assert (again.url, again.key.kid, again.ca_file.read_text(), request_token) == seen
        assert again.ca_file == tmp_path / "ca" / "ca.pem"


def test_a_configured_request_token_is_taken_and_not_written(tmp_path: Path) -> None:
    token = "0123456789abcdef0123"
    config = IssuerConfig.model_validate({"workflows": [{"name": "ci", "subject": "s", "request_token": token}]})
    with WorkloadIssuer(tmp_path / "i", config=config) as issuer:
        context = client_context(issuer.ca_file, system=False)
        answer = httpx2.get(
            f"{issuer.token_request_url}&audience=a",
            headers={"Authorization": f"Bearer {token}"},
            verify=context,
            trust_env=False,
        )
        assert answer.status_code == 200
        assert not (issuer.state / "requests" / "ci.token").exists()
