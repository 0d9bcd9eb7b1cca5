"""Tests of policies: the file `NAME.test.yaml` beside `NAME.yaml`, and what its cases come to.

    target: orders-db
    schema:
      public.customers: [id, name, email]
    cases:
      - allow: [SELECT name FROM customers, SELECT count(*) FROM customers]
      - {allow: SELECT email FROM customers, masked: {email: partial}}
      - {allow: "SELECT email, id + 1 AS next FROM customers", columns: {email: partial, next: plain}}
      - {deny: DELETE FROM customers, rule: "orders-readonly#3", reason: only reads}
      - {hold: DROP TABLE customers, approvers: [dba], quorum: 2}

Where the policies speak of SSH, a case's texts are what the audit calls operations (`policy/ssh_trial.py`):

      - allow: [uname -a, sftp read /srv/app/x, "pty: top"]
      - {deny: [shell, "uname -a; id"], reason: no rule}

For HTTP targets statements are requests, with the case's `headers` and `json`:

      - {allow: POST /payments, json: {amount: 5}}
      - deny: [DELETE /orders/7, GET /orders/../admin]

(`openapi: orders.openapi.yaml` before the cases says which operations there are.)

and where they speak of Kubernetes the same (`policy/kubernetes_trial.py`):

      - {allow: [get pods web-1 in prod, "create pods/exec web-1 in prod: ls -l"]}
      - deny: 'create pods x in prod {"spec": {"hostNetwork": true, "containers": []}}'

Each statement of a case is decided in a session of its own, by the engine that the gateway uses.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from wicketgate_gateway.contract import model, yaml
from wicketgate_gateway.contract.catalogue import Catalogue
from wicketgate_gateway.contract.errors import DocumentError, Problem, Where
from wicketgate_gateway.contract.model import Strings, Terms
from wicketgate_gateway.contract.openapi import ApiOperation
from wicketgate_gateway.contract.policy import MaskMethod, Policy
from wicketgate_gateway.contract.targets import TargetKind
from wicketgate_gateway.contract.values import Name
from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.masking.plan import MaskPlan
from wicketgate_gateway.policy import http_trial, kubernetes_trial, ssh_trial
from wicketgate_gateway.policy.columns import result_columns
from wicketgate_gateway.policy.http import ABSENT
from wicketgate_gateway.policy.load import PolicySet
from wicketgate_gateway.policy.trial import (
    Trial,
    bundle_of,
    catalogue_of,
    kind_of,
    operations_at,
    policy_for,
    stand_in,
)

SUFFIX = ".test.yaml"


class ColumnOutcome(StrEnum):
    """How a column of an answer comes out: as it is, or by a mask's method."""

    PLAIN = "plain"
    REDACT = "redact"
    PARTIAL = "partial"
    HASH = "hash"
    NULL = "null"


class Case(Terms):
    """What must come of some statements: exactly one of `allow`, `hold`, `deny`."""

    allow: Strings | None = None
    """Statements that must be let through."""
    hold: Strings | None = None
    """Statements that must wait for people."""
    deny: Strings | None = None
    """Statements that must be refused."""
    after: Strings | None = None
    """Statements that come before in the same session, and must not be refused."""
    headers: dict[str, str] | None = None
    """Headers of the HTTP requests."""
    json_: Annotated[Any, Field(alias="json")] = None
    """The JSON body of the HTTP requests."""
    upgrade: str | None = None
    """What the HTTP requests ask their connection to become: `websocket`."""
    bot: Name = "some-bot"
    """Who asks."""
    groups: list[Name] = Field(default_factory=list[Name])
    """The groups that the bot is in."""
    at: str | None = None
    """When, as `2026-11-24T12:00:00+01:00`."""
    rule: str | None = None
    """The rule that decides, as `policy#3`."""
    reason: str | None = None
    """Part of what the bot is told."""
    masked: dict[str, Annotated[MaskMethod, Field(strict=False)]] | None = None
    """How the columns of the answer come out; those that are not named must come as they are. `{}`: all."""
    columns: dict[str, Annotated[ColumnOutcome, Field(strict=False)]] | None = None
    """How these columns of the answer come out: `plain`, or a mask's method. Others may come out in any way."""
    approvers: Strings | None = None
    """The groups that may approve, all of them."""
    quorum: int | None = None
    """How many must approve."""

    @field_validator("at")
    @classmethod
    def _moment(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                moment = datetime.datetime.fromisoformat(value)
            except ValueError:
                raise ValueError("not a time: write it as `2026-11-24T12:00:00+01:00`") from None
            if moment.tzinfo is None:
                raise ValueError("says no zone: end it with `Z` or `+01:00`")
        return value

    @model_validator(mode="after")
    def _one_expectation(self) -> Self:
        given = [texts for texts in (self.allow, self.hold, self.deny) if texts is not None]
        if len(given) != 1 or not given[0]:
            raise ValueError("a case is exactly one of `allow`, `hold`, `deny`, with at least one statement")
        if self.deny is not None and (self.masked is not None or self.columns is not None):
            raise ValueError("what is denied has no columns to mask")
        if self.hold is None and (self.approvers is not None or self.quorum is not None):
            raise ValueError("`approvers` and `quorum` go with `hold`")
        return self

    @property
    def expected(self) -> Effect:
        """What must come of it."""
        return Effect.ALLOW if self.allow is not None else Effect.HOLD if self.hold is not None else Effect.DENY

    @property
    def texts(self) -> Sequence[str]:
        """The statements."""
        return self.allow or self.hold or self.deny or ()


class PolicyTest(Terms):
    """A file of cases."""

    policies: list[str] | None = None
    """Policies that apply together, by file name without `.yaml`; without it, the one that the file is called after."""
    target: Name | None = None
    """The target; without it, the first that the policy names."""
    labels: dict[str, str] = Field(default_factory=dict[str, str])
    """The target's labels."""
    openapi: str | None = None
    """The OpenAPI document of the HTTP target, by its path from the test file: rules by operation need it."""
    relations: dict[str, list[str]] | None = Field(default=None, alias="schema")
    """Tables as `schema.name`, with their columns."""
    views: dict[str, list[str]] = Field(default_factory=dict[str, list[str]])
    """Views as `schema.name`, with the columns that they read, as `schema.table.column`."""
    cases: list[Case] = Field(min_length=1)
    """What must hold."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One statement of one case; `wrong` says what is not as expected, empty if all is."""

    where: Where
    expected: str
    text: str
    verdict: Verdict | None
    wrong: tuple[str, ...]


def load_test(path: Path) -> tuple[PolicyTest, yaml.Document, list[Policy]]:
    """Read a test file and its policies; raises DocumentError."""
    document = model.load(path)
    test = model.validate(PolicyTest, document)
    names = test.policies or [path.name.removesuffix(SUFFIX)]
    policies: list[Policy] = []
    problems: list[Problem] = []
    for name in names:
        if Path(name).name != name:
            where = document.where(("policies",))
            raise DocumentError([Problem(f"`{name}` is a path", "name a policy of the same folder", where)])
        file = path.parent / f"{name}.yaml"
        try:
            policies.append(model.read(Policy, file))
        except DocumentError as error:
            problems += error.problems
    if problems:
        raise DocumentError(problems)
    return test, document, policies


def catalogue_in(path: Path) -> Catalogue | None:
    """The catalogue that a test file describes; None if it has no `schema`. Raises DocumentError."""
    document = model.load(path)
    return _catalogue(model.validate(PolicyTest, document), document)


def _catalogue(test: PolicyTest, document: yaml.Document) -> Catalogue | None:
    try:
        return None if test.relations is None else catalogue_of(test.relations, test.views)
    except KeyError as error:
        message = f"a view reads `{error.args[0]}`, which no table of `schema` has"
        raise DocumentError([Problem(message, "add it", document.where(("views",)))]) from None


def run(path: Path) -> Iterator[Outcome]:
    """Run all cases of a test file; raises DocumentError if it, or a policy, is wrong."""
    test, document, policies = load_test(path)
    file = None if test.openapi is None else path.parent / test.openapi
    yield from decide_cases(test, document, policies, operations_at(file, policies, _target(test, policies)))


def _target(test: PolicyTest, policies: list[Policy]) -> str:
    targets = [p.targets for p in policies if isinstance(p.targets, list)]
    return test.target or (targets[0][0] if targets and targets[0] else "some-target")


def decide_cases(
    test: PolicyTest,
    document: yaml.Document,
    policies: list[Policy],
    described: Mapping[str, Sequence[ApiOperation]],
) -> Iterator[Outcome]:
    """Decide all cases by these policies; `described` are the operations of HTTP targets. Raises DocumentError."""
    target = _target(test, policies)
    catalogue = _catalogue(test, document)
    kind = kind_of(policies)
    for i, case in enumerate(test.cases):
        whole = PolicySet(bundle_of(policies, case.bot, case.groups, described))
        found = policy_for(
            whole, stand_in(case.bot), (stand_in(f"group {g}") for g in case.groups), target, test.labels, kind
        )
        moment = None if case.at is None else datetime.datetime.fromisoformat(case.at).timestamp()
        for j, text in enumerate(case.texts):
            where = document.where(("cases", i, case.expected.value, j))
            if found is None:
                wrong = () if case.expected is Effect.DENY else (f"no policy applies to `{case.bot}` at `{target}`",)
                yield Outcome(where, case.expected.value, text, None, wrong)
                continue
            if kind in (TargetKind.SSH, TargetKind.KUBERNETES):
                try:
                    decide = ssh_trial.decide if kind is TargetKind.SSH else kubernetes_trial.decide
                    verdict, _ = decide(found, text, moment)
                except ValueError as error:
                    raise DocumentError([Problem(str(error), "see `policy test --help`", where)]) from None
                yield Outcome(where, case.expected.value, text, verdict, tuple(_differences(case, verdict)))
                continue
            if kind is TargetKind.HTTP:
                body = ABSENT if case.json_ is None else case.json_
                verdict = http_trial.decide(
                    found, text, moment, headers=case.headers, body=body, upgrade=case.upgrade or ""
                )
                yield Outcome(where, case.expected.value, text, verdict, tuple(_differences(case, verdict)))
                continue
            trial = Trial(found, catalogue)
            early = [
                f"`{before}` comes before and is denied: {verdict.reason}"
                for before in case.after or ()
                if (verdict := trial.decide(before, moment).verdict).effect is Effect.DENY
            ]
            verdict = trial.decide(text, moment).verdict
            wrong = (*early, *_differences(case, verdict), *_masks(case, text, verdict, trial))
            yield Outcome(where, case.expected.value, text, verdict, wrong)


def _differences(case: Case, verdict: Verdict) -> list[str]:
    wrong: list[str] = []
    if verdict.effect is not case.expected:
        said = f": {verdict.reason}" if verdict.reason else ""
        return [f"{_past(verdict.effect)} by `{verdict.rule}`{said}"]
    if case.rule is not None and verdict.rule != case.rule:
        wrong.append(f"decided by `{verdict.rule}`, not by `{case.rule}`")
    if case.reason is not None and case.reason not in verdict.reason:
        wrong.append(f"the reason is `{verdict.reason}`, without `{case.reason}`")
    if verdict.hold is not None:
        if case.approvers is not None and set(case.approvers) != set(verdict.hold.approver_names):
            wrong.append("may be approved by " + ", ".join(f"`{name}`" for name in verdict.hold.approver_names))
        if case.quorum is not None and case.quorum != verdict.hold.quorum:
            wrong.append(f"needs {verdict.hold.quorum} to approve, not {case.quorum}")
    return wrong


def _past(effect: Effect) -> str:
    return {Effect.ALLOW: "allowed", Effect.HOLD: "held", Effect.DENY: "denied"}[effect]


def _masks(case: Case, text: str, verdict: Verdict, trial: Trial) -> list[str]:
    if (case.masked is None and case.columns is None) or verdict.effect is Effect.DENY:
        return []
    columns = result_columns(text, trial.session)
    if columns is None:
        return ["its columns cannot be told without a server: name them instead of `*`, and their tables in `schema`"]
    plan = verdict.masks
    methods = plan.columns(columns) if isinstance(plan, MaskPlan) else [None] * len(columns)
    wrong: list[str] = []
    for column, method in zip(columns, methods, strict=True):
        for stated in (case.masked, case.columns):
            if stated is None or (stated is case.columns and column.name not in stated):
                continue
            expected = stated.get(column.name)
            if (method or ColumnOutcome.PLAIN).value != (expected or ColumnOutcome.PLAIN).value:
                wrong.append(f"column `{column.name}` comes {_how(method)}, not {_how(expected)}")
    missing = {*(case.masked or ()), *(case.columns or ())} - {column.name for column in columns}
    return wrong + [f"there is no column `{name}` in the answer" for name in sorted(missing)]


def _how(method: MaskMethod | ColumnOutcome | None) -> str:
    return "as it is" if method in (None, ColumnOutcome.PLAIN) else f"as `{method.value}`"
