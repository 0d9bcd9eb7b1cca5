"""`wicketgate policy check`: are these policies right? Nothing is enforced and nothing is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wicketgate_gateway.cli import output
from wicketgate_gateway.contract import model, yaml
from wicketgate_gateway.contract.errors import DocumentError, Problem, Where
from wicketgate_gateway.contract.policy import Bundle, Policy
from wicketgate_gateway.policy.compile import compile_policy, summary
from wicketgate_gateway.policy.load import PolicySet

WRONG = 1


def check(*paths: Path, json: bool = False) -> int:
    """Check policy files, folders of them, and rendered bundles. Each mistake comes with its place and a remedy.

    Parameters
    ----------
    paths
        Files or folders (`policies/access` where nothing is said); a folder's `*.yaml` are checked, its tests left out.
    json
        One object a file.
    """
    problems: list[Problem] = []
    names: dict[str, str] = {}
    files = _files(paths or (Path("policies/access"),), problems)
    for problem in problems:
        _report("", [problem], "", json)
    for file in files:
        said, found = _check_file(file, names)
        problems += found
        _report(str(file), found, said, json)
    if not json:
        told = output.count(len(problems), "problem") if problems else "no problem"
        output.console(stderr=True).print(f"{output.count(len(files), 'file')}, {told}")
    return WRONG if problems else 0


def _files(paths: tuple[Path, ...], problems: list[Problem]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        found = sorted(p for p in path.iterdir() if p.suffix in (".yaml", ".yml") and not p.stem.endswith(".test"))
        if not found:
            problems.append(
                Problem("no policy files in this folder", "name a file or another folder", Where(str(path)))
            )
        files += found
    return files


def _check_file(path: Path, names: dict[str, str]) -> tuple[str, list[Problem]]:
    """What the file lets through, and what is wrong with it; `names` are the policies seen so far, with their file."""
    try:
        document = model.load(path)
        if isinstance(document.data, dict) and "policies" in document.data:
            bundle = PolicySet(model.validate(Bundle, document), document).bundle
            return f"{output.count(len(bundle.policies), 'policy', 'policies')}, {bundle.digest}", []
        policy = model.validate(Policy, document)
    except DocumentError as error:
        return "", list(error.problems)
    rules, problems = compile_policy(policy, document)
    problems += _names(policy, document, path, names)
    return summary(rules) or "nothing is allowed", problems


def _names(policy: Policy, document: yaml.Document, path: Path, names: dict[str, str]) -> list[Problem]:
    where = document.where(("policy",))
    problems: list[Problem] = []
    if policy.policy != path.stem:
        problems.append(
            Problem(
                f"the policy `{policy.policy}` stands in a file of another name",
                f"call the file `{policy.policy}{path.suffix}`, so that groups find it",
                where,
                "policy",
            )
        )
    first = names.setdefault(policy.policy, str(path))
    if first != str(path):
        problems.append(Problem(f"`{first}` has this name, too", "rename one of them", where, "policy"))
    return problems


def _report(file: str, problems: list[Problem], said: str, as_json: bool) -> None:
    if as_json:
        output.print_json({"file": file, "ok": not problems, "problems": [_plain(p) for p in problems]})
        return
    console = output.console()
    for problem in problems:
        console.print(output.clean(str(problem), line=True))
    if not problems:
        console.print(output.clean(f"{file}: ok; allowed: {said}", line=True))


def _plain(problem: Problem) -> dict[str, Any]:
    where = problem.where
    return {
        "path": where.path if where else None,
        "line": where.line if where else None,
        "column": where.column if where else None,
        "term": problem.term,
        "message": problem.message,
        "remedy": problem.remedy,
    }
