"""Ids come into what is rendered when they are known, and only those of the bots that were named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pulumi

from wicketgate.deploy.inputs import rendered


def test_ids_are_those_that_were_asked_for(
    under_mocks: Callable[..., Any],
    stack_settings: Callable[..., Any],
    compose_deploy: dict[str, Any],
    deployment_args: Callable[..., Any],
) -> None:
    args = deployment_args(stack_settings(compose_deploy), "one", "two")
    seen: list[Any] = []

    def program() -> pulumi.Output[str]:
        return rendered(args, lambda ids: seen.append(ids) or "", {"two": args["bots"]["two"]})

    under_mocks(program)
    (ids,) = seen
    assert ids.bots == {"two": args["bots"]["two"]}
    assert ids.tenant == args["tenant_id"]
    assert ids.agents["far"] == tuple(args["agents"]["far"])
