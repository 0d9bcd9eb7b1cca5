"""Access tokens and ID tokens, claim by claim as Entra issues them.

The API's `requestedAccessTokenVersion` picks the version (null and 1: v1.0), not the endpoint. Tokens for Graph carry a
`nonce` header that is hashed before signing, so that nobody but Graph can verify them: as with the real one, an API
that accepts a Graph token has a bug that shows here. Source: Entra's access token and ID token claims references.
"""

import hashlib
import json
import os
import random
from dataclasses import dataclass
from typing import Any

from wicketgate.testing import jws
from wicketgate.testing.entra.core import Core
from wicketgate.testing.entra.directory import GRAPH_APP_ID
from wicketgate.testing.entra.store import Doc

_MAX_GROUPS = 200
_CLASSES = {"public": "0", "secret": "1", "certificate": "2"}


@dataclass(frozen=True)
class Grant:
    """What a token is issued for. `client` is a service principal, `how` public, secret or certificate.

    `audience` is the resource as the client spelled it. `user`, `scopes` and `auth_time` (when the person signed in, in
    seconds since 1970) are set in delegated tokens.
    """

    client: Doc
    resource: Doc
    audience: str
    how: str
    user: Doc | None = None
    scopes: tuple[str, ...] = ()
    auth_time: int = 0


def access_token(core: Core, grant: Grant) -> tuple[str, int]:
    """A signed access token and its lifetime in seconds."""
    lifetime = core.quirks.token_lifetime or random.randint(3600, 5399)  # noqa: S311 (a lifetime is no secret)
    application = core.directory.application_of(grant.resource) or {}
    version = 2 if (application.get("api") or {}).get("requestedAccessTokenVersion") == 2 else 1
    principal = grant.user or grant.client
    claims = _times(core, lifetime) | {
        "aio": jws.b64url(os.urandom(48)),
        "oid": principal["id"],
        "rh": f"1.{jws.b64url(os.urandom(24))}.",
        "sub": subject(principal, grant.resource),
        "tid": core.tenant,
        "uti": jws.b64url(os.urandom(16)),
        "ver": f"{version}.0",
    }
    client, way = grant.client["appId"], _CLASSES[grant.how]
    if version == 2:
        claims |= {"aud": grant.resource["appId"], "iss": core.issuer, "azp": client, "azpacr": way}
    else:
        issuer = f"https://sts.windows.net/{core.tenant}/"
        claims |= {"aud": grant.audience, "iss": issuer, "appid": client, "appidacr": way, "idp": issuer}
    is_graph = grant.resource["appId"] == GRAPH_APP_ID
    if roles := core.directory.role_values(principal, grant.resource):
        claims["roles"] = roles
    if grant.user:
        claims |= {"scp": " ".join(grant.scopes)} | _person(grant.user)
    if is_graph:
        claims |= {"idtyp": "user" if grant.user else "app", "app_displayname": grant.client["displayName"]}
    claims |= _optional(application, "accessToken", principal, grant.auth_time)
    claims |= groups_claim(core, application, principal, assigned_to=grant.resource)
    key = core.keys.current
    header = {"kid": key.kid} | ({} if version == 2 else {"x5t": key.kid})
    if is_graph:
        return graph_token(claims, header, core), lifetime
    return jws.sign_rs256(dict(sorted(claims.items())), key.key, header), lifetime


def id_token(core: Core, client: Doc, user: Doc, scopes: tuple[str, ...], nonce: str | None, auth_time: int = 0) -> str:
    """A signed v2.0 ID token for a person at `client`."""
    application = core.directory.application_of(client) or {}
    claims = _times(core, 3600) | {
        "aud": client["appId"],
        "iss": core.issuer,
        "name": user["displayName"],
        "oid": user["id"],
        "preferred_username": user["userPrincipalName"],
        "rh": f"1.{jws.b64url(os.urandom(24))}.",
        "sub": subject(user, client),
        "tid": core.tenant,
        "uti": jws.b64url(os.urandom(16)),
        "ver": "2.0",
    }
    if nonce:
        claims["nonce"] = nonce
    if "email" in scopes and user["mail"]:
        claims["email"] = user["mail"]
    if roles := core.directory.role_values(user, client):
        claims["roles"] = roles
    claims |= _optional(application, "idToken", user, auth_time)
    claims |= groups_claim(core, application, user, assigned_to=client)
    return jws.sign_rs256(dict(sorted(claims.items())), core.keys.current.key, {"kid": core.keys.current.kid})


def subject(principal: Doc, resource: Doc) -> str:
    """`sub`: a service principal's own id; for a person a value that differs from one application to the next."""
    if principal["_kind"] != "user":
        return principal["id"]
    return jws.b64url(hashlib.sha256(f"{principal['id']}/{resource['appId']}".encode()).digest())


def groups_claim(core: Core, application: Doc, principal: Doc, *, assigned_to: Doc) -> dict[str, Any]:
    """The `groups` claim, the overage marker instead of it, or nothing."""
    mode = core.quirks.groups_claim
    wanted = {part.strip() for part in (application.get("groupMembershipClaims") or "None").split(",")}
    is_user = principal["_kind"] == "user"
    if mode == "none" or (mode == "real" and (not is_user or wanted <= {"None", "DirectoryRole"})):
        return {}
    directory = core.directory
    if "ApplicationGroup" in wanted:
        assigned = {one["principalId"] for one in directory.assignments(assigned_to)}
        groups = [key for key in directory.store.sources("members", principal["id"]) if key in assigned]
    else:
        security_only = "All" not in wanted
        groups = [
            one["id"] for one in directory.groups_of(principal["id"]) if one["securityEnabled"] or not security_only
        ]
    if mode == "overage" or len(groups) > _MAX_GROUPS:
        # The real link leads to the retired Azure AD Graph: a trap that clients must not follow.
        collection = "users" if is_user else "servicePrincipals"
        link = f"https://graph.windows.net/{core.tenant}/{collection}/{principal['id']}/getMemberObjects"
        return {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": link}}}
    return {"groups": groups} if groups else {}


def _times(core: Core, lifetime: int) -> dict[str, Any]:
    now = core.clock()
    return {"iat": now, "nbf": now, "exp": now + lifetime}


def _person(user: Doc) -> dict[str, Any]:
    return {"name": user["displayName"]}


def _optional(application: Doc, kind: str, principal: Doc, auth_time: int) -> dict[str, Any]:
    """The optional claims that the API's registration asks for, of those this emulator knows."""
    found: dict[str, Any] = {}
    for asked in (application.get("optionalClaims") or {}).get(kind) or []:
        name, more = asked.get("name"), asked.get("additionalProperties") or []
        if name == "idtyp" and (principal["_kind"] != "user" or "include_user_token" in more):
            found["idtyp"] = "user" if principal["_kind"] == "user" else "app"
        elif name == "auth_time" and principal["_kind"] == "user" and auth_time:
            found["auth_time"] = auth_time
        elif name == "acct" and principal["_kind"] == "user":
            found["acct"] = 0 if principal["userType"] == "Member" else 1
        elif name in ("email", "upn", "given_name", "family_name") and principal["_kind"] == "user":
            source = {"email": "mail", "upn": "userPrincipalName", "given_name": "givenName", "family_name": "surname"}
            if value := principal.get(source[name]):
                found[name] = value
    return found


def graph_token(claims: dict[str, Any], header: dict[str, Any], core: Core) -> str:
    """Signs over the header with the nonce's hash, and sends the header with the nonce itself."""
    nonce = jws.b64url(os.urandom(32))
    hashed = jws.b64url(hashlib.sha256(nonce.encode()).digest())
    _, payload, signature = jws.sign_rs256(claims, core.keys.current.key, header | {"nonce": hashed}).split(".")
    sent = {"typ": "JWT", "alg": "RS256", **header, "nonce": nonce}
    return f"{jws.b64url(json.dumps(sent, separators=(',', ':')).encode())}.{payload}.{signature}"


def verify_graph_token(core: Core, token: str) -> dict[str, Any] | None:
    """The claims of an access token for Graph that this tenant issued and that is in force; else None."""
    try:
        parsed = jws.parse(token)
    except jws.MalformedTokenError:
        return None
    header = parsed.header
    key = core.keys.public_key(str(header.get("kid")))
    nonce = header.get("nonce")
    if key is None or not isinstance(nonce, str) or header.get("alg") != "RS256":
        return None
    signed_header = header | {"nonce": jws.b64url(hashlib.sha256(nonce.encode()).digest())}
    _, payload, _ = token.split(".")
    signing_input = f"{jws.b64url(json.dumps(signed_header, separators=(',', ':')).encode())}.{payload}"
    signed = jws.Jws(signed_header, parsed.claims, signing_input.encode(), parsed.signature)
    if not signed.verify(key, algorithms=("RS256",)):
        return None
    claims = parsed.claims
    audiences = {GRAPH_APP_ID, core.url, "https://graph.microsoft.com"}
    start, end = claims.get("nbf"), claims.get("exp")
    if not isinstance(start, int) or not isinstance(end, int) or not start - 300 <= core.clock() < end + 300:
        return None
    if str(claims.get("aud")).rstrip("/") not in audiences or claims.get("tid") != core.tenant:
        return None
    return claims
