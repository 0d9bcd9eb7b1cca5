"""Federated credentials of one application, one after the other: Entra refuses concurrent writes (409)."""

import hashlib
from collections.abc import Sequence

import pulumi
import pulumi_azuread as azuread

from wicketgate.args import FederatedCredentialArgs


def slug(credential: FederatedCredentialArgs) -> str:
    """A name that follows from the content: removing one credential renames (and so replaces) no other."""
    content = "\n".join((credential["issuer"], credential["subject"], credential["audience"]))
    return f"{credential['kind']}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def federate(
    name: str,
    application: azuread.Application,
    credentials: Sequence[FederatedCredentialArgs],
    parent: pulumi.Resource,
) -> list[azuread.ApplicationFederatedIdentityCredential]:
    """Create a `federatedIdentityCredential` (Graph) for each of `credentials`, children of `parent`."""
    made: list[azuread.ApplicationFederatedIdentityCredential] = []
    for credential in credentials:
        made.append(
            azuread.ApplicationFederatedIdentityCredential(
                f"{name}-{slug(credential)}",
                application_id=application.id,
                display_name=slug(credential),
                audiences=[credential["audience"]],
                issuer=credential["issuer"],
                subject=credential["subject"],
                opts=pulumi.ResourceOptions(parent=parent, depends_on=made[-1:]),
            )
        )
    return made
