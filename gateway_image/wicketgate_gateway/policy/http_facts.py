"""What rules look at in a request beside method, path and query: put on record, so that it can be decided again.

How this works: the rules and conditions of a policy say which headers and which parts of a JSON body they look at. Of
each request those parts alone go into its audit event, as `facts`: `header NAME` with the header's values (none: it was
not there), `body` with the JSON as far as it is looked at (no value: there was no body; `?`: it was not JSON). What is
not in them is not known, and a policy that looks at it cannot decide the request again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from wicketgate_gateway.contract.verdict import Effect
from wicketgate_gateway.policy.compile import CompiledRule
from wicketgate_gateway.policy.http import ABSENT, DEEP, SAFE_METHODS, UNREADABLE, HttpRule, RequestPoint, Step

Facts = dict[str, list[str]]
MAX_BODY = 16 * 1024
"""A longer body is not put on record in events."""
_HEADER, _BODY, _NO_JSON = "header ", "body", "?"
_MEMBERS = re.compile(
    r"""\bop\s*\.\s*(headers|body)((?:\.[A-Za-z_][A-Za-z0-9_]*|\[\s*"[^"\\]*"\s*\]|\[\s*'[^'\\]*'\s*\])*)(\s*\()?"""
)
_MEMBER = re.compile(r"""\.([A-Za-z_][A-Za-z0-9_]*)|\[\s*"([^"\\]*)"\s*\]|\[\s*'([^'\\]*)'\s*\]""")
_ASKED = re.compile(r"""(?:"([^"\\]*)"|'([^'\\]*)')\s+in\s+\Z""")


class UndecidableError(ValueError):
    """What a rule looks at is not on record."""


@dataclass(frozen=True, slots=True)
class Looks:
    """What a set of rules looks at."""

    headers: frozenset[str]
    """By name, in lower case."""
    all_headers: bool
    paths: tuple[tuple[Step, ...], ...]
    """Into the body; an empty one is all of it."""


def looks_of(rules: Iterable[CompiledRule]) -> Looks:
    """What these rules look at."""
    headers: set[str] = set()
    all_headers = False
    paths: set[tuple[Step, ...]] = set()
    for rule in rules:
        if isinstance(rule.points, HttpRule):
            headers |= rule.points.header_names
            paths |= set(rule.points.body_paths)
        if rule.condition is not None:
            for what, members in _members(rule.condition.source):
                if what == "body":
                    paths.add(members)
                elif members:
                    headers.add(members[0])
                else:
                    all_headers = True
            if rule.condition.reads_body and not paths:
                paths.add(())
    return Looks(frozenset(headers), all_headers, tuple(sorted(paths, key=repr)))


def _members(source: str) -> Iterable[tuple[str, tuple[str, ...]]]:
    """What a condition names of headers and body; no members where it takes the whole."""
    for found in _MEMBERS.finditer(source):
        what, chain, called = found.groups()
        members = tuple(dot or double or single for dot, double, single in _MEMBER.findall(chain))
        if called:
            members = members[:-1]  # a function of what stands before
        elif what == "headers" and not members and (asked := _ASKED.search(source, 0, found.start())) is not None:
            members = (asked[1] or asked[2],)
        yield what, members


def facts_of(looks: Looks, point: RequestPoint, *, body_read: bool) -> Facts:
    """What to put on record of a request. `body_read`: whether its body was looked into, or it has none."""
    names = {*looks.headers, *(point.headers if looks.all_headers else ())}
    facts: Facts = {_HEADER + name: list(point.headers.get(name, ())) for name in sorted(names)}
    if point.upgrade:
        facts["upgrade"] = [point.upgrade]
    if looks.paths and body_read:
        if point.body is ABSENT:
            facts[_BODY] = []
        elif point.body is UNREADABLE:
            facts[_BODY] = [_NO_JSON]
        else:
            text = json.dumps(_pruned(point.body, looks.paths), ensure_ascii=False, separators=(",", ":"))
            if len(text) <= MAX_BODY:
                facts[_BODY] = [text]
    return facts


def with_facts(point: RequestPoint, facts: Mapping[str, list[str]], rules: Iterable[CompiledRule]) -> RequestPoint:
    """The request as it was, as far as these rules look at it. Raises UndecidableError."""
    headers = {name[len(_HEADER) :]: tuple(values) for name, values in facts.items() if name.startswith(_HEADER)}
    body: Any = UNREADABLE
    known = facts.get(_BODY)
    if known is not None:
        body = ABSENT if not known else UNREADABLE if known[0] == _NO_JSON else json.loads(known[0])
    found = replace(
        point,
        headers={name: values for name, values in headers.items() if values},
        body=body,
        upgrade=next(iter(facts.get("upgrade", ())), ""),
    )
    looks = looks_of(rule for rule in rules if _concerns(rule, found))
    if (missing := looks.headers - headers.keys()) or (looks.all_headers and not headers):
        raise UndecidableError(
            f"the header `{min(missing)}` is not on record" if missing else "headers are not on record"
        )
    if looks.paths and known is None:
        raise UndecidableError("the body is not on record")
    return found


def _concerns(rule: CompiledRule, point: RequestPoint) -> bool:
    if not isinstance(rule.points, HttpRule) or not rule.points.could_concern(point):
        return False
    allows = rule.effect is Effect.ALLOW
    return not (allows and rule.points.safe_only and point.method not in SAFE_METHODS)


def _pruned(value: Any, paths: Iterable[tuple[Step, ...]]) -> Any:
    """A document with what the paths may lead to alone: a server may not care for case."""
    paths = list(paths)
    if any(not path or path[0] == DEEP for path in paths):
        return value
    if isinstance(value, dict):
        kept: dict[str, Any] = {}
        for key, inner in value.items():
            below = [p[1:] for p in paths if p[0] is None or (isinstance(p[0], str) and p[0].lower() == key.lower())]
            if below:
                kept[key] = _pruned(inner, below)
        return kept
    if isinstance(value, list):
        ways = ([p[1:] for p in paths if p[0] is None or p[0] == i] for i in range(len(value)))
        return [_pruned(inner, below) if below else None for inner, below in zip(value, ways, strict=True)]
    return None
