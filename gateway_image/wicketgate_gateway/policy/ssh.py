"""What is done over SSH as points, and the terms of rules on them, compiled.

How this works: an `exec` is a point for its command (a plain one with words, or a script), one for each variable that
is passed on, one for a terminal. A file operation is a point for each path that it touches. Patterns are compared with
what was understood, never with the raw text.

A `deny` or `hold` on commands also meets a script that could run such a command: one in which the command's name
stands once quotes are taken away, and one in which words can be computed (expansions, globs, interpreters), since
nobody can tell what those would be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from wicketgate_gateway.contract.ssh import (
    DANGEROUS_ENV,
    DANGEROUS_PREFIXES,
    FileOperation,
    SshTerms,
    pattern_words,
)

_COMPUTES = re.compile(
    r"[$`*?\[{~]|(?<![A-Za-z0-9_-])(?:eval|source|\.|[a-z]*sh|busybox|xargs|env|python[0-9.]*|perl|ruby|awk|find)(?=[\s;|&)]|$)"
)
"""What makes words out of something else, or runs what it reads."""
MAX_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Exec:
    """A plain command."""

    words: tuple[str, ...]
    kind = "exec"

    def __str__(self) -> str:
        return shown(" ".join(self.words))


@dataclass(frozen=True, slots=True)
class Copy:
    """What `scp -O` asks the other side to run: stands for the right to ask for any file operation at all, since it is
    not run, but done by SFTP."""

    words: tuple[str, ...]
    kind = "scp"

    def __str__(self) -> str:
        return shown(" ".join(self.words))


@dataclass(frozen=True, slots=True)
class ScriptText:
    """A text that is more than a plain command; without `exact` no rule can allow it."""

    text: str
    exact: bool
    why: str
    kind = "script"

    def __str__(self) -> str:
        return f"script {shown(self.text)} ({self.why})"


@dataclass(frozen=True, slots=True)
class File:
    """Something done to a path that has no link in it; `home` is the account's."""

    operation: FileOperation
    path: str
    home: str = ""

    @property
    def kind(self) -> str:
        """The operation's name."""
        return self.operation.value

    def __str__(self) -> str:
        return f"{self.operation.value} {shown(self.path)}"


@dataclass(frozen=True, slots=True)
class Shell:
    """An interactive shell."""

    kind = "shell"

    def __str__(self) -> str:
        return "shell"


@dataclass(frozen=True, slots=True)
class Pty:
    """A terminal for a command."""

    kind = "pty"

    def __str__(self) -> str:
        return "pty"


@dataclass(frozen=True, slots=True)
class Forward:
    """A connection that the target opens."""

    where: str
    kind = "forward"

    def __str__(self) -> str:
        return f"forward to {shown(self.where)}"


@dataclass(frozen=True, slots=True)
class Subsystem:
    """A subsystem; `sftp` stands for the right to ask for any file operation at all."""

    name: str
    kind = "subsystem"

    def __str__(self) -> str:
        return f"subsystem {shown(self.name)}"


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the environment that would be set."""

    name: str
    value: str
    kind = "env"

    def __str__(self) -> str:
        return f"env {shown(f'{self.name}={self.value}')}"


SshPoint: TypeAlias = Exec | Copy | ScriptText | File | Shell | Pty | Forward | Subsystem | Variable


def shown(text: str) -> str:
    """Text for people: control characters escaped, cut where it is long."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"


def glob(pattern: str, *, within: str = ".", dash: bool = True) -> re.Pattern[str]:
    """A pattern whose `*` stands for any number of characters of the class `within`; case counts."""
    parts = [re.escape(part) for part in pattern.split("*")]
    start = "" if dash or not pattern.startswith("*") else r"(?!-)"
    return re.compile(start + f"{within}*".join(parts), re.DOTALL)


class _Words:
    """A command pattern."""

    def __init__(self, text: str) -> None:
        self.text = text
        words = pattern_words(text)
        self._open = words[-1] == "**"
        self._words = [glob(word, dash=False) for word in (words[:-1] if self._open else words)]
        # The name's last part without wildcards, by which it may stand in a script.
        self.name = words[0].rpartition("/")[2].strip("*")

    def matches(self, words: tuple[str, ...]) -> bool:
        if len(words) < len(self._words) or (len(words) > len(self._words) and not self._open):
            return False
        return all(pattern.fullmatch(word) for pattern, word in zip(self._words, words, strict=False))

    def could_be_in(self, script: ScriptText) -> bool:
        plain = re.sub(r"['\"\\]", "", script.text)
        if not script.exact or not self.name or _COMPUTES.search(plain):
            return True
        return re.search(rf"(?<![A-Za-z0-9_-]){re.escape(self.name)}(?![A-Za-z0-9_-])", plain) is not None


class _Path:
    """A path pattern."""

    def __init__(self, text: str) -> None:
        self._home = text.startswith("~")
        rest = text[1:] if self._home else text
        self._below = rest.endswith("/**") or rest == "**"
        base = rest[: -len("/**")] if self._below else rest
        self._base = glob(base, within="[^/]")
        self._tree = re.compile(self._base.pattern + r"/.+", re.DOTALL)

    def matches(self, point: File) -> bool:
        path = point.path
        if self._home:
            home = point.home.rstrip("/")
            if not home or not (path == home or path.startswith(f"{home}/")):
                return False
            path = path[len(home) :]
        elif path == "/" and self._below:
            path = ""
        if not self._below:
            return self._base.fullmatch(path) is not None
        if self._tree.fullmatch(path) is not None:
            return True
        # The folder itself may be looked at by who may see what is in it.
        return point.operation is FileOperation.READ and self._base.fullmatch(path) is not None


class _Env:
    """A variable's pattern."""

    def __init__(self, text: str) -> None:
        name, sep, value = text.partition("=")
        self._plain = "*" not in name
        self._name = glob(name)
        self._value = glob(value) if sep else None

    def matches(self, point: Variable, *, certain: bool) -> bool:
        if self._name.fullmatch(point.name) is None:
            return False
        if certain and not self._plain and dangerous(point.name):
            return False
        return self._value is None or self._value.fullmatch(point.value) is not None


def dangerous(name: str) -> bool:
    """Whether programs run what a variable of this name says."""
    return name in DANGEROUS_ENV or name.startswith(DANGEROUS_PREFIXES)


class SshRule:
    """The terms of one rule."""

    def __init__(self, terms: SshTerms) -> None:
        self._terms = terms
        self._commands = [_Words(text) for text in terms.commands or ()]
        self._scripts = [glob(text) for text in terms.scripts or ()]
        self._paths = [_Path(text) for text in terms.paths or ()]
        self._env = [_Env(text) for text in terms.env or ()]
        self._forward = [glob(text) for text in terms.forward or ()]
        given = frozenset(terms.operations or ())
        self._covered = given or frozenset({FileOperation.READ})
        self._met = given or frozenset(FileOperation)

    def __str__(self) -> str:
        terms = self._terms
        parts = [f"`{text}`" for text in (*(terms.commands or ()), *(terms.scripts or ()))]
        if terms.paths:
            done = ", ".join(f"`{each.value}`" for each in sorted(self._covered))
            parts.append(f"{done} on " + ", ".join(f"`{path}`" for path in terms.paths))
        parts += [name for name, on in (("a shell", terms.shell), ("a terminal", terms.pty)) if on]
        parts += [f"forwarding to `{where}`" for where in terms.forward or ()]
        parts += [f"the subsystem `{name}`" for name in terms.subsystems or ()]
        parts += [f"setting `{name}`" for name in terms.env or ()]
        return ", ".join(parts)

    def covers(self, point: Any) -> bool:
        """See `compile.PointTerms`."""
        match point:
            case Exec():
                return any(pattern.matches(point.words) for pattern in self._commands)
            case ScriptText():
                return point.exact and any(pattern.fullmatch(point.text) for pattern in self._scripts)
            case File():
                return point.operation in self._covered and any(pattern.matches(point) for pattern in self._paths)
            case Subsystem(name="sftp") | Copy():
                return bool(self._paths)
            case Variable():
                return any(pattern.matches(point, certain=True) for pattern in self._env)
            case _:
                return self._plain(point)

    def meets(self, point: Any) -> bool:
        """See `compile.PointTerms`."""
        match point:
            case Exec() | Copy():
                return any(pattern.matches(point.words) for pattern in self._commands)
            case ScriptText():
                return any(pattern.fullmatch(point.text) for pattern in self._scripts) or any(
                    pattern.could_be_in(point) for pattern in self._commands
                )
            case File():
                return point.operation in self._met and any(pattern.matches(point) for pattern in self._paths)
            case Subsystem(name="sftp"):
                return False
            case Variable():
                return any(pattern.matches(point, certain=False) for pattern in self._env)
            case _:
                return self._plain(point)

    def _plain(self, point: Any) -> bool:
        match point:
            case Shell():
                return bool(self._terms.shell)
            case Pty():
                return bool(self._terms.pty or self._terms.shell)
            case Forward():
                return any(pattern.fullmatch(point.where) for pattern in self._forward)
            case Subsystem():
                return point.name in (self._terms.subsystems or ())
            case _:
                return False


def compile_terms(terms: SshTerms) -> SshRule:
    """A rule's terms, ready to match."""
    return SshRule(terms)


def values(
    points: Iterable[SshPoint], command: str = "", env: Mapping[str, str] | None = None, *, pty: bool = False
) -> dict[str, Any]:
    """The variables of conditions for an operation with these points."""
    found = list(points)
    words = next((point.words for point in found if isinstance(point, Exec | Copy)), ())
    return {
        "op.command": command,
        "op.argv": list(words),
        "op.env": dict(env or {}),
        "op.paths": sorted({point.path for point in found if isinstance(point, File)}),
        "op.pty": pty,
    }
