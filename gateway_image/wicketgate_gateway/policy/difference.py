"""What two states of a stack let each bot do at each target, and what changes from one to the other.

How this works: both sides are compiled as the gateway compiles a bundle, with stand-ins for object ids. For each bot
and target whose policies differ, the engine decides every probe under both. What no probe can show (a condition that
asks for more than a probe has, what data masks find) is told as a note, never passed over: saying nothing means no
change.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from wicketgate_gateway.contract.access import Access, AccessTarget
from wicketgate_gateway.contract.policy import Bundle, BundledBot, BundledPolicy, Policy
from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.policy.engine import TargetPolicy
from wicketgate_gateway.policy.load import PolicySet
from wicketgate_gateway.policy.probe import Answer, Probes, probes_for
from wicketgate_gateway.policy.trial import TENANT, policy_for, stand_in

MONDAY = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC).timestamp()
"""A week from here on is looked at for windows of time."""
_RANK = {Effect.DENY: 0, Effect.HOLD: 1, Effect.ALLOW: 2}
_STEP, _WEEK = 15 * 60, 7 * 86400


@dataclass(frozen=True, slots=True)
class Change:
    """One operation of one bot at one target whose verdict changes."""

    bot: str
    target: str
    change: str
    """`gained`, `lost`, `changed`, or `note` for what no probe shows."""
    operation: str
    before: str
    after: str
    rule: str
    """The rule that decides now, or that did, where nothing is left."""
    when: str = ""
    """If only at certain times: one of them."""


@dataclass(frozen=True, slots=True)
class Difference:
    """All changes."""

    changes: tuple[Change, ...]
    asked: int
    """How many probes were decided under both."""
    cut: tuple[str, ...]
    """Targets with more probes than are asked."""


class Side:
    """One state, compiled."""

    def __init__(self, access: Access) -> None:
        """Raises DocumentError for policies that do not compile."""
        self.access = access
        group_names = {name for p in access.policies for name in p.groups}
        group_names |= {name for bot in access.bots.values() for name in bot.groups}
        self.groups = {name: stand_in(f"group {name}") for name in sorted(group_names)}
        policies: list[BundledPolicy] = []
        for policy in access.policies:
            subjects = {
                "groups": {self.groups[name]: name for name in sorted(policy.groups)},
                "bots": {stand_in(name): name for name in sorted(policy.bots)},
            }
            policies.append(BundledPolicy.model_validate({**policy.document(), **subjects}))
        named = {g for p in policies for r in p.rules if r.hold is not None for g in r.hold.approvers.groups}
        bundle = Bundle(
            tenant=TENANT,
            policies=policies,
            bots={
                stand_in(name): BundledBot(name=name, owner=bot.owner or "group:nobody", expires=bot.expires)
                for name, bot in access.bots.items()
            },
            approvers={name: stand_in(f"approvers {name}") for name in sorted(named)},
        )
        self.set = PolicySet(bundle)
        self.by_name: dict[str, BundledPolicy] = {policy.policy: policy for policy in policies}

    def policy(self, bot: str, target: str) -> TargetPolicy | None:
        """What applies to the bot at the target."""
        known, found = self.access.bots.get(bot), self.access.targets.get(target)
        if known is None or found is None:
            return None
        groups = [self.groups[name] for name in known.groups]
        return policy_for(self.set, stand_in(bot), groups, target, found.labels, found.kind)

    def documents(self, policy: TargetPolicy | None) -> list[Policy]:
        """The policies that it consists of."""
        return [] if policy is None else [self.by_name[name] for name in policy.policies]


def differences(before: Access, after: Access) -> Difference:
    """Every change from one to the other, by bot, target and operation. Raises DocumentError."""
    old, new = Side(before), Side(after)
    found: list[Change] = []
    known: dict[object, tuple[list[Change], int, bool]] = {}
    asked, cut = 0, set[str]()
    for bot in sorted({*before.bots, *after.bots}):
        for target in sorted({*before.targets, *after.targets}):
            left, right = old.policy(bot, target), new.policy(bot, target)
            if left is None and right is None:
                continue
            key = _key(target, old, left, new, right)
            if key not in known:
                known[key] = _compare(old, left, new, right, before.targets.get(target), after.targets.get(target))
                asked += known[key][1]
            changes, _, complete = known[key]
            if not complete:
                cut.add(target)
            found += [Change(bot, target, c.change, c.operation, c.before, c.after, c.rule, c.when) for c in changes]
        found += _expiry(bot, before, after)
    return Difference(tuple(found), asked, tuple(sorted(cut)))


def _expiry(bot: str, before: Access, after: Access) -> Iterator[Change]:
    if bot in before.bots and bot in after.bots and before.bots[bot].expires != after.bots[bot].expires:
        was, now = before.bots[bot].expires or "none", after.bots[bot].expires or "none"
        yield Change(bot, "*", "changed", "any, until its last day", was, now, "")


def _key(target: str, old: Side, left: TargetPolicy | None, new: Side, right: TargetPolicy | None) -> object:
    """Bots with this in common gain and lose the same."""
    subjects = [
        (policy.subject.bot, policy.subject.groups)
        for policy in (left, right)
        if policy is not None and any(rule.condition is not None and rule.condition.reads_bot for rule in policy.rules)
    ]
    return target, left and left.policies, right and right.policies, tuple(subjects)


def _compare(
    old: Side,
    left: TargetPolicy | None,
    new: Side,
    right: TargetPolicy | None,
    was: AccessTarget | None,
    now: AccessTarget | None,
) -> tuple[list[Change], int, bool]:
    ours, theirs = old.documents(left), new.documents(right)
    if left is not None and right is not None and was is not None and now is not None:
        same = [_content(p) for p in ours] == [_content(p) for p in theirs]
        if same and was == now and left.subject == right.subject:
            return [], 0, True
    target_kinds = {
        side.kind for side, policy in ((was, left), (now, right)) if side is not None and policy is not None
    }
    probes: list[Probes] = [probes_for(kind, [*ours, *theirs]) for kind in sorted(target_kinds)]
    kinds = sorted(target_kinds)
    changes: list[Change] = []
    asked = 0
    moments = _moments([policy for policy in (left, right) if policy is not None])
    for kind, made in zip(kinds, probes, strict=True):
        # A target of another kind than before: what was asked there cannot be asked any more.
        a = left if was is not None and was.kind is kind else None
        b = right if now is not None and now.kind is kind else None
        for probe in made.probes:
            asked += 1
            for moment in moments:
                found = judged(probe.text, a and probe.ask(a, moment), b and probe.ask(b, moment))
                if found is not None:
                    when = "" if len(moments) == 1 else _said(moment)
                    changes.append(Change("", "", *found, when))
                    break
    changes += _notes(left, right, ours, theirs, shown=bool(changes))
    return changes, asked, all(made.complete for made in probes)


def judged(text: str, before: Answer | None, after: Answer | None) -> tuple[str, str, str, str, str] | None:
    """`gained`, `lost` or `changed`, the operation, how it was, how it is, and the rule; None if nothing changes."""
    if _sign(before) == _sign(after):
        return None
    ranks = [_RANK[answer[0].effect] if answer else 0 for answer in (before, after)]
    change = "gained" if ranks[1] > ranks[0] else "lost" if ranks[1] < ranks[0] else "changed"
    deciding = after or before
    assert deciding is not None
    rule = deciding[0].rule
    if (
        change == "lost"
        and (after is None or rule in ("", "default") or rule.startswith("builtin:"))
        and before is not None
    ):
        rule = before[0].rule
    return change, text, told(before), told(after), rule


def _sign(answer: Answer | None) -> object:
    if answer is None or answer[0].effect is Effect.DENY:
        return Effect.DENY
    verdict, masks = answer
    return verdict.effect, tuple(sorted(masks.items())), _terms(verdict)


def _terms(verdict: Verdict) -> object:
    hold = verdict.hold
    if hold is None:
        return None
    names = tuple(sorted(hold.approver_names))
    times = (hold.within, hold.use_within, hold.wait, hold.reuse)
    return names, hold.quorum, times, hold.reason_required, hold.count


def told(answer: Answer | None) -> str:
    """An answer for people: `allow, email as partial`, `hold (1 of dba)`, `deny`."""
    if answer is None:
        return "no access"
    verdict, masks = answer
    said = verdict.effect.value
    if verdict.hold is not None:
        hold = verdict.hold
        said += f" ({hold.quorum} of {', '.join(hold.approver_names) or 'nobody'}, within {hold.within:g} s"
        said += ("" if hold.reuse is None else f", for {hold.reuse:g} s") + ")"
    if masks and verdict.effect is not Effect.DENY:
        said += ", masked: " + ", ".join(f"{name} as {method}" for name, method in sorted(masks.items())[:5])
        said += f" and {len(masks) - 5} more" if len(masks) > 5 else ""
    return said


def _moments(policies: Sequence[TargetPolicy]) -> list[float]:
    """One time for each combination of open windows in a week; the first alone if nothing hangs on the time."""
    if not any(policy.timed for policy in policies):
        return [MONDAY + 12 * 3600]
    found: dict[object, float] = {}
    for step in range(0, _WEEK, _STEP):
        moment = MONDAY + step
        windows = tuple((rule.in_force(moment), rule.gives(moment)) for policy in policies for rule in policy.rules)
        found.setdefault(windows, moment)
    return list(found.values())


def _said(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%A %H:%M UTC").lower().replace("utc", "UTC")


def _notes(
    left: TargetPolicy | None, right: TargetPolicy | None, ours: list[Policy], theirs: list[Policy], *, shown: bool
) -> Iterator[Change]:
    if left is None or right is None:
        return
    for what, before, after in (
        ("condition", _conditional(ours), _conditional(theirs)),
        ("mask of data", _masks(ours), _masks(theirs)),
        ("untraceable columns", _untraceable(ours), _untraceable(theirs)),
        ("recording", _recorded(left), _recorded(right)),
    ):
        for text in sorted(before - after):
            yield Change("", "", "note", what, text, "", "")
        for text in sorted(after - before):
            yield Change("", "", "note", what, "", text, "")


def _conditional(policies: Iterable[Policy]) -> set[str]:
    # A condition may ask for what no probe has, a window may open for a minute: if one changes, it is told.
    rules = ((p, rule) for p in policies for rule in p.rules)
    found = {_text(rule.document()) for _, rule in rules if rule.match.when or rule.match.during}
    return found | {_text({"policy": p.policy, "during": p.document()["during"]}) for p in policies if p.during}


def _masks(policies: Iterable[Policy]) -> set[str]:
    found = {_text(mask.document()) for p in policies for mask in p.mask if mask.json_ or mask.detect}
    return (
        found
        | {_text({n: d.document()}) for p in policies for n, d in p.detectors.items()}
        | {
            _text({"reveal": rule.match.kubernetes.document()})
            for p in policies
            for rule in p.rules
            if rule.match.kubernetes is not None and rule.match.kubernetes.reveal
        }
    )


def _untraceable(policies: Iterable[Policy]) -> set[str]:
    masked = [p for p in policies if p.mask]
    return {"deny" if any(p.untraceable.value == "deny" for p in policies) else "mask"} if masked else set()


def _recorded(policy: TargetPolicy) -> set[str]:
    record = policy.record
    files = f", files up to {record.files_up_to} bytes" if record.files_up_to else ""
    return {f"{record.level.value}, kept {record.keep / 86400:g} days{files}"}


def _content(policy: Policy) -> str:
    return _text({k: v for k, v in policy.document().items() if k not in ("groups", "bots", "subjects", "description")})


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
