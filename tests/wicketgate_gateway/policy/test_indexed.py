"""The index gives every rule that matches, in order."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.contract.verdict import Effect
from wicketgate_gateway.policy.compile import CompiledRule
from wicketgate_gateway.policy.indexed import RuleIndex
from wicketgate_gateway.policy.names import Name, Pattern
from wicketgate_gateway.policy.operation import Aspect
from wicketgate_gateway.wire.postgres.sql.model import StatementClass

PARTS = st.sampled_from(["a", "b", "*", "?", "a*"])
PATTERNS = st.none() | st.lists(st.builds(lambda s, n: Pattern(f"{s}.{n}"), PARTS, PARTS), min_size=1, max_size=3)
NAMES = st.builds(Name, st.sampled_from(["a", "b", "c"]), st.sampled_from(["a", "b", "ab"]))


def rule(number: int, relations: Any, functions: Any = None, columns: Any = None) -> CompiledRule:
    return CompiledRule(
        "p", number, Effect.DENY, frozenset({StatementClass.READ}), relations, columns, functions, None, None
    )


@given(st.lists(PATTERNS, max_size=8), st.sets(NAMES, max_size=3))
def test_no_rule_that_matches_is_left_out(patterns: list[Any], names: set[Name]) -> None:
    rules = [rule(n, relations) for n, relations in enumerate(patterns)]
    index = RuleIndex(rules)
    aspects = tuple(Aspect(StatementClass.READ, name) for name in sorted(names))
    found = index.about(names)
    assert [r.number for r in found] == sorted(r.number for r in found)
    for aspect in aspects:
        assert {r for r in rules if r.covers(aspect)} <= set(index.about((aspect.relation,)))
    assert {r for r in rules if any(r.covers(aspect) for aspect in aspects)} <= set(found)
    assert index.about([None]) == tuple(rules)


def test_only_full_names_are_left_out() -> None:
    full, wild, any_relation = rule(1, [Pattern("a.b")]), rule(2, [Pattern("a.*")]), rule(3, None)
    by_function, by_column = rule(4, [Pattern("a.b")], [Pattern("f")]), rule(5, None, None, [Pattern("a.b.c")])
    index = RuleIndex([full, wild, any_relation, by_function, by_column])
    assert index.about([Name("a", "c")]) == (wild, any_relation, by_function, by_column)
    assert index.about([Name("a", "b")]) == (full, wild, any_relation, by_function, by_column)
    assert index.about([]) == (wild, any_relation, by_function, by_column)
