"""`wicketgate policy replay`: recorded operations decided again, under a proposed bundle.

Both bundles are asked by the engine, in sessions like the recorded ones: what was prepared and declared before is
known. The audit keeps no catalogue: without `--schema` unqualified names mean `public`, and masks are as strict as they
are for tables that nobody knows, so compare two bundles (`--config` or `--current`) rather than with what was recorded.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from wicketgate_gateway.audit import query
from wicketgate_gateway.audit.events import Operation, SessionStarted
from wicketgate_gateway.audit.query import AuditFilter, AuditRow
from wicketgate_gateway.cli import output
from wicketgate_gateway.cli.state import Place
from wicketgate_gateway.contract import model
from wicketgate_gateway.contract.catalogue import Catalogue
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import GatewayConfig
from wicketgate_gateway.contract.targets import TargetKind
from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.policy import http_trial, kubernetes_trial, ssh_trial
from wicketgate_gateway.policy.cases import catalogue_in
from wicketgate_gateway.policy.http import HttpRule
from wicketgate_gateway.policy.http_facts import UndecidableError
from wicketgate_gateway.policy.kubernetes import KubernetesRule
from wicketgate_gateway.policy.load import PolicySet, load_bundle
from wicketgate_gateway.policy.ssh import SshRule
from wicketgate_gateway.policy.trial import Trial, policy_for
from wicketgate_gateway.store.base import Connection

CHANGED = 1
_SECONDS = 1e9
_SESSIONS = 256
_STYLES = {"allow": "green", "hold": "yellow", "deny": "bold red"}


@dataclass(frozen=True, slots=True)
class Change:
    """One operation whose verdict changes. `rule` and `reason` are those of the proposed bundle."""

    bot: str
    target: str
    time: int
    statement: str
    before: str
    after: str
    rule: str
    reason: str


def replay(
    *,
    bundle: Path,
    since: str = "24h",
    until: str = "",
    bot: str = "",
    target: str = "",
    current: Path | None = None,
    schema: Path | None = None,
    limit: Annotated[int, Parameter(name=["--limit", "-n"])] = 100_000,
    json: bool = False,
    place: Place = Place(),  # noqa: B008 - frozen
) -> int:
    """Decide recorded operations again, and list every verdict that a proposed bundle would change, by bot.

    Exit code 1 if one changes.

    Parameters
    ----------
    bundle
        The proposed bundle, rendered.
    since
        Operations from then on: `24h` (ago, and where nothing is said), `7d`, or a date or time.
    until
        Operations before: as `--since`.
    bot
        Only this bot's.
    target
        Only those at this target.
    current
        The bundle to compare with; without it, that of `--config`, or else what was recorded.
    schema
        A test file whose `schema` and `views` say which tables there are; masks hang on them.
    limit
        At most so many operations, the newest (100,000).
    json
        One object a change, and one with the sums.
    """
    proposed = load_bundle(bundle)
    labels: dict[str, dict[str, str]] = {}
    if place.config is not None:
        read = model.read(GatewayConfig, place.config)
        labels = {name: one.labels for name, one in read.targets.items()}
        current = current or place.config.parent / read.policies
    compared = None if current is None else load_bundle(current)
    begin, end = output.moment(since, "--since"), output.moment(until, "--until") if until else None
    wanted = AuditFilter(bot=bot, target=target, since=begin, until=end, kinds=("operation",), limit=limit)
    with place.store() as (_, connection):
        rows = query.events(connection, wanted)
        judge = Judge(connection, proposed, compared, labels, None if schema is None else catalogue_in(schema))
        changes = list(judge.changes(rows))
    if json:
        for change in changes:
            output.print_json({name: getattr(change, name) for name in Change.__slots__})
        output.print_json(
            {"operations": judge.decided, "changed": len(changes), "skipped": judge.skipped, "digest": proposed.digest}
        )
    else:
        _print(changes, judge, cut=len(rows) >= limit)
    return CHANGED if changes else 0


class Judge:
    """Decides what a store has, by a proposed bundle and by another one (None: as it was decided then)."""

    def __init__(
        self,
        connection: Connection,
        proposed: PolicySet,
        current: PolicySet | None,
        labels: dict[str, dict[str, str]],
        catalogue: Catalogue | None,
    ) -> None:
        self._connection, self._catalogue = connection, catalogue
        self._proposed, self._current, self._labels = proposed, current, labels
        self._trials: OrderedDict[str, tuple[Trial | None, Trial | None] | None] = OrderedDict()
        self.decided = self.skipped = 0

    def changes(self, rows: list[AuditRow]) -> Iterator[Change]:
        """What changes, oldest first."""
        for row in rows:
            event = row.event
            trials = self._session(row.session)
            # What was not decided by policy (FunctionCall, a cut text, a password blanked) cannot be decided again.
            if not isinstance(event, Operation) or trials is None or event.rule.startswith("builtin:protocol"):
                self.skipped += 1
                continue
            new, old = trials
            before = event.effect
            try:
                verdict = decide(new, event, row.time)
                if self._current is not None:
                    ours = decide(old, event, row.time)
                    before = ours.effect.value if ours else "deny"
            except UndecidableError:  # what a rule looks at now nobody looked at then
                self.skipped += 1
                continue
            self.decided += 1
            after = verdict.effect.value if verdict else "deny"
            if after != before:
                reason = verdict.reason if verdict else f"no policy applies to `{row.bot}` at `{row.target}`"
                rule = verdict.rule if verdict else ""
                yield Change(row.bot, row.target, row.time, event.statement, before, after, rule, reason)

    def _session(self, session: str) -> tuple[Trial | None, Trial | None] | None:
        if session in self._trials:
            self._trials.move_to_end(session)
            return self._trials[session]
        try:
            started = query.session(self._connection, session).started
        except WicketgateError:
            started = None
        found = None if started is None else (self._trial(self._proposed, started), self._trial(self._current, started))
        self._trials[session] = found
        if len(self._trials) > _SESSIONS:
            self._trials.popitem(last=False)
        return found

    def _trial(self, policies: PolicySet | None, started: SessionStarted) -> Trial | None:
        if policies is None:
            return None
        # Groups as they were when the session began: those that the bundle in force then knew.
        labels = self._labels.get(started.target)
        kind = next((one for one in TargetKind if one == started.protocol), TargetKind.POSTGRES)
        policy = policy_for(policies, started.bot_id, started.groups, started.target, labels, kind)
        return None if policy is None else Trial(policy, self._catalogue)


def decide(trial: Trial | None, event: Operation, time: int) -> Verdict | None:
    """The verdict on a recorded operation, in a session that is not there; None where no policy applies. Raises
    UndecidableError for what rules look at and the audit does not have."""
    if trial is None:
        return None
    if any(isinstance(rule.points, SshRule) for rule in trial.policy.rules):
        return ssh_trial.decide(trial.policy, event.statement, time / _SECONDS, event.relations)[0]
    if any(isinstance(rule.points, HttpRule) for rule in trial.policy.rules):
        if event.rule.startswith("builtin:http"):  # refused for its form, whatever rules say
            return Verdict(Effect.DENY, event.rule, event.reason, code=event.code)
        return http_trial.decide(trial.policy, event.statement, time / _SECONDS, facts=event.facts)
    if any(isinstance(rule.points, KubernetesRule) for rule in trial.policy.rules):
        try:
            return kubernetes_trial.decide(trial.policy, event.statement, time / _SECONDS)[0]
        except ValueError:  # a request that was refused since it could not be understood
            return Verdict(Effect.DENY, event.rule, event.reason, code=event.code)
    decision = trial.decide(event.statement, time / _SECONDS)
    if decision.verdict.effect is Effect.DENY:
        trial.note(decision.statements)  # it may have been prepared then, whatever is decided now
    return decision.verdict


def _print(changes: list[Change], judge: Judge, *, cut: bool) -> None:
    console = output.console()
    for bot in sorted({change.bot for change in changes}):
        of_bot = [change for change in changes if change.bot == bot]
        groups: OrderedDict[tuple[str, ...], list[Change]] = OrderedDict()
        for change in of_bot:
            groups.setdefault((change.target, change.statement, change.before, change.after), []).append(change)
        title = f"{bot}: {output.count(len(of_bot), 'verdict')} would change"
        console.print(output.clean(title, line=True), style="bold")
        for (target, statement, before, after), found in groups.items():
            times = f" ({len(found)} times)" if len(found) > 1 else ""
            line = f"  {before} -> {after}  {target}  {statement}{times}"
            console.print(output.clean(line, line=True), style=_STYLES[after])
            if found[-1].reason:
                console.print(output.clean(f"      {found[-1].reason}", line=True), style="dim")
    told = f"{output.count(judge.decided, 'operation')} decided again, {output.count(len(changes), 'verdict')} changed"
    if judge.skipped:
        told += f", {judge.skipped} cannot be decided again"
    if cut:
        told += "; there are more: raise `--limit`"
    output.console(stderr=True).print(told)
