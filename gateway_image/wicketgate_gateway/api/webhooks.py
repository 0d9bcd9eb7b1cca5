"""Telling receivers of held operations: signed, tried again, and noted where it cannot be done.

How this works: changes are read from the store from where the last process stopped (`<state>/webhooks.json`). Each
receiver has a queue of its own, so that a slow one delays no other. A delivery that is not answered by 2xx is tried
again with growing pauses, drawn at random from their upper half, for about an hour; then it is a line in
`<state>/webhooks-dead.ndjson`. The id of a message follows from the change, so a repeated one is known by it; the time
and the signature are new with each try. Redirects are not followed, and what is answered is not read.
Source: Standard Webhooks 1.0.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import structlog
from pydantic import TypeAdapter, ValidationError
from standardwebhooks.webhooks import EmptyWebhookSecretError
from standardwebhooks.webhooks import Webhook as Signer

from wicketgate_gateway.api import messages
from wicketgate_gateway.api.changes import watch
from wicketgate_gateway.approvals.model import Change, Request
from wicketgate_gateway.approvals.store import ApprovalStore
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import GatewayConfig, HttpsUrl, Webhook, WebhookFormat
from wicketgate_gateway.identity.http import tls_context

PAUSES = (2.0, 10.0, 30.0, 120.0, 600.0, 1200.0, 1800.0)
"""Seconds before each further try."""
SECONDS = 15.0
MAX_QUEUE = 1000
MAX_DEAD = 4 * 1024 * 1024
MIN_SECRET = 24
CURSOR, DEAD = "webhooks.json", "webhooks-dead.ndjson"
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
    """All receivers of one gateway; `run` it. `pauses` and `draw` are for tests."""

    def __init__(
        self,
        config: GatewayConfig,
        store: ApprovalStore,
        *,
        pauses: tuple[float, ...] = PAUSES,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        assert config.people is not None
        self._config = config
        self._store = store
        self._state = Path(config.state)
        self._pauses = pauses
        self._draw = draw
        self._receivers = [receiver(name, settings) for name, settings in sorted(config.people.webhooks.items())]
        self._queues: dict[str, asyncio.Queue[tuple[Change, Request]]] = {
            each.name: asyncio.Queue(MAX_QUEUE) for each in self._receivers
        }
        self._open: dict[int, int] = {}
        """Receivers that have not had a change yet, by its id."""
        self._last = 0

    async def run(self) -> None:
        """Deliver for ever."""
        if not self._receivers:
            return
        try:
            async with asyncio.TaskGroup() as group:
                for each in self._receivers:
                    group.create_task(self._serve(each))
                group.create_task(self._read())
        finally:
            for each in self._receivers:
                await each.http.aclose()

    async def _read(self) -> None:
        async for change in watch(self._store, self._resume()):
            self._last = change.id
            if change.kind not in messages.TOLD or not change.handle:
                if not self._open:
                    self._note()
                continue
            try:
                request = await self._store.get(change.handle)
            except WicketgateError as error:
                self._dead("all", change, error.code)
                continue
            self._open[change.id] = len(self._receivers)
            for each in self._receivers:
                try:
                    self._queues[each.name].put_nowait((change, request))
                except asyncio.QueueFull:
                    self._dead(each.name, change, "too many wait for this receiver")
                    self._done(change)

    async def _serve(self, to: Receiver) -> None:
        while True:
            change, request = await self._queues[to.name].get()
            try:
                failure = await self._deliver(to, change, request)
            except Exception as error:  # whatever one message does, the next must go out
                log.exception("a message failed", receiver=to.name)
                failure = type(error).__name__
            if failure:
                self._dead(to.name, change, failure)
            self._done(change)

    async def _deliver(self, to: Receiver, change: Change, request: Request) -> str:
        """Empty once it is delivered, else why not."""
        body = json.dumps(messages.payload(to.format, change, request, self._config), ensure_ascii=True)
        failure = ""
        for pause in (0.0, *self._pauses):
            if pause:
                await asyncio.sleep(self._draw(pause / 2, pause))
            if change.kind == "requested" and time.time_ns() >= request.expires:
                return failure or "it lapsed before it could be told"
            failure = await self._post(to, change, body)
            if not failure or failure == "HTTP 410":  # gone: the receiver wants no more of it
                return failure
        return failure

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
            async with to.http.stream("POST", to.url, content=body.encode(), headers=headers) as response:
                return "" if 200 <= response.status_code < 300 else f"HTTP {response.status_code}"
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            return type(error).__name__  # its text may hold the address, which may be a secret

    # -- where it stands -------------------------------------------------------------------------------------------

    def _resume(self) -> int | None:
        try:
            last = json.loads((self._state / CURSOR).read_text())["last"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return last if isinstance(last, int) and not isinstance(last, bool) and last >= 0 else None

    def _done(self, change: Change) -> None:
        self._open[change.id] -= 1
        if not self._open[change.id]:
            del self._open[change.id]
            self._note()

    def _note(self) -> None:
        """Everything up to here need not be told again."""
        last = min(self._open) - 1 if self._open else self._last
        new = self._state / f"{CURSOR}.new"
        try:
            new.write_text(json.dumps({"last": last}) + "\n")
            new.replace(self._state / CURSOR)
        except OSError as error:
            log.warning("where webhooks stand cannot be noted", reason=error.strerror)

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
