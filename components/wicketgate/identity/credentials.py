"""Federated credentials of one application, one after the other: Entra refuses concurrent writes (409)."""

import hashlib
from collections.abc import Sequence
from typing import TypeAlias

import pulumi
import pulumi_azuread as azuread

from wicketgate.args import AdoptApplicationArgs, FederatedCredentialArgs
from wicketgate.identity import adoption

FederatedCredential: TypeAlias = (
    azuread.ApplicationFederatedIdentityCredential | azuread.ApplicationFlexibleFederatedIdentityCredential
)


def slug(credential: FederatedCredentialArgs) -> str:
    """A name that follows from the content: removing one credential renames (and so replaces) no other."""
    matched = credential.get("subject") or credential.get("expression", "")
    content = "\n".join((credential["issuer"], matched, credential["audience"]))
    return f"{credential['kind']}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def federate(
    name: str,
    application: azuread.Application,
    credentials: Sequence[FederatedCredentialArgs],
    parent: pulumi.Resource,
    adopt: AdoptApplicationArgs | None = None,
) -> list[FederatedCredential]:
    """Create a `federatedIdentityCredential` (Graph; beta for those with an expression) for each of `credentials`,
    children of `parent`; those of an application that is adopted may be there already, and are then imported. Raises
    ValueError if one has not exactly one of `subject` and `expression`.
    """
    made: list[FederatedCredential] = []
    for credential in credentials:
        subject, expression = credential.get("subject"), credential.get("expression")
        options = adoption.options(
            parent,
            adoption.credential_import(adopt, credential),
            adoption.CREDENTIAL,
            retained=adoption.retained(adopt),
            depends_on=made[-1:],
        )
        if bool(subject) == bool(expression):
            raise ValueError(f"`{slug(credential)}` needs exactly one of `subject`, `expression`")
        if expression:
            made.append(
                azuread.ApplicationFlexibleFederatedIdentityCredential(
                    f"{name}-{slug(credential)}",
                    application_id=application.id,
                    display_name=slug(credential),
                    audience=credential["audience"],
                    issuer=credential["issuer"],
                    claims_matching_expression=expression,
                    opts=options,
                )
            )
        else:
            made.append(
                azuread.ApplicationFederatedIdentityCredential(
                    f"{name}-{slug(credential)}",
                    application_id=application.id,
                    display_name=slug(credential),
                    audiences=[credential["audience"]],
                    issuer=credential["issuer"],
                    subject=subject,
                    opts=options,
                )
            )
    return made
