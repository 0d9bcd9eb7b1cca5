"""The table of resources: every type that the stand-in has, by its token."""

from collections.abc import Mapping
from typing import Final

from wicketgate.testing.azuread.resource import Resource
from wicketgate.testing.azuread.resources import (
    application,
    application_entries,
    application_more,
    assignments,
    credentials,
    group,
    service_principal,
)

RESOURCES: Final[Mapping[str, Resource]] = {
    resource.token: resource
    for resource in (
        application.RESOURCE,
        application_more.REGISTRATION,
        application_entries.APP_ROLE,
        application_entries.IDENTIFIER_URI,
        application_entries.PERMISSION_SCOPE,
        application_entries.PRE_AUTHORIZED,
        application_entries.API_ACCESS,
        application_more.OWNER,
        application_more.OPTIONAL_CLAIMS,
        credentials.FEDERATED,
        credentials.FLEXIBLE,
        credentials.PASSWORD,
        service_principal.RESOURCE,
        group.RESOURCE,
        group.MEMBER,
        assignments.APP_ROLE_ASSIGNMENT,
        assignments.DIRECTORY_ROLE,
        assignments.DIRECTORY_ROLE_ASSIGNMENT,
    )
}
