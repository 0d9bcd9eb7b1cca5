"""A bot's session with a Kubernetes API server: each request is understood, decided, recorded, sent on and answered.

How this works: a client's connection is a session. A request is read whole (but for what follows an upgrade),
understood (`wire/kubernetes`), decided as a point (`policy/kubernetes`), and written anew from what was understood. A
patch that a rule looks into is asked as a dry run first, and decided on what it leads to. What is held waits here; what
runs is what was stored. Answers go back as they come, unless values of Secrets could be in them: then they are read as
JSON, which is what is asked for upstream in any case. Nothing of the client's identity is sent on.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import structlog

from wicketgate_gateway.audit.events import AuditEvent, Operation, OperationFinished
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.identity import Principal
from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.masking import kubernetes as secrets
from wicketgate_gateway.masking.redactor import Redactor
from wicketgate_gateway.policy.engine import TargetPolicy
from wicketgate_gateway.policy.kubernetes import ASSUMED, UNKNOWN, KubernetesPoint
from wicketgate_gateway.policy.kubernetes_operation import decide, point_of
from wicketgate_gateway.session.kubernetes_answers import (
    JSON,
    Lines,
    Masking,
    code_of,
    dry_target,
    json_alone,
    no_such,
    refusal,
    told,
    without_secrets,
)
from wicketgate_gateway.session.kubernetes_discovery import Discovery
from wicketgate_gateway.session.kubernetes_hold import Approved, ask
from wicketgate_gateway.session.kubernetes_request import Asked, Client, Refused
from wicketgate_gateway.session.kubernetes_upstream import Upstream, UpstreamError
from wicketgate_gateway.session.redacting import IDLE_SECONDS
from wicketgate_gateway.session.session import MAX_STATEMENT_SHOWN, Session, SessionOverError
from wicketgate_gateway.tunnel.messages import Open, Opened
from wicketgate_gateway.tunnel.mux import Stream
from wicketgate_gateway.wire.http.head import RequestHead
from wicketgate_gateway.wire.kubernetes import body as bodies
from wicketgate_gateway.wire.kubernetes import reason as reasons
from wicketgate_gateway.wire.kubernetes.body import Body
from wicketgate_gateway.wire.kubernetes.record import Kind, pack
from wicketgate_gateway.wire.kubernetes.request import Request, RequestError, understand
from wicketgate_gateway.wire.kubernetes.status import status, warning

log = structlog.get_logger("wicketgate.kubernetes")

OpenStream = Callable[[str, Open], Awaitable[tuple[Stream, Opened]]]
MAX_RESOLVED = 16 * 1024 * 1024
_JSON_FORM = "application/json"
_PASSED = frozenset({"accept", "user-agent", "kubectl-command", "kubectl-session", "audit-id"})
"""Headers of a client that are sent on."""
_ANSWERED = frozenset(
    {"content-type", "warning", "audit-id", "cache-control", "etag", "last-modified", "retry-after", "vary",
     "x-kubernetes-pf-flowschema-uid", "x-kubernetes-pf-prioritylevel-uid", "date"}
)  # fmt: skip
"""Headers of an answer that are passed back."""


class KubernetesSession:
    """One session. `serve` is called for one request after the other."""

    def __init__(self, session: Session, open_stream: OpenStream, discovery: Discovery) -> None:
        self.session = session
        self.over = False
        self.busy = False
        self._open_stream = open_stream
        self._discovery = discovery
        self._revealing: tuple[TargetPolicy, TargetPolicy | None] | None = None
        self._seq = 0
        self._masks: tuple[object, Masking] | None = None
        self._upstream: Upstream | None = None
        self._task: asyncio.Task[Any] | None = None
        self._reason = ""
        self._said = ""

    # One request.

    async def serve(self, head: RequestHead, target: str, content: bytes, client: Client) -> None:
        """Answer one request; `target` is the request target as the API server would get it. Raises SessionOverError
        once the session is to end, ConnectionError if the client is gone."""
        self._task = asyncio.current_task()
        self.busy = True
        try:
            await self._serve(head, target, content, client)
        except asyncio.CancelledError:
            if self._reason:
                raise SessionOverError(self._said, code=self._reason) from None
            raise
        finally:
            self.busy = False
            self._task = None
        if self.over:
            raise SessionOverError(self._said, code=self._reason or "session-over")

    async def _serve(self, head: RequestHead, target: str, content: bytes, client: Client) -> None:
        self.session.refresh()
        self.session.bytes_in += len(target) + len(content)
        try:
            asked = await self._understood(head, target, content)
        except RequestError as error:
            verdict = Verdict(Effect.DENY, "builtin:request", error.message, error.remedy, error.code)
            await self._refuse(client, verdict, f"{head.method} {target}", [head.method.lower()], [], code=400)
            return
        except UpstreamError as error:
            await client.answer(502, JSON, status(502, error.message, cause=error.code))
            return
        if isinstance(asked, Refused):
            verdict = Verdict(Effect.DENY, "builtin:dry-run", "the API server refused it", code="target-refused")
            await self.journalled([self._operation(verdict, f"{head.method} {target}", [head.method.lower()], [])])
            await client.answer(asked.code, JSON, asked.content)
            return
        if asked.verdict.effect is Effect.DENY:
            await self.refuse(client, asked.verdict, asked)
            return
        if asked.request.connects:
            from wicketgate_gateway.session import kubernetes_streams

            await kubernetes_streams.connect(self, asked, client)
            return
        warnings: list[str] = []
        approved: Approved | None = None
        if asked.verdict.effect is Effect.HOLD:
            found = await self.held(asked, client)
            if found is None:
                return
            approved, asked = found
            warnings.append(f"`{approved.handle}` was approved")
        await self._go(asked, client, warnings, approved)

    async def _understood(self, head: RequestHead, target: str, content: bytes) -> Asked | Refused:
        request = understand(head.method, target)
        self._check_headers(head, request)
        reason = reasons.given(head)
        body, raw = None, b""
        if request.subresource == "proxy" or not request.resource:
            raw = content
            if raw and not request.resource:
                raise RequestError("a path that is no resource takes no body")
        else:
            body = bodies.read(request, head.first("content-type"), content)
        namespaced = await self._discovery.namespaced(request, self.fetch) if request.resource else True
        point = point_of(request, body, namespaced=namespaced is not False)
        opaque = body is not None and body.opaque
        unknown = point.object is UNKNOWN and (opaque or self._reads_objects())
        # Of what is not allowed whatever the object is, no dry run is asked.
        first = replace(point, object=ASSUMED) if unknown else point
        asked = Asked(head, request, body, point, self._decide(first), raw=raw, reason=reason)
        if namespaced is None and asked.verdict.effect is not Effect.DENY:
            asked.verdict = no_such(request)
        if asked.verdict.effect is Effect.DENY:
            return asked
        if unknown:
            found = await self._resolved(asked)
            if isinstance(found, Refused):
                return found
            asked.resolved = found
            asked.point = point_of(request, body, found, namespaced=namespaced is not False)
            asked.verdict = self._decide(asked.point)
        written = asked.resolved if opaque else body.value if body is not None else None
        if secrets.holds_masked(written):
            raise RequestError(
                "the object holds values that were masked when you read it, and writing them back would destroy the "
                "real ones",
                code="masked-value-written",
                remedy="leave those fields out: patch only what you change",
            )
        return asked

    def _check_headers(self, head: RequestHead, request: Request) -> None:
        for name, _ in head.headers:
            if name.lower().startswith("impersonate"):
                raise RequestError(
                    "impersonation is not for bots", code="impersonation", remedy="leave `--as` and `--as-group` out"
                )
        if head.first("content-encoding") not in ("", "identity"):
            raise RequestError("the body is compressed", code="content-encoding", remedy="send it as it is")
        if "upgrade" in head.listed("connection") and not request.connects:
            raise RequestError("this cannot be upgraded", code="upgrade-refused")

    def _decide(self, point: KubernetesPoint) -> Verdict:
        trouble = self.session.recording_trouble()
        if trouble is not None:
            return trouble
        return decide(self.session.policy, point)

    def _rules(self) -> list[Any]:
        return [rule for rule in self.session.policy.rules if rule.points is not None]

    def _reads_objects(self) -> bool:
        return any(getattr(rule.points, "reads_object", False) for rule in self._rules())

    def _reveals(self, point: KubernetesPoint) -> bool:
        """Whether values of Secrets may come back: by rules that say so, under their own conditions and times."""
        policy = self.session.policy
        if self._revealing is None or self._revealing[0] is not policy:
            rules = [r for r in self._rules() if r.effect is Effect.ALLOW and getattr(r.points, "reveals", False)]
            self._revealing = (policy, policy.with_rules(rules) if rules else None)
        revealing = self._revealing[1]
        return revealing is not None and decide(revealing, point).effect is Effect.ALLOW

    # The way to the API server.

    async def upstream(self) -> Upstream:
        """A connection that is free. Raises UpstreamError."""
        found = self._upstream
        if found is not None and found.idle:
            return found
        if found is not None:
            found.close()
        opening = Open(
            target=self.session.opening.target_name, bot=self.session.bot, session=self.session.id, parameters={}
        )
        try:
            stream, _ = await self._open_stream(self.session.opening.target_name, opening)
        except WicketgateError as error:
            raise UpstreamError(error.message, code=error.code, remedy=error.remedy) from None
        self._upstream = Upstream(stream)
        return self._upstream

    async def fetch(self, method: str, target: str, *, accept: str = _JSON_FORM, body: Body | None = None) -> Any:
        """Ask something of our own; the decoded answer, None if it is no success. Raises UpstreamError."""
        code, content = await self._fetched(method, target, accept, body)
        if code not in (200, 201, 202):
            return None
        try:
            return json.loads(content)
        except ValueError:
            raise UpstreamError("the API server answered something else than JSON", code="target-broken") from None

    async def _fetched(self, method: str, target: str, accept: str, body: Body | None) -> tuple[int, bytes]:
        upstream = await self.upstream()
        headers = [("Accept", accept), ("User-Agent", "wicketgate")]
        if body is not None:
            headers.append(("Content-Type", body.form))
        answer = await upstream.ask(method, target, headers, body.raw if body is not None else b"")
        return answer.status, await upstream.whole(MAX_RESOLVED)

    async def _resolved(self, asked: Asked) -> Any:
        """The object that a write leads to, by a dry run; or the API server's refusal of it."""
        code, content = await self._fetched(asked.request.method, dry_target(asked.request), _JSON_FORM, asked.body)
        if code >= 400:
            return Refused(code, content)
        return bodies.load(content)

    async def preview(self, asked: Asked) -> tuple[Any, Any]:
        """The object as it is and as it would be, each None if that cannot be told."""
        before = after = None
        request = asked.request
        try:
            if request.connects:
                before = await self.fetch("GET", request.path.rpartition("/")[0])
            elif request.name and request.verb in ("update", "patch", "delete"):
                before = await self.fetch("GET", request.path)
            # An object's parts can be asked by a dry run as it can; what is created below an object is no part of it.
            part = request.subresource and request.verb == "create"
            if request.verb in ("create", "update", "patch") and not part and not request.connects:
                after = await self.fetch(request.method, dry_target(request), body=asked.body)
        except UpstreamError as error:
            log.info("no preview", code=error.code, reason=error.message)
        return before, after

    # Holding.

    async def held(self, asked: Asked, client: Client) -> tuple[Approved, Asked] | None:
        """The approval and the request as it was stored; None if the client was told that there is none."""
        outcome = await ask(self, asked, tell=lambda _: None, gone=client.gone())
        if isinstance(outcome, Approved):
            if outcome.still(self, asked):
                return outcome, asked
            outcome.hold.abandon()
            outcome = Verdict(
                Effect.HOLD, asked.verdict.rule, "what was approved is not what would be held now",
                "send exactly the same request again: it is decided anew", "hold-void",
            )  # fmt: skip
        await self.refuse(client, outcome, asked)
        return None

    # Out and back.

    async def _go(self, asked: Asked, client: Client, warnings: list[str], approved: Approved | None) -> None:
        await self.begin(asked, approved)
        outcome, code = "lost", 0
        try:
            upstream = await self.upstream()
            if approved is not None:
                approved.hold.sent()
            answer = await upstream.ask(asked.request.method, asked.request.target, self._headers(asked), asked.sent)
            code = answer.status
            headers = [(n, v) for n, v in answer.headers if n.lower() in _ANSWERED]
            headers += [("Warning", warning(text)) for text in warnings]
            await self._answer(asked, upstream, code, headers, client)
            outcome = "ok" if code < 400 else "error"
        except UpstreamError as error:
            await client.answer(502, JSON, status(502, error.message, cause=error.code))
        finally:
            self.finished(asked, outcome, str(code or ""))
            if approved is not None:
                approved.hold.finished(outcome)

    async def begin(self, asked: Asked, approved: Approved | None = None) -> None:
        """Put the operation on record; nothing goes out before. Raises SessionOverError if that is not possible."""
        verdict = asked.verdict if approved is None else approved.verdict(asked.verdict)
        event = self._operation(verdict, self._text(asked), [asked.point.kind], [str(asked.point)])
        asked.seq, asked.started = event.seq, event.time
        self.record_request(asked)
        await self.journalled([event])

    def _headers(self, asked: Asked) -> list[tuple[str, str]]:
        head = asked.head
        headers = [(n, v) for n, v in head.headers if n.lower() in _PASSED and n.lower() != "accept"]
        accept = ", ".join(head.all("accept"))
        headers.append(("Accept", json_alone(accept) if asked.request.resource and asked.request.subresource not in
                        ("proxy", "log") else accept or "*/*"))  # fmt: skip
        if asked.body is not None:
            headers.append(("Content-Type", asked.body.form))
        elif asked.raw and head.first("content-type"):
            headers.append(("Content-Type", head.first("content-type")))
        return headers

    async def _answer(
        self, asked: Asked, upstream: Upstream, code: int, headers: list[tuple[str, str]], client: Client
    ) -> None:
        request = asked.request
        masking = self._masking()
        document = bool(request.resource) and request.subresource not in ("proxy", "log")
        reveal = self._reveals(asked.point)
        if document and not request.streams and (masking or not reveal):
            content = masking.document(await upstream.whole(), request, reveal=reveal)
            self.record(Kind.CONTENT, content, client=False)
            self.record_status(code)
            self.session.bytes_out += len(content)
            await client.answer(code, headers, content)
            return
        await client.begin(code, headers)
        if document:
            lines = Lines(request, masking, reveal=reveal)
            async for piece in upstream.body():
                await self._piece(lines.feed(piece), client)
            await self._piece(lines.flush(), client)
        elif masking.detecting is None:
            async for piece in upstream.body():
                await self._piece(piece, client)
        else:
            await self._text_masked(upstream, Redactor(masking.detecting), client)
        self.record_status(code)
        await client.finish()

    async def _text_masked(self, upstream: Upstream, redactor: Redactor, client: Client) -> None:
        """A log or a proxied answer through the detectors, whatever pieces it comes in."""
        pieces = upstream.body()
        while True:
            coming = asyncio.ensure_future(anext(pieces, None))
            try:
                if redactor.held:
                    await asyncio.wait((coming,), timeout=IDLE_SECONDS)
                    if not coming.done():
                        await self._piece(redactor.idle(), client)
                piece = await coming
            finally:
                coming.cancel()
            if piece is None:
                break
            await self._piece(redactor.feed(piece), client)
        await self._piece(redactor.flush(), client)

    def _masking(self) -> Masking:
        policy = self.session.policy
        if self._masks is None or self._masks[0] is not policy:
            self._masks = (policy, Masking.of(policy, self.session.gate.mask_key))
        return self._masks[1]

    async def _piece(self, data: bytes, client: Client) -> None:
        if data:
            self.record(Kind.CONTENT, data, client=False)
            self.session.bytes_out += len(data)
            await client.piece(data)

    async def refuse(self, client: Client, verdict: Verdict, asked: Asked, *, code: int = 403) -> None:
        """Put a refusal on record, and tell the client."""
        await self._refuse(client, verdict, self._text(asked), [asked.point.kind], [str(asked.point)], code=code)

    async def refused(self, verdict: Verdict, asked: Asked) -> bytes:
        """Put a refusal on record; the `Status` to tell."""
        text = self._text(asked)
        return await self._on_record(verdict, text, [asked.point.kind], [str(asked.point)], code_of(verdict, 403))

    async def _refuse(
        self, client: Client, verdict: Verdict, text: str, kinds: list[str], relations: list[str], *, code: int = 403
    ) -> None:
        code = code_of(verdict, code)
        content = await self._on_record(verdict, text, kinds, relations, code)
        headers = [*JSON, ("Warning", warning(told(verdict)))] if verdict.effect is Effect.HOLD else JSON
        await client.answer(code, headers, content)

    async def _on_record(self, verdict: Verdict, text: str, kinds: list[str], relations: list[str], code: int) -> bytes:
        event = self._operation(verdict, text, kinds, relations)
        await self.journalled([event])
        content = refusal(verdict, code)
        self._record_asked(event.seq, text)
        self.record(Kind.CONTENT, self._shown(content.decode()).encode(), client=False)
        self.record_status(code)
        return content

    def decided(self, point: KubernetesPoint) -> Verdict:
        """The verdict on a part of an operation that is under way, by the policy in force."""
        self.session.refresh()
        trouble = self.session.recording_trouble()
        return trouble or decide(self.session.policy, point)

    async def noted(self, verdict: Verdict, point: KubernetesPoint) -> None:
        """Put that verdict on record."""
        await self.journalled([self._operation(verdict, str(point), [point.kind], [str(point)])])

    # The record.

    def _text(self, asked: Asked) -> str:
        """The operation as people read it."""
        more = " (dry run)" if asked.point.dry_run else ""
        value = asked.body.value if asked.body is not None else None
        if asked.body is not None and asked.body.opaque:
            value = asked.resolved
        if value is None or secrets.concerns(asked.request):
            return f"{asked.point}{more}"
        return f"{asked.point}{more}\n{bodies.canonical(value).decode()}"

    def _shown(self, text: str) -> str:
        """A text for the record, through the detectors: a bot may well write a key into a command."""
        detecting = self._masking().detecting
        return text if detecting is None else detecting.shown(text)

    def _operation(self, verdict: Verdict, text: str, kinds: list[str], relations: list[str]) -> Operation:
        session = self.session
        session.seq += 1
        return Operation(
            time=time.time_ns(),
            session=session.id,
            seq=session.seq,
            statement=self._shown(text)[:MAX_STATEMENT_SHOWN],
            effect=verdict.effect.value,
            rule=verdict.rule,
            kinds=kinds,
            relations=[self._shown(one) for one in relations],
            code=verdict.code,
            reason=self._shown(verdict.reason),
            policy=session.policy.digest,
            bot=session.bot,
            target=session.opening.target_name,
        )

    def finished(self, asked: Asked, outcome: str, code: str = "") -> None:
        """The operation's end, on record soon."""
        now = time.time_ns()
        event = OperationFinished(
            time=now,
            session=self.session.id,
            seq=asked.seq,
            outcome=outcome,
            rows=None,
            sqlstate=code,
            duration_us=max(0, (now - asked.started) // 1000),
        )
        self.session.gate.notices.add([event])

    async def journalled(self, events: list[AuditEvent]) -> None:
        """Wait until these are durable. Raises SessionOverError if they cannot be."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def release(error: Exception | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(
                    SessionOverError(
                        "the request cannot be recorded, and what is not recorded is not executed",
                        code="journal-failed",
                        remedy="try again later",
                    )
                )

        self.session.gate.journal.submit(events, release)
        await done

    def record_request(self, asked: Asked) -> None:
        """The request, for the recording: as it goes out, without values of Secrets."""
        content = asked.sent
        if asked.body is not None and asked.body.opaque:
            content = bodies.canonical(asked.resolved)
        if secrets.concerns(asked.request) or b'"Secret"' in content:
            content = without_secrets(content, asked.request) if content else b""
        why = f"\nreason: {asked.reason}" if asked.reason else ""
        self._record_asked(asked.seq, f"{asked.point}\n{asked.request.method} {asked.request.target}{why}")
        if content:
            self.record(Kind.BODY, content, client=True)

    def _record_asked(self, seq: int, text: str) -> None:
        self._seq = seq
        self.record(Kind.REQUEST, json.dumps({"seq": seq, "text": self._shown(text)}).encode(), client=True)

    def record_status(self, code: int) -> None:
        """The status of the answer to the request that is under way."""
        self.record(Kind.STATUS, json.dumps({"seq": self._seq, "code": code}).encode(), client=False)

    def record(self, kind: int, data: bytes, *, client: bool) -> None:
        """A piece of either direction."""
        recording = self.session.recording
        if recording is not None and data:
            (recording.client if client else recording.server)(pack(kind, data))

    # The session's end: `server.sessions.Live`.

    def become(self, principal: Principal) -> None:
        """The bot as Graph says it now; ends the session if no policy is left for it."""
        try:
            self.session.become(principal)
        except SessionOverError as error:
            self.end(error.sqlstate, error.message, hint=error.remedy, reason=error.code)

    def end(self, sqlstate: str, message: str, *, hint: str = "", reason: str, terminate: bool = True) -> None:
        """End the session: what is under way is cut off."""
        if self.over:
            return
        self.over = True
        self._reason, self._said = reason, message
        if self._task is not None:
            self._task.cancel()
        self.close(reason)

    def cut(self) -> None:
        """Cut off what runs at the target."""
        if self._task is not None and not self.over:
            self.end("57P01", "cut off by an operator", reason="killed")

    def close(self, reason: str) -> None:
        """The session is over, on record."""
        self.over = True
        if self._upstream is not None:
            self._upstream.close()
            self._upstream = None
        recording, self.session.recording = self.session.recording, None
        if recording is not None:
            recording.finish(reason)
            self.session.gate.notices.add([self.session.ended(reason)])
