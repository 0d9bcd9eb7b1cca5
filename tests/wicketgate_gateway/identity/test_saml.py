"""Answers read in the process; forgeries go against the running gateway in `tests/attacks/test_saml.py`."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest
from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - compiled, without stubs

from wicketgate.testing.entra import saml_documents as made
from wicketgate.testing.entra.keys import SigningKeys
from wicketgate.testing.entra.store import Store
from wicketgate_gateway.contract.gateway import Saml
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.identity.saml import Assertions, Expected, use

TENANT = "6f1c9a52-7a53-4c0e-9a55-3f2e6b1d8c40"
ADA = "12345678-1234-4234-8234-123456789abc"
CLIENT = "0a4f3e2d-1c0b-4a99-8877-665544332211"
ACS = "https://gate.example/ui/saml/acs"
KEY, OTHER = (SigningKeys(Store()).current for _ in range(2))


def answer(**changes: Any) -> str:
    now = time.time()
    fields: dict[str, Any] = {
        "issuer": f"https://sts.windows.net/{TENANT}/",
        "audience": "api://gate",
        "recipient": ACS,
        "in_response_to": "_r1",
        "name_id": "ada@contoso.example",
        "attributes": [
            (made.TENANT_ID, [TENANT]),
            (made.OBJECT_ID, [ADA]),
            (made.DISPLAY_NAME, ["Ada"]),
            (made.ROLE, ["Session.Read", "Someone.Elses"]),
            (made.GROUPS, ["a-group"]),
        ],
        "now": now,
        "authenticated": now - 100,
        "assertion_id": "_a1",
    }
    return base64.b64encode(made.signed(made.Answer(**(fields | changes)), KEY)).decode()


def reader(clock: Any = time.time) -> Assertions:
    return Assertions(Saml(client=CLIENT, entity_id="api://gate"), TENANT, ACS, clock=clock)


def expected(**changes: Any) -> Expected:
    return Expected(**({"request": "_r1", "began": time.time() - 5, "fresh": False} | changes))


def test_a_person_is_read() -> None:
    now = time.time()
    person = reader().person(answer(now=now), expected(), [OTHER.certificate, KEY.certificate])
    principal = person.principal
    assert (principal.kind.value, principal.tenant, principal.object_id) == ("person", TENANT, ADA)
    assert (principal.name, principal.client_id, principal.token_id) == ("Ada", CLIENT, "_a1")
    assert principal.roles == {"Session.Read"}
    assert principal.groups == frozenset()  # Graph says those
    assert principal.expires_at == pytest.approx(now + 3600, abs=0.01)
    assert person.signed_in_at == pytest.approx(now - 100, abs=1)


def test_without_a_certificate_nobody_is() -> None:
    for certificates in ([], [OTHER.certificate]):
        with pytest.raises(Refused) as caught:
            reader().person(answer(), expected(), certificates)
        assert caught.value.code == "saml-signature"


def test_an_assertion_serves_once_also_for_another_request() -> None:
    assertions = reader()
    given = answer()
    assertions.person(given, expected(), [KEY.certificate])
    with pytest.raises(Refused) as caught:
        assertions.person(given, expected(), [KEY.certificate])
    assert caught.value.code == "saml-replayed"


@pytest.mark.parametrize(("later", "code"), [(3600 + 59, None), (3600 + 61, "saml-expired"), (-59, None),
                                             (-61, "saml-not-yet")])  # fmt: skip
def test_leeway_is_a_minute(later: float, code: str | None) -> None:
    now = time.time()
    assertions = reader(lambda: now + later)
    given = answer(now=now, authenticated=now - 200)
    try:
        assertions.person(given, expected(began=now), [KEY.certificate])
        found = None
    except Refused as error:
        found = error.code
    assert found == code


def test_fresh_means_since_the_request() -> None:
    now = time.time()
    reader().person(answer(authenticated=now), expected(began=now, fresh=True), [KEY.certificate])
    with pytest.raises(Refused) as caught:
        reader().person(answer(authenticated=now - 100), expected(began=now, fresh=True), [KEY.certificate])
    assert caught.value.code == "saml-not-fresh"


def test_a_refusal_quotes_nothing_of_the_answer() -> None:
    with pytest.raises(Refused) as caught:
        reader().person(answer(audience="api://the-secret-name"), expected(), [KEY.certificate])
    assert "the-secret-name" not in str(caught.value)


TOKENS = "https://gate.example/v1/token"


def bearer(*, request: bool = False, key: Any = KEY, **changes: Any) -> str:
    """A bare assertion for the API, in base64url."""
    given = etree.fromstring(base64.b64decode(answer(**({"recipient": TOKENS, "assertion_id": "_b1"} | changes))))
    assertion = given.find(f"{{{made.SAML}}}Assertion")
    given.remove(assertion)
    assertion.remove(assertion.find(f"{{{made.DS}}}Signature"))
    data = assertion.find(f".//{{{made.SAML}}}SubjectConfirmationData")
    if not request:
        del data.attrib["InResponseTo"]
    made.sign(assertion, key)
    return base64.urlsafe_b64encode(etree.tostring(assertion)).decode()


def api(clock: Any = time.time) -> Assertions:
    return Assertions(Saml(client=CLIENT, entity_id="api://gate"), TENANT, TOKENS, clock=clock)


def test_a_bare_assertion_is_read() -> None:
    person = api().person_of_bearer(bearer(), [KEY.certificate])
    assert (person.principal.object_id, person.principal.token_id) == (ADA, "_b1")
    assert person.principal.roles == frozenset({"Session.Read"})


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (lambda: answer(recipient=TOKENS), "saml-malformed"),
        (lambda: bearer(request=True), "saml-not-bearer"),
        (lambda: bearer(recipient=ACS), "saml-wrong-recipient"),
        (lambda: bearer(audience="api://other"), "saml-wrong-audience"),
        (lambda: bearer(now=time.time() - 3700, lifetime=8000.0), "saml-expired"),
        (lambda: bearer(now=time.time() + 100), "saml-not-yet"),
        (lambda: bearer(lifetime=-100.0), "saml-expired"),
        (lambda: bearer(key=OTHER), "saml-signature"),
        (lambda: "****", "saml-malformed"),
    ],
)
def test_attack_a_bare_assertion_that_is_for_something_else(given: Any, code: str) -> None:
    with pytest.raises(Refused) as caught:
        api().person_of_bearer(given(), [KEY.certificate])
    assert caught.value.code == code


def test_attack_a_browsers_answer_is_no_bearer_and_the_other_way_round() -> None:
    with pytest.raises(Refused):
        reader().person_of_bearer(bearer(), [KEY.certificate])
    plain = base64.b64encode(base64.urlsafe_b64decode(bearer(recipient=ACS))).decode()
    with pytest.raises(Refused):
        reader().person(plain, expected(), [KEY.certificate])


@pytest.mark.anyio
async def test_what_has_been_used_elsewhere_serves_no_more() -> None:
    seen: list[tuple[str, str, float]] = []

    class Elsewhere:
        async def first(self, kind: str, key: str, ends: float) -> bool:
            seen.append((kind, key, ends))
            return len(seen) == 1

    person = api().person_of_bearer(bearer(), [KEY.certificate])
    await use(person, Elsewhere())
    with pytest.raises(Refused) as caught:
        await use(person, Elsewhere())
    assert caught.value.code == "saml-replayed"
    kind, key, ends = seen[0]
    assert (kind, key) == ("saml", "_b1")
    assert ends >= person.principal.expires_at
