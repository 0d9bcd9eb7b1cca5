"""A held request of an SSH session: what people are asked, and what the client reads meanwhile.

How this works: the operation is its text, its facts (kind, words, variables, terminal) and its input as a parameter:
all of it is shown and bound to the approval. `ask` returns a claim with what it stands for, or the verdict to tell.
What runs is the text of the request that was stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from wicketgate_gateway.approvals.model import Claim, Held, Parameter, Request
from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.session.holds import Answer, Hold, until
from wicketgate_gateway.session.session import Session

INPUT = "stdin"


@dataclass(frozen=True, slots=True)
class Approved:
    """A held operation that may go out now, once."""

    hold: Hold
    claim: Claim

    def verdict(self, verdict: Verdict) -> Verdict:
        """The verdict on record."""
        return replace(verdict, code="hold-approved", reason=f"{verdict.reason}: `{self.claim.request.handle}`")

    def still(
        self, again: Verdict, session: Session, text: str, facts: Mapping[str, str], given: bytes, label: str = INPUT
    ) -> bool:
        """Whether what was approved is what would be held now."""
        request = self.claim.request
        now = held(session, text, facts, given, "", label)
        return (
            again.effect is Effect.HOLD
            and again.hold is not None
            and again.hold.rule == request.rule
            and (request.statement, request.parameters, dict(request.facts), request.policy, request.bot_id)
            == (now.statement, now.parameters, dict(now.facts), now.policy, now.bot_id)
        )


def held(session: Session, text: str, facts: Mapping[str, str], given: bytes, reason: str, label: str = INPUT) -> Held:
    """The operation, whole; `label` says what `given` is."""
    bot_id = session.principal.object_id
    bot = session.gate.policies().bots.get(bot_id)
    return Held(
        bot_id=bot_id,
        bot=session.bot,
        owner=bot.owner if bot is not None else "",
        owner_id=str(bot.owner_id or "") if bot is not None else "",
        target=session.opening.target_name,
        protocol=session.opening.protocol,
        session=session.id,
        statement=text,
        parameters=(Parameter(label, 1, given),) if given else (),
        facts=dict(facts),
        policy=session.policy.digest,
        reason=reason,
    )


async def ask(
    session: Session,
    text: str,
    facts: Mapping[str, str],
    given: bytes,
    reason: str,
    verdict: Verdict,
    *,
    tell: Callable[[str], None],
    begun: Callable[[Hold], None],
    label: str = INPUT,
) -> Approved | Verdict:
    """Ask people and wait. `tell` gets lines for the client, `begun` what to abandon if the client goes."""
    terms, holds = verdict.hold, session.gate.holds
    if terms is None or holds is None:
        return refused(verdict, "approvals-unavailable", "nobody can be asked for approval here", verdict.remedy)
    answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not answered.done():
            answered.set_result(None)

    def asked(request: Request) -> None:
        names = " or ".join(f"`{name}`" for name in request.approver_names)
        people = "one person" if request.quorum == 1 else f"{request.quorum} people"
        tell(f"held for approval as `{request.handle}`: rule {request.rule}")
        tell(
            f"asked: {people} of {names}, until {until(request.expires)}; waiting up to {terms.wait:.0f} s; "
            f"`wicketgate approvals approve {request.handle}` lets it run"
        )

    hold = holds.begin(
        held(session, text, facts, given, reason, label),
        terms,
        shown=text,
        measure=_unmeasured,
        asked=asked,
        answered=wake,
    )
    begun(hold)
    try:
        await answered
    except BaseException:
        hold.abandon()
        raise
    answer = hold.answer or Answer(code="internal-error", message="the hold failed inside the gateway")
    if answer.claim is None:
        return refused(verdict, answer.code, answer.message, answer.remedy)
    return Approved(hold, answer.claim)


def refused(verdict: Verdict, code: str, reason: str, remedy: str) -> Verdict:
    """A hold that did not come to run."""
    return Verdict(Effect.HOLD, verdict.rule, reason, remedy, code, record=verdict.record)


async def _unmeasured() -> None:
    return None
