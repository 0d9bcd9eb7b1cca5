"""An HTTP session: each request is understood, decided on, put on record, and then forwarded, held or refused.

How this works: `serve` takes one request at a time. It is written anew from what was understood, so what was decided
is what goes out. A body is read before the decision only where a rule looks into it, and for what is held; else it
streams. The audit event is durable before the head goes to the agent. A held request is canonical text (method, path,
headers that mean something, body) that people read and that an approved request is built from; whatever else the client
sent does not go out. How requests and answers pass is `http_forward`'s.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import structlog

from wicketgate_gateway.approvals.model import Request
from wicketgate_gateway.approvals.outbox import used
from wicketgate_gateway.audit.events import Operation, OperationFinished
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.identity import Principal
from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.masking.requests import NotedBody, noted_text, starred, starred_text
from wicketgate_gateway.policy.engine import TargetPolicy
from wicketgate_gateway.policy.http import ABSENT, UNREADABLE, RequestPoint, needs_body
from wicketgate_gateway.policy.http_facts import Facts, Looks, facts_of, looks_of
from wicketgate_gateway.session.exchange import Exchange
from wicketgate_gateway.session.holds import RETRY_SECONDS, Answer, Hold, until
from wicketgate_gateway.session.http_forward import Forwarding, Journals, Understood
from wicketgate_gateway.session.http_held import canonical_request, parse_canonical
from wicketgate_gateway.session.session import Session, SessionOverError
from wicketgate_gateway.wire.http import headers as rules
from wicketgate_gateway.wire.http.head import (
    CHUNKED,
    HttpError,
    write_request,
)
from wicketgate_gateway.wire.http.json import JsonError, parse_json

MAX_BODY = 1024 * 1024
"""The longest body that is read whole, for rules that look into it."""
ANSWER_SECONDS = 300.0
"""How long a target may take to begin its answer."""

log = structlog.get_logger("wicketgate.http")


class HttpSession(Forwarding):
    """One bot at one target on one client's connection. One of the process's `Live` sessions."""

    def __init__(self, session: Session, gateway: Journals, hang_up: Callable[[], None]) -> None:
        super().__init__(session, gateway)
        self.busy = False
        self._hang_up = hang_up
        self._hold: Hold | None = None
        self._looks: tuple[TargetPolicy, Looks] | None = None

    # `Live`.

    def become(self, principal: Principal) -> None:
        """See `server.sessions.Live`."""
        try:
            self.session.become(principal)
        except SessionOverError as error:
            self.end(error.sqlstate, error.message, hint=error.remedy, reason=error.code)

    def end(self, sqlstate: str, message: str, *, hint: str = "", reason: str) -> None:
        """See `server.sessions.Live`: what runs is broken off, and the connection closed."""
        if self.over:
            return
        self.finish(reason)
        self._hang_up()

    def cancel(self) -> None:
        """Have what runs at the target given up."""
        if self._upstream is not None:
            self._upstream.cancel()

    def finish(self, reason: str) -> None:
        """The session is over."""
        if self.over:
            return
        self.over = True
        if self._hold is not None:
            self._hold.abandon()
        if self._upstream is not None:
            self._upstream.close(reason)
        session = self.session
        session.gate.notices.add([session.ended(reason)])
        session.gate.notices.flush()
        if session.recording is not None:
            session.recording.finish(reason)

    # Understanding.

    async def understand(self, exchange: Exchange) -> Understood:
        """What a request does. Raises HttpError for what is not understood."""
        head, target = exchange.head, exchange.target
        headers = rules.forwarded(head)
        upgrade = _upgrade_of(exchange)
        operations = self.session.policy.operations
        operation, may_be = operations.find(head.method, target.segments) if operations is not None else ("", None)
        point = RequestPoint(
            head.method, target.segments, target.query, rules.grouped(headers), ABSENT, operation, upgrade, may_be
        )
        body: bytes | None = None
        if exchange.length != 0:
            if needs_body(self.session.policy.rules, point):
                body = await exchange.body(MAX_BODY)
                if body is None:
                    raise HttpError(
                        f"a rule looks into the body, and it is over {MAX_BODY} bytes",
                        code="body-too-large",
                        status=413,
                    )
                point = _with_body(point, body)
            else:
                point = _with_body(point, None)
        elif needs_body(self.session.policy.rules, point):
            body = b""
        return Understood(
            head.method,
            target.forwarded,
            headers,
            [point],
            point.values(),
            f"{head.method} {target.shown}",
            [point.operation or point.path],
            body,
            upgrade,
        )

    # One request.

    async def serve(self, exchange: Exchange) -> None:
        """Serve a request to its end. Raises nothing but CancelledError."""
        session = self.session
        self.busy = True
        try:
            session.refresh()
            request = await self.understand(exchange)
            verdict = session.decide_points(request.points, request.values, request.shown)
            if request.upgrade and verdict.allowed and self.masks:
                raise HttpError(
                    "answers of this target are masked, and an upgraded connection cannot be",
                    code="upgrade-unmaskable",
                    status=403,
                )
            if verdict.effect is Effect.DENY:
                await self._denied(exchange, request, verdict)
            elif verdict.effect is Effect.HOLD:
                await self._held(exchange, request, verdict)
            else:
                await self._forward(exchange, request, verdict)
        except SessionOverError as error:
            self._refuse(exchange, 403, error.code, error.message, error.remedy)
            exchange.end_connection()
            self.finish(error.code)
        except HttpError as error:
            await self._malformed(exchange, error)
        except WicketgateError as error:
            status = 504 if error.code == "target-timeout" else 503 if error.code == "journal-failed" else 502
            self._refuse(exchange, status, error.code, error.message, error.remedy)
        finally:
            self.busy = False

    async def _malformed(self, exchange: Exchange, error: HttpError) -> None:
        # On record as an operation that was denied: whoever tries things should be seen.
        session = self.session
        shown = f"{exchange.head.method} {exchange.target.shown}"
        if error.status < 500 and not exchange.answered:
            verdict = Verdict(Effect.DENY, "builtin:http", error.message, error.remedy, error.code)
            verdict = replace(verdict, reason=noted_text(session.detecting, verdict.reason))
            noted = noted_text(session.detecting, shown)
            event = session.operation_on(verdict, noted, now=time.time_ns(), kinds=[exchange.head.method])
            session.gate.journal.submit([event])
        self._refuse(exchange, error.status, error.code, error.message, error.remedy)

    def _refuse(self, exchange: Exchange, status: int, code: str, detail: str, remedy: str = "", **more: Any) -> None:
        if exchange.answered:
            exchange.end_connection()  # half an answer: the client must see that it is cut short
            return
        data = exchange.problem(status, code, detail, remedy, session=self.session.id, **more)
        looks = self.session.detecting  # it says the path, and what that holds is not recorded
        self._recorded(data if looks is None else starred(looks, data))

    def _record_request(self, request: Understood, body: bytes | None, length: int) -> None:
        recording = self.session.recording
        if recording is None:
            return
        framing = [("Content-Length", str(len(body)))] if body else []
        if body is None and length:
            framing = [("Transfer-Encoding", "chunked")] if length == CHUNKED else [("Content-Length", str(length))]
        looks = self.session.detecting
        path, headers = request.path, request.headers
        if looks is not None:
            path, headers = starred_text(looks, path), tuple((n, starred_text(looks, v)) for n, v in headers)
            body = None if body is None else NotedBody(looks, headers).whole(body)
        head = write_request(request.method, path, [*headers, *framing])
        recording.client(head + (body or b""))
        self.session.bytes_in += len(head) + len(body or b"")

    def _noted(self, request: Understood, verdict: Verdict, now: int) -> Operation:
        """The event for a request: without what detectors find in it."""
        looks = self.session.detecting
        event = self.session.operation_on(
            replace(verdict, reason=noted_text(looks, verdict.reason)),
            noted_text(looks, request.shown),
            now=now,
            kinds=[point.kind for point in request.points],
            objects=[noted_text(looks, each) for each in request.objects],
        )
        facts = self._facts(request)
        return msgspec.structs.replace(event, facts=facts) if facts else event

    def _facts(self, request: Understood) -> Facts:
        """What rules look at beside the text; what detectors find something in is left out, and so not known."""
        policy, point = self.session.policy, request.points[0]
        if self._looks is None or self._looks[0] is not policy:
            self._looks = (policy, looks_of(policy.rules))
        assert isinstance(point, RequestPoint)
        found = facts_of(self._looks[1], point, body_read=request.body is not None or point.body is ABSENT)
        looks = self.session.detecting
        if looks is None:
            return found
        return {name: kept for name, kept in found.items() if all(noted_text(looks, text) is text for text in kept)}

    async def _denied(self, exchange: Exchange, request: Understood, verdict: Verdict) -> None:
        event = self._noted(request, verdict, time.time_ns())
        self._record_request(request, request.body or b"", 0)
        await self._gateway.journalled([event])
        status = 503 if verdict.code == "recording-failed" else 403
        self._refuse(
            exchange, status, verdict.code, verdict.reason, verdict.remedy, rule=verdict.rule, operation=event.seq
        )

    # Held for people.

    async def _held(self, exchange: Exchange, request: Understood, verdict: Verdict) -> None:
        session, holds, terms = self.session, self.session.gate.holds, verdict.hold
        if request.upgrade:
            raise HttpError(
                "a connection that changes its protocol cannot be held", code="hold-not-showable", status=403
            )
        if request.body is None and exchange.length:
            request.body = await exchange.body(MAX_BODY)
            if request.body is None:
                raise HttpError("a held request's body is too long to be shown", code="hold-not-showable", status=413)
        statement = canonical_request(request.method, request.path, request.headers, request.body or b"")
        reason = exchange.head.first("x-wicketgate-reason")
        looks = session.detecting
        if looks is not None and looks.holds_secret(f"{statement}\n\n{reason}".encode(errors="replace")):
            raise HttpError(
                "this is held for approval, and there is a key or token in it, which nobody may be shown",
                code="hold-not-showable",
                status=403,
                remedy="send it without the key",
            )
        if holds is None or terms is None:
            self._refuse(exchange, 503, "approvals-unavailable", "nobody can be asked for approval here")
            return
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asked: list[Request] = []

        def done() -> None:
            if not answered.done():
                answered.set_result(None)

        hold = self._hold = holds.begin(
            session.held(statement, facts=request.facts, reason=reason),
            terms,
            shown=statement,
            measure=self._measure,
            asked=asked.append,
            answered=done,
        )
        try:
            await answered
            answer = hold.answer
            assert answer is not None
            if answer.claim is None:
                await self._not_approved(exchange, request, verdict, answer, asked)
                return
            await self._approved(exchange, request, verdict, hold, answer, statement)
        except BaseException:
            hold.abandon()
            raise
        finally:
            self._hold = None

    async def _measure(self) -> None:
        return None

    async def _not_approved(
        self, exchange: Exchange, request: Understood, verdict: Verdict, answer: Answer, asked: list[Request]
    ) -> None:
        refused = Verdict(
            Effect.HOLD, verdict.rule, _as_request(answer.message), _as_request(answer.remedy), answer.code
        )
        event = self._noted(request, refused, time.time_ns())
        self._record_request(request, request.body or b"", 0)
        await self._gateway.journalled([event])
        pending = answer.code == "hold-pending"
        more: dict[str, Any] = {"handle": answer.handle, "rule": verdict.rule, "because": verdict.reason}
        if pending:
            more["retryAfter"] = RETRY_SECONDS
            more["approvedBy"] = verdict.remedy
            more["links"] = {"self": exchange.target.forwarded, "show": f"wicketgate approvals show {answer.handle}"}
            if asked:
                more["expires"] = until(asked[-1].expires)
        status = 202 if pending else 409 if answer.code in ("hold-void", "hold-expired") else 403
        self._refuse(exchange, status, refused.code, refused.reason, refused.remedy, operation=event.seq, **more)

    async def _approved(
        self,
        exchange: Exchange,
        request: Understood,
        verdict: Verdict,
        hold: Hold,
        answer: Answer,
        statement: str,
    ) -> None:
        claim = answer.claim
        assert claim is not None
        session = self.session
        stored = claim.request
        session.refresh()
        # By the policy now in force it must still be held by the same rules, and be the same in all that counts.
        again = session.decide_points(request.points, request.values, request.shown)
        if (
            stored.statement != statement
            or stored.policy != session.policy.digest
            or stored.bot_id != session.principal.object_id
            or dict(stored.facts) != dict(request.facts)
            or again.hold is None
            or again.hold.rule != stored.rule
        ):
            hold.abandon()
            self._refuse(
                exchange, 409, "hold-void", f"`{stored.handle}` is void: the policy changed while it was approved",
                "send exactly the same request again: it is decided anew",
            )  # fmt: skip
            return
        method, path, headers, body = parse_canonical(stored.statement)
        request.method, request.path, request.headers, request.body = method, path, headers, body
        noted = Verdict(
            verdict.effect,
            verdict.rule,
            f"{verdict.reason}: `{stored.handle}`",
            code="hold-approved",
            masks=verdict.masks,
            record=verdict.record,
        )
        await self._forward(exchange, request, noted, hold=hold, answer=answer)

    # Forwarded.

    async def _forward(
        self,
        exchange: Exchange,
        request: Understood,
        verdict: Verdict,
        *,
        hold: Hold | None = None,
        answer: Answer | None = None,
    ) -> None:
        started = time.time_ns()
        upstream = await self._open()
        event = self._noted(request, verdict, started)
        events: list[Any] = [event]
        if answer is not None and answer.claim is not None:
            events.append(used(answer.claim, seq=event.seq, now=started))
        self._record_request(request, request.body, exchange.length)
        await self._gateway.journalled(events)
        if self.over or exchange.gone:
            if hold is not None:
                hold.not_sent()
            self._finished(event.seq, started, "cancelled", 0, hold)
            return
        if hold is not None:
            hold.sent()
        outcome, status = "lost", 0
        try:
            status = await self._exchange(exchange, request, upstream)
            outcome = "ok" if status < 400 else "error"
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            if not upstream.usable:
                upstream.close()
            self._finished(event.seq, started, outcome, status, hold)

    def _finished(self, seq: int, started: int, outcome: str, status: int, hold: Hold | None) -> None:
        now = time.time_ns()
        self.session.gate.notices.add(
            [
                OperationFinished(
                    time=now,
                    session=self.session.id,
                    seq=seq,
                    outcome=outcome,
                    sqlstate=str(status) if status >= 400 else "",
                    duration_us=max(0, now - started) // 1000,
                )
            ]
        )
        if hold is not None:
            hold.finished(outcome)


def _with_body(point: RequestPoint, body: bytes | None) -> RequestPoint:
    found: Any = UNREADABLE
    if body is not None:
        kind = (point.headers.get("content-type") or ("",))[0].partition(";")[0].strip().lower()
        if not body:
            found = ABSENT
        elif kind == "application/json" or kind.endswith("+json") or kind == "":
            try:
                found = parse_json(body)
            except JsonError as error:
                raise HttpError(
                    f"the body is not JSON that can be decided on: {error}", code="body-malformed"
                ) from None
    return replace(point, body=found)


def _upgrade_of(exchange: Exchange) -> str:
    head = exchange.head
    wanted = head.listed("upgrade")
    if "upgrade" not in head.listed("connection") or wanted != ["websocket"]:
        return ""  # others are not upgraded to: the header does not pass, and the answer is a plain one
    if head.method != "GET" or head.version != 1 or exchange.length:
        raise HttpError("a WebSocket begins with a GET without a body", code="upgrade-malformed")
    return "websocket"


def _as_request(text: str) -> str:
    return text.replace("statement", "request")
