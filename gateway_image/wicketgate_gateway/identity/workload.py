"""A process's own Entra tokens, got by its platform's token and kept in memory alone."""

from __future__ import annotations

import asyncio
import time

import httpx2

from wicketgate_gateway.contract.gateway import Entra, Workload
from wicketgate_gateway.identity import exchange
from wicketgate_gateway.identity.exchange import AccessToken, ExchangeError
from wicketgate_gateway.identity.http import UnreachableError, send

RENEW_SECONDS = 300.0
"""A token is renewed this long before its end."""
_TRIES = 3
_PAUSE_SECONDS = 0.5


class WorkloadCredential:
    """Tokens for any scope, each cached until 5 minutes before its end; one exchange in flight per scope."""

    def __init__(self, entra: Entra, workload: Workload, http: httpx2.AsyncClient) -> None:
        self._entra = entra
        self._workload = workload
        self._http = http
        self._tokens: dict[str, AccessToken] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def token(self, scope: str) -> AccessToken:
        """A token for `scope`, as `AUDIENCE/.default`. Raises ExchangeError."""
        async with self._locks.setdefault(scope, asyncio.Lock()):
            token = self._tokens.get(scope)
            if token is not None and token.expires_at - RENEW_SECONDS > time.time():
                return token
            try:
                token = await self._exchange(scope)
            except ExchangeError as error:
                # Entra being away for a while is no reason to stop before the token really ends.
                if token is None or not error.transient or token.expires_at <= time.time():
                    raise
                return token
            self._tokens[scope] = token
            return token

    async def _exchange(self, scope: str) -> AccessToken:
        entra, workload = self._entra, self._workload
        for attempt in range(1, _TRIES + 1):
            try:
                assertion = await asyncio.to_thread(_read, workload.token_file)
                what = exchange.request(entra.authority, entra.tenant, workload.client_id, scope, assertion)
                answer = await send(self._http, "POST", what.url, content=what.body, headers=what.headers)
                return exchange.answer(answer.status, answer.body)
            except UnreachableError as error:
                failure = ExchangeError(error.message, code=error.code, remedy=error.remedy, transient=True)
            except ExchangeError as error:
                failure = error
            if not failure.transient or attempt == _TRIES:
                raise failure
            # Federated credentials of a new application answer unsteadily for a while (keda#8152).
            await asyncio.sleep(_PAUSE_SECONDS * attempt)
        raise AssertionError


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return exchange.assertion(file.read(exchange.MAX_ASSERTION + 1), path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a JWT"
        raise ExchangeError(
            f"the platform's token in `{path}` cannot be read: {reason}",
            code="assertion-unreadable",
            remedy="check `workload.tokenFile` and its permissions",
        ) from None
