"""Forged SAML answers, posted to the running gateway from a browser that began a sign-in: nobody is signed in.

The attacker is Ada, an auditor with genuine answers to her own requests, who wants to be Root, the administrator.
Where the signature is good, the answer is one that Entra gave for something else, or an honest provider never gives.
"""

from __future__ import annotations

import base64
import copy
import dataclasses
import hashlib
import hmac
import re
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives import serialization
from lxml import etree

from tests.saml import ACS, ENTITY, GRANT, TOKENS, Bearer, Case, Gate, in_session
from wicketgate.testing.entra import saml, saml_documents
from wicketgate.testing.entra.keys import SigningKeys
from wicketgate.testing.entra.saml_documents import DS, EXCLUSIVE, RSA_SHA256, SAML, SAMLP, sign
from wicketgate.testing.entra.store import Store

ROOT_ROLE = "Gateway.Admin"
A, P, D = f"{{{SAML}}}", f"{{{SAMLP}}}", f"{{{DS}}}"
OID = saml_documents.OBJECT_ID
ENVELOPED = saml_documents.ENVELOPED
INCLUSIVE = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
XSLT, XPATH = "http://www.w3.org/TR/1999/REC-xslt-19991116", "http://www.w3.org/TR/1999/REC-xpath-19991116"


@pytest.fixture(scope="module")
def gate(whole_cloud: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    running = Gate(whole_cloud, tmp_path_factory.mktemp("saml"))
    yield running
    running.close()


Attack = Callable[[Case], Any]
ATTACKS: dict[str, tuple[str, Attack]] = {}


def attack(name: str, code: str) -> Callable[[Attack], Attack]:
    def keep(made: Attack) -> Attack:
        assert name not in ATTACKS
        ATTACKS[name] = (code, made)
        return made

    return keep


# --- Signature wrapping (Somorovsky et al.; the numbers are those of SAML Raider).


def assertion_of(tree: Any) -> Any:
    return tree.find(f"{A}Assertion")


def signature_of(tree: Any) -> Any:
    return tree.find(f".//{D}Signature")


def bare(assertion: Any) -> Any:
    made = copy.deepcopy(assertion)
    made.remove(made.find(f"{D}Signature"))
    return made


def renamed(element: Any) -> Any:
    element.set("ID", "_forged-0000")
    return element


@attack("XSW1: a forged response around the signed one, in its signature", "saml-wrapped")
def xsw1(case: Case) -> Any:
    original = saml_documents.response(case.answer())
    sign(original, case.key)
    forged = saml_documents.response(case.answer("Root"))
    moved = original.find(f"{D}Signature")
    inner = copy.deepcopy(original)
    inner.remove(inner.find(f"{D}Signature"))
    moved.append(inner)
    forged[0].addnext(moved)
    return forged


@attack("XSW2: a forged response, the signed one before its signature", "saml-malformed")
def xsw2(case: Case) -> Any:
    original = saml_documents.response(case.answer())
    sign(original, case.key)
    forged = saml_documents.response(case.answer("Root"))
    moved = original.find(f"{D}Signature")
    original.remove(moved)
    forged[0].addnext(moved)
    forged[0].addnext(original)
    return forged


@attack("XSW3: a forged assertion before the signed one", "saml-wrapped")
def xsw3(case: Case) -> Any:
    tree = case.genuine()
    assertion_of(tree).addprevious(renamed(case.root()))
    return tree


@attack("XSW4: the signed assertion in a forged one", "saml-wrapped")
def xsw4(case: Case) -> Any:
    tree = case.genuine()
    original, forged = assertion_of(tree), renamed(case.root())
    tree.replace(original, forged)
    forged.append(original)
    return tree


@attack("XSW5: the signature in a forged assertion, the original at the end", "saml-wrapped")
def xsw5(case: Case) -> Any:
    tree = case.genuine()
    original, forged = assertion_of(tree), renamed(case.root())
    forged[0].addnext(copy.deepcopy(signature_of(tree)))
    tree.replace(original, forged)
    tree.append(bare(original))
    return tree


@attack("XSW6: the signature in a forged assertion, the original in the signature", "saml-wrapped")
def xsw6(case: Case) -> Any:
    tree = case.genuine()
    original, forged = assertion_of(tree), renamed(case.root())
    moved = copy.deepcopy(signature_of(tree))
    moved.append(bare(original))
    forged[0].addnext(moved)
    tree.replace(original, forged)
    return tree


@attack("XSW7: a forged assertion in Extensions", "saml-malformed")
def xsw7(case: Case) -> Any:
    tree = case.genuine()
    extensions = etree.SubElement(tree, f"{P}Extensions")
    extensions.append(renamed(case.root()))
    tree[0].addnext(extensions)
    return tree


@attack("XSW8: the original in an Object of the signature", "saml-wrapped")
def xsw8(case: Case) -> Any:
    tree = case.genuine()
    original, forged = assertion_of(tree), renamed(case.root())
    moved = copy.deepcopy(signature_of(tree))
    etree.SubElement(moved, f"{D}Object").append(bare(original))
    forged[0].addnext(moved)
    tree.replace(original, forged)
    return tree


@attack("a forged assertion after the signed one", "saml-wrapped")
def after(case: Case) -> Any:
    tree = case.genuine()
    tree.append(renamed(case.root()))
    return tree


@attack("a forged assertion of the same ID", "saml-duplicate-id")
def same_id(case: Case) -> Any:
    tree = case.genuine()
    forged = case.root()
    forged.set("ID", assertion_of(tree).get("ID"))
    tree.append(forged)
    return tree


@attack("the signed assertion in the subject of a forged one", "saml-wrapped")
def in_subject(case: Case) -> Any:
    tree = case.genuine()
    original, forged = assertion_of(tree), renamed(case.root())
    forged[0].addnext(copy.deepcopy(signature_of(tree)))
    tree.replace(original, forged)
    forged.find(f".//{A}SubjectConfirmationData").append(bare(original))
    return tree


@attack("an assertion of another vocabulary beside the signed one", "saml-wrapped")
def vocabulary(case: Case) -> Any:
    tree = case.genuine()
    tree.append(etree.fromstring('<Assertion xmlns="urn:oasis:names:tc:SAML:1.0:assertion"/>'))
    return tree


@attack("two signed assertions", "saml-wrapped")
def two(case: Case) -> Any:
    tree = case.genuine()
    tree.append(assertion_of(case.genuine()))
    return tree


# --- The signature itself.


@attack("no signature at all", "saml-unsigned")
def unsigned(case: Case) -> Any:
    return saml_documents.response(case.answer("Root"))


@attack("the signature taken away", "saml-unsigned")
def stripped(case: Case) -> Any:
    tree = case.genuine()
    signature_of(tree).getparent().remove(signature_of(tree))
    return tree


@attack("only the response is signed", "saml-unsigned")
def response_only(case: Case) -> Any:
    tree = saml_documents.response(case.answer())
    sign(tree, case.key)
    return tree


@attack("a good assertion in a response whose own signature is bad", "saml-signature")
def response_bad(case: Case) -> Any:
    tree = case.genuine()
    sign(tree, case.key)
    tree.set("Consent", "urn:oasis:names:tc:SAML:2.0:consent:obtained")
    return tree


@attack("the assertion's signature beside it", "saml-unsigned")
def beside(case: Case) -> Any:
    tree = case.genuine()
    tree[0].addnext(signature_of(tree))
    return tree


@attack("the assertion's signature deeper in it", "saml-wrapped")
def deeper(case: Case) -> Any:
    tree = case.genuine()
    tree.find(f".//{A}Subject").append(signature_of(tree))
    return tree


@attack("the assertion's signature at its end", "saml-unsigned")
def at_end(case: Case) -> Any:
    tree = case.genuine()
    assertion_of(tree).append(signature_of(tree))
    return tree


@attack("two signatures", "saml-wrapped")
def twice(case: Case) -> Any:
    tree = case.genuine()
    signature_of(tree).addnext(copy.deepcopy(signature_of(tree)))
    return tree


@attack("a role edited after signing", "saml-signature")
def edited(case: Case) -> Any:
    text = etree.tostring(case.genuine())
    assert b">Session.Read<" in text
    return text.replace(b">Session.Read<", b">Gateway.Admin<")


@attack("a value of the signature edited", "saml-signature")
def edited_value(case: Case) -> Any:
    tree = case.genuine()
    value = tree.find(f".//{D}SignatureValue")
    value.text = base64.b64encode(bytes([base64.b64decode(value.text)[0] ^ 1]) + base64.b64decode(value.text)[1:])
    return tree


@attack("an empty signature value", "saml-signature")
def empty_value(case: Case) -> Any:
    tree = case.genuine()
    tree.find(f".//{D}SignatureValue").text = None
    return tree


def evil_key() -> Any:
    return SigningKeys(Store(), "evil", "Microsoft Azure Federated SSO Certificate").current


@attack("signed by the attacker, with their certificate in KeyInfo", "saml-signature")
def key_info(case: Case) -> Any:
    return case.signed(saml_documents.response(case.answer("Root")), key=evil_key())


@attack("signed by the attacker, with the true certificate in KeyInfo", "saml-signature")
def true_key_info(case: Case) -> Any:
    tree = case.signed(saml_documents.response(case.answer("Root")), key=evil_key())
    certificate = case.key.certificate.public_bytes(serialization.Encoding.DER)
    tree.find(f".//{D}X509Certificate").text = base64.b64encode(certificate).decode()
    return tree


@attack("signed by the attacker, with their bare key in KeyInfo", "saml-signature")
def key_value(case: Case) -> Any:
    evil = evil_key()
    tree = case.signed(saml_documents.response(case.answer("Root")), key=evil)
    numbers = evil.key.public_key().public_numbers()
    modulus = base64.b64encode(numbers.n.to_bytes(256, "big")).decode()
    info = tree.find(f".//{D}KeyInfo")
    info.remove(info[0])
    value = f'<KeyValue xmlns="{DS}"><RSAKeyValue><Modulus>{modulus}</Modulus><Exponent>AQAB</Exponent></RSAKeyValue>'
    info.append(etree.fromstring(f"{value}</KeyValue>"))
    return tree


@attack("signed with the tenant's key, not the application's", "saml-signature")
def tenant_key(case: Case) -> Any:
    return case.signed(saml_documents.response(case.answer("Root")), key=case.gate.cloud.entra.core.keys.current)


@attack("signed with another application's key", "saml-signature")
def other_app(case: Case) -> Any:
    core = case.gate.cloud.entra.core
    key = saml.keys_of(core, case.gate.cloud.clients["other-cli"]).current
    return case.signed(saml_documents.response(case.answer("Root")), key=key)


@attack("HMAC keyed with the public certificate", "saml-signature-algorithm")
def hmac_public(case: Case) -> Any:
    tree = case.signed(saml_documents.response(case.answer("Root")), key=evil_key())
    method = tree.find(f".//{D}SignatureMethod")
    method.set("Algorithm", "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256")
    info = etree.tostring(tree.find(f".//{D}SignedInfo"), method="c14n", exclusive=True)
    pem = case.key.certificate.public_bytes(serialization.Encoding.PEM)
    tree.find(f".//{D}SignatureValue").text = base64.b64encode(hmac.digest(pem, info, hashlib.sha256)).decode()
    return tree


@attack("RSA with SHA-1", "saml-signature-algorithm")
def sha1(case: Case) -> Any:
    return case.signed(saml_documents.response(case.answer()), method=f"{DS}rsa-sha1")


@attack("RSA with MD5", "saml-signature-algorithm")
def md5(case: Case) -> Any:
    method = "http://www.w3.org/2001/04/xmldsig-more#rsa-md5"
    return case.signed(saml_documents.response(case.answer()), method=method)


@attack("a digest by SHA-1", "saml-signature-algorithm")
def sha1_digest(case: Case) -> Any:
    tree = case.genuine()
    tree.find(f".//{D}DigestMethod").set("Algorithm", f"{DS}sha1")
    return tree


@attack("an algorithm that is none", "saml-signature-algorithm")
def no_algorithm(case: Case) -> Any:
    tree = case.genuine()
    tree.find(f".//{D}SignatureMethod").set("Algorithm", "none")
    return tree


def transformed(*transforms: str, canonical: str = EXCLUSIVE) -> Attack:
    return lambda case: case.signed(
        saml_documents.response(case.answer()), transforms=transforms, canonical=canonical, method=RSA_SHA256
    )


for _name, _made in {
    "inclusive canonical XML": transformed(ENVELOPED, INCLUSIVE),
    "inclusive canonical XML of the signature": transformed(ENVELOPED, EXCLUSIVE, canonical=INCLUSIVE),
    "canonical XML with comments": transformed(ENVELOPED, f"{EXCLUSIVE}WithComments"),
    "canonical XML of the signature with comments": transformed(
        ENVELOPED, EXCLUSIVE, canonical=f"{EXCLUSIVE}WithComments"
    ),
    "no canonical XML": transformed(ENVELOPED),
    "no enveloped signature": transformed(EXCLUSIVE),
    "an XSLT transform": transformed(ENVELOPED, XSLT, EXCLUSIVE),
    "an XPath transform": transformed(ENVELOPED, XPATH, EXCLUSIVE),
    "an XPath filter": transformed(ENVELOPED, "http://www.w3.org/2002/06/xmldsig-filter2", EXCLUSIVE),
    "a base64 transform": transformed(ENVELOPED, f"{DS}base64", EXCLUSIVE),
    "transforms in another order": transformed(EXCLUSIVE, ENVELOPED),
    "the same transform twice": transformed(ENVELOPED, EXCLUSIVE, EXCLUSIVE),
}.items():
    attack(_name, "saml-signature-form")(_made)


@attack("a stylesheet in a transform", "saml-signature-form")
def stylesheet(case: Case) -> Any:
    tree = case.genuine()
    sheet = '<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"/>'
    tree.findall(f".//{D}Transform")[1].append(etree.fromstring(sheet))
    return tree


@attack("a signature with two references", "saml-signature-form")
def references(case: Case) -> Any:
    tree = case.genuine()
    reference = tree.find(f".//{D}Reference")
    reference.addnext(copy.deepcopy(reference))
    return tree


def referring(uri: str | None) -> Attack:
    def make(case: Case) -> Any:
        tree = case.genuine()
        reference = tree.find(f".//{D}Reference")
        if uri is None:
            del reference.attrib["URI"]
        else:
            reference.set("URI", uri)
        return tree

    return make


for _name, _uri in {
    "to the whole document": "",
    "to nothing": None,
    "by XPointer": "#xpointer(/)",
    "to an address": "http://127.0.0.1:9/assertion.xml",
    "to a file": "file:///etc/passwd",
}.items():
    attack(f"a reference {_name}", "saml-signature-form")(referring(_uri))


# --- What makes parsers differ.


def replaced(old: bytes, new: bytes) -> Attack:
    def make(case: Case) -> Any:
        text = etree.tostring(case.genuine())
        assert old in text
        return text.replace(old, new, 1)

    return make


def headed(head: bytes) -> Attack:
    return lambda case: head + etree.tostring(case.genuine())


for _name, _made in {
    "a comment in the NameID": replaced(b"</NameID>", b"<!-- -->.evil.example</NameID>"),
    "a comment in the role": replaced(b">Session.Read<", b">Session.<!-- -->Read<"),
    "CDATA in the role": replaced(b">Session.Read<", b"><![CDATA[Session.Read]]><"),
    "a processing instruction in the role": replaced(b">Session.Read<", b">Session.Read<?x y?><"),
    "a stylesheet instruction": headed(b'<?xml-stylesheet href="http://127.0.0.1:9/"?>'),
    "a document type": headed(b"<!DOCTYPE x>"),
    "an entity": headed(b'<!DOCTYPE x [<!ENTITY who "Root">]>'),
    "an entity from a file": headed(b'<!DOCTYPE x [<!ENTITY who SYSTEM "file:///etc/passwd">]>'),
    "a parameter entity from an address": headed(b'<!DOCTYPE x [<!ENTITY % w SYSTEM "http://127.0.0.1:9/"> %w;]>'),
    "a billion laughs": headed(
        b"<!DOCTYPE x [<!ENTITY a0 'ha'>"
        + b"".join(b"<!ENTITY a%d '%s'>" % (i, b"&a%d;" % (i - 1) * 10) for i in range(1, 10))
        + b"]>"
    ),
    "default attributes of a document type": headed(b'<!DOCTYPE x [<!ATTLIST Assertion ID ID "_x">]>'),
    "a declaration of UTF-7": headed(b'<?xml version="1.0" encoding="UTF-7"?>'),
    "a declaration of Latin-1": headed(b'<?xml version="1.0" encoding="ISO-8859-1"?>'),
    "XML 1.1": headed(b'<?xml version="1.1" encoding="UTF-8"?>'),
}.items():
    attack(_name, "saml-markup")(_made)

for _name, _made in {
    "an entity that nobody defined": replaced(b">Session.Read<", b">&who;<"),
    "a NUL": replaced(b">Session.Read<", b">Session.Read\0<"),
    "a NUL by its number": replaced(b">Session.Read<", b">Session.Read&#0;<"),
    "a byte order mark": headed(b"\xef\xbb\xbf"),
    "what is not UTF-8": replaced(b">Session.Read<", b">Session.Read\xc0\xaf<"),
    "UTF-16": lambda case: etree.tostring(case.genuine()).decode().encode("utf-16"),
    "UTF-16 without a mark": lambda case: etree.tostring(case.genuine()).decode().encode("utf-16-le"),
    "UTF-32": lambda case: etree.tostring(case.genuine()).decode().encode("utf-32"),
    "cut off": lambda case: etree.tostring(case.genuine())[:-20],
    "two documents": lambda case: etree.tostring(case.genuine()) * 2,
    "an attribute twice": replaced(b'Version="2.0"', b'Version="2.0" Version="2.0"'),
    "no XML": lambda _: b"Root",
    "an empty document": lambda _: b"",
    "base64 of another alphabet": lambda case: base64.urlsafe_b64encode(etree.tostring(case.genuine()) + b"\xff\xfe"),
    "base64 with junk": lambda case: base64.b64encode(etree.tostring(case.genuine())).decode() + "!!",
    "base64 of base64": lambda case: base64.b64encode(etree.tostring(case.genuine())),
    "plain XML": lambda case: etree.tostring(case.genuine()).decode(),
    "compressed, as by redirect": lambda case: zlib.compress(etree.tostring(case.genuine()))[2:-4],
    "text between elements": replaced(b"<samlp:Status>", b"Root<samlp:Status>"),
    "an xml:id": replaced(b"<samlp:Status>", b'<samlp:Status xml:id="_x">'),
    "XInclude": replaced(
        b"</samlp:Response>",
        b'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="/etc/passwd" parse="text"/></samlp:Response>',
    ),
}.items():
    attack(_name, "saml-wrapped" if _name == "XInclude" else "saml-malformed")(_made)


@attack("too large", "saml-too-large")
def huge(case: Case) -> Any:
    return etree.tostring(case.genuine()).replace(b"</samlp:Status>", b" " * 140_000 + b"</samlp:Status>")


@attack("too deep", "saml-too-large")
def deep(case: Case) -> Any:
    return etree.tostring(case.genuine()).replace(b"<samlp:Status>", b"<a>" * 200 + b"</a>" * 200 + b"<samlp:Status>")


@attack("too deep for the parser", "saml-malformed")
def deepest(case: Case) -> Any:
    return b"<a>" * 15_000 + b"</a>" * 15_000


@attack("too many elements", "saml-too-large")
def many(case: Case) -> Any:
    return etree.tostring(case.genuine()).replace(b"<samlp:Status>", b"<a/>" * 5000 + b"<samlp:Status>")


@attack("too many attributes", "saml-too-large")
def many_attributes(case: Case) -> Any:
    more = " ".join(f'a{i}=""' for i in range(200)).encode()
    return etree.tostring(case.genuine()).replace(b"<samlp:Status>", b"<samlp:Status " + more + b">")


# --- Signed well, and for something else.


def said(who: str = "Ada", **changes: Any) -> Attack:
    return lambda case: case.genuine(who=who, **{k: v(case) if callable(v) else v for k, v in changes.items()})


def made_of(edit: Callable[[Case, Any], None], **changes: Any) -> Attack:
    """Signed after `edit` has changed the assertion or the response."""

    def make(case: Case) -> Any:
        tree = saml_documents.response(case.answer(**changes))
        edit(case, tree)
        return case.signed(tree)

    return make


def claiming(**changes: list[str]) -> Attack:
    return lambda case: case.signed(saml_documents.response(case.claims(**changes)))


def setting(path: str, name: str, value: str | None) -> Attack:
    def edit(_: Case, tree: Any) -> None:
        element = tree if path == "." else tree.find(f".//{path}")
        if value is None:
            del element.attrib[name]
        else:
            element.set(name, value)

    return made_of(edit)


def ago(seconds: float) -> Callable[[Case], float]:
    return lambda _: time.time() - seconds


DATA = f"{A}SubjectConfirmationData"
for _name, _code, _made in [
    ("for another application", "saml-wrong-audience", said(audience="api://other")),
    ("for an audience that begins alike", "saml-wrong-audience", said(audience=f"{ENTITY}.evil.example")),
    ("for an audience with space around it", "saml-wrong-audience", said(audience=f" {ENTITY} ")),
    ("of another provider", "saml-wrong-issuer", said(issuer="https://sts.windows.net/evil/")),
    ("of an issuer without its slash", "saml-wrong-issuer", said(
        issuer=lambda c: saml.issuer(c.gate.cloud.entra.core)[:-1])),
    ("for another address", "saml-wrong-destination", said(recipient="https://evil.example/ui/saml/acs")),
    ("sent to another address", "saml-wrong-destination", setting(".", "Destination", f"{ACS}/")),
    ("sent to no address", "saml-wrong-destination", setting(".", "Destination", None)),
    ("received by another address", "saml-wrong-recipient", setting(DATA, "Recipient", f"{ACS}?x")),
    ("received by no address", "saml-not-bearer", setting(DATA, "Recipient", None)),
    ("to another request", "saml-wrong-request", said(in_response_to="_0123456789abcdef")),
    ("to no request (IdP-initiated)", "saml-wrong-request", setting(".", "InResponseTo", None)),
    ("whose assertion is to another request", "saml-wrong-request", setting(DATA, "InResponseTo", "_other")),
    ("whose assertion is to no request", "saml-not-bearer", setting(DATA, "InResponseTo", None)),
    ("for a holder of a key", "saml-not-bearer", setting(
        f"{A}SubjectConfirmation", "Method", "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key")),
    ("vouched for by the sender", "saml-not-bearer", setting(
        f"{A}SubjectConfirmation", "Method", "urn:oasis:names:tc:SAML:2.0:cm:sender-vouches")),
    ("bound to an address of the network", "saml-not-bearer", setting(DATA, "Address", "192.0.2.1")),
    ("confirmed from a time on", "saml-not-bearer", setting(DATA, "NotBefore", "2020-01-01T00:00:00Z")),
    ("expired", "saml-expired", said(lifetime=-120.0)),
    ("confirmed until the past", "saml-expired", setting(DATA, "NotOnOrAfter", "2020-01-01T00:00:00Z")),
    ("confirmed without an end", "saml-not-bearer", setting(DATA, "NotOnOrAfter", None)),
    ("from the future", "saml-not-yet", said(now=ago(-600))),
    ("that holds later", "saml-not-yet", setting(f"{A}Conditions", "NotBefore", "2099-01-01T00:00:00Z")),
    ("older than the request", "saml-expired", said(now=ago(900))),
    ("that holds for years", "saml-malformed", said(lifetime=4e8)),
    ("without conditions of time", "saml-malformed", setting(f"{A}Conditions", "NotOnOrAfter", None)),
    ("of a sign-in in the future", "saml-not-yet", said(authenticated=ago(-600))),
    ("of a session that has ended", "saml-expired", setting(
        f"{A}AuthnStatement", "SessionNotOnOrAfter", "2020-01-01T00:00:00Z")),
    ("with a time of another zone", "saml-malformed", setting(
        f"{A}AuthnStatement", "AuthnInstant", "2020-01-01T00:00:00+14:00")),
    ("with a time that is none", "saml-malformed", setting(
        f"{A}AuthnStatement", "AuthnInstant", "2020-13-41T00:00:00Z")),
    ("without a time of the sign-in", "saml-malformed", setting(f"{A}AuthnStatement", "AuthnInstant", None)),
    ("of SAML 1.1", "saml-malformed", setting(f"{A}Assertion", "Version", "1.1")),
    ("of a failure", "saml-failed", said(status="urn:oasis:names:tc:SAML:2.0:status:Responder")),
    ("of a person of another tenant", "saml-wrong-tenant", claiming(
        tenantid=["00000000-0000-0000-0000-0000000000ff"])),
    ("of two tenants", "saml-claim", lambda c: case_two(c, "tenantid")),
    ("of two people", "saml-claim", lambda c: case_two(c, "objectidentifier")),
    ("of nobody", "saml-claim", claiming(objectidentifier=[])),
    ("of a person with space around them", "saml-claim", lambda c: spaced(c, " {} ")),
    ("of a person with a line break", "saml-claim", lambda c: spaced(c, "{}\n")),
    ("of a person in capitals", "saml-claim", lambda c: spaced(c, "{}", upper=True)),
    ("of a person and nothing", "saml-claim", lambda c: spaced(c, "{}", "")),
    ("of a person by name alone", "saml-claim", claiming(objectidentifier=["Root"])),
    ("with a role with space around it", "role-missing", claiming(role=[f" {ROOT_ROLE} "])),
    ("with a role in capitals", "role-missing", claiming(role=[ROOT_ROLE.upper()])),
    ("with no role", "role-missing", claiming(role=[])),
    ("with a bot's role", "role-missing", claiming(role=["Bot.Connect", "Agent.Connect"])),
    ("with several roles in one value", "role-missing", claiming(role=["Session.Read Gateway.Admin"])),
]:  # fmt: skip
    attack(f"an answer {_name}", _code)(_made)


def case_two(case: Case, name: str) -> Any:
    (value,) = dict(case.answer().attributes)[f"{saml_documents.CLAIMS}{name}"]
    return claiming(**{name: [value, "00000000-0000-0000-0000-0000000000ff"]})(case)


def spaced(case: Case, form: str, *more: str, upper: bool = False) -> Any:
    value = case.gate.cloud.ids["Ada"]
    return claiming(objectidentifier=[form.format(value.upper() if upper else value), *more])(case)


def appended(path: str, text: str) -> Attack:
    def edit(_: Case, tree: Any) -> None:
        tree.find(f".//{path}").append(etree.fromstring(text))

    return made_of(edit)


def taken(path: str) -> Attack:
    def edit(_: Case, tree: Any) -> None:
        element = tree.find(f".//{path}")
        element.getparent().remove(element)

    return made_of(edit)


_SECOND = f'<Attribute xmlns="{SAML}" Name="{OID}"><AttributeValue>x</AttributeValue></Attribute>'
_RESTRICTED = f'<AudienceRestriction xmlns="{SAML}"><Audience>api://other</Audience></AudienceRestriction>'
for _name, _code, _made in [
    ("the person given twice", "saml-malformed", appended(f"{A}AttributeStatement", _SECOND)),
    ("an element in a value", "saml-malformed", appended(f"{A}AttributeValue", f'<x xmlns="{SAML}"/>')),
    ("an encrypted attribute", "saml-malformed", appended(
        f"{A}AttributeStatement", f'<EncryptedAttribute xmlns="{SAML}"/>')),
    ("two restrictions of audience", "saml-malformed", appended(f"{A}Conditions", _RESTRICTED)),
    ("two audiences", "saml-wrong-audience", appended(
        f"{A}AudienceRestriction", f'<Audience xmlns="{SAML}">api://other</Audience>')),
    ("no audience", "saml-wrong-audience", taken(f"{A}Audience")),
    ("no restriction of audience", "saml-malformed", taken(f"{A}AudienceRestriction")),
    ("no conditions", "saml-malformed", taken(f"{A}Conditions")),
    ("no subject", "saml-malformed", taken(f"{A}Subject")),
    ("no confirmation", "saml-malformed", taken(f"{A}SubjectConfirmation")),
    ("no sign-in", "saml-malformed", taken(f"{A}AuthnStatement")),
    ("no attributes", "saml-malformed", taken(f"{A}AttributeStatement")),
    ("two confirmations", "saml-malformed", appended(
        f"{A}Subject", f'<SubjectConfirmation xmlns="{SAML}" Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"/>')),
    ("advice", "saml-malformed", appended(f"{A}Assertion", f'<Advice xmlns="{SAML}"/>')),
    ("a decision of authorisation", "saml-malformed", appended(
        f"{A}Assertion", f'<AuthzDecisionStatement xmlns="{SAML}"/>')),
]:  # fmt: skip
    attack(f"an answer with {_name}", _code)(_made)


@attack("an encrypted assertion", "saml-encrypted")
def encrypted(case: Case) -> Any:
    tree = case.genuine()
    hidden = etree.SubElement(tree, f"{A}EncryptedAssertion")
    tree.replace(assertion_of(tree), hidden)
    return tree


@attack("an assertion without a response", "saml-malformed")
def naked(case: Case) -> Any:
    return assertion_of(case.genuine())


@attack("a response in an envelope", "saml-malformed")
def envelope(case: Case) -> Any:
    made = etree.fromstring('<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body/></s:Envelope>')
    made[0].append(case.genuine())
    return made


@attack("a logout response", "saml-malformed")
def logout(case: Case) -> Any:
    tree = case.genuine()
    tree.tag = f"{P}LogoutResponse"
    return tree


def test_there_are_enough() -> None:
    assert len(ATTACKS) >= 40


@pytest.mark.parametrize("name", list(ATTACKS))
def test_refused(gate: Gate, name: str) -> None:
    code, make = ATTACKS[name]
    case = Case(gate)
    answer = case.post(make(case))
    assert answer.status_code in (401, 403), answer.text
    found = re.search(r"<code>([a-z-]+)</code>", answer.text)
    assert found, answer.text
    assert found[1] == code
    assert not in_session(answer)
    # The request is over: even the good answer comes too late.
    late = case.post(case.genuine())
    assert (late.status_code, in_session(late)) == (401, False)


@pytest.mark.parametrize("who", ["Ada", "Root"])
def test_the_good_answer_is_taken(gate: Gate, who: str) -> None:
    """What attacks are made of works, so that they fail for what they change."""
    case = Case(gate)
    answer = case.post(case.genuine(who=who))
    assert answer.status_code == 200, answer.text
    assert in_session(answer)


def test_other_forms_of_a_good_answer(gate: Gate) -> None:
    for make in (
        lambda c: b'<?xml version="1.0" encoding="utf-8"?>' + etree.tostring(c.genuine()),
        lambda c: c.signed(
            saml_documents.response(c.answer()), method="http://www.w3.org/2001/04/xmldsig-more#rsa-sha512"
        ),
        lambda c: "\r\n".join(re.findall(".{1,76}", base64.b64encode(etree.tostring(c.genuine())).decode())),
    ):
        case = Case(gate)
        answer = case.post(make(case))
        assert in_session(answer), answer.text


def test_an_answer_serves_once(gate: Gate) -> None:
    case, other = Case(gate), Case(gate)
    stolen = etree.tostring(case.genuine())
    assert in_session(case.post(stolen))
    assert not in_session(case.post(stolen))
    assert not in_session(other.post(stolen))


def test_a_stolen_answer_in_another_browser(gate: Gate) -> None:
    victim, thief, stranger = Case(gate), Case(gate), Case(gate)
    stolen = etree.tostring(victim.genuine(who="Root"))
    assert not in_session(thief.post(stolen))
    stranger.cookie = "x=y"
    assert not in_session(stranger.post(stolen, RelayState=victim.relay))
    thief = Case(gate)
    thief.request = victim.request
    assert not in_session(thief.post(stolen, RelayState=victim.relay))


def test_a_fresh_sign_in_must_be_fresh(gate: Gate) -> None:
    case = Case(gate, again=True)
    answer = case.post(case.genuine(authenticated=time.time() - 600))
    assert (answer.status_code, in_session(answer)) == (401, False)
    assert "saml-not-fresh" in answer.text
    case = Case(gate, again=True)
    assert in_session(case.post(case.genuine()))


def test_fields_given_twice(gate: Gate) -> None:
    case = Case(gate)
    good = base64.b64encode(etree.tostring(case.genuine())).decode()
    evil = base64.b64encode(etree.tostring(unsigned(case))).decode()
    answer = case.send(urlencode([("SAMLResponse", good), ("SAMLResponse", evil), ("RelayState", case.relay)]))
    assert not in_session(answer)
    case = Case(gate)
    assert not in_session(case.send(urlencode({"SAMLart": "x", "RelayState": case.relay})))


def test_groups_are_not_fetched_from_where_an_answer_says(gate: Gate) -> None:
    with socket.socket() as trap:
        trap.bind(("127.0.0.1", 0))
        trap.listen()
        trap.setblocking(False)
        address = f"http://127.0.0.1:{trap.getsockname()[1]}/getMemberObjects"
        case = Case(gate)
        good = case.answer()
        more = [*good.attributes, (saml_documents.GROUPS_LINK, [address]), (saml_documents.GROUPS, ["x"])]
        tree = case.signed(saml_documents.response(dataclasses.replace(good, attributes=more)))
        assert in_session(case.post(tree))
        with pytest.raises(BlockingIOError):
            trap.accept()


def test_nothing_of_an_answer_is_logged(gate: Gate) -> None:
    case = Case(gate)
    tree = case.genuine()
    case.post(edited(case))
    text = gate.log.read_text()
    assert "saml-signature" in text
    for secret in (case.relay, case.cookie.partition("=")[2], base64.b64encode(etree.tostring(tree)).decode()[:60]):
        assert secret not in text


# --- The API's door for assertions: every forgery again, whole, and each assertion in it by itself.


AROUND_A_GENUINE_ONE = frozenset({
    "XSW3: a forged assertion before the signed one",
    "XSW4: the signed assertion in a forged one",
    "XSW7: a forged assertion in Extensions",
    "a forged assertion after the signed one",
    "a forged assertion of the same ID",
    "an assertion of another vocabulary beside the signed one",
    "two signed assertions",
    "a good assertion in a response whose own signature is bad",
    "CDATA in the role",
    "a stylesheet instruction",
    "a document type",
    "an entity",
    "an entity from a file",
    "a billion laughs",
    "default attributes of a document type",
    "a declaration of Latin-1",
    "XML 1.1",
    "a byte order mark",
    "UTF-16",
    "UTF-32",
    "base64 with junk",
    "text between elements",
    "an xml:id",
    "XInclude",
    "too large",
    "too deep",
    "too many elements",
    "too many attributes",
    "an answer sent to another address",
    "an answer sent to no address",
    "an answer to no request (IdP-initiated)",
    "an answer whose assertion is to no request",
    "an answer older than the request",
    "an answer of a failure",
    "a response in an envelope",
    "a logout response",
})  # fmt: skip
"""Forgeries that leave Ada's own assertion as it was: taken out of them, it is hers, and speaks for her alone. What has
no request to answer, or is some minutes old, is as it should be at this door."""
HONEST_HERE = "an assertion without a response"


@pytest.mark.parametrize("name", [name for name in ATTACKS if name != HONEST_HERE])
def test_refused_by_the_api(gate: Gate, name: str) -> None:
    """Whole it is no assertion; taken out of the forged answer, an assertion speaks for Ada at most, and only where
    the forgery was around her genuine one."""
    program = Bearer(gate)
    body = ATTACKS[name][1](program)
    whole = program.exchange(body)
    assert whole.status_code in (401, 403, 413, 422), whole.text
    assert "access_token" not in whole.text
    try:
        raw = base64.b64decode(body) if isinstance(body, str) else body
        tree = etree.fromstring(raw) if isinstance(raw, bytes) else raw
    except (etree.XMLSyntaxError, ValueError):
        return
    genuine = 0
    for assertion in tree.iter(f"{A}Assertion"):
        answer = program.exchange(assertion)
        if answer.status_code != 200:
            assert answer.status_code in (401, 403, 413, 422), answer.text
            continue
        genuine += 1
        me = program.me(answer.json()["access_token"]).json()
        assert (me["name"], me["roles"]) == ("Ada", ["Session.Read"])
    assert bool(genuine) == (name in AROUND_A_GENUINE_ONE), name


@pytest.mark.parametrize("who", ["Ada", "Root"])
def test_an_assertion_is_exchanged_once(gate: Gate, who: str) -> None:
    program = Bearer(gate)
    assertion = etree.tostring(assertion_of(program.genuine(who=who)), with_tail=False)
    answer = program.exchange(assertion)
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert made["token_type"] == "Bearer"
    assert 0 < made["expires_in"] <= 600
    assert program.me(made["access_token"]).json()["name"] == who
    again = program.exchange(assertion)
    assert (again.status_code, again.json()["code"]) == (401, "saml-replayed")
    token = {"Authorization": f"Bearer {made['access_token']}"}
    assert gate.http.delete("/v1/token", headers=token).status_code == 204
    assert program.me(made["access_token"]).status_code == 401
    assert made["access_token"] not in gate.log.read_text()


def test_an_assertion_for_the_browser_is_none_for_the_api_and_the_other_way_round(gate: Gate) -> None:
    program, browser = Bearer(gate), Case(gate)
    answer = program.exchange(assertion_of(browser.genuine()))
    assert (answer.status_code, answer.json()["code"]) == (401, "saml-not-bearer")
    assert not in_session(browser.post(program.genuine()))


def test_what_else_is_asked_of_the_door(gate: Gate) -> None:
    program = Bearer(gate)
    good = etree.tostring(assertion_of(program.genuine()), with_tail=False)
    assert program.exchange(good, grant_type="client_credentials").json()["code"] == "grant-unsupported"
    for more in ({"scope": "x"}, {"client_id": "y"}):
        assert program.exchange(good, **more).status_code == 422
    twice = gate.http.post(
        "/v1/token", content=urlencode({"grant_type": GRANT, "assertion": "x"}),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )  # fmt: skip
    assert twice.status_code == 415
    page = gate.http.post("/v1/token", json={"grant_type": GRANT, "assertion": "x"}, headers={"Origin": "https://e"})
    assert page.status_code == 403
    for token in ("wgp_" + "A" * 43, "wgp_", "wgp_'; DROP TABLE once; --"):
        assert program.me(token).status_code == 401
    assert program.exchange(good).status_code == 200
    assert program.answer().recipient == TOKENS
