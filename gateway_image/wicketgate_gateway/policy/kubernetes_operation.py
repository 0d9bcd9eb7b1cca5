"""From a request to Kubernetes to the point that is decided, for the gateway, `policy test` and `policy replay`."""

from __future__ import annotations

import re
from typing import Any, Final

from wicketgate_gateway.contract.verdict import Effect, Verdict
from wicketgate_gateway.policy.engine import TargetPolicy
from wicketgate_gateway.policy.kubernetes import UNKNOWN, KubernetesPoint
from wicketgate_gateway.policy.ssh import Exec, ScriptText, Shell
from wicketgate_gateway.wire.kubernetes.body import Body, checked_names, dry_run
from wicketgate_gateway.wire.kubernetes.request import Request
from wicketgate_gateway.wire.ssh import words

_POSIX: Final = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh", "mksh"})
_SHELLS: Final = _POSIX | {"busybox", "toybox", "fish", "csh", "tcsh"}
_READS_INPUT: Final = re.compile(
    r"(?:python|perl|ruby|node|nodejs|php|lua|irb|psql|mysql|mariadb|sqlite3|mongosh|redis-cli|gdb|nc|ncat|socat|ssh"
    r"|expect|tclsh|awk|xargs|ed|vi|vim|nano|emacs|less|more|su|sudo|chroot|nsenter|script|screen|tmux)[0-9.]*\Z"
)
_WRITES: Final = frozenset({"create", "update", "patch"})


def point_of(request: Request, body: Body | None, object_: Any = None, *, namespaced: bool = True) -> KubernetesPoint:
    """The request's point. `object_` is what a dry run said that a patch, or a body that only the API server can read,
    leads to; `namespaced` whether the resource is of namespaces at all. Raises RequestError."""
    if not request.resource:
        return KubernetesPoint(request.method.lower(), path=request.path)
    writes = request.verb in _WRITES and not request.connects
    value: Any = None
    if writes and object_ is not None:
        value = object_
    elif writes:
        value = UNKNOWN if body is None or body.opaque or request.verb == "patch" else body.value
    told = None if body is None else object_ if body.opaque and not request.subresource else body.value
    name = checked_names(request, None if told is UNKNOWN else told)
    run = command_of(request.command, stdin=request.switch("stdin")) if request.subresource == "exec" else None
    return KubernetesPoint(
        request.verb,
        request.group,
        request.full_resource,
        request.namespace,
        name,
        labels=request.labels,
        writes=writes,
        object=value,
        run=run,
        dry_run=dry_run(request, body),
        namespaced=namespaced,
    )


def decide(policy: TargetPolicy, point: KubernetesPoint, now: float | None = None) -> Verdict:
    """The verdict on a request, for the gateway, `policy test`, `simulate` and `replay` alike."""
    verdict = policy.decide_points([point], point.values(), str(point), now)
    if verdict.code == "not-allowed" and point.discovers:
        return Verdict(Effect.ALLOW, "builtin:discovery", record=policy.record.level.value)
    return verdict


def command_of(argv: tuple[str, ...], *, stdin: bool) -> Exec | ScriptText | Shell | None:
    """What runs. `sh -c TEXT` is what the text says; a shell, or a program that takes commands from what it reads, with
    its input open is a shell. None without a command."""
    if not argv or not argv[0]:
        return None
    program = argv[0].rpartition("/")[2]
    rest = argv[1:]
    if program == "busybox" and rest and rest[0] in _POSIX:
        program, rest = rest[0], rest[1:]
    if program in _POSIX and len(rest) == 2 and rest[0] == "-c":
        read = words.read(rest[1].encode("utf-8", "surrogateescape"))
        if isinstance(read, words.Command):
            # The shell's own input is that of the command.
            return command_of(read.words, stdin=stdin)
        return ScriptText(read.text, read.exact, read.why)
    if program in _SHELLS:
        if stdin or not rest:
            return Shell()
        return ScriptText(words.quote(argv), exact=True, why=f"`{program}` with what it is to read")
    if stdin and _READS_INPUT.match(program) and not rest:
        return Shell()
    return Exec(argv)
