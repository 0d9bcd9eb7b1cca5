"""A stack file under edit: found, changed in memory, checked by the stack's own model, and only then written."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wicketgate.config import ENVIRONMENT, NAMESPACE, StackConfig, load
from wicketgate_gateway.contract import yaml
from wicketgate_gateway.contract.errors import DocumentError, Problem, Where, WicketgateError


@dataclass(frozen=True, slots=True)
class StackFile:
    """`stacks/Pulumi.NAME.yaml` and its text."""

    path: Path
    text: str

    @property
    def settings(self) -> dict[str, Any]:
        """The `wicketgate:` settings as they stand, without the namespace. Raises DocumentError."""
        return _settings(self.text, str(self.path))

    def section(self, name: str) -> dict[str, Any]:
        """One setting that is a mapping; empty if it is not there."""
        value = self.settings.get(name)
        return value if isinstance(value, dict) else {}

    def change(self, edit: Callable[[str, str], str]) -> StackFile:
        """Write what `edit(text, path)` makes of the file, if the stack takes it.

        Raises DocumentError with each mistake that the file did not have before; then nothing is written.
        """
        new = edit(self.text, str(self.path))
        before = {_told(p) for p in problems(self.text, self.path)}
        found = [p for p in problems(new, self.path) if _told(p) not in before]
        if found:
            raise DocumentError(found)
        _write(self.path, new)
        return StackFile(self.path, new)


def open_stack(stack: str | None, file: Path | None, start: Path | None = None) -> StackFile:
    """The stack file `file`, or that of `stack` in the project at or above `start` (this folder); without both, the
    project's only one.

    Raises WicketgateError.
    """
    if file is None:
        folder = stacks_folder(start)
        if stack is not None:
            file = folder / f"Pulumi.{stack}.yaml"
        else:
            found = sorted(folder.glob("Pulumi.*.yaml"))
            if len(found) != 1:
                names = ", ".join(f"`{p.name.removeprefix('Pulumi.').removesuffix('.yaml')}`" for p in found)
                raise WicketgateError(
                    f"which stack is not said; there are {names or 'none'}",
                    code="stack-unsaid",
                    remedy="say --stack NAME",
                )
            file = found[0]
    try:
        return StackFile(file, file.read_text("utf-8"))
    except FileNotFoundError:
        raise WicketgateError(f"there is no stack file `{file}`", code="stack-missing", remedy="name another") from None
    except (OSError, UnicodeDecodeError) as error:
        raise WicketgateError(f"`{file}` cannot be read: {error}", code="stack-unreadable") from None


def problems(text: str, path: Path) -> list[Problem]:
    """Every mistake in the `wicketgate:` settings of a stack file. Raises nothing.

    A value that is to come from an environment variable (`${NAME}`) is not known here, so it is no mistake.
    """
    return _read(text, path)[1]


def guessed(text: str, path: Path) -> StackConfig:
    """The settings of a stack file, with stand-ins for what comes from environment variables. Raises DocumentError."""
    config, found = _read(text, path)
    if config is None:
        raise DocumentError(
            found or [Problem("what comes from the environment is not known here", "set it", Where(str(path)))]
        )
    return config


_GUESSES: tuple[Any, ...] = (
    "localhost:1",
    1,
    "https://localhost",
    "verify-full",
    "2099-12-31",
    "00000000-0000-4000-8000-000000000000",
    True,
)
"""What a value of an environment variable may be, tried one after the other until the model takes it."""


def _read(text: str, path: Path) -> tuple[StackConfig | None, list[Problem]]:
    tried: dict[str, int] = {}
    while True:
        unknown: set[str] = set()
        try:
            return load(_guessed(_settings(text, str(path)), (), tried, unknown), path, text), []
        except DocumentError as error:
            found = [p for p in error.problems if p.term not in unknown]
            wrong = {
                term for p in error.problems if (term := p.term) in unknown and tried.get(term, 0) < len(_GUESSES) - 1
            }
            if not wrong:
                return None, found
            tried |= {term: tried.get(term, 0) + 1 for term in wrong}


def _guessed(value: Any, path: tuple[str, ...], tried: dict[str, int], unknown: set[str]) -> Any:
    if isinstance(value, dict):
        return {k: _guessed(v, (*path, str(k)), tried, unknown) for k, v in value.items()}
    if isinstance(value, list):
        return [_guessed(v, (*path, str(i)), tried, unknown) for i, v in enumerate(value)]
    if isinstance(value, str) and ENVIRONMENT.match(value):
        term = ".".join(path)
        unknown.add(term)
        return _GUESSES[tried.get(term, 0)]
    return value


def config_path(section: str) -> tuple[str, str]:
    """Where a setting stands in a stack file."""
    return ("config", f"{NAMESPACE}:{section}")


def print_json(value: Any) -> None:
    """One object on one line."""
    print(json.dumps(value, separators=(",", ":")))


def _told(problem: Problem) -> tuple[str, str]:
    return problem.message, problem.term


def _settings(text: str, name: str) -> dict[str, Any]:
    data = yaml.parse(text, name).data
    config = data.get("config") if isinstance(data, dict) else None
    prefix = f"{NAMESPACE}:"
    if not isinstance(config, dict):
        return {}
    return {key.removeprefix(prefix): value for key, value in config.items() if key.startswith(prefix)}


def project_folder(start: Path | None = None) -> Path:
    """The project's folder, at or above `start` (this folder). Raises WicketgateError."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "Pulumi.yaml").is_file():
            return folder
    raise WicketgateError("no `Pulumi.yaml` in this folder or above it", code="project-missing", remedy="say --file")


def stacks_folder(start: Path | None = None) -> Path:
    """Where the project keeps its stack files. Raises WicketgateError."""
    folder = project_folder(start)
    project = folder / "Pulumi.yaml"
    data = yaml.parse(project.read_text("utf-8"), str(project)).data
    return folder / str((data or {}).get("stackConfigDir") or ".")


def _write(path: Path, text: str) -> None:
    # Beside it and renamed: whoever reads the file sees the old or the new, never half of one.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as out:
            out.write(text)
        os.chmod(name, path.stat().st_mode & 0o777)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
