"""Probes: operations made up from rules, to ask two bundles about. This module has those of SQL, and joins all.

How this works: the rules of both sides name relations, columns and functions by patterns; `witness.py` gives names that
tell these patterns apart, alone and together. Each statement class is then tried on each such relation, in a session
whose catalogue has them all. Where names tell nothing (a condition, a time), the comparison says so itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from wicketgate_gateway.contract.policy import Policy
from wicketgate_gateway.contract.targets import TargetKind
from wicketgate_gateway.contract.verdict import Verdict
from wicketgate_gateway.masking.plan import MaskPlan
from wicketgate_gateway.policy.columns import result_columns
from wicketgate_gateway.policy.engine import TargetPolicy
from wicketgate_gateway.policy.names import Pattern, compile_part
from wicketgate_gateway.policy.trial import Trial, catalogue_of
from wicketgate_gateway.policy.witness import Glob, witnesses

Answer = tuple[Verdict, Mapping[str, str]]
"""A verdict, and the masked columns with their methods."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One operation, and how a policy is asked about it at a time."""

    text: str
    ask: Callable[[TargetPolicy, float], Answer] = field(compare=False)


@dataclass(slots=True)
class Probes:
    """Probes, and what they cannot tell."""

    probes: list[Probe]
    complete: bool = True
    """False if there would be too many, so that a difference may be missed."""


MAX_PROBES = 20_000
_OF_RELATION = (
    "SELECT 1 AS one FROM {r}",
    "SELECT * FROM {r}",
    "SELECT 1 AS one FROM {r} FOR UPDATE",
    "TABLE {r}",
    "COPY {r} TO STDOUT",
    "COPY {r} FROM STDIN",
    "DELETE FROM {r}",
    "TRUNCATE {r}",
    "CREATE TABLE {r} (a int)",
    "ALTER TABLE {r} ADD COLUMN added int",
    "DROP TABLE {r}",
    "GRANT SELECT ON {r} TO PUBLIC",
    "ALTER TABLE {r} OWNER TO somebody",
    "VACUUM {r}",
    "LOCK TABLE {r}",
)
_OF_COLUMN = (
    "SELECT {c} FROM {r}",
    "SELECT upper({c}) AS computed FROM {r}",
    "SELECT 1 AS one FROM {r} WHERE {c} = 'x'",
    "SELECT 1 AS one FROM {r} WHERE {c} LIKE 'x%'",
    "SELECT 1 AS one FROM {r} ORDER BY {c}",
    "INSERT INTO {r} ({c}) VALUES (NULL)",
    "UPDATE {r} SET {c} = NULL",
)
_OF_FUNCTION = ("SELECT {f} FROM {r}", "INSERT INTO {r} SELECT {f}")
_OF_NOTHING = (
    "SELECT 1",
    "SET work_mem = '4MB'",
    "DO 'begin end'",
    "LISTEN channel",
    "NOTIFY channel",
    "CHECKPOINT",
    "CREATE SCHEMA made",
    "CREATE ROLE made",
    "SET ROLE somebody",
    "CREATE EXTENSION made",
    "CREATE DATABASE made",
    "ALTER SYSTEM SET work_mem = '4MB'",
    "LOAD 'made'",
    "COPY (SELECT 1) TO PROGRAM 'made'",
    "PREPARE TRANSACTION 'made'",
    "BEGIN",
)
_SYSTEM = ("pg_catalog.pg_class", "pg_catalog.pg_stats", "information_schema.tables")


def kinds(policies: Iterable[Policy]) -> set[str]:
    """The protocols that the rules speak of."""
    return {rule.match.protocol for policy in policies for rule in policy.rules}


def probes_for(kind: TargetKind, policies: Sequence[Policy]) -> Probes:
    """Probes for a target of that kind, from the rules and masks of all these policies (of both sides)."""
    if kind is TargetKind.POSTGRES:
        return sql(policies)
    from wicketgate_gateway.policy import probe_points

    made = {
        TargetKind.HTTP: probe_points.http,
        TargetKind.KUBERNETES: probe_points.kubernetes,
        TargetKind.SSH: probe_points.ssh,
    }
    return made[kind](policies)


def sql(policies: Sequence[Policy]) -> Probes:
    """Probes in SQL."""
    rules = [rule.match.sql for policy in policies for rule in policy.rules if rule.match.sql is not None]
    masks = [mask for policy in policies for mask in policy.mask]
    relations = [text for terms in rules for text in terms.relations or ()]
    columns = [text for terms in rules for text in terms.columns or ()]
    columns += [text for mask in masks for text in mask.columns or ()]
    labels = [text for mask in masks for text in mask.names or ()]
    functions = [text for terms in rules for text in terms.functions or ()]
    tables, complete = _tables(relations, columns, labels)
    catalogue = catalogue_of(tables, {})

    def ask(text: str) -> Probe:
        def asked(policy: TargetPolicy, now: float) -> Answer:
            trial = Trial(policy, catalogue)
            verdict = trial.decide(text, now).verdict
            plan = verdict.masks
            found = (
                result_columns(text, trial.session) if isinstance(plan, MaskPlan) and verdict.effect != "deny" else None
            )
            if found is None or not isinstance(plan, MaskPlan):
                return verdict, {}
            pairs = zip(found, plan.columns(found), strict=True)
            return verdict, {column.name: method.value for column, method in pairs if method is not None}

        return Probe(text, asked)

    texts: list[str] = list(_OF_NOTHING)
    names = [*tables, *_SYSTEM]
    for name, pattern in product(names, _OF_RELATION):
        texts.append(pattern.format(r=_quoted(name)))
    for name, found in tables.items():
        for column, pattern in product(found, _OF_COLUMN):
            texts.append(pattern.format(r=_quoted(name), c=_quoted(column)))
    for function in _functions(functions):
        call = f"{_quoted(function)}()"
        texts += [f"SELECT {call}", f"CALL {call}", f"CREATE FUNCTION {call} RETURNS int LANGUAGE sql AS 'SELECT 1'"]
        for name in names:
            texts += [pattern.format(r=_quoted(name), f=call) for pattern in _OF_FUNCTION]
    texts = list(dict.fromkeys(texts))
    kept = texts[:MAX_PROBES]
    return Probes([ask(text) for text in kept], complete and len(kept) == len(texts))


def _tables(relations: list[str], columns: list[str], labels: list[str]) -> tuple[dict[str, list[str]], bool]:
    """Tables with columns that tell all these patterns apart."""
    patterns = [Pattern(text) for text in dict.fromkeys((*relations, *columns))]
    schemas = witnesses(Glob(p.text.split(".")[0]) for p in patterns)
    names = witnesses(Glob(p.text.split(".")[1]) for p in patterns)
    thirds = [Pattern(text) for text in dict.fromkeys(columns)]
    lasts = witnesses([Glob(p.text.split(".")[2]) for p in thirds] + [Glob(t.lower()) for t in labels])
    label = [compile_part(text, ignore_case=True) for text in dict.fromkeys(labels)]
    found: dict[frozenset[int], str] = {}
    for schema, name in product(dict.fromkeys(("public", *schemas.texts)), names.texts):
        answers = frozenset(i for i, p in enumerate(patterns) if p.begins(schema, name))
        # In `public` unqualified names mean it, but these probes name the schema: any will do.
        found.setdefault(answers, f"{schema}.{name}")
    tables: dict[str, list[str]] = {}
    for table in found.values():
        schema, _, name = table.partition(".")
        distinct: dict[frozenset[int], str] = {}
        for column in lasts.texts:
            # Of the masks that meet, the strictest wins: what any two come to says what more of them do.
            if sum(p.match(column) is not None for p in label) > 2:
                continue
            answers = frozenset(i for i, p in enumerate(thirds) if p.matches(schema, name, column))
            answers |= {-1 - i for i, p in enumerate(label) if p.match(column)}
            distinct.setdefault(answers, column)
        tables[table] = list(distinct.values())
    return tables, schemas.complete and names.complete and lasts.complete


def _functions(texts: list[str]) -> list[str]:
    parts = [text.rpartition(".") for text in dict.fromkeys(texts)]
    schemas = witnesses(Glob(schema) for schema, dot, _ in parts if dot).texts
    names = witnesses(Glob(name) for _, _, name in parts).texts if parts else ("made",)
    bare = [name for _, dot, name in parts if not dot and "*" not in name and "?" not in name]
    qualified = [f"{schema}.{name}" for schema, name in product(dict.fromkeys(("public", *schemas)), names)]
    return list(dict.fromkeys(("pg_sleep", "pg_read_file", *bare, *qualified)))


def _quoted(name: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split("."))
