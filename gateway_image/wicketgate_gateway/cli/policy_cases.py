"""`wicketgate policy test`: the cases beside the policies, decided by the engine that enforces."""

from __future__ import annotations

from pathlib import Path

from wicketgate_gateway.cli import output
from wicketgate_gateway.contract.errors import DocumentError, Problem, Where
from wicketgate_gateway.policy import cases

WRONG = 1


def run_tests(*paths: Path, verbose: bool = False, json: bool = False) -> int:
    """Run the test cases that stand beside policies (`NAME.test.yaml` beside `NAME.yaml`).

    Parameters
    ----------
    paths
        Test files, policies, or folders (`policies/access` where nothing is said).
    verbose
        Name every statement, also those that are as expected.
    json
        One object a statement.
    """
    files, problems = _files(paths or (Path("policies/access"),))
    console = output.console()
    total = failed = 0
    for file in files:
        count, before = 0, failed
        lines: list[str] = []
        try:
            for outcome in cases.run(file):
                count += 1
                failed += bool(outcome.wrong)
                if json:
                    output.print_json(_plain(outcome))
                elif outcome.wrong:
                    lines += _lines(outcome)
                elif verbose:
                    lines.append(f"  ok    {outcome.expected:5}  {output.clean(outcome.text, line=True)}")
        except DocumentError as error:
            problems += error.problems
            continue
        total += count
        if not json:
            wrong = failed - before
            said = f"{output.count(count, 'statement')}, " + (f"{wrong} not as expected" if wrong else "as expected")
            console.print(output.clean(f"{file}: {said}", line=True), style="bold red" if wrong else "green")
            for line in lines:
                console.print(line)
    for problem in problems:
        if json:
            output.print_json({"ok": False, "problem": str(problem)})
        else:
            console.print(output.clean(str(problem), line=True), style="bold red")
    if not json:
        told = f"{failed} of {output.count(total, 'statement')} not as expected" if failed else "all as expected"
        if problems:
            told = f"{output.count(len(problems), 'problem')}; {told}"
        output.console(stderr=True).print(f"{output.count(len(files), 'file')}, {told}")
    return WRONG if failed or problems else 0


def _lines(outcome: cases.Outcome) -> list[str]:
    verdict = outcome.verdict
    lines = [
        f"  WRONG {output.clean(str(outcome.where), line=True)}",
        f"    statement  {output.clean(outcome.text, line=True)}",
        f"    expected   {outcome.expected}",
        f"    got        {verdict.effect.value if verdict else 'no policy'}",
    ]
    lines += [f"    because    {output.clean(wrong, line=True)}" for wrong in outcome.wrong]
    if verdict is not None and verdict.remedy:
        lines.append(f"    remedy     {output.clean(verdict.remedy, line=True)}")
    return lines


def _plain(outcome: cases.Outcome) -> dict[str, object]:
    verdict = outcome.verdict
    return {
        "file": outcome.where.path,
        "line": outcome.where.line,
        "statement": outcome.text,
        "ok": not outcome.wrong,
        "expected": outcome.expected,
        "verdict": verdict.effect.value if verdict else None,
        "rule": verdict.rule if verdict else None,
        "reason": verdict.reason if verdict else None,
        "wrong": list(outcome.wrong),
    }


def _files(paths: tuple[Path, ...]) -> tuple[list[Path], list[Problem]]:
    found: list[Path] = []
    problems: list[Problem] = []
    for path in paths:
        if path.is_dir():
            tests = sorted(path.glob(f"*{cases.SUFFIX}"))
            if not tests:
                problems.append(Problem("no tests in this folder", f"write `NAME{cases.SUFFIX}`", Where(str(path))))
            found += tests
            continue
        test = path if path.name.endswith(cases.SUFFIX) else path.with_name(path.stem + cases.SUFFIX)
        if test.is_file():
            found.append(test)
        else:
            problems.append(Problem("there are no tests", f"write `{test.name}` beside it", Where(str(path))))
    return list(dict.fromkeys(found)), problems
