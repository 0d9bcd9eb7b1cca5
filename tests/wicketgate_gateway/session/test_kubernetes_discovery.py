"""Discovery: asked once, asked again for what is new, not too often."""

from __future__ import annotations

from typing import Any

import pytest

from wicketgate_gateway.session.kubernetes_discovery import Discovery
from wicketgate_gateway.wire.kubernetes.request import understand


def document(*plurals: str) -> dict[str, Any]:
    resources = [
        {"resource": p, "scope": "Cluster" if p == "nodes" else "Namespaced", "subresources": [{"subresource": "log"}]}
        for p in plurals
    ]
    return {"items": [{"metadata": {}, "versions": [{"version": "v1", "resources": resources}]}]}


@pytest.mark.anyio
async def test_what_there_is() -> None:
    """Scopes, subresources, and that unknown ones do not make us ask and ask."""
    now, asked, have = 0.0, 0, ["pods", "nodes"]

    async def fetch(_method: str, root: str, *, accept: str) -> Any:
        nonlocal asked
        asked += 1
        assert "APIGroupDiscoveryList" in accept
        return document(*have) if root == "/api" else {"items": None}

    discovery = Discovery(lambda: now)
    assert await discovery.namespaced(understand("GET", "/api/v1/pods"), fetch) is True
    assert await discovery.namespaced(understand("GET", "/api/v1/nodes/n/log"), fetch) is False
    assert asked == 2
    new = understand("GET", "/api/v1/widgets")
    assert await discovery.namespaced(new, fetch) is None
    assert asked == 2
    have.append("widgets")
    now = 11.0
    assert await discovery.namespaced(new, fetch) is True
    assert asked == 4
    now = 400.0
    await discovery.namespaced(new, fetch)
    assert asked == 6
