"""The rules of asking and answering: who may be asked for what, who may answer, and what counts.

How this works: `ask` refuses what no person could answer rightly (what cannot be shown whole, a hold without approvers,
a bot without a known owner). `decide` lets a person vote only if they are in one of the rule's approver groups and are
neither the bot nor its owner; a request of another policy than the one in force, or of a bot that is gone, is void.
Group membership is the caller's to look up, freshly, by `groups_to_check`; `decide` refuses if it was not all looked
up. The store counts the votes and hands out the right to run.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import fields

from wicketgate_gateway.approvals import digest as digests
from wicketgate_gateway.approvals.model import NANOSECONDS, Choice, Claim, Held, Request, State, Terms, Vote
from wicketgate_gateway.approvals.store import ApprovalStore
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.identity import Principal, PrincipalKind

MAX_SHOWN = 64 * 1024
"""Bytes of statement and parameters together that a person can be asked to read."""
MAX_REASON = 1000
MAX_COMMENT = 1000
MAX_PARAMETERS = 1000
_SWEEP_SECONDS = 1.0
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


class Approvals:
    """What sessions, the API and the command line use. Each method also raises what the store raises.

    `policy` gives the digest of the bundle in force; `bot_gone` says why a bot (by object id) is no more, or is empty.
    """

    def __init__(
        self,
        store: ApprovalStore,
        *,
        policy: Callable[[], str],
        bot_gone: Callable[[str], Awaitable[str]] | None = None,
    ) -> None:
        self.store = store
        self._policy = policy
        self._bot_gone = bot_gone

    async def ask(self, held: Held, terms: Terms, *, shown: str | None = None) -> Request:
        """Ask for a held operation. Gives the request: a new one, or the one that stands for the same operation
        (pending, approved, or denied within its time).

        `shown` is the statement as it may be recorded, if that differs from its text (a password was taken out).
        Raises WicketgateError: `hold-not-showable`, `hold-reason-missing`, `hold-reason-too-long`, `hold-unanswerable`,
        `hold-owner-unknown`, `hold-not-canonical`, `policy-changed`, `too-many-holds`.
        """
        _askable(held, terms, shown)
        if held.policy != self._policy():
            raise _policy_changed("the operation was decided under a policy that is no longer in force")
        operation = digests.operation_text(held, terms.rule)
        wanted = Request(
            **{f.name: getattr(held, f.name) for f in fields(Held)},
            handle="",
            digest=digests.digest_of_operation(operation),
            seal="",
            rule=terms.rule,
            approver_groups=tuple(terms.approver_groups),
            approver_names=tuple(terms.approver_names),
            quorum=terms.quorum,
            created=0,
            expires=round(terms.within * NANOSECONDS),
            use_within=terms.use_within,
            reuse=terms.reuse,
        )
        return await self.store.request(wanted, operation)

    async def claim(self, held: Held, rule: str, claim_id: str = "") -> Claim | None:
        """The right to run this very operation now, if it is approved; None if it is not (then `ask`).

        With `claim_id` (`store.new_claim_id`) it may be asked for again if the answer was lost: it is given once.
        """
        if held.policy != self._policy():
            return None
        return await self.store.claim(digests.operation_digest(held, rule), held.bot_id, held.session, claim_id)

    async def decide(
        self,
        handle: str,
        approver: Principal,
        choice: Choice,
        *,
        checked: frozenset[str],
        comment: str = "",
        seal: str = "",
    ) -> Request:
        """Count a person's answer; gives the request as it then stands.

        `approver.groups` are those of the groups in `checked` that the person is a member of, looked up just now;
        `checked` must hold `groups_to_check(request)`. `seal` is that of the request that the person looked at.
        Raises WicketgateError: `approver-not-a-person`, `approver-unchecked`, `approver-not-allowed`,
        `approver-is-requester`, `approver-is-owner`, `comment-too-long`, `policy-changed`, `bot-gone`, and what
        `ApprovalStore.vote` raises.
        """
        approver_id = approver.object_id.strip().lower()
        if approver.kind is not PrincipalKind.PERSON or not _UUID.match(approver_id):
            raise WicketgateError(
                "only a person who signed in may decide", code="approver-not-a-person", remedy="`wicketgate login`"
            )
        if len(comment) > MAX_COMMENT:
            raise WicketgateError(
                f"the comment is longer than {MAX_COMMENT} characters", code="comment-too-long", remedy="shorten it"
            )
        request = await self.store.get(handle)
        may_decide(request, approver_id, approver.groups, checked)
        if choice is Choice.APPROVE:
            await self._still_holds(request)
        vote = Vote(approver_id, approver.name, choice, comment, seal=seal)
        return await self.store.vote(request.handle, vote)

    async def sweeping(self) -> None:
        """Write down what expires, for ever; the store being away for a while ends nothing."""
        while True:
            with contextlib.suppress(WicketgateError):
                await self.store.sweep()
            await asyncio.sleep(_SWEEP_SECONDS)

    async def _still_holds(self, request: Request) -> None:
        if not request.open:
            return  # the store says what it is
        if request.policy != self._policy():
            await self.store.void("the policy changed", handle=request.handle)
            raise _policy_changed(f"`{request.handle}` was asked under a policy that is no longer in force")
        why = await self._bot_gone(request.bot_id) if self._bot_gone is not None else ""
        if why:
            await self.store.void(f"the bot is gone: {why}", handle=request.handle)
            raise WicketgateError(
                f"`{request.handle}` is of a bot that is gone: {why}", code="bot-gone", remedy="there is nothing to do"
            )


def groups_to_check(request: Request) -> frozenset[str]:
    """The groups (object ids) that an approver's membership must be looked up for."""
    return frozenset(request.approver_groups) | {request.owner_id}


def may_decide(request: Request, approver_id: str, groups: frozenset[str], checked: frozenset[str]) -> None:
    """Raises WicketgateError if this person may not decide this request."""
    if not groups_to_check(request) <= checked:
        raise WicketgateError(
            "the approver's groups were not all looked up",
            code="approver-unchecked",
            remedy="try again; if it stays so, this is a defect of Wicketgate",
        )
    if approver_id == request.bot_id.lower():
        raise WicketgateError(
            "a bot cannot decide its own requests", code="approver-is-requester", remedy="ask an approver"
        )
    if approver_id == request.owner_id.lower() or request.owner_id in groups:
        raise WicketgateError(
            f"you answer for this bot (`{request.owner}`), and its requests must be decided by others",
            code="approver-is-owner",
            remedy=f"ask {_one_of(request.approver_names)}",
        )
    if not groups.intersection(request.approver_groups):
        raise WicketgateError(
            "you are not in a group that may decide this",
            code="approver-not-allowed",
            remedy=f"ask {_one_of(request.approver_names)}",
        )


def _one_of(names: Sequence[str]) -> str:
    return "someone of " + " or ".join(f"`{name}`" for name in names) if names else "an approver"


def _policy_changed(message: str) -> WicketgateError:
    return WicketgateError(message, code="policy-changed", remedy="send the operation again, to ask anew")


def _askable(held: Held, terms: Terms, shown: str | None) -> None:
    if not terms.approver_groups or terms.quorum < 1 or terms.within <= 0:
        raise WicketgateError(
            f"`{terms.rule}` names nobody who could approve",
            code="hold-unanswerable",
            remedy="name approver groups in the rule",
        )
    if (terms.use_within if terms.reuse is None else terms.reuse) <= 0:
        raise WicketgateError(
            f"`{terms.rule}` leaves no time to use an approval", code="hold-unanswerable", remedy="set a time in it"
        )
    if not _UUID.match(held.owner_id):
        raise WicketgateError(
            f"it is not known who answers for `{held.bot}`, so nobody can be kept from approving its own request",
            code="hold-owner-unknown",
            remedy="name the bot's owner in the stack, and deploy it",
        )
    if terms.reason_required and not held.reason.strip():
        raise WicketgateError(
            "this needs a reason", code="hold-reason-missing",
            remedy="say why: `SET wicketgate.reason = '…'`, or begin the statement with `/* reason: … */`",
        )  # fmt: skip
    if len(held.reason) > MAX_REASON:
        raise WicketgateError(
            f"the reason is longer than {MAX_REASON} characters", code="hold-reason-too-long", remedy="shorten it"
        )
    if shown is not None and shown != held.statement:
        raise _not_showable("it holds a password or a key, which must not be shown", "set it in another way")
    if "\0" in held.statement:
        raise _not_showable("it holds a NUL character", "leave it out")
    size = len(held.statement.encode(errors="replace")) + sum(len(p.value or b"") for p in held.parameters)
    if size > MAX_SHOWN or len(held.parameters) > MAX_PARAMETERS:
        raise _not_showable(f"statement and parameters are {size} bytes, and {MAX_SHOWN} can be shown", "split it")


def _not_showable(why: str, remedy: str) -> WicketgateError:
    return WicketgateError(
        f"this cannot be shown whole to an approver, so it cannot be approved: {why}",
        code="hold-not-showable",
        remedy=remedy,
    )


def is_answer(request: Request) -> bool:
    """Whether waiting is over."""
    return request.state is not State.PENDING
