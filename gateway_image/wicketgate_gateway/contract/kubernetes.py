"""What a rule can say of a request to a Kubernetes API server, in the words of Kubernetes' own roles."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from wicketgate_gateway.contract.http import json_path
from wicketgate_gateway.contract.model import Strings, Terms, listed
from wicketgate_gateway.contract.ssh import Commands

VARIABLES: Mapping[str, str] = {
    "op.verb": "string",
    "op.group": "string",
    "op.resource": "string",
    "op.subresource": "string",
    "op.namespace": "string",
    "op.name": "string",
    "op.path": "string",
    "op.dryRun": "bool",
    "op.labels": "map",
    "op.command": "string",
    "op.argv": "strings",
    "op.pod": "strings",
    "op.images": "strings",
}
"""What a condition can ask of such a request, beside what it can ask of any operation."""

_WORD = re.compile(r"[a-z0-9.*?-]+\Z")
_RESOURCE = re.compile(r"(?:\*|[a-z0-9.-]+)(?:/(?:\*|[a-z]+))?\Z")
_PATH = re.compile(r"/[!-~]*\Z")

READING = ("get", "list", "watch")
WRITING = ("create", "update", "patch", "delete", "deletecollection")
VERBS: Mapping[str, frozenset[str]] = {
    **{verb: frozenset({verb}) for verb in (*READING, *WRITING)},
    "read": frozenset(READING),
    "write": frozenset(WRITING),
    "*": frozenset((*READING, *WRITING)),
}
"""What each word under `verbs` stands for."""

NAMED_ALONE = frozenset(
    {"exec", "attach", "portforward", "proxy", "ephemeralcontainers", "token", "binding", "approval", "finalize"}
)
"""Subresources that no wildcard of an `allow` or `hold` stands for: they run something, open a way around the API, or
hand out a credential. A rule must name each."""
RUNNING = ("pods/exec",)
"""What runs a command: an `allow` or `hold` for it says which."""


class PodTrait(StrEnum):
    """What a pod's specification may ask for that reaches beyond the pod."""

    PRIVILEGED = "privileged"
    """A privileged container, or one that may gain privileges."""
    HOST_PATH = "host-path"
    """A folder of the node."""
    HOST_NAMESPACES = "host-namespaces"
    """The node's network, processes or IPC."""
    HOST_PORT = "host-port"
    """A port of the node."""
    CAPABILITIES = "capabilities"
    """Further capabilities of the kernel."""
    SERVICE_ACCOUNT = "service-account"
    """Another service account than `default`."""
    EXEC_PROBE = "exec-probe"
    """A probe that runs a command."""
    LIFECYCLE_EXEC = "lifecycle-exec"
    """A hook that runs a command when a container starts or stops."""
    EPHEMERAL_CONTAINER = "ephemeral-container"
    """A container put into a running pod, as `kubectl debug` does."""
    RUN_AS_ROOT = "run-as-root"
    """Root within the container, asked for by number or by `runAsNonRoot: false`."""
    UNCONFINED = "unconfined"
    """No seccomp or AppArmor profile, or an unmasked `/proc`."""
    SYSCTLS = "sysctls"
    """Settings of the kernel."""
    SECRET_VOLUME = "secret-volume"  # noqa: S105 - a name
    """A Secret as files: who may exec into the pod can read it."""
    SECRET_ENV = "secret-env"  # noqa: S105 - a name
    """A Secret in the environment."""
    PROJECTED_TOKEN = "projected-token"  # noqa: S105 - a name
    """A service account's token as a file."""
    NODE_NAME = "node-name"
    """A node of its own choice, past the scheduler."""
    IMAGE_PULL_SECRET = "image-pull-secret"  # noqa: S105 - a name
    """A Secret to pull images with."""


def _each(shape: re.Pattern[str], say: str) -> Any:
    def check(values: list[str]) -> list[str]:
        if not values:
            raise ValueError("an empty list matches nothing: list something, or remove the key")
        for value in values:
            if not shape.match(value):
                raise ValueError(f"`{value}` is not {say}")
        return values

    return AfterValidator(check)


def _verbs(values: list[str]) -> list[str]:
    for value in values:
        if value not in VERBS:
            raise ValueError(f"`{value}` is no verb: write {', '.join(f'`{v}`' for v in VERBS)}")
    return values


def _groups(values: list[str]) -> list[str]:
    for value in values:
        if value and not _WORD.match(value):
            raise ValueError(f'`{value}` is no API group: write `apps`, or `""` for the core group')
    return values


def _object(values: dict[str, list[str]]) -> dict[str, list[str]]:
    if not values:
        raise ValueError("an empty mapping limits nothing: name a field, or remove the key")
    for path, texts in values.items():
        json_path(path)
        if not texts:
            raise ValueError(f"`{path}` has no value: list some, or write `*` for any")
    return values


class KubernetesTerms(Terms):
    """What a rule says of a request; every term that is given must match."""

    verbs: Annotated[Strings, Field(min_length=1), AfterValidator(_verbs)] | None = None
    """`get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, `read` for the first three,
    `write` for the others. Exec, attach and port-forward are `create`."""
    groups: Annotated[Strings, Field(min_length=1), AfterValidator(_groups)] | None = None
    """API groups; `""` is the core group. Without it: in `allow` and `hold` Kubernetes' own groups, in `deny` any."""
    resources: (
        Annotated[Strings, _each(_RESOURCE, "a resource such as `pods`, or a subresource such as `pods/log`")] | None
    ) = None
    """Resources, and subresources by `pods/log`. `*` stands for any resource, not for subresources; `pods/*` for
    harmless subresources. In `deny`, `pods` means its subresources too."""
    namespaces: Annotated[Strings, _each(_WORD, "a namespace; `*` and `?` are wildcards")] | None = None
    """Namespaces. A request over all namespaces is in none of them."""
    names: Annotated[Strings, Field(min_length=1)] | None = None
    """Names of objects; wildcards `*` and `?`. A request for a collection has no name."""
    labels: dict[str, str] | None = None
    """Labels that the request's label selector requires: for lists, watches and deletions of collections."""
    paths: Annotated[Strings, _each(_PATH, "a path, beginning with `/`")] | None = None
    """Paths that are no resource (`/metrics`); a last `*` stands for any rest."""
    object_: Annotated[dict[str, Strings], AfterValidator(_object)] | None = Field(default=None, alias="object")
    """Fields of the object that is written, by path (`$.spec.replicas`), as it will be once a patch is applied. In
    `allow` the field must be there, and each of its values must match; in `deny` and `hold` one is enough."""
    pod: (
        Annotated[list[Annotated[PodTrait, Field(strict=False)]], BeforeValidator(listed), Field(min_length=1)] | None
    ) = None
    """What a pod that is written asks for, wherever in the object its specification stands: in `deny` and `hold` any of
    these; in `allow` nothing but these."""
    commands: Commands | None = None
    """What `pods/exec` may run, word by word, as for SSH: `cat /var/log/*`."""
    scripts: Annotated[Strings, Field(min_length=1)] | None = None
    """Texts for `sh -c` that are more than one plain command, whole and exactly; `*` stands for anything."""
    shell: bool | None = None
    """`true`: a shell or interpreter that reads what to do from its input: one decision on all that is done in it."""
    ports: Annotated[list[Annotated[int, Field(ge=1, le=65535)]], Field(min_length=1)] | None = None
    """Ports that `pods/portforward` may connect to; without it, any."""
    reveal: bool | None = None
    """`true`, in `allow`: values of Secrets come back as they are; otherwise they are masked."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        told = ("verbs", "groups", "resources", "namespaces", "names", "labels", "paths", "object_", "pod")
        runs = ("commands", "scripts", "shell")
        if all(getattr(self, name) is None for name in (*told, *runs)):
            names = ", ".join(f"`{name.rstrip('_')}`" for name in (*told, *runs))
            raise ValueError(f"needs at least one of {names}")
        if self.shell is False or self.reveal is False:
            raise ValueError("`false` says nothing: leave it out")
        if self.labels is not None and not self.labels:
            raise ValueError("an empty `labels` limits nothing: name a label, or remove the key")
        of_resources = ("groups", "resources", "namespaces", "names", "labels", "object_", "pod", *runs, "ports")
        if self.paths is not None and any(getattr(self, name) is not None for name in of_resources):
            raise ValueError("`paths` are no resources: they stand alone with `verbs`")
        return self
