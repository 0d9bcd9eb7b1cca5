"""What a name can mean: the confirmed, and all that is under way."""

from wicketgate_gateway.wire.postgres.names import Names


def test_candidates_are_the_confirmed_and_all_under_way() -> None:
    names: Names[str] = Names()
    assert names.candidates("s") == ()
    names.sent("s", "a")
    assert names.candidates("s") == ("a",)
    names.confirm("s", "a")
    assert names.candidates("s") == ("a",)
    names.sent("s", "b")
    names.sent("s", "c")
    assert names.candidates("s") == ("a", "b", "c")
    names.settle("s", "b")  # failed: the old one stays
    assert names.candidates("s") == ("a", "c")
    names.confirm("s", "c")
    assert names.candidates("s") == ("c",)
    assert names.values() == ["c"]
    names.drop("s")
    assert names.candidates("s") == ()
    assert len(names) == 0


def test_drop_all_leaves_what_is_under_way() -> None:
    names: Names[str] = Names()
    names.sent("a", "x")
    names.confirm("b", "y")
    names.drop_all()
    assert names.candidates("a") == ("x",)
    assert names.candidates("b") == ()
    names.settle("unknown", "z")
