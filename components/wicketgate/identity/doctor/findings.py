"""What a doctor's visit found: one finding each, with what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from wicketgate.identity.graph import GraphError
from wicketgate.identity.signin import SignInError
from wicketgate_gateway.contract.errors import WicketgateError


class Level(StrEnum):
    """How bad it is. A `problem` makes the exit code 1; a `note` is what could not be looked at, or was repeated."""

    PROBLEM = "problem"
    WARNING = "warning"
    NOTE = "note"


_ORDER = {level: at for at, level in enumerate(Level)}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found. `code` is stable and made for machines."""

    level: Level
    code: str
    about: str
    """What it is about, as the stack names it: `bot code-review`."""
    said: str
    remedy: str
    """What to do: best a command."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        names = ("level", "code", "about", "said", "remedy")
        return {name: str(getattr(self, name)) for name in names}


@dataclass
class Report:
    """All findings of one visit, and what was found well."""

    findings: list[Finding] = field(default_factory=list[Finding])
    proven: list[str] = field(default_factory=list[str])
    """Workloads whose federated exchange worked."""

    def add(self, level: Level, code: str, about: str, said: str, remedy: str) -> None:
        """One finding; the same one twice counts once."""
        finding = Finding(level, code, about, _plain(said), _plain(remedy))
        if finding not in self.findings:
            self.findings.append(finding)

    def problem(self, code: str, about: str, said: str, remedy: str) -> None:
        """What is wrong now."""
        self.add(Level.PROBLEM, code, about, said, remedy)

    def warn(self, code: str, about: str, said: str, remedy: str) -> None:
        """What will be wrong, or is worth a second thought."""
        self.add(Level.WARNING, code, about, said, remedy)

    def note(self, code: str, about: str, said: str, remedy: str) -> None:
        """What could not be looked at or proven, or was repeated."""
        self.add(Level.NOTE, code, about, said, remedy)

    def failed(self, about: str, error: WicketgateError, remedy: str = "") -> None:
        """A look that could not be taken. A 403 names what is missing (`remedy`), anything else says itself."""
        if isinstance(error, GraphError) and error.status == 403:
            what = f"not allowed to look: {error.message}"
            self.problem("not-allowed", about, what, remedy or "see the missing permissions above")
        elif isinstance(error, GraphError | SignInError):
            self.problem(error.code, about, error.message, error.remedy or "try again later")
        else:
            self.problem(error.code, about, error.message, error.remedy)

    @property
    def sick(self) -> bool:
        """Whether there is any problem."""
        return any(one.level is Level.PROBLEM for one in self.findings)

    def sorted(self) -> list[Finding]:
        """The worst first, otherwise in the order of the visit."""
        return sorted(self.findings, key=lambda one: _ORDER[one.level])

    def table(self) -> Iterable[str]:
        """Lines for people: what was found, and under each what to do."""
        width = max((len(one.about) for one in self.findings), default=0)
        for one in self.sorted():
            yield f"{one.level:<8} {one.about:<{width}}  {one.said}"
            for line in one.remedy.splitlines():
                yield f"{'':<8} {'':<{width}}  → {line}"

    def summary(self) -> dict[str, Any]:
        """How many of each level, and what was proven."""
        counts = {f"{level}s": sum(one.level is level for one in self.findings) for level in Level}
        return {**counts, "proven": self.proven}


def _plain(text: str) -> str:
    # What Entra or the tenant's people wrote must not move a terminal's cursor.
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
