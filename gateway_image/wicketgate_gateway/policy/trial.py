"""Policies tried out without a server: bots, targets and sessions that are not there, decided by the engine.

Object ids of stand-ins are made from their names, so that two runs say the same.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wicketgate_gateway.contract import openapi
from wicketgate_gateway.contract.catalogue import Catalogue, Column, Relation
from wicketgate_gateway.contract.gateway import GatewayTarget, TargetKind
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.contract.openapi import ApiOperation
from wicketgate_gateway.contract.policy import Bundle, BundledBot, BundledPolicy, Policy
from wicketgate_gateway.contract.targets import PROTOCOL_OF
from wicketgate_gateway.contract.verdict import Effect
from wicketgate_gateway.policy.decision import Decision
from wicketgate_gateway.policy.engine import TargetPolicy, decide_text
from wicketgate_gateway.policy.load import PolicySet
from wicketgate_gateway.policy.operation import SessionFacts
from wicketgate_gateway.wire.postgres.sql.builtins import CATALOG_RELATIONS
from wicketgate_gateway.wire.postgres.sql.model import Facts, StatementKind

_NAMESPACE = uuid.UUID("6f0c1f0a-3a0e-4f0e-9a55-1d8a3c0e7b11")
TENANT = str(uuid.uuid5(_NAMESPACE, "tenant"))
_TEXT_OID, _FIRST_OID = 25, 20000


def stand_in(name: str) -> str:
    """The object id that stands for a name."""
    return str(uuid.uuid5(_NAMESPACE, name))


def bundle_of(
    policies: Iterable[Policy],
    bot: str,
    groups: Sequence[str],
    operations: Mapping[str, Sequence[ApiOperation]] | None = None,
) -> Bundle:
    """A bundle of these policies. One without `subjects` is given to the bot; its groups are those it is in."""
    policies = list(policies)
    names = {g for p in policies for rule in p.rules if rule.hold is not None for g in rule.hold.approvers.groups}
    bundled: list[BundledPolicy] = []
    for policy in policies:
        subjects = policy.subjects
        document: dict[str, Any] = policy.document()
        if subjects is None:
            document |= {"bots": {stand_in(bot): bot}, "groups": {stand_in(f"group {g}"): g for g in groups}}
        else:
            document |= {
                "bots": {stand_in(b): b for b in subjects.bots or ()},
                "groups": {stand_in(f"group {g}"): g for g in subjects.groups or ()},
            }
        bundled.append(BundledPolicy.model_validate(document))
    return Bundle(
        tenant=TENANT,
        policies=bundled,
        bots={stand_in(bot): BundledBot(name=bot, owner="group:nobody")},
        approvers={name: stand_in(f"approvers {name}") for name in sorted(names)},
        operations={name: list(found) for name, found in (operations or {}).items()},
    )


def operations_at(file: Path | None, policies: Iterable[Policy], target: str) -> Mapping[str, Sequence[ApiOperation]]:
    """The operations of an OpenAPI document, as those of the target and of all that these policies name; of none
    without a file. Raises DocumentError."""
    if file is None:
        return {}
    operations = openapi.read(file).operations
    named = {name for policy in policies if isinstance(policy.targets, list) for name in policy.targets}
    return dict.fromkeys(sorted({target, *named}), operations)


def kind_of(policies: Iterable[Policy]) -> TargetKind:
    """The kind of target that these policies speak of: that of the first rule."""
    for policy in policies:
        for rule in policy.rules:
            return next(kind for kind in TargetKind if PROTOCOL_OF[kind] == rule.match.protocol)
    return TargetKind.POSTGRES


def policy_for(
    policies: PolicySet,
    bot_id: str,
    group_ids: Iterable[str],
    target: str,
    labels: Mapping[str, str] | None = None,
    kind: TargetKind = TargetKind.POSTGRES,
) -> TargetPolicy | None:
    """What applies to a bot at a target; None if nothing does."""
    principal = Principal(PrincipalKind.BOT, policies.tenant, bot_id, bot_id, "", "", 0.0, groups=frozenset(group_ids))
    return policies.for_principal(principal, target, GatewayTarget(kind=kind, agent="none", labels=dict(labels or {})))


def catalogue_of(tables: Mapping[str, Sequence[str]], views: Mapping[str, Sequence[str]]) -> Catalogue:
    """A catalogue of tables (`schema.name` to columns) and views (to the columns, `schema.table.column`, that they
    read). A view's own columns are called as those. Raises KeyError for a column that is not there."""
    relations: dict[str, Relation] = {}
    for number, (name, columns) in enumerate(tables.items()):
        schema, _, table = name.rpartition(".")
        described = [Column(i, column, _TEXT_OID) for i, column in enumerate(columns, 1)]
        relations[name] = Relation(_FIRST_OID + number, schema, table, "r", described)
    for name, sources in views.items():
        schema, _, view = name.rpartition(".")
        found: list[tuple[int, int]] = []
        for source in sources:
            table, _, column = source.rpartition(".")
            numbers = {c.name: c.number for c in relations[table].columns}
            found.append((relations[table].oid, numbers[column]))
        described = [Column(i, source.rpartition(".")[2], _TEXT_OID) for i, source in enumerate(sources, 1)]
        definition = _definition(sources)
        relations[name] = Relation(_FIRST_OID + len(relations), schema, view, "v", described, found, definition)
    return Catalogue("stand-in", "18", list(relations.values()), sorted(CATALOG_RELATIONS))


def _definition(sources: Sequence[str]) -> str:
    columns = [".".join(f'"{part}"' for part in source.split(".")) for source in sources]
    tables = dict.fromkeys(column.rpartition(".")[0] for column in columns)
    return f"SELECT {', '.join(columns)} FROM {', '.join(tables)}"  # noqa: S608 - never run, only parsed


class Trial:
    """A session that is not there: decides one text after the other, and keeps the names that they make."""

    def __init__(self, policy: TargetPolicy, catalogue: Catalogue | None = None, search_path: str = "public") -> None:
        self.policy = policy
        self._prepared: dict[str, list[Facts]] = {}
        self._cursors: dict[str, list[Facts]] = {}
        self.session = SessionFacts(search_path, catalogue, self._prepared, self._cursors)

    def decide(self, text: str, now: float | None = None) -> Decision:
        """The decision on a text, as the gateway's engine makes it."""
        decision = decide_text(self.policy, text, self.session, now)
        if decision.verdict.effect is not Effect.DENY:
            self.note(decision.statements)
        return decision

    def note(self, statements: Iterable[Facts]) -> None:
        """Keep what these statements prepare and declare."""
        for facts in statements:
            if facts.inner is None:
                continue
            if facts.kind is StatementKind.PREPARE:
                self._prepared.setdefault(facts.prepared_name or "", []).append(facts.inner)
            elif facts.kind is StatementKind.DECLARE_CURSOR:
                self._cursors.setdefault(facts.cursor_name or "", []).append(facts.inner)
