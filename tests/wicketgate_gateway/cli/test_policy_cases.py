import json
from pathlib import Path

import pytest

from wicketgate_gateway.cli.policy_cases import run_tests

POLICIES = Path(__file__).parents[3] / "policies" / "access"
POLICY = "policy: good\ntargets: [t]\nrules: [{allow: {sql: {statements: read, relations: [public.*]}}}]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.yaml").write_text(POLICY)
    return tmp_path


def test_the_shipped_policies_pass(capsys: pytest.CaptureFixture[str]):
    assert run_tests(POLICIES) == 0
    said = capsys.readouterr()
    assert "support-bot.test.yaml: 21 statements, as expected" in said.out
    files = len(list(POLICIES.glob("*.test.yaml")))
    assert f"{files} files, all as expected" in said.err


def test_what_is_not_as_expected_is_told_with_its_place(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "good.test.yaml").write_text(
        "cases:\n  - deny:\n      - DELETE FROM orders\n      - SELECT 1\n  - {allow: DELETE FROM orders}\n"
    )
    assert run_tests(folder / "good.yaml") == 1
    said = capsys.readouterr()
    assert f"{folder}/good.test.yaml: 3 statements, 2 not as expected" in said.out
    assert f"WRONG {folder}/good.test.yaml:4:9" in said.out
    assert "because    denied by `default`: no rule of `good` allows `write` on `public.orders`" in said.out
    assert "remedy     allowed here: `read` on `public.*`" in said.out
    assert "1 file, 2 of 3 statements not as expected" in said.err


def test_json(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "good.test.yaml").write_text("cases:\n  - allow: [SELECT 1, DELETE FROM x]\n")
    assert run_tests(folder, json=True) == 1
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["ok"], first["verdict"], first["rule"]) == (True, "allow", "good#1")
    assert (second["ok"], second["expected"], second["verdict"], second["line"]) == (False, "allow", "deny", 2)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cases: []", "at least 1 item"),
        ("cases: [{allow: SELECT 1, deny: SELECT 1}]", "exactly one of `allow`, `hold`, `deny`"),
        ("cases: [{alow: SELECT 1}]", "did you mean `allow`?"),
        ("policies: [../x]\ncases: [{allow: SELECT 1}]", "is a path"),
        ("policies: [gone]\ncases: [{allow: SELECT 1}]", "gone.yaml: no such file"),
        ("schema: {public.t: [a]}\nviews: {public.v: [public.t.b]}\ncases: [{allow: SELECT 1}]", "`b`"),
        ("cases: [{allow: SELECT 1, at: soon}]", "not a time"),
        ("cases: [{allow: SELECT 1, at: '2026-11-24T12:00:00'}]", "no zone"),
    ],
)
def test_a_wrong_test_file_fails(folder: Path, capsys: pytest.CaptureFixture[str], text: str, says: str):
    (folder / "good.test.yaml").write_text(text)
    assert run_tests(folder) == 1
    assert says in capsys.readouterr().out


def test_no_tests_is_a_failure(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert run_tests(folder) == 1
    assert run_tests(folder / "good.yaml") == 1
    assert "write `good.test.yaml` beside it" in capsys.readouterr().out


def test_control_characters_never_reach_the_terminal(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "good.test.yaml").write_text('cases: [{allow: "DELETE FROM \\"x\\u001b[2J\\""}]')
    assert run_tests(folder) == 1
    assert "\x1b" not in capsys.readouterr().out
