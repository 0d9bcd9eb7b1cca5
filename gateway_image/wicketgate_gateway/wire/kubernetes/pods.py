"""What a pod's specification asks for that reaches beyond the pod, wherever in an object the specification stands.

A specification is known by its shape, an object with a list of `containers` (or `initContainers`,
`ephemeralContainers`), and not by its kind: templates of Deployments, Jobs, CronJobs and of resources that others
defined are found alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

TRAITS: Final = (
    "privileged",
    "host-path",
    "host-namespaces",
    "host-port",
    "capabilities",
    "service-account",
    "exec-probe",
    "lifecycle-exec",
    "ephemeral-container",
    "run-as-root",
    "unconfined",
    "sysctls",
    "secret-volume",
    "secret-env",
    "projected-token",
    "node-name",
    "image-pull-secret",
)
"""The names by which rules ask for them."""
_CONTAINERS: Final = ("containers", "initContainers", "ephemeralContainers")


def specifications(value: Any) -> Iterator[dict[str, Any]]:
    """Every pod specification within an object, or within a patch of one."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            if any(isinstance(item.get(key), list) for key in _CONTAINERS):
                yield item
            pending += item.values()
        elif isinstance(item, list):
            pending += item


def traits(value: Any) -> frozenset[str]:
    """What the pods of an object ask for."""
    return frozenset(trait for spec in specifications(value) for trait in _of(spec))


def images(value: Any) -> list[str]:
    """The images that the pods of an object run."""
    return sorted({str(c.get("image", "")) for spec in specifications(value) for c in _containers(spec)})


def _of(spec: dict[str, Any]) -> Iterator[str]:
    if any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
        yield "host-namespaces"
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account not in (None, "", "default"):
        yield "service-account"
    if spec.get("nodeName"):
        yield "node-name"
    if spec.get("imagePullSecrets"):
        yield "image-pull-secret"
    if spec.get("ephemeralContainers"):
        yield "ephemeral-container"
    for volume in _objects(spec.get("volumes")):
        if "hostPath" in volume:
            yield "host-path"
        if "secret" in volume:
            yield "secret-volume"
        for source in _objects(_object(volume.get("projected")).get("sources")):
            if "serviceAccountToken" in source:
                yield "projected-token"
            if "secret" in source:
                yield "secret-volume"
    yield from _context(_object(spec.get("securityContext")))
    for container in _containers(spec):
        yield from _container(container)


def _containers(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for key in _CONTAINERS:
        yield from _objects(spec.get(key))


def _container(container: dict[str, Any]) -> Iterator[str]:
    context = _object(container.get("securityContext"))
    yield from _context(context)
    if context.get("privileged") or context.get("allowPrivilegeEscalation"):
        yield "privileged"
    if _object(context.get("capabilities")).get("add"):
        yield "capabilities"
    if any(port.get("hostPort") for port in _objects(container.get("ports"))):
        yield "host-port"
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if "exec" in _object(container.get(probe)):
            yield "exec-probe"
    for hook in ("postStart", "preStop"):
        if "exec" in _object(_object(container.get("lifecycle")).get(hook)):
            yield "lifecycle-exec"
    for variable in _objects(container.get("env")):
        if "secretKeyRef" in _object(variable.get("valueFrom")):
            yield "secret-env"
    if any("secretRef" in source for source in _objects(container.get("envFrom"))):
        yield "secret-env"


def _context(context: dict[str, Any]) -> Iterator[str]:
    if context.get("runAsUser") == 0 or context.get("runAsNonRoot") is False:
        yield "run-as-root"
    if context.get("sysctls"):
        yield "sysctls"
    if context.get("procMount") not in (None, "Default"):
        yield "unconfined"
    for profile in ("seccompProfile", "appArmorProfile"):
        if _object(context.get(profile)).get("type") == "Unconfined":
            yield "unconfined"
    if _object(context.get("windowsOptions")).get("hostProcess"):
        yield "privileged"


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
