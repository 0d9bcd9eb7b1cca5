"""Which resources an API server has: asked of it, and kept for all sessions with a target.

How this works: two requests for the aggregated discovery document (k8s.io/api/apidiscovery/v2). A resource that is not
in it is asked for anew, but not more often than every `AGAIN_SECONDS`, so that new kinds come in soon, and nobody makes
the gateway ask and ask.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from wicketgate_gateway.wire.kubernetes.request import Request

KEPT_SECONDS: Final = 300.0
AGAIN_SECONDS: Final = 10.0
_FORM: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

Fetch = Callable[..., Awaitable[Any]]
Key = tuple[str, str, str]
"""Group, version, and resource or resource/subresource."""


class Discovery:
    """What one target's API server has."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._scopes: dict[Key, bool] | None = None
        self._looked = 0.0

    async def namespaced(self, request: Request, fetch: Fetch) -> bool | None:
        """Whether the resource is of namespaces; None if the API server does not have it. Raises UpstreamError."""
        key = (request.group, request.version, request.full_resource)
        now = self._clock()
        known = self._scopes
        if (
            known is None
            or now - self._looked > KEPT_SECONDS
            or (key not in known and now - self._looked > AGAIN_SECONDS)
        ):
            known = await discovered(fetch)
            if known:
                self._scopes, self._looked = known, now
        return known.get(key)


async def discovered(fetch: Fetch) -> dict[Key, bool]:
    """All resources and subresources, and whether they are of namespaces. Raises UpstreamError."""
    found: dict[Key, bool] = {}
    for root in ("/api", "/apis"):
        document = await fetch("GET", root, accept=_FORM)
        for group in _list(document, "items"):
            name = str((group.get("metadata") or {}).get("name") or "")
            for version in _list(group, "versions"):
                for resource in _list(version, "resources"):
                    plural, scoped = str(resource.get("resource")), resource.get("scope") == "Namespaced"
                    number = str(version.get("version"))
                    found[name, number, plural] = scoped
                    for sub in _list(resource, "subresources"):
                        found[name, number, f"{plural}/{sub.get('subresource')}"] = scoped
    return found


def _list(document: Any, key: str) -> list[dict[str, Any]]:
    value = document.get(key) if isinstance(document, dict) else None
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
