"""The tenant's signing keys (JWKS), by `kid`.

How this works: the whole set is fetched at the first use, and each hour after, in the background. A `kid` that the set
lacks causes a fetch, but at most one in 5 minutes, whoever asks: the `kid` comes from outside, and must not let a
stranger drive requests to Entra. Without a successful fetch for a day, the keys are no longer used.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import structlog
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import Entra
from wicketgate_gateway.identity.http import Fetcher

REFRESH_SECONDS = 3600.0
KEEP_SECONDS = 86400.0
UNKNOWN_SECONDS = 300.0
RETRY_SECONDS = 5.0
"""The least time between fetches while there is no usable set at all."""
MAX_KEYS = 100
MIN_BITS = 2048

log = structlog.get_logger("wicketgate.identity")


class KeysUnavailableError(WicketgateError):
    """There is no set of keys that may be used."""

    code = "keys-unavailable"


def issuer_of(entra: Entra) -> str:
    """The `iss` of the tenant's v2.0 tokens, exactly."""
    return f"{entra.authority.rstrip('/')}/{entra.tenant}/v2.0"


class KeyCache:
    """Signing keys of one tenant, for one event loop."""

    def __init__(self, entra: Entra, fetch: Fetcher, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.url = f"{entra.authority.rstrip('/')}/{entra.tenant}/discovery/v2.0/keys"
        self._issuer = issuer_of(entra)
        self._tenant = entra.tenant
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[str, RSAKey] = {}
        self._fetched = float("-inf")
        self._tried = float("-inf")
        self._asked_for_unknown = float("-inf")
        self._task: asyncio.Task[None] | None = None

    def known(self, kid: str) -> RSAKey | None:
        """The key, if it is at hand and the set is fresh: no fetch, no waiting."""
        return self._keys.get(kid) if self._clock() - self._fetched < REFRESH_SECONDS else None

    async def get(self, kid: str) -> RSAKey | None:
        """The key, fetching if the rules above allow it; None if the tenant has none of that id.

        Raises KeysUnavailableError.
        """
        now = self._clock()
        age = now - self._fetched
        key = self._keys.get(kid)
        if age >= REFRESH_SECONDS:
            if now - self._tried >= RETRY_SECONDS or self._task is not None:
                refresh = self._refresh()
                if key is None or age >= KEEP_SECONDS:
                    await asyncio.shield(refresh)
        elif key is None and self._may_look_again(now):
            await asyncio.shield(self._refresh())
        if self._clock() - self._fetched >= KEEP_SECONDS:
            raise KeysUnavailableError("Entra's signing keys cannot be fetched", remedy="check network, proxy and CA")
        return self._keys.get(kid)

    def _may_look_again(self, now: float) -> bool:
        if self._task is not None:  # a second asker shares the fetch that runs
            return True
        if now - self._asked_for_unknown < UNKNOWN_SECONDS:
            return False
        self._asked_for_unknown = now
        return True

    def _refresh(self) -> asyncio.Task[None]:
        """The fetch that runs. Await it shielded: the first asker hanging up must not fail those who wait with it."""
        if self._task is None:
            self._tried = self._clock()
            self._task = asyncio.get_running_loop().create_task(self._load())
        return self._task

    async def _load(self) -> None:
        try:
            keys = self._read(await self._fetch(self.url))
        except WicketgateError as error:
            log.warning("signing keys not fetched", url=self.url, reason=str(error))
        else:
            self._keys, self._fetched = keys, self._clock()
        finally:
            self._task = None

    def _read(self, body: bytes) -> dict[str, RSAKey]:
        try:
            listed = json.loads(body)["keys"]
        except (ValueError, KeyError, TypeError, RecursionError):
            listed = None
        if not isinstance(listed, list):
            raise KeysUnavailableError("the answer is no JWKS", remedy="check `authority`")
        keys: dict[str, RSAKey] = {}
        twice: set[str] = set()
        for item in listed[:MAX_KEYS]:
            key = self._usable(item)
            if key is None:
                continue
            kid: str = item["kid"]
            if kid in keys:
                twice.add(kid)
            keys[kid] = key
        for kid in twice:  # one of them is not what it says
            del keys[kid]
        if not keys:
            raise KeysUnavailableError("the JWKS holds no RSA signing key", remedy="check `authority` and `tenant`")
        return keys

    def _usable(self, item: Any) -> RSAKey | None:
        if not isinstance(item, dict) or item.get("kty") != "RSA" or item.get("use", "sig") != "sig":
            return None
        if not isinstance(item.get("kid"), str) or item.get("alg", "RS256") != "RS256":
            return None
        # Keys that several tenants share name the issuer that they are good for (a template for all tenants).
        issuer = item.get("issuer")
        if issuer is not None and str(issuer).replace("{tenantid}", self._tenant) != self._issuer:
            return None
        modulus = item.get("n")
        if not isinstance(modulus, str) or len(modulus) * 6 < MIN_BITS:  # base64: 6 bits a character
            return None
        try:
            key = RSAKey.import_key({name: item[name] for name in ("kty", "n", "e")})
            return key if key.raw_value.key_size >= MIN_BITS else None
        except (JoseError, ValueError, KeyError, TypeError):
            return None
