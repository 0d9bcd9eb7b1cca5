"""SAML answers as Entra writes and signs them, element by element.

The signature is made here by hand (exclusive canonical XML, RSA), so that what the gateway verifies with another
library was not made by that library, and so that tests can sign what no honest provider would. Sources: SAML 2.0 core;
XML Signature; Entra's pages on the single sign-on SAML protocol and on SAML token claims.
"""

import base64
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - compiled, without stubs

from wicketgate.testing.entra.keys import SigningKey

SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
SAMLP = "urn:oasis:names:tc:SAML:2.0:protocol"
DS = "http://www.w3.org/2000/09/xmldsig#"
SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
CLAIMS = "http://schemas.microsoft.com/identity/claims/"
OBJECT_ID, TENANT_ID, DISPLAY_NAME = (f"{CLAIMS}{name}" for name in ("objectidentifier", "tenantid", "displayname"))
ROLE = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"
GROUPS = "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups"
GROUPS_LINK = "http://schemas.microsoft.com/claims/groups.link"
ENVELOPED = f"{DS}enveloped-signature"
EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
_SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
_HASHES: dict[str, tuple[str, hashes.HashAlgorithm]] = {
    RSA_SHA256: (_SHA256, hashes.SHA256()),
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512": ("http://www.w3.org/2001/04/xmlenc#sha512", hashes.SHA512()),
    f"{DS}rsa-sha1": (f"{DS}sha1", hashes.SHA1()),  # noqa: S303 - what must be refused must first be made
    "http://www.w3.org/2001/04/xmldsig-more#rsa-md5": (
        "http://www.w3.org/2001/04/xmldsig-more#md5",
        hashes.MD5(),  # noqa: S303 - as above
    ),
}


def new_id() -> str:
    """An `xs:ID` as Entra makes them."""
    return f"_{uuid.uuid4()}"


@dataclass(frozen=True)
class Answer:
    """What a response says. Times are seconds since 1970; `attributes` are pairs of a name and its values."""

    issuer: str
    audience: str
    recipient: str
    in_response_to: str
    name_id: str
    attributes: Sequence[tuple[str, Sequence[str]]]
    now: float
    authenticated: float
    lifetime: float = 3600.0
    response_id: str = field(default_factory=new_id)
    assertion_id: str = field(default_factory=new_id)
    status: str = SUCCESS


def moment(seconds: float) -> str:
    """`xs:dateTime` in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def assertion(answer: Answer) -> str:
    """The assertion, unsigned."""
    now, starts, ends = (moment(answer.now + more) for more in (0, -300, answer.lifetime))
    attributes = "".join(
        f"<Attribute Name={quoteattr(name)}>"
        + "".join(f"<AttributeValue>{escape(value)}</AttributeValue>" for value in values)
        + "</Attribute>"
        for name, values in answer.attributes
    )
    return (
        f'<Assertion ID={quoteattr(answer.assertion_id)} IssueInstant="{now}" Version="2.0" xmlns="{SAML}">'
        f"<Issuer>{escape(answer.issuer)}</Issuer>"
        '<Subject><NameID Format="urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress">'
        f'{escape(answer.name_id)}</NameID><SubjectConfirmation Method="{BEARER}">'
        f"<SubjectConfirmationData InResponseTo={quoteattr(answer.in_response_to)} "
        f'NotOnOrAfter="{ends}" Recipient={quoteattr(answer.recipient)}/></SubjectConfirmation></Subject>'
        f'<Conditions NotBefore="{starts}" NotOnOrAfter="{ends}"><AudienceRestriction>'
        f"<Audience>{escape(answer.audience)}</Audience></AudienceRestriction></Conditions>"
        f"<AttributeStatement>{attributes}</AttributeStatement>"
        f'<AuthnStatement AuthnInstant="{moment(answer.authenticated)}" SessionIndex={quoteattr(answer.assertion_id)}>'
        "<AuthnContext><AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password</AuthnContextClassRef>"
        "</AuthnContext></AuthnStatement></Assertion>"
    )


def response(answer: Answer) -> Any:
    """The response as an element tree, unsigned."""
    return etree.fromstring(
        f'<samlp:Response ID={quoteattr(answer.response_id)} Version="2.0" IssueInstant="{moment(answer.now)}" '
        f"Destination={quoteattr(answer.recipient)} InResponseTo={quoteattr(answer.in_response_to)} "
        f'xmlns:samlp="{SAMLP}"><Issuer xmlns="{SAML}">{escape(answer.issuer)}</Issuer>'
        f'<samlp:Status><samlp:StatusCode Value="{answer.status}"/></samlp:Status>{assertion(answer)}</samlp:Response>'
    )


def sign(
    element: Any,
    key: SigningKey,
    *,
    method: str = RSA_SHA256,
    transforms: Sequence[str] = (ENVELOPED, EXCLUSIVE),
    canonical: str = EXCLUSIVE,
) -> Any:
    """Signs an element by its ID and puts the signature after its Issuer; gives the signature."""
    digest_method, algorithm = _HASHES[method]
    exclusive = any(one.startswith(EXCLUSIVE) for one in transforms)
    digest = hashes.Hash(algorithm)
    digest.update(_canonical(element, exclusive=exclusive))
    steps = "".join(f"<Transform Algorithm={quoteattr(one)}/>" for one in transforms)
    certificate = base64.b64encode(key.certificate.public_bytes(serialization.Encoding.DER)).decode()
    signature = etree.fromstring(
        f'<Signature xmlns="{DS}"><SignedInfo><CanonicalizationMethod Algorithm={quoteattr(canonical)}/>'
        f'<SignatureMethod Algorithm={quoteattr(method)}/><Reference URI="#{element.get("ID")}">'
        f'<Transforms>{steps}</Transforms><DigestMethod Algorithm="{digest_method}"/>'
        f"<DigestValue>{base64.b64encode(digest.finalize()).decode()}</DigestValue></Reference></SignedInfo>"
        f"<SignatureValue/><KeyInfo><X509Data><X509Certificate>{certificate}</X509Certificate></X509Data></KeyInfo>"
        "</Signature>"
    )
    issuer = element.find(f"{{{SAML}}}Issuer")
    issuer.addnext(signature)
    info = _canonical(signature[0], exclusive=canonical.startswith(EXCLUSIVE))
    signature[1].text = base64.b64encode(key.key.sign(info, padding.PKCS1v15(), algorithm)).decode()
    return signature


def _canonical(element: Any, *, exclusive: bool) -> bytes:
    return etree.tostring(element, method="c14n", exclusive=exclusive, with_comments=False)


def signed(answer: Answer, key: SigningKey, what: str = "assertion") -> bytes:
    """A response with its signatures: of the `assertion`, of the `response`, or of `both`."""
    tree = response(answer)
    if what in ("assertion", "both"):
        sign(tree.find(f"{{{SAML}}}Assertion"), key)
    if what in ("response", "both"):
        sign(tree, key)
    return etree.tostring(tree)
