"""Telling receivers of held operations: signed, tried again, and noted where it cannot be done.

How this works: what is to be told stands in the control store (`approvals.deliveries`), so that of several gateways on
one store one sends a message, and another takes over where that one died. Each receiver is served by a task of its own,
so that a slow one delays no other. A delivery that is not answered by 2xx is due again after growing pauses, drawn at
random from their upper half, for about an hour; then it is a line in `<state>/webhooks-dead.ndjson`. A message's id
follows from the change, so a repeated one is known by it; the time and the signature are new with each try. Redirects
are not followed, and what is answered is not read.
Source: Standard Webhooks 1.0.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import httpx2
import structlog
from pydantic import TypeAdapter, ValidationError
from standardwebhooks.webhooks import EmptyWebhookSecretError
from standardwebhooks.webhooks import Webhook as Signer

from wicketgate_gateway.api import messages
from wicketgate_gateway.approvals.deliveries import DEAD as DEAD_STATE
from wicketgate_gateway.approvals.deliveries import Deliveries, Delivery
from wicketgate_gateway.approvals.model import Change
from wicketgate_gateway.approvals.store import ApprovalStore
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import GatewayConfig, HttpsUrl, Webhook, WebhookFormat
from wicketgate_gateway.identity.http import tls_context

PAUSES = (2.0, 10.0, 30.0, 120.0, 600.0, 1200.0, 1800.0)
"""Seconds before each further try."""
SECONDS = 15.0
"""For one try, all in all."""
LEASE_SECONDS = 45.0
"""How long a gateway may take for one try before another one makes it."""
LOOK_SECONDS = 1.0
MAX_DEAD = 4 * 1024 * 1024
MIN_SECRET = 24
DEAD = "webhooks-dead.ndjson"
T = TypeVar("T")
_URL: TypeAdapter[str] = TypeAdapter(HttpsUrl)
log = structlog.get_logger("wicketgate.webhooks")


@dataclass(frozen=True, slots=True)
class Receiver:
    """One receiver, with its secrets read; its text form shows its name alone."""

    name: str
    format: WebhookFormat
    url: str
    signer: Signer | None
    http: httpx2.AsyncClient

    def __repr__(self) -> str:
        return f"Receiver({self.name})"


def receiver(name: str, settings: Webhook) -> Receiver:
    """Reads the files of a receiver. Raises WicketgateError (`webhook-invalid`), without what they hold."""

    def wrong(what: str) -> WicketgateError:
        return WicketgateError(f"the webhook `{name}` cannot be used: {what}", code="webhook-invalid")

    url = settings.url
    if url is None:
        try:
            url = _URL.validate_python(_file(settings.url_file or ""))
        except (OSError, UnicodeDecodeError, ValidationError):
            raise wrong(f"`{settings.url_file}` does not hold an https address") from None
    signer = None
    if settings.secret_file is not None:
        try:
            secret = _file(settings.secret_file)
            signer = Signer(secret)
            fine = secret.startswith("whsec_") and len(signer._whsecret) >= MIN_SECRET
        except (OSError, ValueError, RuntimeError, EmptyWebhookSecretError):
            fine = False
        if not fine:
            raise wrong(f"`{settings.secret_file}` does not hold `whsec_` and {MIN_SECRET} bytes or more in base64")
    http = httpx2.AsyncClient(verify=tls_context(settings.ca_file), timeout=SECONDS, follow_redirects=False)
    return Receiver(name, settings.format, url, signer, http)


def _file(path: str) -> str:
    return Path(path).read_text("utf-8").strip()


def delivery_id(change: Change) -> str:
    """The id of the message on a change, the same in each try."""
    return f"msg_{change.handle.removeprefix('hold-')}_{change.id}"


class Webhooks:
    """All receivers of one gateway; `run` it. `pauses`, `draw` and `lease` (seconds) are for tests."""

    def __init__(
        self,
        config: GatewayConfig,
        store: ApprovalStore,
        *,
        pauses: tuple[float, ...] = PAUSES,
        draw: Callable[[float, float], float] = random.uniform,
        lease: float = LEASE_SECONDS,
    ) -> None:
        assert config.people is not None
        self._config = config
        self._store = store
        self._deliveries = Deliveries(store.database, messages.TOLD)
        self._state = Path(config.state)
        self._pauses = pauses
        self._draw = draw
        self._lease = lease
        self._receivers = [receiver(name, settings) for name, settings in sorted(config.people.webhooks.items())]

    async def run(self) -> None:
        """Deliver for ever; the store being away for a while ends nothing."""
        if not self._receivers:
            return
        names = [each.name for each in self._receivers]
        try:
            await self._kept_trying(lambda: self._deliveries.enrol(names))
            async with asyncio.TaskGroup() as group:
                for each in self._receivers:
                    group.create_task(self._serve(each))
                group.create_task(self._spread(names))
        finally:
            for each in self._receivers:
                await each.http.aclose()

    async def _kept_trying(self, work: Callable[[], Awaitable[T]]) -> T:
        told = False
        while True:
            try:
                return await work()
            except WicketgateError as error:
                if not told:
                    log.warning("messages cannot be looked up; it is tried again", code=error.code)
                told = True
                await asyncio.sleep(LOOK_SECONDS)

    async def _spread(self, names: Sequence[str]) -> None:
        while True:
            seen = self._store.generation
            if not await self._kept_trying(lambda: self._deliveries.spread(names)):
                await self._store.after_change(seen, LOOK_SECONDS)

    async def _serve(self, to: Receiver) -> None:
        while True:
            seen = self._store.generation
            delivery = await self._kept_trying(lambda: self._deliveries.lease(to.name, self._lease))
            if delivery is None:
                # What is made due by others, or by time, is seen by looking again.
                await self._store.after_change(seen, LOOK_SECONDS)
                continue
            try:
                await self._deliver(to, delivery)
            except WicketgateError as error:
                # It was perhaps sent, and that could not be noted: it is sent again when the lease has run out.
                log.error("where a message stands cannot be noted", receiver=to.name, code=error.code)
            except Exception as error:  # whatever one message does, the next must go out
                log.exception("a message failed", receiver=to.name)
                await self._kept_trying(lambda d=delivery, e=error: self._give_up(d, type(e).__name__))

    async def _deliver(self, to: Receiver, delivery: Delivery) -> None:
        change = delivery.change
        try:
            request = await self._store.get(change.handle)
        except WicketgateError as error:
            if error.code not in ("hold-unknown", "approval-damaged"):
                raise
            await self._give_up(delivery, error.code)
            return
        if change.kind == "requested" and time.time_ns() >= request.expires:
            await self._give_up(delivery, "it lapsed before it could be told")
            return
        body = json.dumps(messages.payload(to.format, change, request, self._config), ensure_ascii=True)
        failure = await self._post(to, change, body)
        if not failure:
            await self._kept_trying(lambda: self._deliveries.done(delivery))
        elif failure == "HTTP 410" or delivery.tries >= len(self._pauses):  # 410: it wants no more of it
            await self._give_up(delivery, failure)
        else:
            pause = self._pauses[delivery.tries]
            seconds = self._draw(pause / 2, pause)
            await self._kept_trying(lambda: self._deliveries.again(delivery, seconds))

    async def _give_up(self, delivery: Delivery, reason: str) -> None:
        if await self._deliveries.done(delivery, DEAD_STATE):
            self._dead(delivery.receiver, delivery.change, reason)

    async def _post(self, to: Receiver, change: Change, body: str) -> str:
        headers = {"Content-Type": "application/json", "User-Agent": "wicketgate"}
        if to.signer is not None:
            message, now = delivery_id(change), datetime.now(UTC)
            headers |= {
                "webhook-id": message,
                "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": to.signer.sign(message, now, body),
            }
        try:
            async with (
                asyncio.timeout(SECONDS),
                to.http.stream("POST", to.url, content=body.encode(), headers=headers) as response,
            ):
                return "" if 200 <= response.status_code < 300 else f"HTTP {response.status_code}"
        except TimeoutError:
            return "it took too long"
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            return type(error).__name__  # its text may hold the address, which may be a secret

    def _dead(self, name: str, change: Change, reason: str) -> None:
        log.error("a message was not delivered", receiver=name, handle=change.handle, kind=change.kind, reason=reason)
        line = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "receiver": name,
            "id": delivery_id(change),
            "kind": change.kind,
            "handle": change.handle,
            "reason": reason,
        }
        path = self._state / DEAD
        try:
            if path.exists() and path.stat().st_size > MAX_DEAD:
                path.replace(path.with_suffix(".old"))
            with path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            log.warning("an undelivered message cannot be noted", reason=error.strerror)
