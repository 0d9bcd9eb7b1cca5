"""What every workload's identity has in common."""

from collections.abc import Callable
from typing import Any

import pulumi

from wicketgate.args import CredentialIssuer, FederatedCredentialArgs
from wicketgate.identity.workload import principal_with_role


def credential(n: int) -> FederatedCredentialArgs:
    return {"kind": CredentialIssuer.OIDC, "issuer": "https://i", "subject": f"s{n}", "audience": "a"}


def test_children_have_the_parent_and_credentials_come_one_after_the_other(under_mocks: Callable[..., Any]) -> None:
    def program() -> None:
        parent = pulumi.ComponentResource("test:index:Parent", "parent")
        principal_with_role(
            "w",
            parent,
            display_name="w",
            deployer_object_id="d",
            gateway_object_id="g",
            role_id="r",
            credentials=[credential(n) for n in range(3)],
            notes="",
        )

    made = under_mocks(program)
    assert len(made.of("ApplicationFederatedIdentityCredential")) == 3
    requests = [r for r in made.requests if "FederatedIdentity" in r.type]
    assert all(r.parent.endswith("::parent") for r in requests)
    # Entra answers 409 to two writes at once: each waits for the one before.
    assert [len([d for d in r.dependencies if "FederatedIdentity" in d]) for r in requests] == [0, 1, 1]
