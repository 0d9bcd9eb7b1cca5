"""A held operation, from the question to the answer: what a process lends to its sessions so that they can wait.

How this works: `Holds.begin` gives a `Hold` and starts its work: look for an approval that stands, else measure how far
the operation reaches, ask, and wait a bounded time. The session gets an `Answer` and goes on. A claim is the right to
run the operation once, so it is never lost sight of: if nobody takes it (the client cancelled or hung up), or if the
bytes certainly did not go out, it is given back; from the moment in which they may have gone out, it is used. A store
that goes away while someone waits, and comes back within the wait, ends nothing: a claim is asked for by an id of its
own, so that one whose answer was lost on the way is found again and not made twice. No protocol here, and no socket.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog

from wicketgate_gateway.approvals import digest as digests
from wicketgate_gateway.approvals.model import Claim, Held, Request, State
from wicketgate_gateway.approvals.service import MAX_SHOWN, Approvals
from wicketgate_gateway.approvals.store import new_claim_id
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.verdict import HoldTerms

RETRY_SECONDS = 30
"""When a client should send a pending operation again."""
_LOOK_SECONDS = 1.0
STILL_SECONDS = 15.0
"""How often a client that waits hears that it still does, so that no idle time-out on the way cuts it off."""
_TRIES = 8
"""How often the end of a claim is tried to be noted, with growing pauses: for about half a minute."""
_AWAY_SECONDS = 0.5
"""How long a waiting session leaves a store alone that is away."""
"""How often a waiting session looks whether its policy still holds."""
_CLOSE_SECONDS = 3.0

log = structlog.get_logger("wicketgate.holds")

Blast = Mapping[str, Any]
Measure = Callable[[], Awaitable[Blast | None]]
"""Measures how far an operation reaches. Raises nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a wait ended: with a `claim`, or with a `code` and what to tell the client."""

    claim: Claim | None = None
    code: str = ""
    message: str = ""
    remedy: str = ""
    handle: str = ""


class Hold:
    """One held operation of one session. The session reads `answer`, and says what became of it."""

    def __init__(
        self,
        holds: Holds,
        held: Held,
        terms: HoldTerms,
        shown: str,
        measure: Measure,
        asked: Callable[[Request], None],
        answered: Callable[[], None],
        still: Callable[[float], None],
    ) -> None:
        self.held = held
        self.terms = terms
        self.shown = shown
        self.measure = measure
        self.answer: Answer | None = None
        self.handle = ""
        self.over = False
        """Nobody waits for the answer any more."""
        self._holds = holds
        self._asked = asked
        self._answered = answered
        self._still = still
        self._told = 0.0
        self._claim: Claim | None = None

    def asked(self, request: Request) -> None:
        """People are asked; the client is told once per request."""
        if not self.over and request.handle != self.handle:
            self.handle = request.handle
            self._told = time.monotonic()
            self._asked(request)

    def waits_on(self, left: float) -> None:
        """It still waits, for at most so many seconds more; the client is told now and then."""
        now = time.monotonic()
        if not self.over and self._told and now - self._told >= STILL_SECONDS:
            self._told = now
            self._still(left)

    def take(self, answer: Answer) -> None:
        """The work's end."""
        if self.over:
            if answer.claim is not None:
                self._holds.release(answer.claim)
            return
        self._claim = answer.claim
        self.answer = answer
        self._answered()

    def abandon(self) -> None:
        """Nobody will run it: the client cancelled or is gone. A claim that it has goes back."""
        self.over = True
        self.not_sent()

    def not_sent(self) -> None:
        """The bytes certainly did not go out."""
        claim, self._claim = self._claim, None
        if claim is not None:
            self._holds.release(claim)

    def sent(self) -> None:
        """The bytes are on their way: from now on the claim is used, whatever happens."""
        self._claim = None

    def finished(self, outcome: str) -> None:
        """How the operation ended at the target."""
        claim = self.answer.claim if self.answer is not None else None
        if claim is not None and self._claim is None:
            self._holds.finished(claim, outcome)


class Holds:
    """All holds of one process. `policy` gives the digest of the bundle in force."""

    def __init__(self, approvals: Approvals, policy: Callable[[], str]) -> None:
        self._approvals = approvals
        self._policy = policy
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(
        self,
        held: Held,
        terms: HoldTerms,
        *,
        shown: str,
        measure: Measure,
        asked: Callable[[Request], None],
        answered: Callable[[], None],
        still: Callable[[float], None] = lambda _: None,
    ) -> Hold:
        """Start to ask. `asked` is called with what people were asked, `answered` once `answer` is there, and `still`
        now and then while it waits, with the seconds left.
        """
        hold = Hold(self, held, terms, shown, measure, asked, answered, still)
        self._start(self._work(hold))
        return hold

    async def close(self) -> None:
        """Let claims find their end, for a short while; call it once all sessions are over."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _CLOSE_SECONDS
        # A work that ends may begin another: the one that gives its claim back.
        while self._tasks and (left := end - loop.time()) > 0:
            await asyncio.wait(set(self._tasks), timeout=left)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def release(self, claim: Claim) -> None:
        """Give a claim back whose bytes certainly did not go out."""
        self._start(self._noted(lambda: self._approvals.store.release(claim), claim))

    def finished(self, claim: Claim, outcome: str) -> None:
        """Note how a claim's operation ended."""
        self._start(self._noted(lambda: self._approvals.store.finished(claim, outcome), claim))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _noted(self, work: Callable[[], Awaitable[object]], claim: Claim) -> None:
        for attempt in range(1, _TRIES + 1):
            try:
                await work()
            except WicketgateError as error:
                if error.code == "approvals-unavailable" and attempt < _TRIES:
                    await asyncio.sleep(_AWAY_SECONDS * attempt)
                    continue
                # It stays used, which is the safe side.
                log.error("a claim's end could not be noted", handle=claim.request.handle, code=error.code)
            return

    async def _work(self, hold: Hold) -> None:
        try:
            answer = await self._answer(hold)
        except WicketgateError as error:
            answer = Answer(code=error.code, message=error.message, remedy=error.remedy, handle=hold.handle)
        except Exception:
            log.exception("a hold failed inside")
            answer = Answer(code="internal-error", message="the hold failed inside the gateway", remedy="try again")
        hold.take(answer)

    async def _answer(self, hold: Hold) -> Answer:
        loop = asyncio.get_running_loop()
        end = 0.0
        digest = digests.operation_digest(hold.held, hold.terms.rule)
        while True:
            # A bot that tries on and on takes nobody's turn to write.
            request = await self._approvals.store.standing(digest, hold.held.bot_id)
            if request is None:
                request = await self._ask(hold)
            end = end or loop.time() + hold.terms.wait
            if request.state is State.PENDING:
                hold.asked(request)
                request = await self._wait(hold, request, end)
            if request.state in (State.APPROVED, State.USED) and not hold.over:
                claim = await self._claim(hold, end)
                if claim is not None:
                    return Answer(claim, handle=claim.request.handle)
                request = await self._approvals.store.get(request.handle)
                if request.state is State.APPROVED:
                    return self._unusable(hold, request)
                if loop.time() < end:
                    continue  # another session of the bot ran it: this one asks anew
            return _said(request, hold.terms)

    async def _claim(self, hold: Hold, end: float) -> Claim | None:
        loop, claim_id = asyncio.get_running_loop(), new_claim_id()
        while True:
            try:
                return await self._approvals.claim(hold.held, hold.terms.rule, claim_id)
            except WicketgateError as error:
                if error.code != "approvals-unavailable" or hold.over or loop.time() >= end:
                    raise
            await asyncio.sleep(_AWAY_SECONDS)

    def _unusable(self, hold: Hold, request: Request) -> Answer:
        handle = request.handle
        if self._policy() != hold.held.policy:
            said = f"`{handle}` was approved under a policy that is no longer in force"
            remedy = "send exactly the same statement again: it is decided anew"
            return Answer(code="hold-void", message=said, remedy=remedy, handle=handle)
        said = f"`{handle}` is approved, but this session is cut off at the moment"
        return Answer(code="killed", message=said, remedy="ask the gateway's operator, who ordered it", handle=handle)

    async def _ask(self, hold: Hold) -> Request:
        held, terms = hold.held, hold.terms
        size = len(held.statement.encode(errors="replace")) + sum(len(p.value or b"") for p in held.parameters)
        # What is refused anyway is not measured.
        if size <= MAX_SHOWN and not (terms.reason_required and not held.reason.strip()):
            held = replace(held, blast=await hold.measure())
        if hold.over:
            raise WicketgateError("nobody waits for it any more", code="hold-cancelled")
        return await self._approvals.ask(held, terms, shown=hold.shown)

    async def _wait(self, hold: Hold, request: Request, end: float) -> Request:
        store = self._approvals.store
        loop = asyncio.get_running_loop()
        while request.state is State.PENDING and not hold.over:
            left = end - loop.time()
            if left <= 0:
                break
            hold.waits_on(left)
            try:
                if self._policy() != hold.held.policy:
                    await store.void("the policy changed", handle=request.handle)
                    return await store.get(request.handle)
                until = time.time_ns() + round(min(left, _LOOK_SECONDS) * 1e9)
                try:
                    # The store's clock may be another one than ours.
                    async with asyncio.timeout(2 * _LOOK_SECONDS + 10):
                        request = await store.wait(request.handle, until)
                except TimeoutError:
                    request = await store.get(request.handle)
            except WicketgateError as error:
                if error.code != "approvals-unavailable" or loop.time() + _AWAY_SECONDS >= end:
                    raise
                await asyncio.sleep(_AWAY_SECONDS)
        return request


def _said(request: Request, terms: HoldTerms) -> Answer:
    """What the client is told of a request that did not become a claim."""
    handle = request.handle
    again = "send exactly the same statement again"
    match request.state:
        case State.PENDING | State.APPROVED:
            return Answer(
                code="hold-pending",
                message=f"`{handle}` waits for approval, and the statement did not run",
                remedy=f"{again} once it is approved; retry after {RETRY_SECONDS} s, until {until(request.expires)}; "
                f"`wicketgate approvals show {handle}` shows it",
                handle=handle,
            )
        case State.DENIED:
            comments = "; ".join(f"{v.name}: {v.comment}" for v in request.votes if v.choice.value == "deny")
            return Answer(
                code="hold-denied",
                message=f"`{handle}` was denied by {comments.removesuffix(': ') or 'an approver'}",
                remedy="do something else, or talk to the approver; the same statement is not asked for again until "
                f"{until(request.expires)}",
                handle=handle,
            )
        case State.EXPIRED | State.USED:
            return Answer(
                code="hold-expired",
                message=f"`{handle}` lapsed: nobody approved it in time, or its approval was not used in time"
                if request.state is State.EXPIRED
                else f"`{handle}` was approved, and another session of this bot has used the approval",
                remedy=f"{again} to ask anew: {_asked_of(terms)}",
                handle=handle,
            )
        case State.VOID:
            return Answer(
                code="hold-void",
                message=f"`{handle}` is void: {request.note or 'what it was asked for is no more'}",
                remedy=f"{again}: it is decided anew, by the policy now in force",
                handle=handle,
            )


def _asked_of(terms: HoldTerms) -> str:
    return "asked is " + " or ".join(f"`{name}`" for name in terms.approver_names)


def until(nanoseconds: int) -> str:
    """A time for people and models: UTC, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(nanoseconds / 1e9))
