from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.policy.decision import CACHE_ENTRIES, RECENT_ENTRIES, Decision, VerdictCache
from wicketgate_gateway.wire.postgres.sql.facts import analyze


def decision(rule: str) -> Decision:
    return Decision(Verdict(Effect.ALLOW, rule))


def test_a_decision_tells_the_kinds_of_its_statements():
    assert Decision(Verdict(Effect.DENY, "x"), analyze("BEGIN; SELECT 1").statements).kinds == ("transaction", "select")
    assert decision("x").kinds == ()


def test_a_text_is_found_by_its_likeness_and_then_as_it_is():
    cache = VerdictCache()
    cache.put("select ?", "select 1", decision("a"))
    assert cache.recent("select 2") is None
    found = cache.find("select ?", "select 2")
    assert found is not None
    assert cache.recent("select 2") is found
    assert cache.recent("select 1") is found
    assert cache.find("other", "other") is None
    assert cache.find("select ?", "select 3", remember=False) is found
    assert cache.recent("select 3") is None


def test_it_is_bounded_and_the_oldest_go_first():
    cache = VerdictCache()
    for i in range(CACHE_ENTRIES + RECENT_ENTRIES):
        cache.put(i, ("exact", i), decision(str(i)))
    assert len(cache) == CACHE_ENTRIES
    assert cache.find(0, 0) is None
    assert cache.recent(("exact", CACHE_ENTRIES)) is not None
    assert cache.recent(("exact", CACHE_ENTRIES - 1)) is None
    cache.clear()
    assert len(cache) == 0
