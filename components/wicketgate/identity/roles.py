"""The app roles of the gateway's registration, and the Graph permission it needs.

Ids of app roles are part of a tenant's state: they are derived once from the role's name and never change.
"""

import uuid

from wicketgate_gateway.contract.gateway import (
    ADMIN_ROLE,
    AGENT_ROLE,
    APPROVER_ROLE,
    AUDITOR_ROLE,
    BOT_ROLE,
    PEOPLE_SCOPE,
)

_NAMESPACE = uuid.UUID("7f1b5b0e-5c0c-4a55-9d0c-2f6a7c7a4c11")

GRAPH_CLIENT_ID = "00000003-0000-0000-c000-000000000000"
"""Microsoft Graph's own application, the same in every tenant."""
APPLICATION_READ_ALL = "9a5d68dd-52b0-4cc2-bd40-abcf44ac3a30"
"""Graph application permission `Application.Read.All`: covers `checkMemberGroups` of service principals."""
USER_READ_ALL = "df021288-bdef-4463-88db-98f22de89214"
GROUP_MEMBER_READ_ALL = "98830695-27a2-44f7-8c18-0c3ebc9698f6"
"""Graph application permissions for what is asked of people: account enabled, member of a group."""


def role_id(value: str) -> str:
    """The id of the app role `value` on every gateway registration."""
    return str(uuid.uuid5(_NAMESPACE, value))


BOT_ROLE_ID = role_id(BOT_ROLE)
AGENT_ROLE_ID = role_id(AGENT_ROLE)
SCOPE_ID = role_id(f"scope {PEOPLE_SCOPE}")
"""Id of the delegated permission on every gateway registration."""
PERSON_ROLES = (AUDITOR_ROLE, APPROVER_ROLE, ADMIN_ROLE)
"""Roles for people: auditors, approvers, administrators."""
