"""Requests to Kubernetes as points, and the terms of rules on them, compiled.

How this works: a request is one point, with the object that it writes and the command that it runs. What an `allow`
says must hold for certain: a wildcard does not reach subresources that run something, a request over all namespaces is
in none, an object that is not known matches nothing. What a `deny` or `hold` says need only be possible: a collection
may hold the name, a patch that could not be resolved may set the field, a shell may run the command.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from wicketgate_gateway.contract.kubernetes import NAMED_ALONE, RUNNING, VERBS, KubernetesTerms
from wicketgate_gateway.contract.ssh import SshTerms
from wicketgate_gateway.policy.http import json_steps, possible_values
from wicketgate_gateway.policy.names import compile_part
from wicketgate_gateway.policy.ssh import Exec, ScriptText, Shell, SshRule
from wicketgate_gateway.wire.kubernetes import pods

UNKNOWN: Final = object()
"""An object that could not be told beforehand."""
ASSUMED: Final = object()
"""An object of which the best is assumed: what is denied even so need not be looked at."""


_OPEN: Final = frozenset({"version", "api", "apis", "openapi", "healthz", "livez", "readyz"})


@dataclass(frozen=True, slots=True)
class KubernetesPoint:
    """A request as it will be forwarded. For a path that is no resource `path` is set, and `resource` empty."""

    verb: str
    group: str = ""
    resource: str = ""
    """With its subresource: `pods/exec`."""
    namespace: str = ""
    """Empty: in no namespace, or over all of them."""
    name: str = ""
    """Empty: a collection, or not known beforehand."""
    path: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    writes: bool = False
    """Whether an object is written."""
    object: Any = None
    """The object as it will be, UNKNOWN if that cannot be told, None without one."""
    run: Exec | ScriptText | Shell | None = None
    """What runs in a pod."""
    ports: tuple[int, ...] = ()
    dry_run: bool = False
    namespaced: bool = True
    """Whether the resource is of namespaces: if it is not, no namespace has it."""

    @property
    def kind(self) -> str:
        """The verb; `exec` and such for what opens streams."""
        sub = self.subresource
        return sub if sub in NAMED_ALONE else self.verb

    @property
    def discovers(self) -> bool:
        """Whether it asks which resources, versions and schemas there are, or whether the API server is well: what
        every client asks first. None of it is about an object, and it needs no rule."""
        return self.verb in ("get", "head") and bool(self.path) and self.path.split("/")[1] in _OPEN

    @property
    def name_assumed(self) -> bool:
        """Whether the name is in an object that is yet to be told."""
        return self.object is ASSUMED and not self.name and self.verb == "create"

    @property
    def subresource(self) -> str:
        """`exec` of `pods/exec`."""
        return self.resource.partition("/")[2]

    def __str__(self) -> str:
        if self.path:
            return f"{self.verb} {self.path}"
        what = f"{self.resource}.{self.group}" if self.group else self.resource
        if self.name:
            what += f" {self.name}"
        where = f" in {self.namespace}" if self.namespace else ""
        ports = f" port {', '.join(map(str, self.ports))}" if self.ports else ""
        said = f"{self.verb} {what}{where}{ports}"
        if self.run is not None:
            said += f": {self.run}"
        return said

    def values(self) -> dict[str, Any]:
        """The variables of conditions."""
        words = self.run.words if isinstance(self.run, Exec) else ()
        known = None if self.object is UNKNOWN or self.object is ASSUMED else self.object
        return {
            "op.verb": self.verb,
            "op.group": self.group,
            "op.resource": self.resource.partition("/")[0],
            "op.subresource": self.subresource,
            "op.namespace": self.namespace,
            "op.name": self.name,
            "op.path": self.path,
            "op.dryRun": self.dry_run,
            "op.labels": dict(self.labels),
            "op.command": str(self.run) if self.run is not None else "",
            "op.argv": list(words),
            "op.pod": sorted(pods.traits(known)),
            "op.images": pods.images(known),
        }


class KubernetesRule:
    """The terms of one rule."""

    def __init__(self, terms: KubernetesTerms) -> None:
        self._terms = terms
        verbs = terms.verbs
        self._verbs = None if verbs is None else frozenset().union(*(VERBS[verb] for verb in verbs))
        self._groups = _patterns(terms.groups)
        self._resources = None if terms.resources is None else tuple(_Resource(text) for text in terms.resources)
        self._namespaces = _patterns(terms.namespaces)
        self._names = _patterns(terms.names)
        self._paths = _patterns(terms.paths)
        self._object = {
            path: (json_steps(path), _patterns(values) or ()) for path, values in (terms.object_ or {}).items()
        }
        self._pod = None if terms.pod is None else frozenset(trait.value for trait in terms.pod)
        runs = {"commands": terms.commands, "scripts": terms.scripts, "shell": terms.shell}
        given = {name: value for name, value in runs.items() if value is not None}
        self._runs = SshRule(SshTerms.model_validate(given)) if given else None
        self._ports = None if terms.ports is None else frozenset(terms.ports)

    def __str__(self) -> str:
        terms = self._terms
        said = ", ".join(f"`{v}`" for v in terms.verbs or ("*",))
        if terms.paths is not None:
            return f"{said} on " + ", ".join(f"`{path}`" for path in terms.paths)
        said += " " + ", ".join(f"`{r}`" for r in terms.resources or ("*",))
        for word, values in (("of", terms.groups), ("named", terms.names), ("in", terms.namespaces)):
            if values is not None:
                said += f" {word} " + ", ".join(f"`{value}`" for value in values)
        parts = [f"`{path}` being {' or '.join(f'`{v}`' for v in vs)}" for path, vs in (terms.object_ or {}).items()]
        if terms.labels:
            parts.append(", ".join(f"`{key}={value}`" for key, value in terms.labels.items()))
        if terms.pod is not None:
            parts.append("pods with " + ", ".join(f"`{trait.value}`" for trait in terms.pod))
        if self._runs is not None:
            parts.append(f"running {self._runs}")
        if terms.ports is not None:
            parts.append("port " + ", ".join(map(str, terms.ports)))
        return f"{said} with {'; '.join(parts)}" if parts else said

    @property
    def reads_object(self) -> bool:
        """Whether it looks into the object that is written."""
        return bool(self._object) or self._pod is not None

    @property
    def reveals(self) -> bool:
        """Whether it lets values of Secrets through as they are."""
        return bool(self._terms.reveal)

    def covers(self, point: Any) -> bool:
        """See `compile.PointTerms`."""
        if not isinstance(point, KubernetesPoint) or not self._has_verb(point):
            return False
        if point.path:
            return self._paths is not None and _any(self._paths, point.path)
        if self._paths is not None:
            return False
        if self._groups is None:
            if not _own(point.group):
                return False
        elif not _any(self._groups, point.group):
            return False
        if self._resources is None:
            if point.subresource in NAMED_ALONE:
                return False
        elif not any(resource.covers(point.resource) for resource in self._resources):
            return False
        if self._namespaces is not None and not (point.namespace and _any(self._namespaces, point.namespace)):
            return False
        if self._names is not None and not point.name_assumed and not (point.name and _any(self._names, point.name)):
            return False
        if not all(point.labels.get(key) == value for key, value in (self._terms.labels or {}).items()):
            return False
        return self._covers_object(point) and self._covers_run(point)

    def _covers_object(self, point: KubernetesPoint) -> bool:
        if not self.reads_object or point.object is ASSUMED:
            return True
        if point.object is UNKNOWN or (point.object is None and point.writes):
            return False
        for steps, patterns in self._object.values():
            found = list(possible_values(point.object, steps))
            if not found or not all(_any(patterns, text) for text in found):
                return False
        return self._pod is None or pods.traits(point.object) <= self._pod

    def _covers_run(self, point: KubernetesPoint) -> bool:
        if self._ports is not None and not self._covers_ports(point):
            return False
        if point.run is None:
            # A rule on commands is about commands; exec without one that is known is covered by nobody.
            return self._runs is None and point.resource not in RUNNING
        return self._runs is not None and self._runs.covers(point.run)

    def _covers_ports(self, point: KubernetesPoint) -> bool:
        assert self._ports is not None
        # Which ports it is about is known when the client asks for each: that is decided again.
        return point.resource == "pods/portforward" and self._ports.issuperset(point.ports)

    def meets(self, point: Any) -> bool:
        """See `compile.PointTerms`."""
        if not isinstance(point, KubernetesPoint) or not self._has_verb(point):
            return False
        if point.path:
            return self._paths is not None and _any(self._paths, point.path)
        if self._paths is not None:
            return False
        if self._groups is not None and not _any(self._groups, point.group):
            return False
        if self._resources is not None and not any(resource.meets(point.resource) for resource in self._resources):
            return False
        if self._namespaces is not None and not point.namespaced and not point.namespace:
            return False
        if self._names is not None and point.name_assumed:
            return False
        # What is over all namespaces, or about all names, is about each.
        for patterns, value in ((self._namespaces, point.namespace), (self._names, point.name)):
            if patterns is not None and value and not _any(patterns, value):
                return False
        if any(point.labels.get(key, value) != value for key, value in (self._terms.labels or {}).items()):
            return False
        return self._meets_object(point) and self._meets_run(point)

    def _meets_object(self, point: KubernetesPoint) -> bool:
        if not self.reads_object or point.object is UNKNOWN:
            return True
        if point.object is ASSUMED:
            return False
        for steps, patterns in self._object.values():
            if not any(_any(patterns, text) for text in possible_values(point.object, steps)):
                return False
        return self._pod is None or bool(pods.traits(point.object) & self._pod)

    def _meets_run(self, point: KubernetesPoint) -> bool:
        if self._ports is not None and not self._ports.intersection(point.ports):
            return False
        if self._runs is None:
            return True
        if point.run is None:
            return point.subresource in ("attach", *(sub.partition("/")[2] for sub in RUNNING))
        # What is read from the input can be any command.
        return isinstance(point.run, Shell) or self._runs.meets(point.run)

    def _has_verb(self, point: KubernetesPoint) -> bool:
        if self._verbs is None:
            return True
        return point.verb in self._verbs or (bool(point.path) and point.verb == "head" and "get" in self._verbs)


class _Resource:
    """A resource or subresource."""

    def __init__(self, text: str) -> None:
        self._resource, self._slash, self._sub = text.partition("/")

    def covers(self, resource: str) -> bool:
        """Whether it is certainly meant."""
        name, _, sub = resource.partition("/")
        if self._resource not in ("*", name):
            return False
        if sub in NAMED_ALONE:
            return self._sub == sub
        return (not sub) if not self._slash else bool(sub) and self._sub in ("*", sub)

    def meets(self, resource: str) -> bool:
        """Whether it may be meant."""
        name, _, sub = resource.partition("/")
        if self._resource not in ("*", name):
            return False
        return not self._slash or (bool(sub) and self._sub in ("*", sub))


def compile_terms(terms: KubernetesTerms) -> KubernetesRule:
    """A rule's terms, ready to match."""
    return KubernetesRule(terms)


def _own(group: str) -> bool:
    # What is not of Kubernetes itself (custom resources, aggregated APIs) may call anything `pods`.
    return "." not in group or group.endswith(".k8s.io")


def _patterns(texts: Iterable[str] | None) -> tuple[re.Pattern[str], ...] | None:
    return None if texts is None else tuple(compile_part(text) for text in texts)


def _any(patterns: Iterable[re.Pattern[str]], text: str) -> bool:
    return any(pattern.match(text) for pattern in patterns)
