"""What a channel asks for, understood: its points, its text, and what passes on of the environment."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from wicketgate_gateway.policy.ssh import (
    Copy,
    Exec,
    Forward,
    Pty,
    ScriptText,
    Shell,
    SshPoint,
    Subsystem,
    Variable,
)
from wicketgate_gateway.tunnel.messages import SshChannel
from wicketgate_gateway.wire.ssh import scp, words
from wicketgate_gateway.wire.ssh.scp import Copying

REASON_VARIABLE = "WICKETGATE_REASON"
"""A variable by which a bot says what it wants something for; never passed on."""
MAX_REASON = 2000


@dataclass(frozen=True, slots=True)
class Request:
    """One thing that is asked for."""

    kind: str
    text: str
    """For people, and what an approval is bound to."""
    points: tuple[SshPoint, ...]
    wanted: SshChannel
    """What goes to the agent."""
    left_out: tuple[str, ...] = ()
    """Variables that no rule names."""
    reason: str = ""
    facts: Mapping[str, str] = field(default_factory=dict[str, str])
    """What changes the meaning of the text."""
    copying: Copying | None = None
    """What `scp -O` asks for, which is done by SFTP."""

    @property
    def file_by_file(self) -> bool:
        """Whether each file operation within is decided by itself."""
        first = self.points[0]
        return self.copying is not None or (isinstance(first, Subsystem) and first.name == "sftp")


def understand(wanted: SshChannel, allowed: Callable[[Variable], bool]) -> Request:
    """What a channel asks for; `allowed` says of a variable whether it is passed on. Never raises."""
    if wanted.kind == "forward":
        return Request("forward", wanted.command, (Forward(wanted.command),), _only(wanted), facts={"kind": "forward"})
    copying = _copying(wanted)
    if copying is not None:
        sftp = SshChannel(session=wanted.session, kind="subsystem", command="sftp")
        return Request("exec", wanted.command, (Copy(copying.words),), sftp, facts={"kind": "scp"}, copying=copying)
    points: list[SshPoint] = []
    if wanted.kind == "exec":
        found = words.read(wanted.command.encode("utf-8", "surrogatepass"))
        if wanted.inexact:
            points.append(ScriptText(wanted.command, exact=False, why="it is not UTF-8"))
        elif wanted.cut:
            points.append(ScriptText(wanted.command, exact=False, why=f"it is {wanted.cut} bytes long"))
        elif isinstance(found, words.Command):
            points.append(Exec(found.words))
        else:
            points.append(ScriptText(found.text, found.exact, found.why))
        text = wanted.command
    elif wanted.kind == "subsystem" and not wanted.cut and not wanted.inexact:
        points.append(Subsystem(wanted.command))
        text = f"subsystem {wanted.command}"
    elif wanted.kind == "shell" and not wanted.command and not wanted.cut:
        points.append(Shell())
        text = "shell"
    else:
        points.append(ScriptText(wanted.command, exact=False, why="not understood"))
        text = wanted.command
    env: dict[str, str] = {}
    left_out: list[str] = []
    for name, value in sorted(wanted.env.items()):
        if name == REASON_VARIABLE:
            continue
        variable = Variable(name, value)
        if "\0" not in name + value and allowed(variable):
            env[name] = value
            points.append(variable)
        else:
            left_out.append(name)
    if wanted.pty and wanted.kind == "exec":
        points.append(Pty())
    facts = {"kind": wanted.kind, "env": json.dumps(env, sort_keys=True), "pty": wanted.pty}
    if isinstance(points[0], Exec):
        facts["argv"] = json.dumps(points[0].words, ensure_ascii=False)
    return Request(
        wanted.kind,
        text,
        tuple(points),
        msgspec.structs.replace(_only(wanted), env=env),
        tuple(left_out),
        wanted.env.get(REASON_VARIABLE, "")[:MAX_REASON],
        facts,
    )


def _copying(wanted: SshChannel) -> Copying | None:
    if wanted.kind != "exec" or wanted.pty or wanted.cut or wanted.inexact:
        return None
    return scp.copying(wanted.command)


def is_legacy_scp(request: Request) -> bool:
    """Whether it is what `scp -O` has the other side run."""
    first = request.points[0]
    found = first.words if isinstance(first, Exec) else tuple(request.text.split())
    if not found or found[0].rpartition("/")[2] != "scp":
        return False
    flags = [word for word in found[1:] if word.startswith("-") and not word.startswith("--")]
    return any("t" in flag or "f" in flag for flag in flags)


def _only(wanted: SshChannel) -> SshChannel:
    """The request without what is meaningless for its kind."""
    if wanted.kind == "forward":
        return SshChannel(session=wanted.session, kind="forward", command=wanted.command)
    return wanted
