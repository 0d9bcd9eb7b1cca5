"""A throwaway Pulumi project in a folder, driven through the real CLI: for tests of programs and providers."""

import json
import os
import subprocess
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

_SECONDS: Final = 110.0


@dataclass(frozen=True)
class Result:
    """How one CLI call ended."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Everything that it printed."""
        return self.out + self.err


class CliError(AssertionError):
    """A CLI call that was to succeed failed; the text is all that it printed."""


class Project:
    """A project with one stack, `test`, whose state lies in its own folder.

    `command` and `env` are an engine's (`tools.provide`); `python` is the virtual environment's folder that programs
    run in; `plugins` are folders or binaries of providers by name.
    """

    def __init__(
        self,
        folder: Path,
        command: Path,
        env: Mapping[str, str],
        *,
        python: Path,
        plugins: Mapping[str, Path] | None = None,
    ) -> None:
        self.folder = folder
        self.command = command
        state = folder / ".state"
        state.mkdir(parents=True, exist_ok=True)
        self.env = {**os.environ, **env, "PULUMI_BACKEND_URL": state.as_uri(), "NO_COLOR": "1"}
        document: dict[str, Any] = {
            "name": "project",
            "runtime": {"name": "python", "options": {"toolchain": "pip", "virtualenv": str(python)}},
        }
        if plugins:
            providers = [{"name": name, "path": str(path)} for name, path in plugins.items()]
            document["plugins"] = {"providers": providers}
        self.write("Pulumi.yaml", yaml.safe_dump(document))
        self.pulumi("stack", "init", "test")

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project; common indentation is removed."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def program(self, text: str) -> None:
        """The program, as `__main__.py`."""
        self.write("__main__.py", text)

    def pulumi(self, *arguments: str, check: bool = True) -> Result:
        """One call of the CLI. Raises CliError if it fails, unless `check` is false."""
        done = subprocess.run(
            [str(self.command), *arguments, "--non-interactive"],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        result = Result(done.returncode, done.stdout, done.stderr)
        if check and result.code != 0:
            raise CliError(f"pulumi {' '.join(arguments)}: exit code {result.code}\n{result.text}")
        return result

    def up(self) -> Result:
        """Update without asking."""
        return self.pulumi("up", "--yes", "--skip-preview")

    def destroy(self) -> Result:
        """Destroy without asking."""
        return self.pulumi("destroy", "--yes", "--skip-preview")

    def refresh(self) -> Result:
        """Refresh without asking."""
        return self.pulumi("refresh", "--yes", "--skip-preview")

    def planned(self) -> dict[str, int]:
        """What a preview would do: the number of resources per operation (`create`, `same`, `update`, …)."""
        return json.loads(self.pulumi("preview", "--json").out)["changeSummary"]

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs, secrets in clear."""
        return json.loads(self.pulumi("stack", "output", "--json", "--show-secrets").out)

    def state(self) -> list[dict[str, Any]]:
        """The resources in the state, secrets encrypted."""
        deployment = json.loads(self.pulumi("stack", "export").out)["deployment"]
        return deployment.get("resources") or []
