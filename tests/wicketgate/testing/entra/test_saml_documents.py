"""Answers of the emulator verify with another library, and say what they were made of."""

import time
from typing import Any

import pytest
from lxml import etree
from signxml.exceptions import InvalidDigest, InvalidSignature
from signxml.verifier import SignatureConfiguration, XMLVerifier

from wicketgate.testing.entra import saml_documents as made
from wicketgate.testing.entra.keys import SigningKeys
from wicketgate.testing.entra.store import Store

KEY = SigningKeys(Store(), "samlKey/x", "Test").current
ASSERTION = f"{{{made.SAML}}}Assertion"


def answer(**changes: Any) -> made.Answer:
    now = time.time()
    fields: dict[str, Any] = {
        "issuer": "https://sts.windows.net/t/",
        "audience": "api://x",
        "recipient": "https://gate.example/ui/saml/acs?a&b",
        "in_response_to": "_1",
        "name_id": "ada@contoso.example",
        "attributes": [(made.OBJECT_ID, ["id"]), (made.DISPLAY_NAME, ['<Ada> & "Co"'])],
        "now": now,
        "authenticated": now,
    }
    return made.Answer(**(fields | changes))


@pytest.mark.parametrize(("what", "places"), [
    ("assertion", [f"./{ASSERTION}/"]),
    ("response", ["./"]),
    ("both", ["./", f"./{ASSERTION}/"]),
])  # fmt: skip
def test_another_library_verifies_it(what: str, places: list[str]) -> None:
    document = made.signed(answer(), KEY, what)
    for place in places:
        config = SignatureConfiguration(location=place)
        found = XMLVerifier().verify(document, x509_cert=KEY.certificate, expect_config=config)
        assert found.signed_xml is not None  # pyright: ignore[reportAttributeAccessIssue] - one reference, one result
        with pytest.raises((InvalidDigest, InvalidSignature)):
            XMLVerifier().verify(document.replace(b"_1", b"_2"), x509_cert=KEY.certificate, expect_config=config)


def test_names_are_escaped() -> None:
    tree = etree.fromstring(made.signed(answer(), KEY))
    values = [value.text for value in tree.iter(f"{{{made.SAML}}}AttributeValue")]
    assert values == ["id", '<Ada> & "Co"']
    assert tree.get("Destination") == "https://gate.example/ui/saml/acs?a&b"


def test_times_are_utc() -> None:
    assert made.moment(0.25) == "1970-01-01T00:00:00.250Z"
    assert made.new_id() != made.new_id()
