"""The issuer's HTTP side: discovery, keys, and the token request of GitHub Actions.

`GET /token?audience=AUD` with `Authorization: bearer REQUEST_TOKEN` answers `{"value": JWT}`, as the service behind
`ACTIONS_ID_TOKEN_REQUEST_URL` does. The subject belongs to the request token and cannot be asked for.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from wicketgate.testing.issuer.config import Workflow
from wicketgate.testing.issuer.keys import IssuerKey
from wicketgate.testing.serving import Asgi

_TOKEN_LIFETIME = 300.0  # GitHub's


@dataclass
class Issuing:
    """Who may ask for what. Request tokens are kept as digests."""

    url: str
    key: IssuerKey
    workflows: dict[str, Workflow] = field(default_factory=dict[str, Workflow])

    def allow(self, workflow: Workflow, request_token: str) -> None:
        """Lets the holder of `request_token` ask for the workflow's tokens."""
        self.workflows[_digest(request_token)] = workflow

    def workflow_of(self, request_token: str) -> Workflow | None:
        """The workflow that the request token is for, or None."""
        wanted = _digest(request_token)
        found = None
        for digest, workflow in self.workflows.items():
            if hmac.compare_digest(digest, wanted):
                found = workflow
        return found


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def build_app(issuing: Issuing) -> Asgi:
    """The ASGI application."""

    async def discovery(_: Request) -> Response:
        return JSONResponse(configuration(issuing.url))

    async def keys(_: Request) -> Response:
        return JSONResponse(issuing.key.jwks(), media_type="application/jwk-set+json")

    async def token(request: Request) -> Response:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        workflow = issuing.workflow_of(given) if scheme.lower() == "bearer" and given else None
        if workflow is None:
            return _refused(401, "the request token is missing or not known")
        audiences = request.query_params.getlist("audience")
        if len(audiences) > 1:
            return _refused(400, "more than one audience was asked for")
        audience = audiences[0] if audiences else f"{issuing.url}/{workflow.name}"
        if workflow.audiences is not None and audience not in workflow.audiences:
            return _refused(403, "this workflow may not ask for that audience")
        claims: dict[str, Any] = dict(workflow.claims)
        value = issuing.key.token(issuing.url, workflow.subject, audience, _TOKEN_LIFETIME, claims)
        return JSONResponse({"count": len(value), "value": value}, headers={"Cache-Control": "no-store"})

    return Starlette(
        routes=[
            Route("/.well-known/openid-configuration", discovery),
            Route("/.well-known/jwks", keys),
            Route("/token", token, methods=["GET", "POST"]),
        ]
    )


def configuration(url: str) -> dict[str, Any]:
    """The discovery document (OpenID Connect Discovery 1.0)."""
    return {
        "issuer": url,
        "jwks_uri": f"{url}/.well-known/jwks",
        "subject_types_supported": ["public", "pairwise"],
        "response_types_supported": ["id_token"],
        "claims_supported": ["sub", "aud", "exp", "iat", "iss", "jti", "nbf"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid"],
    }


def _refused(status: int, message: str) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"message": message}, status, headers=headers)
