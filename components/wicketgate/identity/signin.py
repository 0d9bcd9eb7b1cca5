"""Who runs the toolkit: a credential of azure-identity, found where the azuread provider finds its own.

How this works: the environment says how to sign in (`ARM_…` as for `pulumi up`, else `AZURE_…`, else the Azure CLI).
What the signed-in principal may do stands in the claims of its own token for Graph; they are read here without a look
at the signature, because nothing is decided by them: Graph decides, and this only tells people why.
Sources: terraform-provider-azuread, "Authenticating"; azure-identity; Microsoft identity platform, "Access tokens".
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wicketgate_gateway.contract.errors import WicketgateError

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

PUBLIC_AUTHORITY = "https://login.microsoftonline.com"
_WAYS = (
    "set ARM_TENANT_ID, ARM_CLIENT_ID and ARM_OIDC_TOKEN or ARM_OIDC_TOKEN_FILE_PATH, as for `pulumi up`; or run "
    "`az login`"
)


class SignInError(WicketgateError):
    """Nobody is signed in, or Entra refused."""

    code = "sign-in-failed"


@dataclass(frozen=True, slots=True)
class Cloud:
    """Where to sign in, and where Graph is (without a version)."""

    authority: str = PUBLIC_AUTHORITY
    graph: str = "https://graph.microsoft.com"
    ca_file: str | None = None

    def options(self) -> dict[str, Any]:
        """What azure-identity's credentials need for it."""
        options: dict[str, Any] = {"authority": self.authority}
        if self.authority.rstrip("/") != PUBLIC_AUTHORITY:
            # Else it asks the public cloud first whether this authority is one of Microsoft's.
            options["disable_instance_discovery"] = True
        if self.ca_file is not None:
            options["connection_verify"] = self.ca_file
        return options


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is signed in, by the claims of its own token for Graph."""

    tenant: str
    object_id: str
    client_id: str
    name: str
    person: bool
    permissions: frozenset[str]
    """Application permissions of an app; delegated ones of a person's program."""
    roles: frozenset[str]
    """Template ids of directory roles held for the whole tenant (`wids`)."""


def credential(cloud: Cloud, environ: Mapping[str, str], tenant: str | None = None) -> TokenCredential:
    """The credential that the environment describes. Raises SignInError if it describes none."""
    from azure.identity import AzureCliCredential, CertificateCredential, ClientAssertionCredential
    from azure.identity import ClientSecretCredential as SecretCredential

    def given(name: str) -> str:
        return environ.get(f"ARM_{name}") or environ.get(f"AZURE_{name}") or ""

    tenant_id = given("TENANT_ID") or tenant or ""
    client_id = given("CLIENT_ID")
    options = cloud.options()
    if tenant_id and client_id:
        token_file = environ.get("ARM_OIDC_TOKEN_FILE_PATH") or environ.get("AZURE_FEDERATED_TOKEN_FILE")
        if token := environ.get("ARM_OIDC_TOKEN"):
            return ClientAssertionCredential(tenant_id, client_id, lambda: token, **options)
        if token_file:
            return ClientAssertionCredential(tenant_id, client_id, lambda: read_proof(Path(token_file)), **options)
        if secret := given("CLIENT_SECRET"):
            return SecretCredential(tenant_id, client_id, secret, **options)
        if certificate := given("CLIENT_CERTIFICATE_PATH"):
            try:
                return CertificateCredential(tenant_id, client_id, certificate, **options)
            except (OSError, ValueError) as error:
                raise SignInError(f"the certificate cannot be used: {type(error).__name__}", remedy=_WAYS) from None
    if environ.get("ARM_USE_CLI", "true").lower() == "false" or cloud.authority.rstrip("/") != PUBLIC_AUTHORITY:
        raise SignInError("the environment does not say who signs in", remedy=_WAYS)
    return AzureCliCredential(tenant_id=tenant_id)


def read_proof(file: Path) -> str:
    """A platform's token from its file. Raises SignInError; its text holds nothing of the file."""
    try:
        text = file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        said = f"the platform's token in `{file}` cannot be read: {reason}"
        raise SignInError(said, code="proof-unreadable") from None
    if text.count(".") != 2:
        remedy = "let the platform write its JWT there"
        raise SignInError(f"`{file}` holds no token", code="proof-unreadable", remedy=remedy)
    return text


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a token, unverified: to tell people, never to decide. Raises SignInError."""
    try:
        part = token.split(".")[1]
        claims: Any = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError, binascii.Error, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        # Never the parser's own words: they would quote the token.
        raise SignInError("what should be a token is none", code="token-unreadable")
    return claims


def principal(token: str) -> Principal:
    """Who the token for Graph is of. Raises SignInError."""
    claims = claims_of(token)

    def texts(name: str) -> frozenset[str]:
        value = claims.get(name)
        items = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
        return frozenset(str(one) for one in items)

    person = claims.get("idtyp") == "user" or "scp" in claims
    return Principal(
        tenant=str(claims.get("tid", "")).lower(),
        object_id=str(claims.get("oid", "")).lower(),
        client_id=str(claims.get("appid") or claims.get("azp") or ""),
        name=str(claims.get("upn") or claims.get("app_displayname") or claims.get("name") or claims.get("oid") or ""),
        person=person,
        permissions=texts("scp" if person else "roles"),
        roles=texts("wids"),
    )
