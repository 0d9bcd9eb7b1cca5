"""Findings in order, once each, and harmless on a terminal."""

from wicketgate.identity.doctor.findings import Report
from wicketgate.identity.graph import GraphError
from wicketgate_gateway.contract.errors import WicketgateError


def test_the_worst_comes_first_and_each_once() -> None:
    report = Report()
    report.note("n", "stack", "a note", "read it")
    for _ in range(2):
        report.problem("p", "bot review", "a problem", "mend it\nor not")
    assert list(report.table()) == [
        "problem  bot review  a problem",
        "                     → mend it",
        "                     → or not",
        "note     stack       a note",
        "                     → read it",
    ]
    assert report.summary() == {"problems": 1, "warnings": 0, "notes": 1, "proven": []}
    assert report.sick


def test_only_problems_make_sick() -> None:
    report = Report()
    report.warn("w", "stack", "a warning", "think")
    assert not report.sick


def test_a_refusal_is_told_from_an_outage() -> None:
    report = Report()
    report.failed("a", GraphError("Graph says 403", 403, code="not-allowed"))
    report.failed("b", GraphError("Graph cannot be reached", 0, code="unreachable", remedy="check it"))
    report.failed("c", WicketgateError("else", code="other", remedy="do"))
    assert [(one.code, one.about) for one in report.findings] == [
        ("not-allowed", "a"),
        ("unreachable", "b"),
        ("other", "c"),
    ]
    assert all(one.remedy for one in report.findings)


def test_what_others_wrote_moves_no_cursor() -> None:
    report = Report()
    report.problem("p", "bot", "named \x1b[2Jthis", "x\x07")
    assert "\x1b" not in report.findings[0].said
    assert "\x07" not in report.findings[0].remedy
