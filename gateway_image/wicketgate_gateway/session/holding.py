"""The statement of a PostgreSQL session that waits for people: where it stops the session, and what the client reads.

How this works: a held Query or Execute is a *barrier*: the session looks at no later message. First all that was sent
before is answered (so that it is certain what names mean, and whether the server is going to skip this message anyway);
then people are asked, with the very text and parameters. The client gets a NOTICE. Once there is an answer the message
is looked at again: it goes out with the claim that the answer brought, or an error takes its place. What runs is what
was approved: a Query is built from the stored text, an Execute only goes out if the stored statement and parameters are
those of its portal. `consider` is called each time the message is looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from struct import Struct
from typing import Protocol

from wicketgate_gateway.approvals.model import Claim, Held, Parameter, Request
from wicketgate_gateway.contract.verdict import Effect, HoldTerms, Verdict
from wicketgate_gateway.session import denials, estimates
from wicketgate_gateway.session.holds import Answer, Blast, Hold, until
from wicketgate_gateway.session.session import Session
from wicketgate_gateway.session.settings import SessionSettings
from wicketgate_gateway.session.statement import Statement
from wicketgate_gateway.wire.postgres import errors

MAX_BEHIND = 256 * 1024
"""Bytes behind a statement that waits which are read, so that a client that hangs up is noticed."""
MEASURE_SECONDS = 12.0
_U16 = Struct(">H")
_U32 = Struct(">I")


class Host(Protocol):
    """What a `Holding` needs of its session."""

    def tell(self, notice: bytes) -> None:
        """Send a NOTICE to the client, on record."""
        ...

    def wake(self) -> None:
        """Look at the messages again soon."""
        ...


@dataclass(frozen=True, slots=True)
class Approved:
    """A held operation that may go out now, once."""

    hold: Hold
    claim: Claim

    @property
    def text(self) -> str:
        """The statement as it was stored and approved."""
        return self.claim.request.statement

    def verdict(self, verdict: Verdict) -> Verdict:
        """The verdict on record."""
        return replace(verdict, code="hold-approved", reason=f"{verdict.reason}: `{self.claim.request.handle}`")


class Holding:
    """A session's barrier for held statements: one at a time."""

    def __init__(self, session: Session, host: Host, settings: SessionSettings, drained: Callable[[], bool]) -> None:
        self.again: Callable[[], None] = _nothing
        """Looks at the message again."""
        self._settings = settings
        self._drained = drained
        self._session = session
        self._host = host
        self._hold: Hold | None = None
        self._answer: Answer | None = None

    @property
    def settled(self) -> bool:
        """Whether the message may be looked at again."""
        return self._answer is not None if self._hold is not None else self._drained()

    @property
    def waiting(self) -> bool:
        """Whether people are asked."""
        return self._hold is not None

    def consider(
        self,
        statement: Statement,
        parameters: Sequence[bytes | None],
        formats: Sequence[int],
        current: Mapping[str, str],
        *,
        failed: str,
    ) -> Approved | Verdict | None:
        """What becomes of a held operation, once all before it is answered: None while it waits.

        `current` are the settings that the server reports, `failed` says why the server would not run it at all.
        """
        hold, self._hold = self._hold, None
        answer, self._answer = self._answer, None
        verdict = statement.verdict
        terms = verdict.hold
        if hold is not None and answer is not None:
            return self._answered(hold, answer, statement, parameters, formats, current)
        if failed:
            return _refused(verdict, "hold-aborted", failed, "send ROLLBACK first; nobody was asked")
        holds = self._session.gate.holds
        if holds is None or terms is None:
            return _refused(verdict, "approvals-unavailable", "nobody can be asked for approval here", verdict.remedy)
        if self._settings.unclear:
            why = f"what the statement would mean in this session cannot be shown: {self._settings.unclear}"
            return _refused(verdict, "hold-not-showable", why, "connect again, and send it in a fresh session")
        self._hold = holds.begin(
            self._held(statement, parameters, formats, current),
            terms,
            shown=statement.askable(parameters),
            measure=lambda: self._measure(statement, parameters, formats, terms),
            asked=self._asked,
            answered=self._wake,
            still=self._still,
        )
        return None

    def resume(self) -> None:
        """There is an answer, or all before is answered: look at the message again."""
        again, self.again = self.again, _nothing
        again()
        if self._hold is not None and self._answer is not None:
            # By the policy now in force nothing holds it any more.
            self._hold.abandon()
            self._hold = self._answer = None

    def cancel(self) -> bool:
        """The client does not want to wait any longer; False if nothing waits for people."""
        hold = self._hold
        if hold is None:
            return False
        hold.abandon()
        remedy = f"`{hold.handle}` can still be approved: send the same statement again then" if hold.handle else ""
        said = "canceling statement due to user request, while it waited for approval"
        self._answer = Answer(code="hold-cancelled", message=said, remedy=remedy, handle=hold.handle)
        self._host.wake()
        return True

    def abandon(self) -> None:
        """The session is over."""
        if self._hold is not None:
            self._hold.abandon()

    def _wake(self) -> None:
        if self._hold is not None and self._answer is None:
            self._answer = self._hold.answer
            self._host.wake()

    def _answered(
        self,
        hold: Hold,
        answer: Answer,
        statement: Statement,
        parameters: Sequence[bytes | None],
        formats: Sequence[int],
        current: Mapping[str, str],
    ) -> Approved | Verdict:
        verdict = statement.verdict
        if answer.claim is None:
            return _refused(verdict, answer.code, answer.message, answer.remedy)
        request = answer.claim.request
        now = self._held(statement, parameters, formats, current)
        same = (request.statement, request.parameters, dict(request.facts), request.policy, request.bot_id)
        unchanged = same == (now.statement, now.parameters, dict(now.facts), now.policy, now.bot_id)
        if unchanged and verdict.hold is not None and verdict.hold.rule == request.rule:
            return Approved(hold, answer.claim)
        hold.abandon()
        said = f"`{request.handle}` is void: the policy changed while it was approved"
        return _refused(verdict, "hold-void", said, "send exactly the same statement again: it is decided anew")

    def _held(
        self,
        statement: Statement,
        parameters: Sequence[bytes | None],
        formats: Sequence[int],
        current: Mapping[str, str],
    ) -> Held:
        session = self._session
        bot_id = session.principal.object_id
        bot = session.gate.policies().bots.get(bot_id)
        types = declared(statement.types)
        return Held(
            bot_id=bot_id,
            bot=session.bot,
            owner=bot.owner if bot is not None else "",
            owner_id=str(bot.owner_id or "") if bot is not None else "",
            target=session.opening.target_name,
            protocol=session.opening.protocol,
            session=session.id,
            statement=statement.text,
            parameters=tuple(
                Parameter(str(types[i] if i < len(types) else 0), _format(formats, i), value)
                for i, value in enumerate(parameters)
            ),
            facts=self._settings.facts(current),
            policy=session.policy.digest,
            reason=self._settings.reason_for(statement.text),
        )

    async def _measure(
        self, statement: Statement, parameters: Sequence[bytes | None], formats: Sequence[int], terms: HoldTerms
    ) -> Blast | None:
        session = self._session
        if session.gate.estimate is None:
            return None
        wanted = estimates.wanted(statement.text, count=terms.count)
        if isinstance(wanted, str):
            return estimates.unmeasured(wanted)
        try:
            async with asyncio.timeout(MEASURE_SECONDS):
                found = await session.gate.estimate(
                    session.opening.target_name,
                    wanted,
                    declared(statement.types),
                    parameters,
                    formats,
                )
        except TimeoutError:
            return estimates.unmeasured("the target did not answer in time")
        return estimates.blast(found)

    def _still(self, left: float) -> None:
        handle = self._hold.handle if self._hold is not None else ""
        said = f"`{handle}` still waits for approval"
        self._host.tell(errors.notice(said, detail=f"for at most {left:.0f} s more", sqlstate=denials.STILL_NOTICE))

    def _asked(self, request: Request) -> None:
        terms = self._hold.terms if self._hold is not None else None
        wait = f"{terms.wait:.0f} s" if terms is not None else "a while"
        names = " or ".join(f"`{name}`" for name in request.approver_names)
        people = "one person" if request.quorum == 1 else f"{request.quorum} people"
        detail = f"rule {request.rule}; asked: {people} of {names}, until {until(request.expires)}"
        if request.reason:
            detail += f"; your reason: {request.reason}"
        if request.blast is not None:
            detail += f"; reach: {estimates.in_words(request.blast)}"
        hint = (
            f"waiting up to {wait}; `wicketgate approvals approve {request.handle}` lets it run. If the wait ends "
            "first, the statement fails with SQLSTATE WG001: then send exactly the same statement again later"
        )
        said = f"this statement is held for approval as `{request.handle}`"
        self._host.tell(errors.notice(said, detail=detail, hint=hint, sqlstate=denials.HELD_NOTICE))


def declared(types: bytes) -> list[int]:
    """Parameter types as Parse declared them, out of its own bytes; 0 leaves one to the server."""
    if len(types) < 2:
        return []
    (count,) = _U16.unpack_from(types)
    return [_U32.unpack_from(types, 2 + 4 * i)[0] for i in range(min(count, (len(types) - 2) // 4))]


def _format(formats: Sequence[int], index: int) -> int:
    if not formats:
        return 0
    return formats[0] if len(formats) == 1 else formats[index]


def _refused(verdict: Verdict, code: str, reason: str, remedy: str) -> Verdict:
    return Verdict(Effect.HOLD, verdict.rule, reason, remedy, code, record=verdict.record)


def _nothing() -> None: ...
