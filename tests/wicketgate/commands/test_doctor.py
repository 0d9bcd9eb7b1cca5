"""The command: which stack, which proofs, what is printed, and the exit code."""

import json
from pathlib import Path
from typing import Any

import pytest

from wicketgate.commands import doctor as command
from wicketgate.identity.doctor import visit as visits
from wicketgate.identity.doctor.findings import Report
from wicketgate_gateway.contract.errors import DocumentError, WicketgateError


@pytest.fixture
def visited(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Visits are not made; what they would be made with."""
    seen: list[Any] = []

    async def visit(config: Any, environ: Any, given: dict[str, Path]) -> Report:
        seen.append(given)
        report = Report(proven=["bot review"])
        report.note("unproven", "agent eu", "not proven", "prove it")
        if "gateway" in given:
            report.problem("stored-secret", "bot review", "has a secret", "remove it")
        return report

    monkeypatch.setattr(visits, "visit", visit)
    monkeypatch.setenv("GATE_PORT", "5432")
    return seen


def test_health_is_0_and_a_problem_is_1(stack: Path, visited: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.doctor(file=stack) == 0
    told = capsys.readouterr()
    assert told.out == "note     agent eu  not proven\n                   → prove it\n"
    assert told.err == "0 problems, 0 warnings, 1 notes; proven: bot review\n"
    assert command.doctor(file=stack, proof=["gateway=p.jwt"], json=True) == 1
    first, *_, last = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first == {
        "level": "problem",
        "code": "stored-secret",
        "about": "bot review",
        "said": "has a secret",
        "remedy": "remove it",
    }
    assert last == {"problems": 1, "warnings": 0, "notes": 1, "proven": ["bot review"]}
    assert visited == [{}, {"gateway": Path("p.jwt")}]


@pytest.mark.parametrize("proof", ["review", "=p.jwt", "review=", "nobody=p.jwt"])
def test_a_wrong_proof_is_a_wrong_command_line(stack: Path, visited: list[Any], proof: str) -> None:
    with pytest.raises(WicketgateError) as caught:
        command.doctor(file=stack, proof=[proof])
    assert caught.value.code == "usage"
    assert visited == []


def test_a_variable_that_is_not_set_is_named(stack: Path, visited: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATE_PORT")
    with pytest.raises(DocumentError, match="GATE_PORT"):
        command.doctor(file=stack)


def test_what_is_not_installed_is_named(stack: Path, visited: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    with pytest.raises(WicketgateError, match="msgraph-sdk"):
        command.doctor(file=stack)
