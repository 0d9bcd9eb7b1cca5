from wicketgate_gateway.contract.errors import DocumentError, Problem, Where, WicketgateError


def test_a_problem_says_where_what_and_how():
    problem = Problem("unknown key", "remove it", Where("a.yaml", 3, 7), "rules.0.alow")
    assert str(problem) == "a.yaml:3:7: `rules.0.alow`: unknown key; remove it"
    assert str(Problem("unknown key")) == "unknown key"


def test_a_place_leaves_out_what_it_does_not_know():
    assert str(Where("a.yaml")) == "a.yaml"
    assert str(Where("a.yaml", 3)) == "a.yaml:3"


def test_an_error_has_a_code_of_its_class_or_its_own():
    class MissingError(WicketgateError):
        code = "missing"

    assert MissingError("x").code == "missing"
    assert MissingError("x", code="gone").code == "gone"
    assert MissingError.code == "missing"
    assert str(MissingError("no file", remedy="make one", where=Where("f", 1))) == "f:1: no file; make one"


def test_a_document_error_lists_every_problem():
    error = DocumentError([Problem("a"), Problem("b", "do c")])
    assert error.code == "document-invalid"
    assert str(error) == "a\nb; do c"
    assert [p.message for p in error.problems] == ["a", "b"]
