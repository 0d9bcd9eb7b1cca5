"""The sign-in log, of applications alone: who asked for a token, with which federated credential, and how it ended.

Graph's v1.0 lists people's interactive sign-ins, of which the emulator keeps none; those of service principals are in
beta, and only where the filter asks for them. Source: Graph's `signIn` resource, beta.
"""

import uuid
from typing import Any

from wicketgate.testing.entra.core import Core
from wicketgate.testing.entra.directory import now_text
from wicketgate.testing.entra.errors import LoginError
from wicketgate.testing.entra.query import Query, next_link, run
from wicketgate.testing.entra.store import Doc
from wicketgate.testing.entra.views import View


def record(core: Core, client: Doc, *, federated: str | None = None, error: LoginError | None = None) -> None:
    """One token request of the service principal `client`."""
    core.sign_ins.append(
        {
            "id": str(uuid.uuid4()),
            "createdDateTime": now_text(),
            "appId": client["appId"],
            "appDisplayName": client["displayName"],
            "servicePrincipalId": client["id"],
            "federatedCredentialId": federated or "",
            "signInEventTypes": ["servicePrincipal"],
            "status": {"errorCode": error.code if error else 0, "failureReason": error.text if error else "Other."},
        }
    )


def listed(view: View, path: str, query: Query) -> dict[str, Any]:
    """The answer to a list request, the newest first."""
    context = f"{view.base}/$metadata#auditLogs/signIns"
    if view.version == "v1.0":
        return {"@odata.context": context, "value": []}
    page = run(query, list(reversed(view.core.sign_ins)), dict)
    body: dict[str, Any] = {"@odata.context": context, "value": page.docs}
    if page.next_skip is not None:
        body["@odata.nextLink"] = next_link(f"{view.base}/{path}", query, page.next_skip)
    return body
