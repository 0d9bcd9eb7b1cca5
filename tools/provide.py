"""Provides the Pulumi engine and its plugins for this checkout: `python -m tools.provide [--json] [--kubernetes]`.

What is official is used where it is installed or can be downloaded. Where downloads are closed, the CLI (and with
`--kubernetes` that plugin) is built once from its published Go module, and the Python language host and the azuread
plugin, which are published nowhere else, are stand-ins of ours (`wicketgate.testing`). The choice is remembered, so
that later runs take no time; `--again` makes it anew, and `WICKETGATE_ENGINE=official|build` forces it.
"""

import argparse
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tools.engine import build, cache, layout, official, pins
from tools.engine.cache import Progress, ProvideError

FOLDER: Final = pins.ROOT / ".wicketgate" / "pulumi"
"""Where a checkout's engine is laid out unless told otherwise; git ignores it."""

_CHOICES: Final = ("auto", "official", "build")


@dataclass(frozen=True)
class Choice:
    """Which CLI was chosen, and why; what `decision.json` remembers."""

    source: str
    """`installed`, `downloaded` or `built`."""
    command: str
    reason: str


@dataclass(frozen=True)
class Engine:
    """A `pulumi` that works, and what its processes need."""

    command: Path
    env: dict[str, str]
    """To be added to a process's environment."""
    source: str
    """Where the CLI is from: `installed`, `downloaded` or `built`."""
    plugins: dict[str, str]
    """Each plugin, by name, as `official`, `built` or `stand-in`; the language host is `language-python`."""
    story: str
    """One line for people: what was chosen and why."""

    def environ(self) -> dict[str, str]:
        """This process's environment with the engine's added."""
        return {**os.environ, **self.env}


def provide(
    *,
    folder: Path = FOLDER,
    kubernetes: bool = False,
    python: Path = pins.ROOT / ".venv" / "bin" / "python",
    progress: Progress | None = None,
    again: bool = False,
) -> Engine:
    """The engine, laid out in `folder` (made if need be). Raises ProvideError.

    `python` is the interpreter of the locked environment, which runs the stand-ins; it need not be there yet.
    """
    say = progress or _say
    folder = folder.absolute()
    choice = _choose(say, again=again)
    binary = Path(choice.command)
    plugins: dict[str, str] = {}
    uv = shutil.which("uv")
    path = [str(Path(uv).parent)] if uv else []
    if choice.source == "built":
        command = layout.link_cli(folder, binary)
        path = [str(command.parent), *path]
        layout.write_language_host(folder, python)
        plugins["language-python"] = "stand-in"
    else:
        command = binary
        path = [str(binary.parent), *path]
        shutil.rmtree(folder / "bin", ignore_errors=True)
        plugins["language-python"] = "official"
    closed = choice.source == "built"
    plugins["azuread"] = _plugin(
        folder, command, "azuread", pins.AZUREAD, closed, say,
        lambda: layout.write_stand_in(folder, "azuread", pins.AZUREAD, python), "stand-in",
    )  # fmt: skip
    if kubernetes:
        plugins["kubernetes"] = _plugin(
            folder, command, "kubernetes", pins.KUBERNETES, closed, say,
            lambda: layout.link_plugin(
                folder, "kubernetes", pins.KUBERNETES, build.build(pins.KUBERNETES_PLUGIN, say).parent
            ), "built",
        )  # fmt: skip
    how = ", ".join(f"{name} {kind}" for name, kind in plugins.items())
    return Engine(
        command=command,
        env=layout.environ(folder, closed=closed, path=path),
        source=choice.source,
        plugins=plugins,
        story=f"pulumi {choice.source} ({choice.reason}); {how}",
    )


def _plugin(
    folder: Path,
    command: Path,
    name: str,
    version: str,
    closed: bool,
    say: Progress,
    otherwise: Callable[[], None],
    kind: str,
) -> str:
    """Have one plugin in the layout: the official one if it is installed or can be downloaded, else by `otherwise`."""
    if not closed and layout.has_plugin(folder, name, version):
        return "official"
    if os.environ.get("WICKETGATE_ENGINE") != "build":
        installed = official.installed_plugin(name, version)
        if installed is not None and installed.parent.parent != folder / "home":
            layout.link_plugin(folder, name, version, installed)
            return "official"
    if not closed:
        layout.remove_stand_in(folder, name, version)
        if official.install_plugin(command, folder / "home", name, version, say):
            return "official"
    otherwise()
    return kind


def _choose(say: Progress, *, again: bool) -> Choice:
    wanted = os.environ.get("WICKETGATE_ENGINE") or "auto"
    if wanted not in _CHOICES:
        raise ProvideError(f"WICKETGATE_ENGINE is `{wanted}`; it takes {', '.join(_CHOICES)}")
    memory = cache.root() / "decision.json"
    inputs = _inputs(wanted)
    if not again:
        remembered = _remembered(memory, inputs)
        if remembered is not None:
            return remembered
    choice = _decide(wanted, say)
    memory.parent.mkdir(parents=True, exist_ok=True)
    scratch = memory.with_name(f".decision.{os.getpid()}")
    scratch.write_text(json.dumps({"inputs": inputs, "choice": asdict(choice), "at": int(time.time())}))
    scratch.replace(memory)
    return choice


def _decide(wanted: str, say: Progress) -> Choice:
    if wanted == "build":
        return Choice("built", str(build.build(pins.CLI, say)), "as WICKETGATE_ENGINE asks")
    installed, why_not = official.on_path()
    if installed is not None:
        return Choice("installed", str(installed.command), why_not)
    try:
        digest = official.published_digest()
        return Choice("downloaded", str(official.download(digest, say)), why_not)
    except ProvideError as cause:
        if wanted == "official":
            raise ProvideError(f"{why_not}, and {cause}; install the Pulumi CLI, or unset WICKETGATE_ENGINE") from cause
        why_not = f"{why_not}, and {cause}"
    return Choice("built", str(build.build(pins.CLI, say)), why_not)


def _inputs(wanted: str) -> dict[str, Any]:
    """What the choice depends on; if it changes, the choice is made anew."""
    found = shutil.which("pulumi")
    stat = os.stat(found) if found else None
    return {
        "wanted": wanted,
        "pulumi": [found, stat.st_size, stat.st_mtime_ns] if stat else None,
        "version": pins.PULUMI,
        "build": build.digest(pins.CLI),
    }


def _remembered(memory: Path, inputs: dict[str, Any]) -> Choice | None:
    try:
        document = json.loads(memory.read_text())
        choice = Choice(**document["choice"])
        known = document["inputs"] == inputs
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return choice if known and os.access(choice.command, os.X_OK) else None


def _say(line: str) -> None:
    sys.stderr.write(f"  {line}\n")
    sys.stderr.flush()


def main(arguments: list[str]) -> int:
    """The command: prints shell lines to `eval`, or with `--json` one object; progress goes to standard error."""
    parser = argparse.ArgumentParser(prog="python -m tools.provide", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of shell lines")
    parser.add_argument("--kubernetes", action="store_true", help="provide the kubernetes plugin too")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the engine is laid out")
    parser.add_argument("--again", action="store_true", help="look anew for what is installed or can be downloaded")
    given = parser.parse_args(arguments)
    try:
        engine = provide(folder=given.folder, kubernetes=given.kubernetes, again=given.again)
    except ProvideError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    _say(engine.story)
    if given.json:
        document = {**asdict(engine), "command": str(engine.command)}
        print(json.dumps(document))
    else:
        for name, value in engine.env.items():
            print(f"export {name}={shlex.quote(value)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
