"""The policy bundle: names become object ids, mistakes keep their line, the digest follows from the content."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wicketgate.policy.bundle import PolicyBundle, bundle, read_policies, with_subjects
from wicketgate_gateway.contract.errors import DocumentError
from wicketgate_gateway.contract.policy import Bundle

TENANT = "11111111-1111-1111-1111-111111111111"
GROUP = "22222222-2222-2222-2222-222222222222"
BOT = "33333333-3333-3333-3333-333333333333"
POLICY = """\
policy: reading
targets: [db]
rules:
  - allow: {sql: {statements: read, relations: [public.*]}}
mask:
  - {columns: [public.customers.email], with: partial}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "reading.yaml").write_text(POLICY)
    return tmp_path


def make(folder: Path) -> Bundle:
    return bundle(
        TENANT,
        read_policies(folder, ["reading"]),
        {"reading": ["reviewers"]},
        {"reviewers": GROUP},
        {"review": {"owner": "group:x", "expires": "2027-01-01"}},
        {"review": BOT},
    )


def test_names_become_object_ids(folder: Path) -> None:
    document = json.loads(make(folder).render())
    assert document["policies"][0]["groups"] == {GROUP: "reviewers"}
    assert document["bots"][BOT] == {"expires": "2027-01-01", "name": "review", "owner": "group:x"}


def test_the_gateway_reads_back_what_was_rendered(folder: Path) -> None:
    made = make(folder)
    again = Bundle.model_validate_json(made.render())
    assert again.render() == made.render()
    assert again.digest == made.digest


def test_the_digest_follows_from_the_content(folder: Path) -> None:
    before = make(folder).digest
    assert make(folder).digest == before
    (folder / "reading.yaml").write_text(POLICY.replace("partial", "null"))
    assert make(folder).digest != before


def test_mistakes_of_all_files_are_told_with_their_lines(folder: Path) -> None:
    (folder / "reading.yaml").write_text(POLICY.replace("statements", "statments"))
    (folder / "other.yaml").write_text(POLICY.replace("rules", "ruls"))
    with pytest.raises(DocumentError) as caught:
        read_policies(folder, ["reading", "other", "missing"])
    text = str(caught.value)
    assert "reading.yaml:4:" in text
    assert "did you mean `statements`?" in text
    assert "other.yaml:3:" in text
    assert "missing.yaml" in text


def test_a_policy_under_another_name_is_refused(folder: Path) -> None:
    (folder / "writing.yaml").write_text(POLICY)
    with pytest.raises(DocumentError, match=r"the policy in `writing\.yaml` calls itself `reading`"):
        read_policies(folder, ["writing"])


def test_the_component_renders_the_same(folder: Path, under_mocks: Callable[..., Any]) -> None:
    seen: list[str] = []

    def program() -> Any:
        component = PolicyBundle(
            "policies",
            {
                "tenant_id": TENANT,
                "folder": str(folder),
                "policies": ["reading"],
                "groups": {"reading": ["reviewers"]},
                "group_object_ids": {"reviewers": GROUP},
                "bots": {"review": {"owner": "group:x", "expires": "2027-01-01"}},
                "bot_object_ids": {"review": BOT},
            },
        )
        return component.content.apply(seen.append)

    under_mocks(program)
    assert seen == [make(folder).render()]


HOLDING = """\
policy: holding
targets: [db]
subjects: {groups: [reviewers], bots: [review]}
rules:
  - hold:
      sql: {statements: write}
      approvers: {groups: [dba, leads]}
      when: bot.nme == 'x'
"""
DBA = "44444444-4444-4444-4444-444444444444"


def test_names_that_nobody_has_and_wrong_conditions_are_told_with_their_lines(folder: Path) -> None:
    (folder / "holding.yaml").write_text(HOLDING)
    with pytest.raises(DocumentError) as caught:
        read_policies(folder, ["holding"], approvers={"dba"}, groups=[], bots={"review": BOT})
    text = str(caught.value)
    assert "holding.yaml:7:33: `rules.0.hold.approvers.groups.1`: there is no group of approvers `leads`" in text
    assert "known: `dba`" in text
    assert "holding.yaml:3:21: `subjects.groups.0`: there is no group `reviewers`" in text
    assert "holding.yaml:8:7: `rules.0.hold.when`: undeclared reference to 'bot.nme'" in text
    assert "no bot" not in text


def test_the_component_refuses_them_at_preview(folder: Path, under_mocks: Callable[..., Any]) -> None:
    (folder / "holding.yaml").write_text(HOLDING.replace("nme", "name"))

    def program() -> Any:
        PolicyBundle(
            "policies",
            {
                "tenant_id": TENANT,
                "folder": str(folder),
                "policies": ["holding"],
                "groups": {},
                "group_object_ids": {"reviewers": GROUP},
                "bots": {"review": {"owner": "group:x"}},
                "bot_object_ids": {"review": BOT},
                "approver_object_ids": {"dba": DBA},
            },
        )

    with pytest.raises(DocumentError, match="there is no group of approvers `leads`"):
        under_mocks(program)


def test_subjects_of_the_file_and_groups_of_the_stack_are_united(folder: Path) -> None:
    (folder / "holding.yaml").write_text(HOLDING.replace("nme", "name").replace(", leads", ""))
    policies = read_policies(folder, ["holding"], approvers={"dba"}, groups={"reviewers"}, bots={"review"})
    bots = {"review": {"owner": "group:x"}}
    made = bundle(TENANT, policies, {}, {"reviewers": GROUP}, bots, {"review": BOT}, {"review": DBA}, {"dba": DBA})
    assert made.policies[0].groups == {GROUP: "reviewers"}
    assert made.policies[0].bots == {BOT: "review"}
    assert made.approvers == {"dba": DBA}
    assert Bundle.model_validate_json(made.render()).render() == made.render()


def test_files_that_say_whom_they_apply_to_are_found(folder: Path) -> None:
    (folder / "holding.yaml").write_text(HOLDING)
    (folder / "holding.test.yaml").write_text("cases: []")
    assert with_subjects(folder) == ["holding"]
    (folder / "broken.yaml").write_text("policy: [")
    with pytest.raises(DocumentError):
        with_subjects(folder)
