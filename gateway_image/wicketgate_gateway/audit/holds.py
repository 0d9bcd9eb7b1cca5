"""Legal holds: what must not be deleted, whatever its age.

How this works: a hold is a seal, and so is its lifting, so both are signed, chained and anchored, and nobody can say
later that a hold never was. What stands is what was added and not lifted. If the seals do not hold, nothing is known of
holds, and so nothing may be deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wicketgate_gateway.audit.events import SessionStarted
from wicketgate_gateway.audit.seals import LegalHold, LegalHoldLifted, SealError, SealLog, Seals, Signed
from wicketgate_gateway.contract.errors import WicketgateError


def standing(seals: Seals) -> list[LegalHold]:
    """The holds that stand. Raises SealError if the seals are not all there, as they were."""
    wrong = [problem for problem in seals.problems if problem.kind != "torn"]
    if wrong or len({signed.key for signed in seals.signed}) > 1:
        what = wrong[0].message if wrong else "there are seals by several keys"
        raise SealError(
            f"the seals do not hold, so nothing is known of legal holds: {what}",
            code="seals-damaged",
            remedy="`wicketgate audit verify` says what is wrong; nothing is deleted until it is understood",
        )
    holds: dict[str, LegalHold] = {}
    for signed in seals.signed:
        if isinstance(signed.seal, LegalHold):
            holds[signed.seal.hold] = signed.seal
        elif isinstance(signed.seal, LegalHoldLifted):
            holds.pop(signed.seal.hold, None)
    return list(holds.values())


def add(log: SealLog, hold: LegalHold) -> Signed:
    """Let a hold stand from now on. Raises WicketgateError (`hold-exists`) and SealError."""
    if not (hold.session or hold.bot or hold.target or hold.since or hold.until):
        raise WicketgateError(
            "the hold does not say what it is about",
            code="hold-empty",
            remedy="give a session, a bot, a target, or a time",
        )

    def make(seals: Seals | None) -> Sequence[LegalHold]:
        assert seals is not None
        if hold.hold in {each.hold for each in standing(seals)}:
            raise WicketgateError(
                f"there is a hold `{hold.hold}` already", code="hold-exists", remedy="choose another name"
            )
        return [hold]

    return log.change(make, look=True)[0]


def lift(log: SealLog, name: str, *, reason: str, by: str) -> Signed:
    """End a hold. Raises WicketgateError (`hold-unknown`) and SealError."""

    def make(seals: Seals | None) -> Sequence[LegalHoldLifted]:
        assert seals is not None
        if name not in {each.hold for each in standing(seals)}:
            raise WicketgateError(
                f"no hold `{name}` stands", code="legal-hold-unknown", remedy="`wicketgate legal-hold list` lists them"
            )
        return [LegalHoldLifted(hold=name, reason=reason, by=by)]

    return log.change(make, look=True)[0]


def holding(holds: Iterable[LegalHold], started: SessionStarted, ended: int) -> LegalHold | None:
    """The first hold that a session falls under; `ended` in ns since 1970."""
    for hold in holds:
        if (
            hold.session in ("", started.session)
            and hold.bot in ("", started.bot, started.bot_id)
            and hold.target in ("", started.target)
            and (not hold.since or ended >= hold.since)
            and (not hold.until or started.time < hold.until)
        ):
            return hold
    return None


def holding_time(holds: Iterable[LegalHold], oldest: int, newest: int) -> LegalHold | None:
    """The first hold that is about a time alone, and meets the span from `oldest` to `newest`."""
    for hold in holds:
        if hold.session or hold.bot or hold.target:
            continue
        if (not hold.since or newest >= hold.since) and (not hold.until or oldest < hold.until):
            return hold
    return None
