from pathlib import Path

import pytest

from tools import check

FAILS_ONCE = """
import pathlib

def test_once():
    mark = pathlib.Path({mark!r})
    before = mark.exists()
    mark.touch()
    assert before

def test_always():
    assert {always}
"""


def test_a_few_failures_are_run_once_more() -> None:
    assert check._once_more([("a.py::x", "call"), ("a.py::x", "teardown"), ("b.py::y", "setup")]) == [
        "a.py::x",
        "b.py::y",
    ]


def test_an_attack_that_got_through_is_never_run_again() -> None:
    reports = [("tests/attacks/test_a.py::x", "call"), ("b.py::y", "call")]
    assert check._once_more(reports) == []
    assert check._once_more([("tests/attacks/test_a.py::x", "setup")]) == ["tests/attacks/test_a.py::x"]


def test_many_failures_are_no_accident() -> None:
    reports = [(f"a.py::t{n}", "call") for n in range(check.MOST_AGAIN + 1)]
    assert check._once_more(reports) == []
    assert len(check._once_more(reports[1:])) == check.MOST_AGAIN


@pytest.mark.slow
@pytest.mark.parametrize("always", [True, False])
def test_what_passes_only_then_is_named(
    always: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "project"
    root.mkdir()
    conftest = (check.ROOT / "tests" / "conftest.py").read_text()
    hooks = conftest[conftest.index("def pytest_addoption") : conftest.index("@pytest.fixture")]
    head = "import json\nfrom pathlib import Path\nfrom typing import Any\nimport pytest\n"
    (root / "conftest.py").write_text(head + hooks)
    (root / "test_some.py").write_text(FAILS_ONCE.format(mark=str(tmp_path / "mark"), always=always))
    monkeypatch.setattr(check, "ROOT", root)
    status = check._tests(["-p", "no:cacheprovider"])
    out = capfd.readouterr().out
    assert ("FLAKY test_some.py::test_once" in out) is always
    assert status == (0 if always else 1)
