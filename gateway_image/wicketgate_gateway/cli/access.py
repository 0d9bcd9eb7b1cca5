"""`wicketgate access diff`: which bot gains or loses what between two states of a stack, decided by the engine.

How this works: a side is read from a rendered bundle, from what the toolkit makes of a stack file (a folder, or a git
revision; the toolkit is found by the entry point `wicketgate.access`), or both sides from a preview's JSON, in which
the stack's policies component carries what `contract.access` describes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from wicketgate_gateway.audit import query
from wicketgate_gateway.audit.events import Operation
from wicketgate_gateway.audit.query import AuditFilter
from wicketgate_gateway.cli import output
from wicketgate_gateway.cli.policy_replay import decide
from wicketgate_gateway.cli.state import Place
from wicketgate_gateway.contract import model, yaml
from wicketgate_gateway.contract.access import Access, AccessBot, AccessPolicy, AccessTarget
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import GatewayConfig
from wicketgate_gateway.contract.policy import Bundle
from wicketgate_gateway.policy.difference import Change, Difference, Side, differences, judged
from wicketgate_gateway.policy.engine import TargetPolicy
from wicketgate_gateway.policy.trial import Trial, kind_of

CHANGED = 1
ENTRY_POINTS = "wicketgate.access"
COMPONENT = "wicketgate:index:PolicyBundle"
"""The type of the component whose input `access` is the whole, as Pulumi's state and previews have it."""
SHOWN = 6
_STYLES = {"gained": "yellow", "lost": "red", "changed": "cyan", "note": "magenta"}
_SECONDS = 1e9


def diff(
    old: str,
    new: str = "",
    /,
    *,
    stack: str = "",
    targets: Path | None = None,
    since: str = "30d",
    comment: bool = False,
    json: bool = False,
    place: Place = Place(),  # noqa: B008 - frozen
) -> int:
    """List what each bot gains and loses at each target from one state of a stack to another.

    A state is a rendered bundle, a folder with a project (`.`), or a git revision of this one (`main`). The JSON of
    `pulumi preview --json` holds both. Verdicts are those of the engine on operations made up from the rules of both,
    and on recorded ones with --state. Exit code 1 if anything changes.

    Parameters
    ----------
    old
        The state before; or a preview's JSON.
    new
        The state after; without it, the folder that you are in.
    stack
        The stack, where a project has several.
    targets
        A `gateway.yaml` that says of which kind targets are and which labels they have, for rendered bundles.
    since
        With --state: how old recorded operations may be (30d).
    comment
        Markdown, for a comment on a pull request.
    json
        One object a change, and one with the sums.
    """
    before, after = _sides(old, new, stack, targets)
    found = differences(before, after)
    changes = list(found.changes)
    recorded = 0
    if place.state is not None or place.config is not None:
        more, recorded = _recorded(before, after, since, place)
        changes += more
    if json:
        for change in changes:
            output.print_json({name: getattr(change, name) for name in Change.__slots__})
        sums = {kind: sum(c.change == kind for c in changes) for kind in ("gained", "lost", "changed", "note")}
        output.print_json({**sums, "probes": found.asked, "recorded": recorded, "incomplete": list(found.cut)})
    elif comment:
        print(markdown(changes, found))
    else:
        _print(changes, found, recorded)
    return CHANGED if changes else 0


def _sides(old: str, new: str, stack: str, targets: Path | None) -> tuple[Access, Access]:
    document = _document(old)
    if isinstance(document, dict) and isinstance(document.get("steps"), list):
        if new:
            raise WicketgateError("a preview has both states", code="usage", remedy="leave the second one out")
        return _previewed(document, old)
    return _side(old, document, stack, targets), _side(new or ".", _document(new), stack, targets)


def _document(source: str) -> Any:
    path = Path(source)
    if not source or not path.is_file():
        return None
    return model.load(path).data


def _side(source: str, document: Any, stack: str, targets: Path | None) -> Access:
    if document is None:
        return _from_toolkit(source, stack)
    if not isinstance(document, dict) or "policies" not in document:
        raise WicketgateError(
            f"`{source}` is no state of a stack",
            code="access-unknown",
            remedy="name a rendered bundle, a folder, a git revision, or a preview's JSON",
        )
    read = yaml.Document(source, document, {})
    if "tenant" not in document:
        return model.validate(Access, read)
    return of_bundle(model.validate(Bundle, read), None if targets is None else model.read(GatewayConfig, targets))


def _from_toolkit(source: str, stack: str) -> Access:
    for point in metadata.entry_points(group=ENTRY_POINTS):
        return point.load()(source, stack)
    raise WicketgateError(
        f"there is no file `{source}`, and the toolkit that reads stacks is not installed",
        code="access-unknown",
        remedy="name two rendered bundles, or install the toolkit",
    )


def of_bundle(bundle: Bundle, config: GatewayConfig | None = None) -> Access:
    """What a rendered bundle says. Who is in which group it does not: each group has one member that stands for all.

    Without the gateway's configuration targets are those that policies name; a selector stands for one that it selects.
    """
    bots = {bot.name: AccessBot(owner=bot.owner, expires=bot.expires) for bot in bundle.bots.values()}
    policies: list[AccessPolicy] = []
    targets: dict[str, AccessTarget] = {}
    if config is not None:
        targets = {name: AccessTarget(kind=t.kind, labels=dict(t.labels)) for name, t in config.targets.items()}
    for policy in bundle.policies:
        groups, direct = sorted(policy.groups.values()), sorted(policy.bots.values())
        bots |= {f"member-of-{name}"[:63].strip("-"): AccessBot(groups=[name]) for name in groups}
        bots |= {name: bots.get(name, AccessBot()) for name in direct}
        policies.append(AccessPolicy.model_validate({**policy.document(), "groups": groups, "bots": direct}))
        if config is None:
            kind = kind_of([policy])
            if isinstance(policy.targets, list):
                targets |= {name: AccessTarget(kind=kind) for name in policy.targets}
            else:
                labels = policy.targets.labels or {}
                said = "-".join(("any", kind.value, *(f"{k}-{v}" for k, v in sorted(labels.items()))))
                name = "".join(c if c.isalnum() else "-" for c in said.lower())[:60].strip("-")
                targets[name] = AccessTarget(kind=kind, labels=labels)
    return Access(policies=policies, targets=targets, bots=bots, approvers=dict(bundle.approvers))


def _previewed(document: dict[str, Any], name: str) -> tuple[Access, Access]:
    empty = Access(policies=[])
    for step in document["steps"]:
        if COMPONENT not in str(step.get("urn", "")).split("::"):
            continue
        before, after = (_carried(step.get(key), name) for key in ("oldState", "newState"))
        if step.get("op") == "same":
            return before or after or empty, after or before or empty
        return before or empty, after or empty
    if document.get("steps") and not any(
        step.get("op") in ("create", "update", "delete") for step in document["steps"]
    ):
        return empty, empty
    raise WicketgateError(
        f"`{name}` is a preview without the stack's policies",
        code="access-unknown",
        remedy="make it by `pulumi preview --json --show-sames`",
    )


def _carried(state: Any, name: str) -> Access | None:
    text = ((state or {}).get("inputs") or {}).get("access")
    if not isinstance(text, str):
        return None
    try:
        return Access.model_validate_json(text)
    except ValidationError as error:
        raise WicketgateError(
            f"what `{name}` says of access cannot be read: {error.error_count()} mistakes",
            code="access-unknown",
            remedy="use the version of wicketgate that made it",
        ) from None


# --- recorded operations ---------------------------------------------------------------------------------------------


def _recorded(before: Access, after: Access, since: str, place: Place) -> tuple[list[Change], int]:
    """What changes among recorded operations of bots and targets that both sides, or one of them, know by name."""
    sides = (Side(before), Side(after))
    trials: dict[tuple[str, str, str], tuple[Trial | None, Trial | None]] = {}
    found: dict[tuple[str, str, str, str, str], Change] = {}
    with place.store() as (_, connection):
        wanted = AuditFilter(since=output.moment(since, "--since"), kinds=("operation",), limit=100_000)
        rows = query.events(connection, wanted)
        for row in rows:
            event = row.event
            if not isinstance(event, Operation) or event.rule.startswith("builtin:protocol"):
                continue
            key = (row.session, row.bot, row.target)
            if key not in trials:
                left, right = (side.policy(row.bot, row.target) for side in sides)
                trials[key] = _trial(left), _trial(right)
            old, new = (decide(trial, event, row.time) for trial in trials[key])
            changed = judged(event.statement, old and (old, {}), new and (new, {}))
            if changed is not None:
                kind, text, was, now, rule = changed
                said = f"recorded: {text}"
                found.setdefault(
                    (row.bot, row.target, said, was, now), Change(row.bot, row.target, kind, said, was, now, rule)
                )
    return [found[key] for key in sorted(found)], len(rows)


def _trial(policy: TargetPolicy | None) -> Trial | None:
    return None if policy is None else Trial(policy)


# --- for people ------------------------------------------------------------------------------------------------------


def grouped(changes: Sequence[Change]) -> OrderedDict[tuple[str, str, str], OrderedDict[tuple[str, str], list[Change]]]:
    """Changes by bot, target and what it is, and within by how it was and is."""
    found: OrderedDict[tuple[str, str, str], OrderedDict[tuple[str, str], list[Change]]] = OrderedDict()
    order = {"gained": 0, "lost": 1, "changed": 2, "note": 3}
    for change in sorted(changes, key=lambda c: (c.bot, c.target, order[c.change])):
        inner = found.setdefault((change.bot, change.target, change.change), OrderedDict())
        inner.setdefault((change.before, change.after), []).append(change)
    return found


def _operations(changes: Sequence[Change]) -> list[str]:
    shown = [c.operation + (f" ({c.when})" if c.when else "") for c in changes[:SHOWN]]
    return shown + ([f"… and {len(changes) - SHOWN} more"] if len(changes) > SHOWN else [])


def _print(changes: Sequence[Change], found: Difference, recorded: int) -> None:
    console = output.console()
    for (bot, target, kind), inner in grouped(changes).items():
        title = f"{bot} at {target}: {kind}"
        console.print(output.clean(title, line=True), style=f"bold {_STYLES[kind]}")
        for (before, after), alike in inner.items():
            rules = ", ".join(dict.fromkeys(c.rule for c in alike if c.rule))
            said = f"  {before or '-'} -> {after or '-'}" + (f"  by {rules}" if rules else "")
            console.print(output.clean(said, line=True))
            for operation in _operations(alike):
                console.print(output.clean(f"      {operation}", line=True), style="dim")
    told = "nothing changes" if not changes else output.count(len(changes), "verdict or term", "verdicts and terms")
    told += f"; {output.count(found.asked, 'made-up operation')} decided under both"
    told += f", {recorded} recorded ones" if recorded else ""
    if found.cut:
        told += f"; not all that could differ was tried at {', '.join(found.cut)}"
    output.console(stderr=True).print(told)


def markdown(changes: Sequence[Change], found: Difference) -> str:
    """A comment for a pull request: one table, and what was tried."""
    lines = ["### Who gains what", ""]
    if not changes:
        lines.append("No bot gains or loses anything.")
    else:
        lines += ["| bot | target | | before | after | operations | rule |", "|---|---|---|---|---|---|---|"]
    for (bot, target, kind), inner in grouped(changes).items():
        for (before, after), alike in inner.items():
            shown = "<br>".join(_cell(text, code=not text.startswith("…")) for text in _operations(alike))
            rules = ", ".join(_cell(rule, code=True) for rule in dict.fromkeys(c.rule for c in alike if c.rule))
            cells = (_cell(bot), _cell(target), f"**{kind}**", _cell(before), _cell(after), shown, rules)
            lines.append("| " + " | ".join(cells) + " |")
    lines += ["", f"{found.asked} made-up operations were decided under both by the engine that enforces."]
    if found.cut:
        lines.append(f"**Not all that could differ was tried at {', '.join(map(_cell, found.cut))}.**")
    return "\n".join(lines)


def _cell(text: str, *, code: bool = False) -> str:
    # What stands in a policy is a proposal of whoever opened the pull request: no markup of theirs.
    text = output.clean(text, line=True)
    for char in "&<>|`*_[]@#\\":
        text = text.replace(char, f"&#{ord(char)};") if char != "#" else text
    return f"<code>{text}</code>" if code and text else text
