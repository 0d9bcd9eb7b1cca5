import json
from pathlib import Path

import pytest

from wicketgate_gateway.cli.policy_check import check

GOOD = "policy: good\ntargets: [t]\nrules: [{allow: {sql: {statements: read, relations: [public.*]}}}]\n"
ID = "00000000-0000-0000-0000-000000000001"
POLICIES = Path(__file__).parents[3] / "policies" / "access"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.yaml").write_text(GOOD)
    return tmp_path


def test_the_shipped_policies_are_right(capsys: pytest.CaptureFixture[str]):
    assert check(POLICIES) == 0
    said = capsys.readouterr()
    assert "orders-readonly.yaml: ok; allowed: `read` on `public.*`" in said.out
    assert "no problem" in said.err


def test_a_good_file_is_told_with_what_it_allows(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert check(folder / "good.yaml") == 0
    assert capsys.readouterr().out == f"{folder}/good.yaml: ok; allowed: `read` on `public.*`\n"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("bad", GOOD.replace("read", "reed").replace("good", "bad"), "bad.yaml:3:24: `rules.0.allow.sql.statements"),
        ("bad", "policy: bad\ntargets: [t]\nrules:\n  - allow: {sql: {statements: read}, when: bot.nme == ''}\n",
         "bad.yaml:4:38: `rules.0.allow.when`: undeclared reference to 'bot.nme'"),
        ("bad", "policy: [", "bad.yaml:"),
        ("bad", "", "bad.yaml:1"),
        ("bad", GOOD, "call the file `good.yaml`"),
        ("bad", "relations: [*]", "YAML alias"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(folder: Path, capsys: pytest.CaptureFixture[str], name, text, says):
    (folder / f"{name}.yaml").write_text(text)
    assert check(folder / f"{name}.yaml") == 1
    out = capsys.readouterr().out
    assert says in out
    assert out.startswith(str(folder / f"{name}.yaml"))
    assert ": ok" not in out


def test_all_files_of_a_folder_are_checked_but_their_tests(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "good.test.yaml").write_text("cases: []\n")
    (folder / "wrong.yaml").write_text(GOOD)
    (folder / "notes.txt").write_text("x")
    assert check(folder) == 1
    said = capsys.readouterr()
    assert "good.yaml: ok" in said.out
    assert f"`{folder}/good.yaml` has this name, too" in said.out
    assert "2 files, 2 problems" in said.err


def test_a_rendered_bundle_is_compiled(folder: Path, capsys: pytest.CaptureFixture[str]):
    policy = {"policy": "p", "targets": ["t"], "rules": [{"allow": {"sql": {"statements": ["read"]}}}]}
    path = folder / "bundle.json"
    path.write_text(json.dumps({"tenant": ID, "policies": [policy]}))
    assert check(path) == 0
    assert "ok; allowed: 1 policy, sha256:" in capsys.readouterr().out
    policy["rules"][0]["allow"]["when"] = "1"
    path.write_text(json.dumps({"tenant": ID, "policies": [policy, policy]}, indent=1))
    assert check(path) == 1
    out = capsys.readouterr().out
    assert "of type INT, not BOOL" in out
    assert "two policies have this name" in out


@pytest.mark.parametrize("name", ["missing.yaml", "empty"])
def test_what_is_not_there_is_a_problem(folder: Path, capsys: pytest.CaptureFixture[str], name: str):
    (folder / "empty").mkdir()
    assert check(folder / name) == 1
    assert str(folder / name) in capsys.readouterr().out


def test_json_for_programs(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "bad.yaml").write_text(GOOD.replace("good", "bad").replace("read", "reed"))
    assert check(folder, json=True) == 1
    said = capsys.readouterr()
    bad, good = (json.loads(line) for line in said.out.splitlines())
    assert (good["ok"], good["problems"]) == (True, [])
    assert bad["ok"] is False
    assert bad["problems"][0]["line"] == 3
    assert bad["problems"][0]["term"].startswith("rules.0.allow.sql.statements")
    assert said.err == ""


def test_nothing_in_a_file_reaches_the_terminal_as_it_is(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "x.yaml").write_text('policy: x\ntargets: [t]\n"\\e[2Jevil": 1\nrules: []\n')
    assert check(folder / "x.yaml") == 1
    assert "\x1b" not in capsys.readouterr().out


def test_it_is_the_verb_of_the_command(folder: Path, capsys: pytest.CaptureFixture[str]):
    from wicketgate_gateway.cli.main import run

    assert run(["policy", "check", str(folder / "good.yaml")]) == 0
    (folder / "bad.yaml").write_text("x: 1\n")
    assert run(["policy", "check", str(folder), "--json"]) == 1
    assert '"ok":false' in capsys.readouterr().out
