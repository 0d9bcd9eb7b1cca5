"""An exported state is checked by the rules of the policy pack."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from wicketgate_gateway.cli.main import run

FEDERATED = "azuread:index/applicationFederatedIdentityCredential:ApplicationFederatedIdentityCredential"


def state(*inputs: dict[str, Any]) -> str:
    resources = [
        {"urn": f"urn:pulumi:dev::x::{FEDERATED}::fic-{i}", "type": FEDERATED, "inputs": each}
        for i, each in enumerate(inputs)
    ]
    return json.dumps(
        {
            "version": 3,
            "deployment": {"resources": [{"urn": "urn:x::stack", "type": "pulumi:pulumi:Stack"}, *resources]},
        }
    )


GOOD = {"issuer": "https://issuer", "subject": "system:serviceaccount:shop:review"}
BAD = {"issuer": "http://issuer", "subject": "system:serviceaccount:shop:default"}
ADVICE = {"issuer": "https://issuer", "subject": "repo:acme/shop:ref:refs/heads/main"}


def test_a_state_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "state.json"
    file.write_text(state(GOOD, ADVICE))
    assert run(["guardrails", "check", str(file)]) == 0
    assert "advice  lasting-names  fic-1:" in capsys.readouterr().out
    file.write_text(state(GOOD, BAD))
    assert run(["guardrails", "check", str(file), "--json"]) == 1
    *found, sums = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {f["guardrail"] for f in found} == {"secure-issuers", "own-service-account"}
    assert sums == {"resources": 3, "broken": 2, "advice": 0}


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(state(BAD)))
    assert run(["guardrails", "check"]) == 1
    assert "2 broken" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"deployment": {"resources": [1]}}', '{"deployment": null}'])
def test_what_is_no_state_is_no_pass(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "state.json"
    file.write_text(text)
    assert run(["guardrails", "check", str(file)]) == 1
    assert "no exported state" in capsys.readouterr().err
