"""The Python that runs a program: found, kept in step with its lock file, and installed on request.

The rules are the real host's (pulumi `sdk/python/toolchain`): with `uv`, the virtual environment is the
option's, else `UV_PROJECT_ENVIRONMENT`'s, else `.venv` beside the nearest `uv.lock` or `pyproject.toml`,
and `uv sync --inexact` runs before each use; with `pip`, it is the option's, else the Python on PATH.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wicketgate.testing.language_host.options import OptionsError, RuntimeOptions, search_up

_STDERR_LINES = 20


@dataclass(frozen=True)
class PythonEnvironment:
    """One virtual environment, or (without `virtualenv`) the Python on PATH."""

    python: str
    virtualenv: Path | None
    toolchain: str
    program: Path

    def environ(self, base: Mapping[str, str]) -> dict[str, str]:
        """`base`, activated: PATH, VIRTUAL_ENV and what Pulumi's own scripts look for; PYTHONHOME removed."""
        environ = {key: value for key, value in base.items() if key not in ("PYTHONHOME", "VIRTUAL_ENV")}
        environ["PULUMI_RUNTIME_TOOLCHAIN"] = self.toolchain
        if self.virtualenv is not None:
            rest = environ.get("PATH", "")
            environ["PATH"] = f"{self.virtualenv / 'bin'}{os.pathsep}{rest}" if rest else str(self.virtualenv / "bin")
            environ["VIRTUAL_ENV"] = environ["PULUMI_RUNTIME_VIRTUALENV"] = str(self.virtualenv)
        return environ

    def prepare(self) -> None:
        """Bring the environment in step with the lock file (`uv`), and make sure it is one. Raises
        OptionsError.
        """
        if self.toolchain == "uv" and search_up(self.program, "pyproject.toml") is not None:
            _capture([*uv_command(), "sync", "--inexact", "--quiet"], self)
        if self.virtualenv is not None and not _is_virtualenv(self.virtualenv):
            raise OptionsError(f"`{self.virtualenv}` is not a virtual environment; run `pulumi install` to create it")

    def install_commands(self, folder: Path) -> list[list[str]]:
        """The commands that install the dependencies of the program in `folder`, in order."""
        if self.toolchain == "uv":
            if search_up(folder, "pyproject.toml") is None:
                if (folder / "requirements.txt").is_file():
                    return [
                        [*uv_command(), "venv", "--allow-existing", str(self.virtualenv)],
                        [*uv_command(), "pip", "install", "--python", self.python, "-r", "requirements.txt"],
                    ]
                return [[*uv_command(), "venv", "--allow-existing", str(self.virtualenv)]]
            return [[*uv_command(), "sync"]]
        commands: list[list[str]] = []
        if self.virtualenv is not None and not _is_virtualenv(self.virtualenv):
            commands.append([_python_on_path(), "-m", "venv", str(self.virtualenv)])
        if (folder / "requirements.txt").is_file():
            commands.append([self.python, "-m", "pip", "install", "-r", "requirements.txt"])
        return commands

    def uv_environ(self, base: Mapping[str, str]) -> dict[str, str]:
        """The environment for uv itself, which is told the virtual environment by name."""
        environ = dict(base)
        environ.pop("VIRTUAL_ENV", None)  # uv warns if it is another one
        if self.virtualenv is not None:
            environ["UV_PROJECT_ENVIRONMENT"] = str(self.virtualenv)
        return environ


def find(options: RuntimeOptions) -> PythonEnvironment:
    """The environment that the options ask for; it need not exist yet. Raises OptionsError."""
    virtualenv = options.virtualenv
    if options.toolchain == "uv" and virtualenv is None:
        uv_command()
        virtualenv = _uv_virtualenv(options.program)
    python = str(virtualenv / "bin" / "python") if virtualenv is not None else _python_on_path()
    return PythonEnvironment(python, virtualenv, options.toolchain, options.program)


def uv_command() -> list[str]:
    """uv's path. Raises OptionsError where there is none."""
    found = shutil.which("uv")
    if found is None:
        raise OptionsError("runtime option `toolchain` is `uv`, but `uv` is not on PATH; install it")
    return [found]


def _uv_virtualenv(program: Path) -> Path:
    beside = search_up(program, "uv.lock") or search_up(program, "pyproject.toml") or program
    return Path(os.path.normpath(beside / os.environ.get("UV_PROJECT_ENVIRONMENT", ".venv")))


def _python_on_path() -> str:
    wanted = [named] if (named := os.environ.get("PULUMI_PYTHON_CMD")) else ["python3", "python"]
    for name in wanted:
        if found := shutil.which(name):
            return found
    raise OptionsError(f"none of {', '.join(f'`{name}`' for name in wanted)} is on PATH; install Python 3.11 or newer")


def _is_virtualenv(folder: Path) -> bool:
    return (folder / "bin" / "python").is_file()


def _capture(command: list[str], environment: PythonEnvironment) -> None:
    done = subprocess.run(
        command,
        cwd=environment.program,
        env=environment.uv_environ(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        tail = "\n".join(done.stderr.strip().splitlines()[-_STDERR_LINES:])
        raise OptionsError(f"`{' '.join(command[1:])}` failed with exit code {done.returncode}:\n{tail}")
