"""From settings to resources: the whole program under mocks."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pulumi
import pytest
import yaml

from wicketgate import config, stack
from wicketgate_gateway.contract.policy import Bundle

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "local"
TENANT = "11111111-1111-1111-1111-111111111111"
CLIENT = SimpleNamespace(tenant_id=TENANT, object_id="deployer")
POLICY = "policy: orders-readonly\ntargets: [orders-db]\nrules:\n  - allow: {sql: {statements: read}}\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "policies" / "access"
    folder.mkdir(parents=True)
    (folder / "orders-readonly.yaml").write_text(POLICY)
    return tmp_path


def settings(**more: Any) -> config.StackConfig:
    return config.load({**yaml.safe_load((GOLDEN / "settings.yaml").read_text()), **more})


def names(made: Any) -> set[str]:
    return {r.name for r in made.resources}


def test_every_child_is_named_after_its_component(under_mocks: Callable[..., Any], root: Path) -> None:
    made = under_mocks(lambda: stack.access_stack(settings(), root, CLIENT))
    components = {r.name for r in made.resources if r.typ.startswith("wicketgate:")}
    assert components == {
        "gateway",
        "agent-desk",
        "agent-far",
        "group-reviewers",
        "bot-code-review",
        "policies",
        "local",
    }
    for name in names(made) - components:
        assert any(name.startswith(f"{c}-") for c in components), name
    # An orphan would outlive its component.
    orphans = [r.name for r in made.requests if not r.parent and r.name not in components]
    assert [o for o in orphans if not o.startswith("project-")] == []


def test_another_bot_touches_no_resource_of_the_others(under_mocks: Callable[..., Any], root: Path) -> None:
    one = under_mocks(lambda: stack.access_stack(settings(), root, CLIENT))
    bots = yaml.safe_load((GOLDEN / "settings.yaml").read_text())["bots"]
    two = under_mocks(lambda: stack.access_stack(settings(bots={**bots, "nightly": bots["code-review"]}), root, CLIENT))
    added = names(two) - names(one)
    assert added
    assert all("nightly" in name for name in added)
    before, after = ({r.name: r.inputs for r in m.resources if r.custom} for m in (one, two))
    assert {n for n in before if before[n] != after[n]} <= {"local-bundle"}


def test_up_against_another_tenant_is_refused(root: Path) -> None:
    with pytest.raises(pulumi.RunError, match="this stack belongs to the tenant"):
        stack.access_stack(settings(tenant="99999999-9999-9999-9999-999999999999"), root, CLIENT)


def test_a_wrong_policy_ends_the_program_with_its_line(under_mocks: Callable[..., Any], root: Path) -> None:
    (root / "policies" / "access" / "orders-readonly.yaml").write_text(POLICY.replace("rules", "ruls"))
    with pytest.raises(pulumi.RunError, match=r"orders-readonly\.yaml:3:1: `ruls`"):
        under_mocks(lambda: stack.access_stack(settings(), root, CLIENT))


def test_approvers_and_owners_are_resolved_to_object_ids(under_mocks: Callable[..., Any], root: Path) -> None:
    made = under_mocks(lambda: stack.access_stack(settings(), root, CLIENT))
    (content,) = [r.inputs["content"] for r in made.resources if r.name == "local-bundle"]
    bundle = Bundle.model_validate_json(content)
    assert bundle.approvers == {
        "dba": made.id_of("getGroup dba"),
        "leads": "66666666-6666-4666-8666-666666666666",
    }
    (bot,) = bundle.bots.values()
    assert bot.owner_id == made.id_of("getGroup platform-team")
    roles = made.of("AppRoleAssignment")
    assert roles["gateway-approvers-dba"]["principalObjectId"] == made.id_of("getGroup dba")
    assert roles["gateway-auditors-security"]["principalObjectId"] == made.id_of("getGroup security")


def test_without_approvers_nobody_is_looked_up(under_mocks: Callable[..., Any], root: Path) -> None:
    made = under_mocks(lambda: stack.access_stack(settings(approvers={}, auditors={}), root, CLIENT))
    (content,) = [r.inputs["content"] for r in made.resources if r.name == "local-bundle"]
    bundle = Bundle.model_validate_json(content)
    assert bundle.approvers == {}
    assert [bot.owner_id for bot in bundle.bots.values()] == [None]
