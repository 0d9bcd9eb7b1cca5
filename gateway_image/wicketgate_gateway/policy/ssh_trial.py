"""Operations over SSH as text, for test cases, the simulator and the replay: the words that the audit has for them.

    uname -a                                a command, as `ssh host uname -a` sends it
    env:LANG=C uname -a                     with a variable; `pty: top` with a terminal
    shell                                   an interactive shell
    scp -t /srv/app                         what `scp -O` has the host run: whether it may ask for files at all
    subsystem netconf
    forward db.internal:5432
    sftp read /srv/app/x                    several with `; ` between: `sftp rename /a; sftp write /b`

What is decided is what the gateway decides: the same reading of the command, the same points, the same engine.
"""

from __future__ import annotations

from collections.abc import Sequence

from wicketgate_gateway.contract.ssh import FileOperation
from wicketgate_gateway.contract.verdict import Verdict
from wicketgate_gateway.policy.engine import TargetPolicy
from wicketgate_gateway.policy.ssh import (
    Copy,
    Exec,
    File,
    Forward,
    Pty,
    ScriptText,
    Shell,
    SshPoint,
    Subsystem,
    Variable,
    values,
)
from wicketgate_gateway.wire.ssh import scp, words

HOME = "/home/account"
"""Whose `~` rules mean here, where there is no target."""


def points_of(text: str, recorded: Sequence[str] = ()) -> tuple[list[SshPoint], str]:
    """The points of an operation, and its command; `recorded` are those that an event names. Raises ValueError."""
    if text == "shell" and (not recorded or "shell" in recorded):
        return [Shell()], ""
    if text.startswith("sftp ") and (not recorded or not recorded[0].startswith("sftp ")):
        return [_file(part) for part in text.split("; ")], ""
    if text.startswith("subsystem ") and (not recorded or recorded[0] == text):
        return [Subsystem(text.removeprefix("subsystem "))], ""
    if text.startswith("forward "):
        return [Forward(text.removeprefix("forward "))], ""
    if recorded and recorded[0].startswith("forward to "):
        return [Forward(text)], ""
    more: list[SshPoint] = []
    for point in recorded[1:]:
        if point == "pty":
            more.append(Pty())
        elif point.startswith("env "):
            name, _, value = point.removeprefix("env ").partition("=")
            more.append(Variable(name, value))
    while not recorded and text.startswith(("env:", "pty: ")):
        first, _, text = text.partition(" ")
        if first == "pty:":
            more.append(Pty())
        else:
            name, _, value = first.removeprefix("env:").partition("=")
            more.append(Variable(name, value))
    copying = None if more else scp.copying(text)
    if copying is not None:
        return [Copy(copying.words)], text
    found = words.read(text.encode("utf-8", "surrogatepass"))
    if isinstance(found, words.Command):
        return [Exec(found.words), *more], text
    return [ScriptText(found.text, found.exact, found.why), *more], text


def decide(
    policy: TargetPolicy, text: str, now: float | None = None, recorded: Sequence[str] = ()
) -> tuple[Verdict, list[SshPoint]]:
    """The verdict on an operation that is written as above, and what it was understood as. Raises ValueError."""
    points, command = points_of(text, recorded)
    env = {point.name: point.value for point in points if isinstance(point, Variable)}
    pty = any(isinstance(point, Pty) for point in points)
    return policy.decide_points(points, values(points, command, env, pty=pty), text, now), points


def _file(text: str) -> File:
    words_ = text.split(" ", 2)
    if len(words_) != 3 or words_[0] != "sftp" or not words_[2].startswith(("/", "~")):
        raise ValueError(f"`{text}` is not of the form `sftp read /path`")
    path = HOME + words_[2][1:] if words_[2].startswith("~") else words_[2]
    return File(FileOperation(words_[1]), path, HOME)
