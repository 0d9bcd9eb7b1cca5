"""What every sign-in of a person ends in: may they, for which API and scopes, and the tokens. Refresh tokens too."""

import secrets
import time
from typing import Any

from wicketgate.testing import jws
from wicketgate.testing.entra import login, tokens
from wicketgate.testing.entra.core import Core
from wicketgate.testing.entra.directory import GRAPH_APP_ID
from wicketgate.testing.entra.errors import login_error
from wicketgate.testing.entra.keys import secret_digest
from wicketgate.testing.entra.store import Doc

_REFRESH = "refreshToken"
_REFRESH_LIFE = 90 * 86400
OIDC_SCOPES = ("openid", "profile", "email", "offline_access")


async def client_proof(core: Core, application: Doc, values: dict[str, str], *, public: bool) -> str:
    """How the client authenticated; only a public one may do without. Raises LoginError."""
    proof = await login.authenticate_client(core, application, values)
    if proof is None and not (public or application["isFallbackPublicClient"]):
        raise login_error(7000218)
    return proof.how if proof else "public"


async def redeem_refresh(core: Core, values: dict[str, str]) -> dict[str, Any]:
    """grant_type=refresh_token. The old token stays usable for its life, as Entra's does for all but SPAs."""
    application, client = login.find_client(core, values)
    kept = core.directory.store.get(_REFRESH, secret_digest(values.get("refresh_token", "")))
    if kept is None or kept["client_id"] != client["appId"]:
        raise login_error(70000)
    if time.time() - kept["_created"] > _REFRESH_LIFE:
        raise login_error(700082)
    how = await client_proof(core, application, values, public=kept["how"] == "public")
    scope = values.get("scope") or kept["scope"]
    return issue(core, client, kept["user"], scope, how, None, int(kept.get("auth_time", 0)))


def may_sign_in(core: Core, client: Doc, user: Doc) -> None:
    if not user["accountEnabled"]:
        raise login_error(50057)
    if client["appRoleAssignmentRequired"] and not core.directory.assigned(user, client):
        raise login_error(50105, name=client["displayName"], app=client["appId"], user=user["userPrincipalName"])


def delegated(core: Core, scope: str) -> tuple[Doc, str, tuple[str, ...]]:
    """The API that delegated scopes are for, its audience, and the scopes' bare names. Raises LoginError."""
    found: tuple[Doc, str] | None = None
    names: list[str] = []
    for one in scope.split():
        if one in OIDC_SCOPES:
            names.append(one)
            continue
        resource_name, _, name = one.rpartition("/")
        resource, audience = login.find_resource(core, resource_name or GRAPH_APP_ID)
        if found is not None and found[0]["id"] != resource["id"]:
            raise login_error(70011, scope=scope)
        found = (resource, audience)
        offered = [each["value"] for each in resource["oauth2PermissionScopes"] if each.get("isEnabled", True)]
        if name == ".default":
            names += [each for each in offered if each not in OIDC_SCOPES]
        elif name in offered:
            names.append(name)
        else:
            raise login_error(70011, scope=scope)
    if found is None:
        found = login.find_resource(core, GRAPH_APP_ID)
    return *found, tuple(dict.fromkeys(names))


def issue(
    core: Core, client: Doc, user_id: str, scope: str, how: str, nonce: str | None, auth_time: int
) -> dict[str, Any]:
    user = core.directory.find("user", user_id)
    if user is None:
        raise login_error(50034, user=user_id, tenant=core.directory.display_name)
    may_sign_in(core, client, user)
    resource, audience, names = delegated(core, scope)
    if resource["id"] != client["id"]:
        may_sign_in(core, resource, user)
    granted = tuple(name for name in names if name != "offline_access")
    in_token = (
        granted if resource["appId"] == GRAPH_APP_ID else tuple(name for name in granted if name not in OIDC_SCOPES)
    )
    text, lifetime = tokens.access_token(core, tokens.Grant(client, resource, audience, how, user, in_token, auth_time))
    prefix = "" if resource["appId"] == GRAPH_APP_ID else f"{audience}/"
    answer: dict[str, Any] = {
        "token_type": "Bearer",
        "scope": " ".join(name if name in OIDC_SCOPES else f"{prefix}{name}" for name in granted),
        "expires_in": lifetime,
        "ext_expires_in": lifetime,
        "access_token": text,
    }
    if "offline_access" in names:
        refresh = f"1.{secrets.token_urlsafe(64)}"
        kept = {"user": user_id, "client_id": client["appId"], "scope": scope, "how": how, "auth_time": auth_time}
        core.directory.store.drop_old(_REFRESH, _REFRESH_LIFE)
        core.directory.store.put(_REFRESH, {"id": secret_digest(refresh), "_created": time.time(), **kept})
        answer["refresh_token"] = refresh
    if "openid" in names:
        answer["id_token"] = tokens.id_token(core, client, user, names, nonce, auth_time)
    if "profile" in names or "openid" in names:
        info = f'{{"uid":"{user_id}","utid":"{core.tenant}"}}'
        answer["client_info"] = jws.b64url(info.encode())
    return answer


def userinfo(core: Core, claims: dict[str, Any]) -> dict[str, Any] | None:
    """What `/oidc/userinfo` tells to the holder of a delegated Graph token with `openid`; None if it is none."""
    user = core.directory.find("user", str(claims.get("oid")))
    scopes = str(claims.get("scp", "")).split()
    graph = core.directory.principal_of(GRAPH_APP_ID)
    if user is None or graph is None or "openid" not in scopes:
        return None
    found: dict[str, Any] = {"sub": tokens.subject(user, graph)}
    if "profile" in scopes:
        names = {"name": "displayName", "given_name": "givenName", "family_name": "surname"}
        found |= {name: user[source] for name, source in names.items() if user[source]}
    if "email" in scopes and user["mail"]:
        found["email"] = user["mail"]
    return found
