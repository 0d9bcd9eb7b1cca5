"""What the stack says is what its components make: compared with the real components, under mocks."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from wicketgate import config, stack
from wicketgate.identity.doctor.expected import expected

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "local"
CLIENT = SimpleNamespace(tenant_id="11111111-1111-1111-1111-111111111111", object_id="deployer")


def test_it_expects_what_the_components_make(under_mocks: Callable[..., Any], tmp_path: Path) -> None:
    settings = config.load(yaml.safe_load((GOLDEN / "settings.yaml").read_text()))
    folder = tmp_path / "policies" / "access"
    folder.mkdir(parents=True)
    (folder / "orders-readonly.yaml").write_text(
        "policy: orders-readonly\ntargets: [orders-db]\nrules:\n  - allow: {sql: {statements: read}}\n"
    )
    made = under_mocks(lambda: stack.access_stack(settings, tmp_path, CLIENT))
    wanted = expected(settings)
    applications = {r["displayName"]: r for r in made.of("Application").values()}
    assert {one.display_name for one in wanted.registrations} == set(applications)
    for one in wanted.registrations:
        given = applications[one.display_name]
        assert list(one.web) == (given.get("web") or {}).get("redirectUris", [])
        assert list(one.public) == (given.get("publicClient") or {}).get("redirectUris", [])
    federated = made.of("ApplicationFederatedIdentityCredential")
    assert sum(len(one.credentials) for one in wanted.registrations) == len(federated)
    assert {one.display_name for one in wanted.groups} == {r["displayName"] for r in made.of("Group").values()}
    members = made.of("GroupMember")
    assert sum(len(one.members) for one in wanted.groups) == len(members)
