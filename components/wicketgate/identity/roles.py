"""The app roles of the gateway's registration, and the Graph permission it needs.

Ids of app roles are part of a tenant's state: they are derived once from the role's name and never change.
"""

import uuid

from wicketgate_gateway.contract.gateway import AGENT_ROLE, BOT_ROLE

_NAMESPACE = uuid.UUID("7f1b5b0e-5c0c-4a55-9d0c-2f6a7c7a4c11")

GRAPH_CLIENT_ID = "00000003-0000-0000-c000-000000000000"
"""Microsoft Graph's own application, the same in every tenant."""
APPLICATION_READ_ALL = "9a5d68dd-52b0-4cc2-bd40-abcf44ac3a30"
"""Graph application permission `Application.Read.All`: covers `checkMemberGroups` of service principals."""


def role_id(value: str) -> str:
    """The id of the app role `value` on every gateway registration."""
    return str(uuid.uuid5(_NAMESPACE, value))


BOT_ROLE_ID = role_id(BOT_ROLE)
AGENT_ROLE_ID = role_id(AGENT_ROLE)
PERSON_ROLES = ("Session.Read", "Approval.Decide", "Gateway.Admin")
"""Roles for people: auditors, approvers, administrators."""
