"""What a rule can say of what is done over SSH.

Each term speaks of its own kind of thing: a command, a script, a file, a shell, a connection, a subsystem, a variable
of the environment. A rule is about whatever one of its terms names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from wicketgate_gateway.contract.model import Strings, Terms, listed

VARIABLES: Mapping[str, str] = {
    "op.command": "string",
    "op.argv": "strings",
    "op.env": "map",
    "op.paths": "strings",
    "op.pty": "bool",
}
"""What a condition can ask of a command or file operation, beside what it can ask of any operation."""

_PATH = re.compile(r"(?:~|(?:~?/[^\0\n]*))\Z")
_FORWARD = re.compile(r"(\[[0-9a-fA-F:.*]+\]|[A-Za-z0-9.*_-]+):(\d{1,5}|\*)\Z")
_ENV = re.compile(r"[A-Za-z_*][A-Za-z0-9_*]*(=[^\0\n]*)?\Z")
_SUBSYSTEM = re.compile(r"[A-Za-z0-9@._-]+\Z")
_UNSAFE = re.compile(r"[;&|<>()$`\"'\\#!{}\[\]~\n\0]")

DANGEROUS_ENV = frozenset(
    {"BASH_ENV", "ENV", "SHELLOPTS", "BASHOPTS", "PS4", "IFS", "PATH", "PROMPT_COMMAND", "ZDOTDIR", "PYTHONPATH",
     "PYTHONSTARTUP", "PYTHONHOME", "PERL5LIB", "PERL5OPT", "RUBYOPT", "RUBYLIB", "NODE_OPTIONS", "GIT_SSH",
     "GIT_SSH_COMMAND", "GIT_EXTERNAL_DIFF", "GIT_CONFIG_COUNT", "EDITOR", "VISUAL", "PAGER", "LESSOPEN", "LESSCLOSE",
     "MANPAGER", "HOME", "SHELL"}
)  # fmt: skip
"""Variables that make programs run what they name: no wildcard matches them, a rule must name each by itself."""
DANGEROUS_PREFIXES = ("LD_", "DYLD_", "BASH_FUNC_", "GIT_", "MALLOC_", "GLIBC_")


class FileOperation(StrEnum):
    """What is done to a file at the target, by SFTP or SCP."""

    READ = "read"
    """Read its content, list a folder, look at what there is, follow a link."""
    WRITE = "write"
    """Make or change it: content, folders."""
    REMOVE = "remove"
    """Remove a file or an empty folder."""
    RENAME = "rename"
    """Give it another name; the new name is written."""
    LINK = "link"
    """Make a link, symbolic or hard; both ends must be covered."""
    ATTRIBUTES = "attributes"
    """Change mode, owner or times."""


def _each(shape: re.Pattern[str], say: str) -> Any:
    def check(values: list[str]) -> list[str]:
        if not values:
            raise ValueError("an empty list matches nothing: list something, or remove the key")
        for value in values:
            if not shape.match(value):
                raise ValueError(f"`{value}` is not {say}")
        return values

    return AfterValidator(check)


def _commands(values: list[str]) -> list[str]:
    if not values:
        raise ValueError("an empty list matches nothing: list something, or remove the key")
    for value in values:
        pattern_words(value)
    return values


def pattern_words(pattern: str) -> list[str]:
    """The words of a command pattern. Raises ValueError for what no plain command could ever match."""
    words: list[str] = []
    rest = pattern.strip()
    while rest:
        if rest[0] == "'":
            close = rest.find("'", 1)
            if close < 0 or rest[close + 1 : close + 2].strip():
                raise ValueError(f"`{pattern}` has a quote that does not end with its word")
            words.append(rest[1:close])
            rest = rest[close + 1 :].lstrip()
            continue
        word, _, rest = rest.partition(" ")
        rest = rest.lstrip()
        if _UNSAFE.search(word):
            raise ValueError(
                f"`{word}` in `{pattern}` is no plain word: put it into single quotes, or if it is the shell's "
                "grammar, write the whole text under `scripts`"
            )
        words.append(word)
    if not words:
        raise ValueError("an empty command matches nothing")
    if "**" in words[:-1]:
        raise ValueError(f"`**` in `{pattern}` must be the last word: it stands for all that follow")
    if any("**" in word and word != "**" for word in words):
        raise ValueError(f"`**` in `{pattern}` must be a word of its own")
    if words[0] == "**":
        raise ValueError(
            "`**` alone allows any command: write `scripts: '*'` and `shell: true` if that is what you want"
        )
    return words


def _paths(values: list[str]) -> list[str]:
    for value in values:
        parts = value.split("/")
        if any(part in (".", "..") for part in parts[1:]) or "//" in value:
            raise ValueError(f"`{value}` holds `.`, `..` or `//`, which no path has once it is resolved")
        if any("**" in part and part != "**" for part in parts) or "**" in parts[:-1]:
            raise ValueError(f"`**` in `{value}` must be the last part: it stands for all that is below")
    return values


Commands = Annotated[Strings, AfterValidator(_commands)]
Paths = Annotated[
    Strings, _each(_PATH, "an absolute path, or one below `~`, the account's home"), AfterValidator(_paths)
]


def _operations_listed(value: Any) -> Any:
    return listed(value)


class SshTerms(Terms):
    """What a rule says of an SSH session; it is about whatever one of its terms names."""

    commands: Commands | None = None
    """Plain commands, word by word: `systemctl status *`. `*` stands for any one word (within a word: for any
    characters) that does not begin with `-`, a last `**` for any number of words of any kind."""
    scripts: Annotated[Strings, Field(min_length=1)] | None = None
    """Texts that are more than one plain command, whole and exactly; `*` stands for anything, operators included."""
    paths: Paths | None = None
    """Files and folders for SFTP and SCP, as they are once links are resolved: `/srv/app/**`, `~/in/*`."""
    operations: Annotated[
        list[Annotated[FileOperation, Field(strict=False)]] | None,
        BeforeValidator(_operations_listed),
    ] = None
    """What may be done to `paths`: `read`, `write`, `remove`, `rename`, `link`, `attributes`; left out, in `allow` and
    `hold` `read`, in `deny` all."""
    shell: bool | None = None
    """`true`: an interactive shell, which is one decision on all that is done in it."""
    pty: bool | None = None
    """`true`: a command may have a terminal."""
    forward: Annotated[Strings, _each(_FORWARD, "of the form `host:port`")] | None = None
    """Connections that the target opens for the client (`ssh -L`, `-W`, `-J`): `db.internal:5432`."""
    subsystems: Annotated[Strings, _each(_SUBSYSTEM, "a subsystem's name")] | None = None
    """Subsystems other than `sftp`, by name. Nobody looks into them."""
    env: Annotated[Strings, _each(_ENV, "a variable's name, or `NAME=value`")] | None = None
    """Variables that may be set: `LANG`, `LC_*`, `MODE=test`. Others that a client sends are not passed on."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        names = ("commands", "scripts", "paths", "shell", "pty", "forward", "subsystems", "env")
        if all(getattr(self, name) is None for name in names):
            raise ValueError(f"needs at least one of {', '.join(f'`{name}`' for name in names)}")
        if self.operations is not None and (self.paths is None or not self.operations):
            raise ValueError("`operations` says what may be done to `paths`: give both")
        if self.shell is False or self.pty is False:
            raise ValueError("`false` says nothing: leave it out, or write a `deny` rule with `true`")
        if "sftp" in (self.subsystems or ()):
            raise ValueError("`sftp` is decided file by file: write `paths`")
        return self
