"""What is wrong with a policy beyond its shape: conditions that do not compile, names that nobody has."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from wicketgate_gateway.contract import yaml
from wicketgate_gateway.contract.conditions import ConditionError, compile_expression
from wicketgate_gateway.contract.errors import Problem
from wicketgate_gateway.contract.policy import Policy, Rule
from wicketgate_gateway.contract.targets import PROTOCOL_OF, TargetKind

_ASKED = re.compile(r"\bop\s*\.\s*operation\b|\bop\s*\[")


def condition_problems(policy: Policy, document: yaml.Document | None = None, at: yaml.Path = ()) -> list[Problem]:
    """The conditions that do not compile; `at` is the policy's place in `document`. Raises ImportError without CEL."""
    problems: list[Problem] = []
    for i, rule in enumerate(policy.rules):
        if rule.match.when is None:
            continue
        try:
            compile_expression(rule.match.when, rule.match.protocol)
        except ConditionError as error:
            problems.append(_problem(error.message, error.remedy, ("rules", i, rule.effect, "when"), document, at))
    return problems


def name_problems(
    policy: Policy,
    *,
    approvers: Collection[str],
    groups: Collection[str] | None = None,
    bots: Collection[str] | None = None,
    document: yaml.Document | None = None,
    at: yaml.Path = (),
) -> list[Problem]:
    """The approvers of `hold` rules, and the subjects, that are not known; None does not ask for those."""
    problems: list[Problem] = []

    def ask(names: Iterator[tuple[int, str]], known: Collection[str] | None, what: str, *path: str | int) -> None:
        for i, name in names:
            if known is not None and name not in known:
                said = ", ".join(f"`{one}`" for one in sorted(known)) or "none yet"
                message, remedy = f"there is no {what} `{name}`", f"name it in the stack file; known: {said}"
                problems.append(_problem(message, remedy, (*path, i), document, at))

    for i, rule in enumerate(policy.rules):
        if rule.hold is not None:
            path = ("rules", i, "hold", "approvers", "groups")
            ask(iter(enumerate(rule.hold.approvers.groups)), approvers, "group of approvers", *path)
    if policy.subjects is not None:
        ask(iter(enumerate(policy.subjects.groups or ())), groups, "group", "subjects", "groups")
        ask(iter(enumerate(policy.subjects.bots or ())), bots, "bot", "subjects", "bots")
    return problems


def kind_problems(
    policy: Policy, kinds: Mapping[str, str], document: yaml.Document | None = None, at: yaml.Path = ()
) -> list[Problem]:
    """The rules that speak of a protocol which none of the policy's targets has; `kinds` has each target's kind.

    A policy that selects its targets by labels alone is about kinds that are not known here.
    """
    if isinstance(policy.targets, list):
        about = {kinds[name] for name in policy.targets if name in kinds}
    else:
        about = {policy.targets.kind} if policy.targets.kind is not None else set[str]()
    spoken = {PROTOCOL_OF[kind] for kind in about}
    problems: list[Problem] = []
    for i, rule in enumerate(policy.rules):
        protocol = rule.match.protocol
        # A command is one over SSH and in a pod.
        if spoken and protocol not in spoken and not (protocol == "ssh" and "kubernetes" in spoken):
            named = ", ".join(f"`{kind}`" for kind in sorted(about))
            message = f"the rule speaks of `{protocol}`, and the policy's targets are of kind {named}"
            path = ("rules", i, rule.effect, protocol)
            problems.append(_problem(message, "write it in a policy of its own", path, document, at))
    return problems


def speaks_of_operations(rule: Rule) -> bool:
    """Whether a rule means nothing without an OpenAPI document."""
    match = rule.match
    if match.http is None:
        return False
    return match.http.operations is not None or (match.when is not None and bool(_ASKED.search(match.when)))


def operation_problems(
    policy: Policy,
    apis: Mapping[str, Collection[str]],
    targets: Mapping[str, tuple[str, Mapping[str, str]]] | None = None,
    document: yaml.Document | None = None,
    at: yaml.Path = (),
) -> list[Problem]:
    """What is wrong with rules by operation: targets without a document, operations that no document has.

    `apis` has the ids of each target that has a document; `targets` kind and labels of all, where they are known.
    Without it only targets that the policy names are looked at.
    """
    about = _about(policy, targets)
    problems: list[Problem] = []
    for i, rule in enumerate(policy.rules):
        if not speaks_of_operations(rule):
            continue
        named = (rule.match.http.operations or []) if rule.match.http is not None else []
        path: yaml.Path = ("rules", i, rule.effect, *(("http", "operations") if named else ("when",)))
        where = document.where((*at, *path)) if document else None
        term = ".".join(map(str, path))
        for name in (each for each in about if each not in apis):
            message = f"the rule speaks of operations, and `{name}` has no OpenAPI document that names them"
            problems.append(Problem(message, "give the target one by `openapi`, or write `routes`", where, term))
        known = {one for name in about for one in apis.get(name, ())}
        for text in named if known else ():
            # As rules match them: `*` is any text, `?` one character.
            pattern = re.compile("".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in text), re.DOTALL)
            if not any(pattern.fullmatch(one) for one in known):
                message = f"no operation is called `{text}`"
                remedy = "write the `operationId` as the OpenAPI document has it; case counts"
                problems.append(Problem(message, remedy, where, term))
    return problems


def _about(policy: Policy, targets: Mapping[str, tuple[str, Mapping[str, str]]] | None) -> list[str]:
    if targets is not None:
        http = {name: labels for name, (kind, labels) in targets.items() if kind == TargetKind.HTTP}
        return [name for name, labels in http.items() if policy.covers(name, TargetKind.HTTP, labels)]
    return list(policy.targets) if isinstance(policy.targets, list) else []


def _problem(message: str, remedy: str, path: yaml.Path, document: yaml.Document | None, at: yaml.Path) -> Problem:
    where = document.where((*at, *path)) if document else None
    return Problem(message, remedy, where, ".".join(str(step) for step in path))
