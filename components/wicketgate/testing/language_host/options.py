"""What a project says about its Python: `runtime: {name: python, options: {toolchain, virtualenv,
typechecker}}`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wicketgate.provider.values import decode

TOOLCHAINS: Final = ("pip", "uv")
TYPECHECKERS: Final = ("mypy", "pyright")


class OptionsError(ValueError):
    """Runtime options that cannot be honoured; the text says which and what to write instead."""


@dataclass(frozen=True)
class RuntimeOptions:
    """Where a program stands and which Python runs it. All paths are absolute."""

    root: Path
    """Where Pulumi.yaml (or PulumiPlugin.yaml, PulumiPolicy.yaml) is."""
    program: Path
    """The program's directory."""
    entry_point: str
    """The program within it: `.`, or a file's name."""
    toolchain: str
    """One of `TOOLCHAINS`."""
    virtualenv: Path | None
    typechecker: str | None


def read(info: Any) -> RuntimeOptions:
    """The options of a `pulumirpc.ProgramInfo`. Raises OptionsError.

    Without `toolchain` it is `uv` where a `uv.lock` lies in the program's directory or above it, else `pip`,
    as in the real host.
    """
    root, program = Path(info.root_directory), Path(info.program_directory)
    options = decode(info.options)
    virtualenv = _text(options, "virtualenv")
    return RuntimeOptions(
        root=root,
        program=program,
        entry_point=info.entry_point or ".",
        toolchain=_toolchain(options, program),
        virtualenv=Path(os.path.normpath(root / virtualenv)) if virtualenv else None,
        typechecker=_choice(options, "typechecker", TYPECHECKERS),
    )


def search_up(start: Path, name: str) -> Path | None:
    """The nearest directory, from `start` upward, that has a file called `name`."""
    return next((folder for folder in (start, *start.parents) if (folder / name).is_file()), None)


def _toolchain(options: Mapping[str, Any], program: Path) -> str:
    chosen = _choice(options, "toolchain", TOOLCHAINS)
    if chosen is not None:
        return chosen
    if search_up(program, "uv.lock") is not None:
        return "uv"
    if search_up(program, "poetry.lock") is not None:
        raise OptionsError("this stand-in has no poetry; set the runtime option `toolchain` to `uv` or `pip`")
    return "pip"


def _choice(options: Mapping[str, Any], key: str, known: tuple[str, ...]) -> str | None:
    value = _text(options, key)
    if value is None or (key == "typechecker" and value == "none"):
        return None
    if value not in known:
        raise OptionsError(f"runtime option `{key}` is `{value}`; this stand-in knows {', '.join(known)}")
    return value


def _text(options: Mapping[str, Any], key: str) -> str | None:
    value = options.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise OptionsError(f"runtime option `{key}` must be a text")
    return value
