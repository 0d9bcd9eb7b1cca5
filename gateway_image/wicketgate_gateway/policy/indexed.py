"""Which of many rules can have to do with a relation, found without asking each.

How this works: most rules of a large policy name their relations in full (`public.orders`). Those stand in a table
under each of the names; all others (wildcards, columns, functions, no relations at all) are looked at every time. What
comes back keeps the order of the rules, and holds more than those that match, never fewer: the rule itself decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wicketgate_gateway.policy.compile import CompiledRule
from wicketgate_gateway.policy.names import Name


class RuleIndex:
    """The rules of one effect. Immutable."""

    def __init__(self, rules: Sequence[CompiledRule]) -> None:
        self._rules = tuple(rules)
        self._named: dict[Name, list[int]] = {}
        self._others: list[int] = []
        for place, rule in enumerate(self._rules):
            names = _exact(rule)
            if names is None:
                self._others.append(place)
            else:
                for name in names:
                    self._named.setdefault(name, []).append(place)

    def about(self, relations: Iterable[Name | None]) -> tuple[CompiledRule, ...]:
        """The rules that can concern any of these; None stands for an operation that has no relation, and gives all."""
        found: set[int] = set()
        for relation in relations:
            if relation is None:
                return self._rules
            found.update(self._named.get(relation, ()))
        if not found:
            return tuple(self._rules[place] for place in self._others)
        found.update(self._others)
        return tuple(self._rules[place] for place in sorted(found))


def _exact(rule: CompiledRule) -> set[Name] | None:
    # The relations that the rule is about, if it is about these and nothing else.
    if rule.relations is None or rule.columns is not None or rule.functions is not None:
        return None
    names: set[Name] = set()
    for pattern in rule.relations:
        parts = pattern.text.split(".")
        if len(parts) != 2 or any(char in pattern.text for char in "*?"):
            return None
        names.add(Name(*parts))
    return names
