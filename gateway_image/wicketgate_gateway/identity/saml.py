"""What a SAML answer proves: who signed in, with which roles, when; and how everything else is refused.

How this works: the answer must have exactly the form that Entra gives it, so that there is nothing left to wrap, move
or hide. One Response, one Assertion as its child, one Signature as the Assertion's second child, over the Assertion's
own ID, by RSA with SHA-256 or more, enveloped and exclusive canonical XML, and nothing else. That Signature is verified
by signxml with a certificate that was pinned before the answer came; what the answer says of keys is not read. From
then on only the elements that signxml gives back are read, which it made from the very bytes that were digested.

Then the assertion must be for this gateway (audience, recipient, destination), from this tenant (issuer, `tenantid`),
in answer to the request that this browser began (`InResponseTo`), in time, and never seen before. Roles come from the
role claim alone. Groups never do: Graph is asked, and the address in `groups.link` is never followed. Sources: SAML 2.0
core and profiles, section 4.1.4; Somorovsky et al., "On Breaking SAML" (2012); Entra, "SAML token claims reference".
"""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from cryptography import x509
from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - compiled, without stubs
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.verifier import SignatureConfiguration, XMLVerifier

from wicketgate_gateway.contract.gateway import Saml
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.identity.people import ROLES, Person
from wicketgate_gateway.identity.saml_xml import MAX_BYTES, content, names, no_text, only_child, parse, refuse
from wicketgate_gateway.identity.tokens import LEEWAY, UUID

SAML = "{urn:oasis:names:tc:SAML:2.0:assertion}"
SAMLP = "{urn:oasis:names:tc:SAML:2.0:protocol}"
DS = "{http://www.w3.org/2000/09/xmldsig#}"
SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
ENTITY = "urn:oasis:names:tc:SAML:2.0:nameid-format:entity"
CLAIMS = "http://schemas.microsoft.com/identity/claims/"
OBJECT_ID, TENANT_ID, DISPLAY_NAME = (f"{CLAIMS}{name}" for name in ("objectidentifier", "tenantid", "displayname"))
ROLE = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"
ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
METHODS = frozenset({SignatureMethod.RSA_SHA256, SignatureMethod.RSA_SHA384, SignatureMethod.RSA_SHA512})
DIGESTS = frozenset({DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512})
_CONFIG = SignatureConfiguration(
    require_x509=True, location="./", expect_references=1, signature_methods=METHODS, digest_algorithms=DIGESTS
)
MAX_LIFE = 24 * 3600.0
"""Assertions that say they hold longer are not Entra's."""
MAX_BEARER_AGE = 3600.0
"""Of an assertion that no browser's request began: nobody remembers when it was asked for."""
MAX_USED = 20_000
MAX_ATTRIBUTES = 60
MAX_VALUES = 200
_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z", re.ASCII)
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}", re.ASCII)
_MAX_NAME = 256


@dataclass(frozen=True, slots=True)
class Expected:
    """What an answer must be for: one browser's request of some minutes ago, or nobody's (`person_of_bearer`)."""

    request: str
    """The AuthnRequest's ID; empty: there was none, and the assertion must name none."""
    began: float
    fresh: bool
    """Whether Entra was asked to have the person sign in anew (`ForceAuthn`)."""


class Assertions:
    """Reads the answers that come to one address, `recipient`, from one tenant. Times are seconds of `clock`."""

    def __init__(self, settings: Saml, tenant: str, recipient: str, *, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._tenant = tenant
        self._recipient = recipient
        self._clock = clock
        self._issuer = f"https://sts.windows.net/{tenant}/"
        self._used: OrderedDict[str, float] = OrderedDict()

    def person(self, answer: str, expected: Expected, certificates: Sequence[x509.Certificate]) -> Person:
        """Whom `answer` (the form's `SAMLResponse`) proves. Raises Refused.

        `certificates` are the pinned ones. The person is not yet known to be enabled: that is Graph's to say.
        """
        root = parse(_decoded(answer))
        assertion = self._of_response(root, expected)
        signed = _verified(assertion, certificates)
        if root[1].tag == f"{DS}Signature":  # Entra may sign both; one that is there must be good
            _verified(root, certificates)
        if signed.tag != f"{SAML}Assertion" or signed.get("ID") != assertion.get("ID"):
            raise refuse("signature", "the signature is not over the assertion")
        return self._of_assertion(signed, expected)

    def person_of_bearer(self, assertion: str, certificates: Sequence[x509.Certificate]) -> Person:
        """Whom a bare assertion (base64url, RFC 7522 section 2.1) proves. Raises Refused.

        It must be for `recipient`, in answer to no request, and some minutes old at most. As with `person`, Graph has
        yet to say that the account is enabled.
        """
        root = parse(_decoded(assertion.replace("-", "+").replace("_", "/")))
        if root.tag != f"{SAML}Assertion":
            raise refuse("malformed", "the document is no SAML 2.0 assertion")
        _alone(root, root)
        signed = _verified(root, certificates)
        if signed.tag != f"{SAML}Assertion" or signed.get("ID") != root.get("ID"):
            raise refuse("signature", "the signature is not over the assertion")
        return self._of_assertion(signed, Expected("", self._clock() - MAX_BEARER_AGE, fresh=False))

    def _of_response(self, root: Any, expected: Expected) -> Any:
        """The one assertion of a response that is addressed to us."""
        if root.tag != f"{SAMLP}Response" or root.get("Version") != "2.0":
            raise refuse("malformed", "the answer is no SAML 2.0 response")
        allowed = {"ID", "Version", "IssueInstant", "Destination", "InResponseTo", "Consent"}
        if not set(root.attrib) <= allowed:
            raise refuse("malformed", "the response has attributes that Entra does not give")
        _id(root)
        no_text(root)
        if root.get("Destination") != self._recipient:
            raise refuse("wrong-destination", "the answer was sent for another address")
        if root.get("InResponseTo") != expected.request:
            raise refuse("wrong-request", "the answer is not to a sign-in that this browser began")
        self._issued(root, expected)
        tags = [tag for tag in names(root) if tag != f"{DS}Signature"]
        if tags[:2] != [f"{SAML}Issuer", f"{SAMLP}Status"]:
            raise refuse("malformed", "the response has not the form that Entra gives it")
        self._from_tenant(root[0])
        _status(only_child(root, f"{SAMLP}Status", "status"))
        if f"{SAML}EncryptedAssertion" in tags:
            raise refuse("encrypted", "the assertion is encrypted", "turn token encryption off for this application")
        if tags[2:] != [f"{SAML}Assertion"]:
            raise refuse("wrapped", "there must be exactly one assertion, and nothing beside it")
        assertion = root[-1]
        _alone(root, assertion)
        return assertion

    def _of_assertion(self, signed: Any, expected: Expected) -> Person:
        """Whom the assertion speaks of; every element here is one that was signed."""
        now = self._clock()
        if signed.get("Version") != "2.0" or set(signed.attrib) != {"ID", "Version", "IssueInstant"}:
            raise refuse("malformed", "the assertion is none of SAML 2.0")
        no_text(signed)
        wanted = [f"{SAML}{name}" for name in ("Issuer", "Subject", "Conditions")]
        statements = {f"{SAML}AttributeStatement", f"{SAML}AuthnStatement"}
        tags = names(signed)
        if tags[:3] != wanted or len(tags) != 5 or set(tags[3:]) != statements:
            raise refuse("malformed", "the assertion has not the form that Entra gives it")
        self._issued(signed, expected)
        self._from_tenant(signed[0])
        self._confirmed(signed[1], expected, now)
        ends = self._conditions(signed[2], now)
        at = self._authenticated(only_child(signed, f"{SAML}AuthnStatement", "AuthnStatement"), expected, now)
        claims = _claims(only_child(signed, f"{SAML}AttributeStatement", "AttributeStatement"))
        person = self._claimed(claims, _id(signed), ends, at)
        self._once(_id(signed), ends, now)
        return person

    def _issued(self, element: Any, expected: Expected) -> None:
        at = _time(element.get("IssueInstant"))
        if at > self._clock() + LEEWAY:
            raise refuse("not-yet", "the answer is from the future", "check the clocks")
        if at < expected.began - LEEWAY:
            raise refuse("expired", "the answer is older than the sign-in")

    def _from_tenant(self, issuer: Any) -> None:
        # An entity's name is the format that is meant where none is given.
        if issuer.get("Format", ENTITY) != ENTITY or set(issuer.attrib) - {"Format"}:
            raise refuse("wrong-issuer", "the issuer is not named as an entity")
        if content(issuer, "Issuer") != self._issuer:
            raise refuse("wrong-issuer", "the answer is of another tenant or provider")

    def _confirmed(self, subject: Any, expected: Expected, now: float) -> None:
        if names(subject) != [f"{SAML}NameID", f"{SAML}SubjectConfirmation"]:
            raise refuse("malformed", "the subject must have one name and one confirmation")
        content(subject[0], "NameID")
        confirmation = subject[1]
        if confirmation.get("Method") != BEARER or names(confirmation) != [f"{SAML}SubjectConfirmationData"]:
            raise refuse("not-bearer", "the subject is not confirmed as a bearer")
        data = confirmation[0]
        wanted = {"Recipient", "NotOnOrAfter"} | ({"InResponseTo"} if expected.request else set())
        if set(data.attrib) != wanted or len(data):
            what = "request, recipient and end" if expected.request else "recipient and end"
            raise refuse("not-bearer", f"the confirmation must name {what}, and nothing else")
        if expected.request and data.get("InResponseTo") != expected.request:
            raise refuse("wrong-request", "the assertion is not for a sign-in that this browser began")
        if data.get("Recipient") != self._recipient:
            raise refuse("wrong-recipient", "the assertion is for another address")
        if now >= _time(data.get("NotOnOrAfter")) + LEEWAY:
            raise refuse("expired", "the assertion has expired")

    def _conditions(self, conditions: Any, now: float) -> float:
        if names(conditions) != [f"{SAML}AudienceRestriction"]:
            raise refuse("malformed", "the conditions must be times and an audience")
        if set(conditions.attrib) != {"NotBefore", "NotOnOrAfter"}:
            raise refuse("malformed", "the conditions must say from when and until when")
        starts, ends = _time(conditions.get("NotBefore")), _time(conditions.get("NotOnOrAfter"))
        if now < starts - LEEWAY:
            raise refuse("not-yet", "the assertion holds later", "check the clocks")
        if now >= ends + LEEWAY:
            raise refuse("expired", "the assertion has expired")
        if not 0 < ends - starts <= MAX_LIFE:
            raise refuse("malformed", "the assertion holds for too long")
        if names(conditions[0]) != [f"{SAML}Audience"]:
            raise refuse("wrong-audience", "the assertion must be for one audience")
        if content(conditions[0][0], "Audience") != self._settings.entity_id:
            raise refuse("wrong-audience", "the assertion is for another application")
        return ends

    def _authenticated(self, statement: Any, expected: Expected, now: float) -> float:
        if not set(statement.attrib) <= {"AuthnInstant", "SessionIndex", "SessionNotOnOrAfter"}:
            raise refuse("malformed", "the sign-in is described in an unknown way")
        if names(statement) != [f"{SAML}AuthnContext"]:
            raise refuse("malformed", "the sign-in must have one context")
        at = _time(statement.get("AuthnInstant"))
        if at > now + LEEWAY:
            raise refuse("not-yet", "the person signs in later than now", "check the clocks")
        until = statement.get("SessionNotOnOrAfter")
        if until is not None and now >= _time(until):
            raise refuse("expired", "the person's session has ended")
        if expected.fresh and at < expected.began - LEEWAY:
            raise refuse("not-fresh", "Entra did not have you sign in anew", "sign out of Entra, then begin again")
        return at

    def _claimed(self, claims: dict[str, list[str]], token_id: str, ends: float, at: float) -> Person:
        if _only(claims, TENANT_ID) != self._tenant:
            raise refuse("wrong-tenant", "the person is of another tenant")
        object_id = _only(claims, OBJECT_ID)
        roles = frozenset(claims.get(ROLE, [])) & ROLES
        if not roles:
            offered = ", ".join(f"`{role}`" for role in sorted(ROLES))
            raise Refused("role-missing", "you have no role at this gateway", f"ask for one of {offered}")
        shown = [text for text in claims.get(DISPLAY_NAME, []) if text]
        principal = Principal(
            kind=PrincipalKind.PERSON,
            tenant=self._tenant,
            object_id=object_id,
            client_id=self._settings.client,
            name=shown[0][:_MAX_NAME] if len(shown) == 1 else object_id,
            token_id=token_id,
            expires_at=ends,
            roles=roles,
        )
        return Person(principal, at)

    def _once(self, key: str, ends: float, now: float) -> None:
        """Raises Refused for an assertion that has been used here; of other processes the control store knows
        (`Used`)."""
        while self._used and next(iter(self._used.values())) < now:
            self._used.popitem(last=False)
        if key in self._used:
            raise refuse("replayed", "the assertion has been used")
        if len(self._used) >= MAX_USED:
            raise refuse("too-many", "too many people sign in at once", "try again in some minutes")
        self._used[key] = ends + LEEWAY


class Used(Protocol):
    """What knows whether something has served already, whichever process it came to."""

    async def first(self, kind: str, key: str, ends: float) -> bool:
        """Whether nobody came with this before; it is remembered until `ends`."""
        ...


async def use(person: Person, used: Used) -> None:
    """Have the assertion that proved `person` serve this once. Raises Refused, WicketgateError."""
    principal = person.principal
    if not await used.first("saml", principal.token_id, principal.expires_at + LEEWAY):
        raise refuse("replayed", "the assertion has been used")


def _decoded(answer: str) -> bytes:
    if len(answer) > MAX_BYTES * 4 // 3 + 4:
        raise refuse("too-large", "the answer is too large")
    text = re.sub(r"[\r\n]", "", answer)
    if not _BASE64.fullmatch(text):
        raise refuse("malformed", "the answer is not base64")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise refuse("malformed", "the answer is not base64") from None


def _id(element: Any) -> str:
    found = element.get("ID")
    if not isinstance(found, str) or not _ID.fullmatch(found):
        raise refuse("malformed", "an ID is missing or not of the usual form")
    return found


def _time(text: str | None) -> float:
    if text is None or not _TIME.fullmatch(text):
        raise refuse("malformed", "a time is missing or not in UTC")
    # Python's own reader takes six digits of a second at most; Entra gives up to seven.
    whole, _, part = text[:-1].partition(".")
    try:
        at = datetime.fromisoformat(f"{whole}+00:00").timestamp()
    except ValueError:
        raise refuse("malformed", "a time is none") from None
    return at + (float(f"0.{part}") if part else 0.0)


def _status(status: Any) -> None:
    codes = [child for child in status if child.tag == f"{SAMLP}StatusCode"]
    if len(codes) != 1:
        raise refuse("malformed", "the answer must have one status")
    if codes[0].get("Value") != SUCCESS:
        raise refuse("failed", "Entra did not sign you in", "ask for a role at this gateway")
    if len(status) != 1 or len(codes[0]):
        raise refuse("malformed", "the status says more than success")


def _alone(root: Any, assertion: Any) -> None:
    """Raises Refused unless signatures and assertions stand where they must, and nowhere else in the document."""
    places = {f"{DS}Signature": (root, assertion), f"{SAML}Assertion": (root,)}
    count: dict[str, int] = {}
    for element in root.iter():
        name = etree.QName(element.tag).localname
        if name not in ("Assertion", "Signature", "Response", "Object"):
            continue
        if element is root:
            continue
        parents = places.get(element.tag, ())
        if not any(element.getparent() is one for one in parents):
            raise refuse("wrapped", "an assertion, response or signature stands where none belongs")
        where = f"{element.tag} of {element.getparent().tag}"
        count[where] = count.get(where, 0) + 1
        if count[where] > 1:
            raise refuse("wrapped", "there is more than one assertion or signature")


def _verified(element: Any, certificates: Sequence[x509.Certificate]) -> Any:
    """The element as it was signed, from the digested bytes. Raises Refused."""
    _signature_form(element)
    alone = etree.fromstring(etree.tostring(element, with_tail=False))
    for said in alone[1][2:]:  # what the answer says of keys; the signature does not cover it
        alone[1].remove(said)
    data = etree.tostring(alone)
    for certificate in certificates:
        signed = _signed_with(data, certificate)
        if signed is not None:
            return signed
    raise refuse(
        "signature",
        "the answer is not signed with a certificate of this tenant's application",
        "begin again; if it stays so, tell the gateway's operator: a certificate may have changed",
    )


def _signed_with(data: bytes, certificate: x509.Certificate) -> Any:
    try:
        # A verifier keeps the settings of its last call: one for each.
        found = XMLVerifier().verify(data, x509_cert=certificate, expect_config=_CONFIG, id_attribute="ID")
    except Exception:  # whatever the library stumbles over is no signature
        return None
    return getattr(found, "signed_xml", None)


def _signature_form(element: Any) -> None:
    """Raises Refused unless the signature is an element's second child and of the one form that counts."""
    if names(element)[:2] != [f"{SAML}Issuer", f"{DS}Signature"]:
        raise refuse("unsigned", "the assertion has no signature of its own", "have Entra sign the assertion")
    signature = element[1]
    if names(signature)[:2] != [f"{DS}SignedInfo", f"{DS}SignatureValue"] or names(signature)[2:] not in (
        [],
        [f"{DS}KeyInfo"],
    ):
        raise refuse("signature-form", "the signature holds more than a signature")
    info = signature[0]
    if names(info) != [f"{DS}{name}" for name in ("CanonicalizationMethod", "SignatureMethod", "Reference")]:
        raise refuse("signature-form", "the signature must be over one thing")
    canonical, method, reference = info
    if canonical.get("Algorithm") != EXCLUSIVE or len(canonical):
        raise refuse("signature-form", "the signature must be over exclusive canonical XML")
    if method.get("Algorithm") not in {one.value for one in METHODS} or len(method):
        raise refuse("signature-algorithm", "the signature must be RSA with SHA-256 or more")
    if set(reference.attrib) != {"URI"} or reference.get("URI") != f"#{_id(element)}":
        raise refuse("signature-form", "the signature is over another element")
    if names(reference) != [f"{DS}{name}" for name in ("Transforms", "DigestMethod", "DigestValue")]:
        raise refuse("signature-form", "the signature's reference is not of the usual form")
    transforms, digest, _ = reference
    if names(transforms) != [f"{DS}Transform"] * 2 or any(len(one) for one in transforms):
        raise refuse("signature-form", "the signature must have two plain transforms")
    if [one.get("Algorithm") for one in transforms] != [ENVELOPED, EXCLUSIVE]:
        raise refuse("signature-form", "the transforms must be: enveloped, then exclusive canonical XML")
    if digest.get("Algorithm") not in {one.value for one in DIGESTS}:
        raise refuse("signature-algorithm", "the digest must be SHA-256 or more")


def _claims(statement: Any) -> dict[str, list[str]]:
    """Values by name, each name once."""
    if len(statement) > MAX_ATTRIBUTES:
        raise refuse("too-large", "the assertion has too many attributes")
    found: dict[str, list[str]] = {}
    for attribute in statement:
        name = attribute.get("Name")
        if attribute.tag != f"{SAML}Attribute" or not name or name in found:
            raise refuse("malformed", "an attribute is given twice, or is none")
        if set(names(attribute)) - {f"{SAML}AttributeValue"} or len(attribute) > MAX_VALUES:
            raise refuse("malformed", "an attribute holds more than values")
        found[name] = ["" if _empty(value) else content(value, "AttributeValue", 4096) for value in attribute]
    return found


def _empty(value: Any) -> bool:
    return not len(value) and not value.text


def _only(claims: dict[str, list[str]], name: str) -> str:
    values = claims.get(name, [])
    if len(values) != 1 or not UUID.fullmatch(values[0]):
        raise refuse("claim", f"the claim `{name.rpartition('/')[2]}` must be given, once, as an id")
    return values[0]
