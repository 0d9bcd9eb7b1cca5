"""Probes for protocols other than SQL: requests, commands and file operations made up from rules.

How this works: each term of a rule is one dimension (methods, routes, namespaces, …) whose values are witnesses of all
patterns that any rule has there; probes are the product of the dimensions. What a rule does not look at it does not
tell apart, so of operations that every rule answers alike only the first is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, product
from typing import Any

from wicketgate_gateway.contract.kubernetes import READING, WRITING, KubernetesTerms
from wicketgate_gateway.contract.policy import Policy
from wicketgate_gateway.contract.ssh import FileOperation, SshTerms, pattern_words
from wicketgate_gateway.policy import http as http_rules
from wicketgate_gateway.policy import kubernetes as kubernetes_rules
from wicketgate_gateway.policy import ssh as ssh_rules
from wicketgate_gateway.policy.compile import PointTerms
from wicketgate_gateway.policy.engine import TargetPolicy
from wicketgate_gateway.policy.http import ABSENT, RequestPoint, json_steps
from wicketgate_gateway.policy.kubernetes import KubernetesPoint
from wicketgate_gateway.policy.probe import MAX_PROBES, Answer, Probe, Probes
from wicketgate_gateway.policy.ssh import Exec, File, Forward, Pty, ScriptText, Shell, SshPoint, Subsystem, Variable
from wicketgate_gateway.policy.witness import Glob, witnesses
from wicketgate_gateway.wire.kubernetes.pods import TRAITS
from wicketgate_gateway.wire.ssh import words

HOME = "/home/account"
"""Whose `~` rules mean, where there is no target."""
MAX_TRIED = 200_000
_POD: dict[str, dict[str, Any]] = {
    "privileged": {"containers": [{"securityContext": {"privileged": True}}]},
    "host-path": {"volumes": [{"hostPath": {"path": "/"}}]},
    "host-namespaces": {"hostNetwork": True},
    "host-port": {"containers": [{"ports": [{"hostPort": 1}]}]},
    "capabilities": {"containers": [{"securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}]},
    "service-account": {"serviceAccountName": "made"},
    "exec-probe": {"containers": [{"livenessProbe": {"exec": {}}}]},
    "lifecycle-exec": {"containers": [{"lifecycle": {"preStop": {"exec": {}}}}]},
    "ephemeral-container": {"ephemeralContainers": [{}]},
    "run-as-root": {"securityContext": {"runAsUser": 0}},
    "unconfined": {"securityContext": {"seccompProfile": {"type": "Unconfined"}}},
    "sysctls": {"securityContext": {"sysctls": [{"name": "made"}]}},
    "secret-volume": {"volumes": [{"secret": {}}]},
    "secret-env": {"containers": [{"envFrom": [{"secretRef": {}}]}]},
    "projected-token": {"volumes": [{"projected": {"sources": [{"serviceAccountToken": {}}]}}]},
    "node-name": {"nodeName": "made"},
    "image-pull-secret": {"imagePullSecrets": [{"name": "made"}]},
}
"""A pod specification for each trait, and only that."""
assert set(_POD) == set(TRAITS)


class _Made:
    """Points that some rule tells apart."""

    def __init__(self, rules: Sequence[PointTerms]) -> None:
        self._rules = rules
        self._seen: set[tuple[bool, ...]] = set()
        self.probes: list[Probe] = []
        self.complete = True

    def add(self, points: Iterable[Any], said: str = "") -> None:
        """Keep a probe for these points unless the rules answer it as one that is there."""
        points = list(points)
        answers = tuple(x for rule in self._rules for p in points for x in (rule.covers(p), rule.meets(p)))
        if answers in self._seen:
            return
        self._seen.add(answers)
        text = said or "; ".join(map(str, points))
        values = _values(points)

        def ask(policy: TargetPolicy, now: float) -> Answer:
            return policy.decide_points(points, values, text, now), {}

        self.probes.append(Probe(text, ask))

    def all(self, found: Iterator[Any]) -> None:
        """Keep a probe for each of these points, as long as there are not too many."""
        for point in islice(found, MAX_TRIED):
            self.add([point])
        if next(found, None) is not None or len(self.probes) > MAX_PROBES:
            self.complete = False

    def made(self, *complete: bool) -> Probes:
        """What was kept."""
        return Probes(self.probes, self.complete and all(complete))


def _values(points: Sequence[Any]) -> dict[str, Any]:
    first = points[0]
    if isinstance(first, RequestPoint | KubernetesPoint):
        return first.values()
    env = {point.name: point.value for point in points if isinstance(point, Variable)}
    command = (
        first.text if isinstance(first, ScriptText) else words.quote(first.words) if isinstance(first, Exec) else ""
    )
    return ssh_rules.values(points, command, env, pty=any(isinstance(point, Pty) for point in points))


def http(policies: Sequence[Policy]) -> Probes:
    """HTTP requests."""
    terms = [rule.match.http for policy in policies for rule in policy.rules if rule.match.http is not None]
    made = _Made([http_rules.compile_terms(each) for each in terms])
    methods = dict.fromkeys(
        ["GET", "HEAD", "POST", *sorted({m for t in terms for m in t.methods or ()} - {"*"}), "XYZ"]
    )
    routes = list(_routes([route for each in terms for route in each.routes or ()]))
    operations = _dimension([each.operations for each in terms])
    upgrades = ["", "websocket"] if any(each.upgrade for each in terms) else [""]
    queries, headers = _maps([each.query for each in terms]), _maps([each.headers for each in terms])
    bodies = [_body(values) for values in _maps([each.json_ for each in terms])]
    made.all(
        RequestPoint(method, route, query, {k.lower(): v for k, v in header.items()}, body, operation, upgrade)
        for operation, upgrade, query, header, body, route, method in product(
            operations, upgrades, queries, headers, bodies, routes, methods
        )
    )
    return made.made()


def _routes(texts: Sequence[str]) -> Iterator[tuple[str, ...]]:
    split = [text[1:].split("/") for text in dict.fromkeys(texts)]
    longest = max((len(parts) for parts in split), default=1) + 1
    globs: list[list[Glob]] = [[] for _ in range(longest)]
    for parts in split:
        for i, part in enumerate(parts):
            if part != "**":
                plain = "?*" if part.startswith("{") or part == "*" else part
                globs[i] += [Glob(plain), Glob(plain, any_case=True)]
    found = [[*witnesses(each).texts] or ["x"] for each in globs]
    ends = {i for parts in split for i, part in enumerate(parts) if part == ""}
    for length in range(1, longest + 1):
        for route in product(*found[:length]):
            yield route
            if length - 1 in ends or length == 1:
                yield (*route[:-1], "")


def _dimension(lists: Iterable[Sequence[str] | None]) -> list[str]:
    """The values of one term, and none."""
    patterns = [Glob(text) for texts in lists for text in texts or ()]
    return ["", *witnesses(patterns).texts] if patterns else [""]


def _maps(maps: Iterable[dict[str, list[str]] | None]) -> list[dict[str, tuple[str, ...]]]:
    """Each combination of values, and of none, of all the keys that these have."""
    patterns: dict[str, list[Glob]] = {}
    for each in maps:
        for key, texts in (each or {}).items():
            patterns.setdefault(key, []).extend(Glob(text) for text in texts)
    values = {key: [None, *witnesses(globs).texts] for key, globs in sorted(patterns.items())}
    return [
        {key: (value,) for key, value in zip(values, chosen, strict=True) if value is not None}
        for chosen in product(*values.values())
    ]


def _body(values: dict[str, tuple[str, ...]]) -> Any:
    if not values:
        return ABSENT
    body: Any = None
    for path, (text,) in values.items():
        body = _with(body, json_steps(path), text)
    return body


def _with(value: Any, steps: Sequence[Any], text: str) -> Any:
    """`value` with the text at that path."""
    if not steps:
        return text
    step, rest = steps[0], steps[1:]
    if step == http_rules.DEEP:
        return _with(value, rest or ("made",), text)
    if step is None or isinstance(step, int):
        items: list[Any] = list(value) if isinstance(value, list) else []
        items += [None] * ((step or 0) + 1 - len(items))
        items[step or 0] = _with(items[step or 0], rest, text)
        return items
    inner = value if isinstance(value, dict) else {}
    return {**inner, step: _with(inner.get(step), rest, text)}


def kubernetes(policies: Sequence[Policy]) -> Probes:
    """Requests to Kubernetes."""
    terms = [rule.match.kubernetes for p in policies for rule in p.rules if rule.match.kubernetes is not None]
    made = _Made([kubernetes_rules.compile_terms(each) for each in terms])
    verbs = (*READING, *WRITING)
    groups = dict.fromkeys(["", "apps", "made.example", *_dimension([each.groups for each in terms])])
    resources = _resources(terms)
    namespaces, names = _dimension([each.namespaces for each in terms]), _dimension([each.names for each in terms])
    labels = [
        {},
        *({k: v} for each in terms for k, v in (each.labels or {}).items()),
        *(e.labels for e in terms if e.labels),
    ]
    made.all(
        KubernetesPoint(
            verb,
            group,
            resource,
            namespace,
            name,
            labels=label,
            writes=_writes(verb, resource),
            object={} if _writes(verb, resource) else None,
        )
        for label, group, resource, namespace, name, verb in product(
            labels, groups, resources, namespaces, names, verbs
        )
    )
    paths = witnesses((Glob(t) for each in terms for t in each.paths or ()), allowed="/").texts
    made.all(
        KubernetesPoint(verb, path=path) for path, verb in product(paths, ("get", "post", "delete")) if path[0] == "/"
    )
    objects: list[Any] = [{"spec": spec} for spec in _objects(terms)]
    objects += [value for values in _maps([e.object_ for e in terms]) if (value := _body(values)) is not ABSENT]
    made.all(
        KubernetesPoint(verb, group, resource, namespace, names[-1], writes=True, object=value)
        for value, group, resource, namespace, verb in product(
            objects, groups, (r for r in resources if "/" not in r), namespaces, ("create", "update", "patch")
        )
    )
    runs: list[Exec | ScriptText | Shell] = [p for p in _commands(terms) if isinstance(p, Exec | ScriptText | Shell)]
    made.all(
        KubernetesPoint("create", "", "pods/exec", namespace, name, run=run)
        for namespace, name, run in product(namespaces, names, runs)
    )
    ports = sorted({port for each in terms for port in each.ports or ()} | {1})
    made.all(
        KubernetesPoint("create", "", "pods/portforward", namespace, name, ports=(port,))
        for namespace, name, port in product(namespaces, names, ports)
    )
    return made.made()


def _writes(verb: str, resource: str) -> bool:
    return verb in ("create", "update", "patch") and "/" not in resource


def _resources(terms: Sequence[KubernetesTerms]) -> list[str]:
    named = {text for each in terms for text in each.resources or ()}
    plain = {text.partition("/")[0] for text in named} - {"*"} | {"pods", "secrets", "made"}
    subs = {text.partition("/")[2] for text in named} - {"*", ""} | {"log", "status", "made"}
    special = ("pods/attach", "pods/proxy", "pods/ephemeralcontainers", "services/proxy", "serviceaccounts/token")
    return [*sorted(plain), *(f"{name}/{sub}" for name in sorted(plain) for sub in sorted(subs)), *special]


def _objects(terms: Sequence[KubernetesTerms]) -> Iterator[dict[str, Any]]:
    wanted = [frozenset(trait.value for trait in each.pod) for each in terms if each.pod is not None]
    if not wanted:
        return
    yield {"containers": [{}]}
    for trait in TRAITS:
        yield {"containers": [{}], **_POD[trait]}


def ssh(policies: Sequence[Policy]) -> Probes:
    """Commands, files, shells, connections."""
    terms = [rule.match.ssh for policy in policies for rule in policy.rules if rule.match.ssh is not None]
    made = _Made([ssh_rules.compile_terms(each) for each in terms])
    made.all(iter(_commands(terms)))
    for run in (Exec(("true",)), *(p for p in _commands(terms) if isinstance(p, Exec))):
        made.add([run, Pty()])
        for variable in _variables(terms):
            made.add([run, variable])
    paths = [text for each in terms for text in each.paths or ()]
    globs: list[Glob] = []
    for text in paths:
        full = HOME + text[1:] if text.startswith("~") else text
        base = full.removesuffix("/**") if full.endswith("/**") else full
        globs.append(Glob(base, single=False, barred="/"))
        if full.endswith("/**"):
            globs.append(Glob(base, single=False, barred="/", below=True))
    found = witnesses(globs, allowed="/")
    made.all(
        File(operation, path, HOME)
        for path, operation in product((p for p in found.texts if _is_path(p)), FileOperation)
    )
    forwards = witnesses([Glob(t, single=False) for each in terms for t in each.forward or ()], allowed=":").texts
    made.all(Forward(where) for where in (*forwards, "made:1"))
    made.all(Subsystem(name) for name in ("sftp", "made", *sorted({n for e in terms for n in e.subsystems or ()})))
    return made.made(found.complete)


def _is_path(text: str) -> bool:
    return text.startswith("/") and "//" not in text and (text == "/" or not text.endswith("/"))


def _commands(terms: Sequence[SshTerms | KubernetesTerms]) -> list[SshPoint]:
    found: list[SshPoint] = [Shell()]
    split = [pattern_words(text) for each in terms for text in each.commands or ()]
    longest = max((len(words_) for words_ in split), default=0) + 1
    globs: list[list[Glob]] = [[] for _ in range(longest)]
    for words_ in split:
        for i, word in enumerate(words_):
            if word != "**":
                globs[i].append(Glob(word, single=False, dash=False))
    values = [[*witnesses(each, allowed="-").texts] or ["x"] for each in globs]
    for length in range(1, longest + 1):
        found += [Exec(words_) for words_ in islice(product(*values[:length]), MAX_PROBES)]
    scripts = [text for each in terms for text in each.scripts or ()]
    texts = witnesses([Glob(text, single=False) for text in scripts]).texts
    names = sorted({words_[0].rpartition("/")[2].strip("*") for words_ in split} - {""})
    for text in (*texts, *(f"{name}; true" for name in names), "made; true", "$(made)"):
        if text:
            found.append(ScriptText(text, exact=True, why="more than one plain command"))
    return found


def _variables(terms: Sequence[SshTerms]) -> list[Variable]:
    texts = [text for each in terms for text in each.env or ()]
    names = witnesses([Glob(text.partition("=")[0], single=False) for text in texts]).texts
    values = witnesses([Glob(t.partition("=")[2], single=False) for t in texts if "=" in t]).texts or ("x",)
    return [Variable(name, value) for name, value in product((*names, "LD_PRELOAD", "LANG"), values)]
