"""The policy bundle: names become object ids, mistakes keep their line, the digest follows from the content."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wicketgate.policy.bundle import PolicyBundle, bundle, read_policies
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
