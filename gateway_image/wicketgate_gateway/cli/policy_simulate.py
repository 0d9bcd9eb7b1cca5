"""`wicketgate policy simulate`: one decision, explained by the engine that would make it."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from wicketgate_gateway.cli import output
from wicketgate_gateway.contract import model
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import GatewayConfig
from wicketgate_gateway.contract.policy import Policy
from wicketgate_gateway.contract.targets import TargetKind
from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.masking.plan import MaskPlan
from wicketgate_gateway.policy import http_trial, kubernetes_trial, ssh_trial
from wicketgate_gateway.policy.cases import catalogue_in
from wicketgate_gateway.policy.columns import result_columns
from wicketgate_gateway.policy.engine import TargetPolicy
from wicketgate_gateway.policy.explain import Explanation, explain
from wicketgate_gateway.policy.http import UNREADABLE, HttpRule
from wicketgate_gateway.policy.kubernetes import KubernetesRule
from wicketgate_gateway.policy.load import PolicySet, load_bundle
from wicketgate_gateway.policy.ssh import SshRule
from wicketgate_gateway.policy.trial import Trial, bundle_of, kind_of, operations_at, policy_for, stand_in
from wicketgate_gateway.wire.http.json import JsonError, parse_json

_STYLES = {Effect.ALLOW: "bold green", Effect.HOLD: "bold yellow", Effect.DENY: "bold red"}
FOLDER = Path("policies/access")


def simulate(
    sql: str,
    /,
    *,
    target: Annotated[str, Parameter(name=["--target", "-t"])],
    bot: str = "some-bot",
    group: tuple[str, ...] = (),
    policy: tuple[Path, ...] = (),
    bundle: Path | None = None,
    config: Path | None = None,
    label: tuple[str, ...] = (),
    schema: Path | None = None,
    openapi: Path | None = None,
    header: tuple[str, ...] = (),
    body: str | None = None,
    at: str = "",
    json: bool = False,
) -> None:
    """Say how one operation would be decided, by which rule, why, and what would change it.

    Parameters
    ----------
    sql
        The operation: what a client would send as one text.
    target
        The target's name.
    bot
        Who asks.
    group
        A group that the bot is in; may be repeated.
    policy
        Policy files that apply; may be repeated. Without them and a bundle, those of `policies/access` for the target.
    bundle
        A rendered bundle, instead of policy files.
    config
        The gateway's `gateway.yaml`: its bundle and its targets' labels.
    label
        A label of the target, as `env=prod`; may be repeated.
    schema
        A test file whose `schema` and `views` say which tables there are; masks need it.
    openapi
        The target's OpenAPI document, beside policy files; a bundle has its own.
    header
        A header of an HTTP request, as `X-Kind: a`; may be repeated.
    body
        The JSON body of an HTTP request; without it, there is none that is known.
    at
        When, as `2026-11-24T12:00:00+01:00`; without it, now.
    json
        One object.
    """
    found = policy_chosen(target, bot, group, policy, bundle, config, label, openapi)
    if any(isinstance(rule.points, HttpRule) for rule in found.rules):
        headers = dict(_header(text) for text in header)
        sent = UNREADABLE if body is None else _document(body)
        verdict = http_trial.decide(found, sql, _moment(at), headers=headers, body=sent)
        _pointed(verdict, [("request", sql)], json=json)
        return
    if any(isinstance(rule.points, SshRule) for rule in found.rules):
        _ssh(found, sql, _moment(at), json=json)
        return
    if any(isinstance(rule.points, KubernetesRule) for rule in found.rules):
        _kubernetes(found, sql, _moment(at), json=json)
        return
    catalogue = None if schema is None else catalogue_in(schema)
    trial = Trial(found, catalogue)
    result = explain(found, sql, trial.session, _moment(at))
    masks = _masks(result, sql, trial)
    if json:
        output.print_json(_plain(result, masks))
    else:
        _print(result, masks, known=catalogue is not None)


def policy_chosen(
    target: str,
    bot: str,
    group: tuple[str, ...],
    policy: tuple[Path, ...],
    bundle: Path | None,
    config: Path | None,
    label: tuple[str, ...],
    openapi: Path | None = None,
) -> TargetPolicy:
    """What applies to a bot at a target, by the options that `simulate` describes. Raises WicketgateError."""
    labels = dict(_label(text) for text in label)
    kind: TargetKind | None = None
    if config is not None:
        read = model.read(GatewayConfig, config)
        bundle = bundle or config.parent / read.policies
        if target in read.targets:
            labels = {**read.targets[target].labels, **labels}
            kind = read.targets[target].kind
    return (
        _from_bundle(bundle, bot, group, target, labels, kind)
        if bundle
        else _from_files(policy, bot, group, target, labels, openapi)
    )


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise WicketgateError(f"`{text}` is no label", code="label-invalid", remedy="write it as `env=prod`")
    return key, value


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise WicketgateError(f"`{text}` is no header", code="usage", remedy="write it as `X-Kind: a`")
    return name.strip(), value.strip()


def _document(text: str) -> Any:
    try:
        return parse_json(text.encode())
    except JsonError as error:
        raise WicketgateError(
            f"`--body` is not JSON: {error}", code="usage", remedy="give the whole document"
        ) from None


def _moment(text: str) -> float | None:
    if not text:
        return None
    try:
        return datetime.datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError:
        raise WicketgateError(
            f"`{text}` is not a time", code="time-invalid", remedy="write it as `2026-11-24T12:00:00+01:00`"
        ) from None


def _from_files(
    files: tuple[Path, ...],
    bot: str,
    groups: tuple[str, ...],
    target: str,
    labels: dict[str, str],
    openapi: Path | None = None,
) -> TargetPolicy:
    paths = files or tuple(sorted(p for p in FOLDER.glob("*.yaml") if not p.name.endswith(".test.yaml")))
    policies = [model.read(Policy, path) for path in paths]
    kinds = [kind for kind in TargetKind if any(p.covers(target, kind, labels) for p in policies)]
    fitting = [p for p in policies if p.covers(target, kind_of([p]), labels)]
    kind = kind_of(fitting) if fitting else next(iter(kinds), TargetKind.POSTGRES)
    found = policy_for(
        PolicySet(bundle_of(fitting, bot, groups, operations_at(openapi, fitting, target))),
        stand_in(bot),
        (stand_in(f"group {name}") for name in groups),
        target,
        labels,
        kind,
    )
    if found is None:
        read = ", ".join(f"`{p.policy}`" for p in policies) or "none"
        raise WicketgateError(
            f"no policy applies to `{bot}` at `{target}`",
            code="no-policy",
            remedy=f"policies read: {read}; name others by `--policy`, labels by `--label`, groups by `--group`",
        )
    return found


def _from_bundle(
    path: Path, bot: str, groups: tuple[str, ...], target: str, labels: dict[str, str], kind: TargetKind | None = None
) -> TargetPolicy:
    policies = load_bundle(path)
    if kind is None:  # what the policies speak of that name it, or else that select it
        known = policies.bundle.policies
        about = [p for p in known if isinstance(p.targets, list) and target in p.targets]
        kind = kind_of(about or [p for p in known if any(p.covers(target, each, labels) for each in TargetKind)])
    bot_id = next((oid for oid, known in policies.bots.items() if known.name == bot), stand_in(bot))
    ids = {name: oid for p in policies.bundle.policies for oid, name in p.groups.items()}
    unknown = [name for name in groups if name not in ids]
    found = None if unknown else policy_for(policies, bot_id, (ids[name] for name in groups), target, labels, kind)
    if found is None:
        names = ", ".join(f"`{name}`" for name in sorted(ids)) or "none"
        what = f"the bundle has no group `{unknown[0]}`" if unknown else f"no policy applies to `{bot}` at `{target}`"
        raise WicketgateError(what, code="no-policy", remedy=f"name its groups by `--group` (the bundle has {names})")
    return found


def _ssh(policy: TargetPolicy, text: str, now: float | None, *, json: bool) -> None:
    """The same for an operation over SSH, written as the audit has it."""
    try:
        verdict, points = ssh_trial.decide(policy, text, now)
    except ValueError as error:
        raise WicketgateError(str(error), code="usage", remedy="write it as the audit shows it") from None
    _pointed(verdict, [(point.kind, str(point)) for point in points], json=json)


def _kubernetes(policy: TargetPolicy, text: str, now: float | None, *, json: bool) -> None:
    """The same for a request to Kubernetes, written as the audit has it."""
    try:
        verdict, point = kubernetes_trial.decide(policy, text, now)
    except ValueError as error:
        raise WicketgateError(str(error), code="usage", remedy="write it as the audit shows it") from None
    _pointed(verdict, [(point.kind, str(point))], json=json)


def _pointed(verdict: Verdict, points: list[tuple[str, str]], *, json: bool) -> None:
    if json:
        output.print_json(
            {
                "verdict": verdict.effect.value,
                "rule": verdict.rule,
                "code": verdict.code,
                "reason": verdict.reason,
                "remedy": verdict.remedy,
                "points": [{"kind": kind, "text": text} for kind, text in points],
            }
        )
        return
    console = output.console()
    lines = [("verdict", verdict.effect.value), ("rule", verdict.rule), ("because", verdict.reason)]
    lines += [("it does" if i == 0 else "", f"{kind}: {text}") for i, (kind, text) in enumerate(points)]
    lines += [("remedy", verdict.remedy)] if verdict.effect is Effect.DENY else []
    for title, said in lines:
        if said:
            style = _STYLES[verdict.effect] if title == "verdict" else ""
            console.print(f"{title:<10} {output.clean(said, line=True)}", style=style)


def _masks(result: Explanation, sql: str, trial: Trial) -> dict[str, str]:
    plan = result.decision.verdict.masks
    columns = result_columns(sql, trial.session) if isinstance(plan, MaskPlan) else None
    if columns is None or not isinstance(plan, MaskPlan):
        return {}
    methods = zip(columns, plan.columns(columns), strict=True)
    return {column.name: method.value for column, method in methods if method is not None}


def _print(result: Explanation, masks: dict[str, str], *, known: bool) -> None:
    console = output.console()
    verdict = result.decision.verdict

    def say(title: str, text: str, style: str = "") -> None:
        console.print(f"{title:<10} {output.clean(text, line=True)}", style=style)

    say("verdict", verdict.effect.value, _STYLES[verdict.effect])
    say("rule", verdict.rule)
    if verdict.reason:
        say("because", verdict.reason)
    for i, aspect in enumerate((*result.aspects, *(f"calling `{name}`" for name in result.functions))):
        say("it does" if i == 0 else "", aspect)
    if masks:
        say("masked", ", ".join(f"`{name}` as {method}" for name, method in masks.items()))
    if not known and (verdict.masks is not None or verdict.code == "masked-flow"):
        say("note", "which tables there are is not known: name them by `--schema`, for masks hang on them")
    if verdict.hold is not None:
        hold = verdict.hold
        who = ", ".join(f"`{name}`" for name in hold.approver_names)
        say("approvers", f"{hold.quorum} of {who}, within {hold.within:g} s; the client waits {hold.wait:g} s")
        serves = "one run" if hold.reuse is None else f"the same operation for {hold.reuse:g} s"
        say("approval", f"serves {serves}" + ("; a reason is required" if hold.reason_required else ""))
    if verdict.effect is Effect.DENY and verdict.remedy:
        say("remedy", verdict.remedy)
    if result.then is None:
        if verdict.effect is Effect.DENY:
            say("change", "no rule can change this")
        return
    for i, label in enumerate(result.in_the_way):
        say("change" if i == 0 else "", f"without `{label}`")
    for i, line in enumerate(result.missing):
        say("change" if i == 0 and not result.in_the_way else "", f"with    {line}")
    reason = f": {result.then.reason}" if result.then.reason else ""
    say("then", f"{result.then.effect.value}{reason}", _STYLES[result.then.effect])


def _plain(result: Explanation, masks: dict[str, str]) -> dict[str, object]:
    verdict = result.decision.verdict
    hold = verdict.hold
    return {
        "verdict": verdict.effect.value,
        "rule": verdict.rule,
        "code": verdict.code,
        "reason": verdict.reason,
        "remedy": verdict.remedy,
        "aspects": list(result.aspects),
        "functions": list(result.functions),
        "masked": masks,
        "approvers": list(hold.approver_names) if hold else [],
        "quorum": hold.quorum if hold else None,
        "without": list(result.in_the_way),
        "with": list(result.missing),
        "then": result.then.effect.value if result.then else None,
        "then_reason": result.then.reason if result.then else "",
    }
