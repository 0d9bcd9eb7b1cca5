"""What `wicketgate access diff` reads of stacks (entry point `wicketgate.access`): a folder, or a git revision."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path, PurePosixPath

from wicketgate.commands.stack_file import guessed, open_stack, project_folder
from wicketgate.policy.access import access_of
from wicketgate_gateway.contract import yaml
from wicketgate_gateway.contract.access import Access
from wicketgate_gateway.contract.errors import WicketgateError

_SECONDS = 60.0


def read(source: str, stack: str = "") -> Access:
    """Who may do what by a project in the folder `source` or above it, or by the git revision `source` of this one.

    Raises WicketgateError, DocumentError.
    """
    folder = Path(source)
    if folder.is_dir():
        return _of_folder(folder, stack)
    root = Path(_git(Path.cwd(), "rev-parse", "--show-toplevel").strip())
    project = project_folder().resolve().relative_to(root.resolve())
    _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{source}^{{commit}}")
    with tempfile.TemporaryDirectory() as name:
        made = Path(name)
        for path in _git(root, "ls-tree", "-r", "-z", "--name-only", source, "--", str(project)).split("\0"):
            if _wanted(path):
                file = made / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(_git(root, "show", f"{source}:{path}"), "utf-8")
        return _of_folder(made / project, stack)


def _wanted(path: str) -> bool:
    # What is not YAML is no stack file and no policy; a name that leads elsewhere is nobody's.
    pure = PurePosixPath(path)
    return pure.suffix in (".yaml", ".yml") and not pure.is_absolute() and ".." not in pure.parts


def _of_folder(folder: Path, stack: str) -> Access:
    project = project_folder(folder)
    file = open_stack(stack or None, None, folder)
    yaml.parse(file.text, str(file.path))
    return access_of(guessed(file.text, file.path), project)


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WicketgateError(f"git cannot be asked: {error}", code="git-failed") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise WicketgateError(
            f"git knows nothing of it: {said[0] if said else arguments[-1].removesuffix('^{commit}')}",
            code="revision-unknown",
            remedy="name a folder, a file, or a revision such as `main` or `HEAD~1`",
        )
    return done.stdout
