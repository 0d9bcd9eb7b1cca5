"""What a rule can say of a request to a Kubernetes API server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from wicketgate_gateway.contract.model import Strings, Terms

VARIABLES: Mapping[str, str] = {
    "op.verb": "string",
    "op.group": "string",
    "op.resource": "string",
    "op.subresource": "string",
    "op.namespace": "string",
    "op.name": "string",
}
"""What a condition can ask of such a request, beside what it can ask of any operation."""


class KubernetesTerms(Terms):
    """What a rule says of a request, in the words of Kubernetes' own roles; every term that is given must match."""

    verbs: Annotated[Strings, Field(min_length=1)] | None = None
    """Verbs, such as `get`, `list`, `watch`, `create`, `delete`."""
    groups: Annotated[Strings, Field(min_length=1)] | None = None
    """API groups; `""` is the core group."""
    resources: Annotated[Strings, Field(min_length=1)] | None = None
    """Resources, such as `pods`, and subresources, such as `pods/log`."""
    namespaces: Annotated[Strings, Field(min_length=1)] | None = None
    """Namespaces; wildcards `*` and `?`."""
    names: Annotated[Strings, Field(min_length=1)] | None = None
    """Names of objects; wildcards `*` and `?`."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if all(term is None for term in (self.verbs, self.groups, self.resources, self.namespaces, self.names)):
            raise ValueError("needs at least one of `verbs`, `groups`, `resources`, `namespaces`, `names`")
        return self
