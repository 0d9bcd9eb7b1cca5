"""Signing a browser in by SAML: the request goes by redirect, Entra's page posts the answer back.

How this works: the answer comes by a form that another site's page submits, so no cookie of SameSite=Strict or Lax
comes with it. The request is therefore remembered under a one-time cookie of its own with SameSite=None, which serves
for nothing else: it names one AuthnRequest of this process, some minutes old at most, and the answer must be to that
request (`InResponseTo`) and bring its `RelayState` back. An answer that was stolen does not fit another browser, one
that nobody asked for (IdP-initiated) fits none, and the first answer ends the request, whatever comes of it: a replay
has no request to be an answer to, at any process. That an assertion has been used is in the control store as well.
Sources: SAML 2.0 bindings, sections 3.4 and 3.5; profiles, 4.1.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlencode
from xml.sax.saxutils import escape, quoteattr

from wicketgate_gateway.contract.gateway import GatewayConfig, Saml
from wicketgate_gateway.identity.errors import Refused
from wicketgate_gateway.identity.http import Fetcher
from wicketgate_gateway.identity.people import PeopleAuthenticator, Person
from wicketgate_gateway.identity.saml import Assertions, Expected, Used, use
from wicketgate_gateway.identity.saml_metadata import Certificates
from wicketgate_gateway.ui.sign_in import MAX_PENDING, SECONDS, SignInError, local

COOKIE = "__Host-wicketgate-saml"
ACS = "/ui/saml/acs"
"""The assertion consumer service: the one address that another site's page may post to."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A sign-in that began here."""

    expected: Expected
    relay: str
    to: str
    """Where the person wanted to go."""


class SamlSignIn:
    """The SAML sign-ins of one process."""

    def __init__(
        self,
        config: GatewayConfig,
        settings: Saml,
        people: PeopleAuthenticator,
        fetch: Fetcher,
        *,
        used: Used,
        clock: Callable[[], float] = time.time,
    ) -> None:
        assert config.people is not None
        self._settings = settings
        self._people = people
        self._used = used
        self._clock = clock
        self._pending: OrderedDict[str, Pending] = OrderedDict()
        self._page = f"{config.entra.authority.rstrip('/')}/{quote(config.entra.tenant, safe='')}/saml2"
        self.reply = config.people.url.rstrip("/") + ACS
        self._certificates = Certificates(settings, config.entra, fetch)
        self._assertions = Assertions(settings, config.entra.tenant, self.reply, clock=clock)

    def begin(self, to: str, *, again: bool = False) -> tuple[str, str]:
        """The address of Entra's page, and the value of the cookie that remembers this sign-in.

        `again` asks for a fresh sign-in, although Entra may know the person yet.
        """
        expected = Expected(request=f"_{secrets.token_hex(20)}", began=self._clock(), fresh=again)
        pending = Pending(expected, secrets.token_urlsafe(32), local(to))
        cookie = secrets.token_urlsafe(32)
        self._pending[hashlib.sha256(cookie.encode()).hexdigest()] = pending
        while len(self._pending) > MAX_PENDING:
            self._pending.popitem(last=False)
        packer = zlib.compressobj(9, wbits=-15)
        packed = packer.compress(self._request(expected).encode()) + packer.flush()
        query = {"SAMLRequest": base64.b64encode(packed).decode(), "RelayState": pending.relay}
        return f"{self._page}?{urlencode(query)}", cookie

    async def finish(self, cookie: str, form: dict[str, str]) -> tuple[Person, str]:
        """The person that came back, and where they wanted to go. Raises SignInError, Refused, WicketgateError.

        `form` holds the posted fields, each once.
        """
        pending = self._pending.pop(hashlib.sha256(cookie.encode("utf-8", "replace")).hexdigest(), None)
        if pending is None or self._clock() > pending.expected.began + SECONDS:
            raise SignInError("this sign-in did not begin here, or took too long", remedy="begin again")
        relay = form.get("RelayState", "").encode("utf-8", "replace")
        if not hmac.compare_digest(relay, pending.relay.encode()):
            raise SignInError("this answer belongs to another sign-in", remedy="begin again")
        person = await self._read(form.get("SAMLResponse", ""), pending.expected)
        await use(person, self._used)
        return await self._people.recheck(person, frozenset(), fresh=True), pending.to

    async def _read(self, answer: str, expected: Expected) -> Person:
        known = await self._certificates.get()
        try:
            return self._assertions.person(answer, expected, known)
        except Refused as error:
            if error.code != "saml-signature" or not await self._certificates.changed(known):
                raise
        return self._assertions.person(answer, expected, await self._certificates.get())

    def _request(self, expected: Expected) -> str:
        now = datetime.fromtimestamp(expected.began, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        fresh = ' ForceAuthn="true"' if expected.fresh else ""
        return (
            '<samlp:AuthnRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" '
            f'ID="{expected.request}" Version="2.0" IssueInstant="{now}"{fresh} Destination={quoteattr(self._page)} '
            f"AssertionConsumerServiceURL={quoteattr(self.reply)}>"
            '<Issuer xmlns="urn:oasis:names:tc:SAML:2.0:assertion">'
            f"{escape(self._settings.entity_id)}</Issuer></samlp:AuthnRequest>"
        )
