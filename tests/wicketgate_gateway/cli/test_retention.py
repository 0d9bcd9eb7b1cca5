from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from wicketgate_gateway.audit.heads import Sealer
from wicketgate_gateway.audit.seals import SealLog, signing_key
from wicketgate_gateway.cli import main
from wicketgate_gateway.contract.policy import Bundle

Run = Callable[..., tuple[int, str, str]]
ID = "00000000-0000-0000-0000-000000000001"


@pytest.fixture
def config(state: Path, tmp_path: Path) -> Path:
    (tmp_path / "bundle.json").write_text(Bundle(tenant=ID, policies=[]).render())
    path = tmp_path / "gateway.yaml"
    path.write_text(f"""
name: gate
entra: {{tenant: {ID}}}
audience: {ID}
workload: {{clientId: {ID}, tokenFile: token}}
agents: {{}}
listen: {{postgres: {{port: 0}}, agents: {{port: 0}}}}
tls: {{certificateFile: c, keyFile: k}}
state: {state}
policies: bundle.json
targets: {{}}
retention: {{recordings: 0s, audit: 0s}}
""")
    Sealer(state / "journal", SealLog(state), signing_key(state)).seal()
    return path


def test_a_dry_run_deletes_nothing_and_a_run_does(wicketgate: Run, config: Path, state: Path) -> None:
    code, out, err = wicketgate("retention", "run", "--config", str(config), "--dry-run", at=None)
    assert (code, err) == (0, "")
    assert out.count("would be deleted: retention keeps 0s") == 2
    assert len(list(state.glob("recordings/*/*"))) == 2
    code, out, _ = wicketgate("retention", "run", "--config", str(config), "--json", at=None)
    assert code == 0
    found = json.loads(out)
    assert len(found["recordings"]) == 2
    assert (found["dry_run"], found["journal"], found["held"]) == (False, None, [])
    assert list(state.glob("recordings/*/*")) == []
    assert "nothing is old enough" in wicketgate("retention", "run", "--config", str(config), at=None)[1]
    assert wicketgate("audit", "verify")[0] == 0


def test_the_settings_must_be_given(wicketgate: Run) -> None:
    code, _, err = wicketgate("retention", "run")
    assert code == main.FAILED
    assert "--config" in err


def test_legal_holds(wicketgate: Run, config: Path, state: Path) -> None:
    assert wicketgate("legal-hold", "list") == (0, "", "no legal hold stands\n")
    code, out, _ = wicketgate("legal-hold", "add", "case-17", "--bot", "support", "--reason", "case 17", "--by", "me")
    assert (code, out) == (0, "legal hold case-17 stands\n")
    assert wicketgate("legal-hold", "add", "case-17", "--bot", "x", "--reason", "y")[0] == main.FAILED
    assert wicketgate("legal-hold", "add", "--reason", "y")[0] == main.FAILED
    assert wicketgate("legal-hold", "add", "case-18", "--bot", "x")[0] == main.USAGE
    [listed] = [json.loads(line) for line in wicketgate("legal-hold", "list", "--json")[1].splitlines()]
    assert (listed["hold"], listed["by"], listed["bot"], listed["from"]) == ("case-17", "me", "support", None)
    assert "bot=support" in wicketgate("legal-hold", "list")[1]
    out = wicketgate("retention", "run", "--config", str(config), at=None)[1]
    assert "kept: recording of" in out
    assert "legal hold `case-17`" in out
    assert len(list(state.glob("recordings/*/*"))) == 1
    assert wicketgate("legal-hold", "lift", "case-17", "--reason", "over", "--json")[0] == 0
    assert wicketgate("legal-hold", "lift", "case-17", "--reason", "over")[0] == main.NOT_FOUND
    wicketgate("retention", "run", "--config", str(config), at=None)
    assert list(state.glob("recordings/*/*")) == []


def test_a_made_up_name_says_what_it_is(wicketgate: Run) -> None:
    assert wicketgate("legal-hold", "add", "--target", "t", "--reason", "r")[1].startswith("legal hold legal-")
