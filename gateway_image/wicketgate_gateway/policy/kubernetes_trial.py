"""Requests to Kubernetes as text, for test cases, the simulator and the replay: the words that the audit has for them.

    get pods web-1 in prod
    list secrets                                    over all namespaces
    delete deployments.apps web in prod
    create pods/exec web in prod: ls -l             a command; `script …` for more than a plain one
    create pods/portforward web in prod port 8080
    get /metrics
    create pods x in prod {"spec": {"hostNetwork": true}}    with the object that is written, or that a patch leads to;
                                                    without it, one that holds nothing of interest

What is decided is what the gateway decides: the same points, the same engine.
"""

from __future__ import annotations

import json
import re
from typing import Any

from wicketgate_gateway.contract.kubernetes import VERBS
from wicketgate_gateway.contract.verdict import Verdict
from wicketgate_gateway.policy import kubernetes_operation
from wicketgate_gateway.policy.engine import TargetPolicy
from wicketgate_gateway.policy.kubernetes import KubernetesPoint
from wicketgate_gateway.policy.kubernetes_operation import command_of
from wicketgate_gateway.policy.ssh import Shell
from wicketgate_gateway.wire.kubernetes.request import CONNECTS
from wicketgate_gateway.wire.ssh import words

_PATH = re.compile(r"(get|head|post|put|patch|delete) (/\S*)\Z")
_REQUEST = re.compile(
    r"(?P<verb>[a-z]+) (?P<resource>[a-z0-9-]+(?:/[a-z]+)?)(?:\.(?P<group>[a-z0-9.-]+))?"
    r"(?: (?P<name>(?!in |port )\S+))?"
    r"(?: in (?P<namespace>[a-z0-9-]+))?(?: port (?P<ports>\d+(?:, \d+)*))?(?: \((?P<dry>dry run)\))?\Z"
)


def point_of(text: str) -> KubernetesPoint:
    """The point of an operation that is written as above. Raises ValueError."""
    head, _, body = text.partition("\n")
    value: Any = None
    if not body and " {" in head and ": " not in head.partition(" {")[0]:
        head, _, rest = head.partition(" {")
        body = "{" + rest
    if body:
        try:
            value = json.loads(body)
        except ValueError:
            raise ValueError(f"what follows `{head}` is not JSON") from None
    path = _PATH.match(head)
    if path is not None:
        return KubernetesPoint(path[1], path=path[2])
    asked, colon, command = head.partition(": ")
    found = _REQUEST.match(asked)
    if found is None or (found["verb"] not in VERBS or found["verb"] in ("read", "write")):
        raise ValueError(f"`{asked}` is not of the form `get pods web-1 in prod`")
    connects = found["resource"].partition("/")[2] in CONNECTS
    writes = found["verb"] in ("create", "update", "patch") and not connects
    return KubernetesPoint(
        found["verb"],
        found["group"] or "",
        found["resource"],
        found["namespace"] or "",
        found["name"] or "",
        writes=writes,
        object=({} if value is None else value) if writes else None,
        run=_run(command) if colon else None,
        ports=tuple(int(port) for port in (found["ports"] or "").split(", ") if port),
        dry_run=found["dry"] is not None,
    )


def _run(text: str) -> Any:
    if text == "shell":
        return Shell()
    text = re.sub(r"\Ascript (.*) \([^()]*\)\Z", r"\1", text, flags=re.DOTALL)
    read = words.read(text.encode("utf-8", "surrogatepass"))
    argv = read.words if isinstance(read, words.Command) else ("sh", "-c", text)
    return command_of(tuple(argv), stdin=False)


def decide(policy: TargetPolicy, text: str, now: float | None = None) -> tuple[Verdict, KubernetesPoint]:
    """The verdict on an operation, and what it was understood as. Raises ValueError."""
    point = point_of(text)
    return kubernetes_operation.decide(policy, point, now), point
