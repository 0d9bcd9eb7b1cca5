from wicketgate_gateway.masking.lineage.model import CONSTANT, How, Value, either, union, unknown

A, B = Value(frozenset({(1, 1)}), How.COPY), Value(frozenset({(1, 2)}), How.COPY, parameters=frozenset({3}))


def test_what_is_computed_has_all_origins_and_is_no_copy():
    found = union(A, B, Value(literal=True))
    assert found.origins == {(1, 1), (1, 2)}
    assert (found.how, found.parameters, found.literal) == (How.EXPRESSION, {3}, True)
    assert union(CONSTANT, CONSTANT).how is How.CONSTANT
    assert union(A).how is How.EXPRESSION


def test_what_is_one_of_several_copies_is_a_copy():
    assert either(A, B).how is How.COPY
    assert either(A, CONSTANT).how is How.COPY
    assert either(A, union(B)).how is How.EXPRESSION
    assert either(A) is A


def test_what_is_not_traced_stays_so():
    assert union(A, unknown("why")).untraced == "why"
    assert either(A, unknown("why")).untraced == "why"
    assert unknown("why").computed(How.AGGREGATE).untraced == "why"
