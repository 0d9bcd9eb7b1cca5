"""Signing people in by SAML 2.0: the redirect binding in, the post binding out, and an application's metadata.

The page is the one of the other flows: the tenant's people, of whom one is clicked. An application that wants SAML is
named by one of its identifier URIs or its client id, and gets its answers at a registered reply URL alone. It has a
signing certificate of its own, made when it is first needed. Sources: SAML 2.0 bindings, sections 3.4 and 3.5; Entra's
page on the single sign-on SAML protocol.
"""

import base64
import binascii
import hashlib
import html
import re
import secrets
import time
import zlib
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import quoteattr

from cryptography.hazmat.primitives import serialization
from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - compiled, without stubs
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from wicketgate.testing.entra import login, tokens
from wicketgate.testing.entra.core import Core
from wicketgate.testing.entra.errors import LoginError, login_error
from wicketgate.testing.entra.keys import SigningKeys
from wicketgate.testing.entra.pages import HEADERS, page, people_form
from wicketgate.testing.entra.people import may_sign_in
from wicketgate.testing.entra.saml_documents import (
    DISPLAY_NAME,
    DS,
    GROUPS,
    GROUPS_LINK,
    OBJECT_ID,
    ROLE,
    SAML,
    SAMLP,
    TENANT_ID,
    Answer,
    signed,
)
from wicketgate.testing.entra.store import Doc

_PENDING = "samlRequest"
_LIFE = 600
_MAX_REQUEST = 64 * 1024
_MAX_GROUPS = 150
_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,255}", re.ASCII)
_METADATA = "urn:oasis:names:tc:SAML:2.0:metadata"
_SCRIPT = "document.forms[0].submit()"
_TROUBLE = "Sorry, but we’re having trouble signing you in."


def issuer(core: Core) -> str:
    """The tenant's entity id."""
    return f"https://sts.windows.net/{core.tenant}/"


def keys_of(core: Core, client_id: str) -> SigningKeys:
    """An application's own token-signing certificates."""
    return SigningKeys(core.directory.store, f"samlKey/{client_id}", "Microsoft Azure Federated SSO Certificate")


@dataclass(frozen=True)
class _Asked:
    request: str
    client: Doc
    reply: str
    audience: str
    fresh: bool


async def sign_in(core: Core, request: Request) -> Response:
    """GET /{tenant}/saml2: the sign-in page for an AuthnRequest."""
    try:
        login.check_tenant(core, request.path_params["tenant"], people=True)
        asked = _read(core, request.query_params.get("SAMLRequest", ""))
    except LoginError as error:
        return _refused(error)
    key = secrets.token_urlsafe(32)
    pending = {
        "id": key,
        "_created": time.time(),
        "request": asked.request,
        "client": asked.client["appId"],
        "reply": asked.reply,
        "audience": asked.audience,
        "relay": request.query_params.get("RelayState"),
    }
    core.directory.store.drop_old(_PENDING, _LIFE)
    core.directory.store.put(_PENDING, pending)
    title = f"{'Enter your password for' if asked.fresh else 'Sign in to'} {asked.client['displayName']}"
    return page(title, people_form(core, f"/{core.tenant}/saml2/login", {"request": key}))


async def pick(core: Core, request: Request) -> Response:
    """POST /{tenant}/saml2/login: a page that posts the answer for the person that was clicked."""
    directory = core.directory
    try:
        values = await login.form(request)
        pending = directory.store.get(_PENDING, values.get("request", ""))
        if pending is None or time.time() - pending["_created"] > _LIFE:
            raise login_error(90023)
        directory.store.remove(_PENDING, pending["id"])
        user = directory.find("user", values.get("user", ""))
        if user is None:
            raise login_error(50034, user=values.get("user", ""), tenant=directory.display_name)
        client = _client(core, pending["client"])
        may_sign_in(core, client, user)
    except LoginError as error:
        return _refused(error)
    answer = answer_for(
        core, client, user, reply=pending["reply"], request=pending["request"], audience=pending["audience"]
    )
    document = signed(answer, keys_of(core, client["appId"]).current, core.quirks.saml_signing)
    return _post(pending["reply"], base64.b64encode(document).decode(), pending["relay"])


def answer_for(core: Core, client: Doc, user: Doc, *, reply: str, request: str, audience: str) -> Answer:
    """What Entra says of a person at an application."""
    directory = core.directory
    application = directory.application_of(client) or {}
    attributes: list[tuple[str, list[str]]] = [
        (TENANT_ID, [core.tenant]),
        (OBJECT_ID, [user["id"]]),
        (DISPLAY_NAME, [str(user["displayName"])]),
        ("http://schemas.microsoft.com/identity/claims/identityprovider", [issuer(core)]),
        (
            "http://schemas.microsoft.com/claims/authnmethodsreferences",
            ["http://schemas.microsoft.com/ws/2008/06/identity/authenticationmethod/password"],
        ),
        ("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name", [user["userPrincipalName"]]),
    ]
    if roles := directory.role_values(user, client):
        attributes.append((ROLE, roles))
    claim = tokens.groups_claim(core, application, user, assigned_to=client)
    if claim:
        groups = claim.get("groups")
        if isinstance(groups, list) and len(groups) <= _MAX_GROUPS:
            attributes.append((GROUPS, [str(one) for one in groups]))
        else:
            # As real: an address of the Azure AD Graph, which is no more.
            attributes.append(
                (GROUPS_LINK, [f"https://graph.windows.net/{core.tenant}/users/{user['id']}/getMemberObjects"])
            )
    now = core.clock()
    return Answer(
        issuer=issuer(core),
        audience=audience,
        recipient=reply,
        in_response_to=request,
        name_id=user["userPrincipalName"],
        attributes=attributes,
        now=now,
        authenticated=now,
    )


async def metadata(core: Core, request: Request) -> Response:
    """GET /{tenant}/federationmetadata/2007-06/federationmetadata.xml: of the tenant, or with `appid` of one app."""
    try:
        login.check_tenant(core, request.path_params["tenant"], people=True)
        client_id = request.query_params.get("appid", "")
        keys = keys_of(core, _client(core, client_id)["appId"]) if client_id else core.keys
    except LoginError as error:
        return _refused(error)
    certificates = [
        base64.b64encode(key.certificate.public_bytes(serialization.Encoding.DER)).decode() for key in keys.published
    ]
    described = "".join(
        f'<KeyDescriptor use="signing"><KeyInfo xmlns="{DS}"><X509Data><X509Certificate>{one}</X509Certificate>'
        "</X509Data></KeyInfo></KeyDescriptor>"
        for one in certificates
    )
    where = quoteattr(f"{core.url}/{core.tenant}/saml2")
    binding = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-"
    services = "".join(
        f'<SingleSignOnService Binding="{binding}{one}" Location={where}/>' for one in ("Redirect", "POST")
    )
    text = (
        f'<?xml version="1.0" encoding="utf-8"?><EntityDescriptor ID="_{secrets.token_hex(16)}" '
        f'entityID="{issuer(core)}" xmlns="{_METADATA}"><IDPSSODescriptor protocolSupportEnumeration="{SAMLP}">'
        f'{described}<SingleLogoutService Binding="{binding}Redirect" Location={where}/>{services}</IDPSSODescriptor>'
        "</EntityDescriptor>"
    )
    return Response(text, media_type="application/xml", headers={"Cache-Control": "no-store"})


def _client(core: Core, name: str) -> Doc:
    """The service principal that an Issuer names. Raises LoginError."""
    found = core.directory.resource_named(name) if name else None
    if found is None:
        raise login_error(700016, app=name, tenant_name=core.directory.display_name)
    if not found["accountEnabled"]:
        raise login_error(7000112, app=found["appId"], name=found["displayName"])
    return core.directory.with_application(found)


def _read(core: Core, text: str) -> _Asked:
    if not text:
        raise login_error(750054)
    root = _inflated(text)
    issued = root.find(f"{{{SAML}}}Issuer")
    if root.tag != f"{{{SAMLP}}}AuthnRequest" or root.get("Version") != "2.0" or issued is None:
        raise login_error(75005)
    request = root.get("ID", "")
    if not _ID.fullmatch(request):
        raise login_error(75005)
    name = (issued.text or "").strip()
    client = _client(core, name)
    replies: list[str] = client["replyUrls"]
    reply = root.get("AssertionConsumerServiceURL") or (replies[0] if replies else "")
    if reply not in replies:
        raise login_error(50011, redirect=reply, app=client["appId"])
    # Asked for by its client id, an application is the audience `spn:` and that id.
    audience = f"spn:{name}" if name == client["appId"] else name
    return _Asked(request, client, reply, audience, root.get("ForceAuthn") == "true")


def _inflated(text: str) -> Any:
    try:
        packed = base64.b64decode(text, validate=True)
        unpacker = zlib.decompressobj(-15)
        document = unpacker.decompress(packed, _MAX_REQUEST)
        if not unpacker.eof:
            raise login_error(75005)
        return etree.fromstring(document, etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False))
    except (binascii.Error, ValueError, zlib.error, etree.XMLSyntaxError):
        raise login_error(75005) from None


def _post(reply: str, document: str, relay: str | None) -> Response:
    fields = {"SAMLResponse": document} | ({} if relay is None else {"RelayState": relay})
    inputs = "".join(
        f'<input type="hidden" name="{name}" value="{html.escape(value)}">' for name, value in fields.items()
    )
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; script-src 'sha256-{digest}'; frame-ancestors 'none'"
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Working…</title></head><body>'
        f'<form method="post" action="{html.escape(reply)}">{inputs}<noscript><button>Continue</button></noscript>'
        f"</form><script>{_SCRIPT}</script></body></html>"
    )
    return HTMLResponse(text, headers=HEADERS | {"Content-Security-Policy": policy})


def _refused(error: LoginError) -> Response:
    return page(_TROUBLE, f"<p>{html.escape(str(error))}</p>", error.status)
