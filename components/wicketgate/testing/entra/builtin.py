"""What every tenant has from its first day: Microsoft Graph's service principal, role templates, its own name.

Ids are Microsoft's well-known ones where clients rely on them (permissions, roles); Graph's own object id in this
tenant follows from the tenant's id.
"""

import uuid
from collections.abc import Mapping

from wicketgate.testing.entra.directory import GRAPH_APP_ID, Directory
from wicketgate.testing.entra.schema import ENTITIES

GRAPH_ROLES: dict[str, str] = {
    "AppRoleAssignment.ReadWrite.All": "06b708a9-e830-4db3-a914-8e69da51d44f",
    "Application.Read.All": "9a5d68dd-52b0-4cc2-bd40-abcf44ac3a30",
    "Application.ReadWrite.All": "1bfefb4e-e0b5-418b-a88f-73c46d2cc8e9",
    "Application.ReadWrite.OwnedBy": "18a4783c-866b-4cc7-a460-3d5e5662c884",
    "AuditLog.Read.All": "b0afded3-3588-46d8-8b3d-9842eff778da",
    "DelegatedPermissionGrant.ReadWrite.All": "8e8e4742-1d95-4f68-9d56-6ee75648c72a",
    "Directory.Read.All": "7ab1d382-f21e-4acd-a863-ba3e13f7da61",
    "Directory.ReadWrite.All": "19dbc75e-c2e2-444c-a770-ec69d8559fc7",
    "Group.Create": "bf7b1a76-6e77-406b-b258-bf5c7720e98f",
    "Group.Read.All": "5b567255-7703-4780-807c-7be8301ae99b",
    "Group.ReadWrite.All": "62a82d76-70ea-41e2-9197-370581804d09",
    "GroupMember.Read.All": "98830695-27a2-44f7-8c18-0c3ebc9698f6",
    "GroupMember.ReadWrite.All": "dbaae8cf-10b5-4b86-a4a1-f871c94c6695",
    "RoleManagement.Read.Directory": "483bed4a-2ad3-4361-a73b-c83ccdbdc53c",
    "RoleManagement.ReadWrite.Directory": "9e3f62cf-ca93-4989-b6ce-bf83c28f9fe8",
    "User.Read.All": "df021288-bdef-4463-88db-98f22de89214",
    "User.ReadWrite.All": "741f803b-c850-494e-b5df-cde7c675a1ca",
}
GRAPH_SCOPES: dict[str, str] = {
    "User.Read": "e1fe6dd8-ba31-4d61-89e7-88639da4683d",
    "User.Read.All": "a154be20-db9c-4678-8ab7-66f6cc099a59",
    "Group.Read.All": "5f8c59db-677d-491f-a6b8-5f174b11ec1d",
    "GroupMember.Read.All": "bc024368-1153-4739-b217-4326f2e966d0",
    "Application.Read.All": "c79f8feb-a9db-4090-85f9-90d820caa0eb",
    "Application.ReadWrite.All": "bdfbf15f-ee85-4955-8675-146e8e5296b5",
    "Directory.Read.All": "06da0dbc-49e2-44d2-8312-53f166ab848a",
    "openid": "37f7f235-527c-4136-accd-4a02d197296e",
    "profile": "14dad69e-099b-42c9-810b-d002981feec1",
    "email": "64a6cdd6-aab1-4aaf-94b8-3cc8405e90d0",
    "offline_access": "7427e0e9-2fba-42fe-b0c0-848c9e6a8182",
}
DIRECTORY_ROLES: dict[str, str] = {
    "Application Administrator": "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3",
    "Application Developer": "cf1c38e5-3621-4004-a7cb-879624dced7c",
    "Cloud Application Administrator": "158c047a-c907-4556-b7ef-446551a6b5f7",
    "Directory Readers": "88d8e3e3-8f55-4a1e-953a-9b9898b8876b",
    "Global Administrator": "62e90394-69f5-4237-9190-012177145e10",
    "Global Reader": "f2ef992c-3afb-46b9-b7cf-a126ee74c451",
    "Groups Administrator": "fdd7a751-b60b-444a-984c-02652fe8fa1c",
    "Privileged Role Administrator": "e8611ab8-c189-46e8-94e1-60213ab1f814",
    "Security Administrator": "194ae4cb-b126-40b2-bd5b-6091b380977d",
    "User Administrator": "fe930be7-5e62-47db-91af-98c3a49a38b1",
}


def stable_id(tenant: str, kind: str, name: str) -> str:
    """An id that follows from the tenant and a name, so that a seed without ids is deterministic."""
    return str(uuid.uuid5(uuid.UUID(tenant), f"{kind}/{name}"))


def furnish(directory: Directory) -> None:
    """Adds what is missing of a tenant's built-in objects."""
    _put(
        directory,
        "organization",
        directory.tenant,
        {
            "displayName": directory.display_name,
            "verifiedDomains": [
                {
                    "capabilities": "Email, OfficeCommunicationsOnline",
                    "isDefault": True,
                    "isInitial": True,
                    "name": directory.domain,
                    "type": "Managed",
                }
            ],
        },
    )
    _put(directory, "domain", directory.domain, {"supportedServices": ["Email", "OfficeCommunicationsOnline"]})
    for name, key in DIRECTORY_ROLES.items():
        described = {"displayName": name, "description": f"The built-in role {name}."}
        _put(directory, "directoryRoleTemplate", key, described)
        _put(directory, "unifiedRoleDefinition", key, described | {"templateId": key})
    _put(
        directory,
        "servicePrincipal",
        stable_id(directory.tenant, "servicePrincipal", GRAPH_APP_ID),
        {
            "appId": GRAPH_APP_ID,
            "appDisplayName": "Microsoft Graph",
            "displayName": "Microsoft Graph",
            "appOwnerOrganizationId": "f8cdef31-a31e-4b4a-93e4-5f571e91255a",
            "servicePrincipalNames": [GRAPH_APP_ID, "https://graph.microsoft.com", "https://graph.microsoft.com/"],
            "signInAudience": "AzureADMultipleOrgs",
            "appRoles": [
                {
                    "allowedMemberTypes": ["Application"],
                    "description": name,
                    "displayName": name,
                    "id": key,
                    "isEnabled": True,
                    "origin": "Application",
                    "value": name,
                }
                for name, key in GRAPH_ROLES.items()
            ],
            "oauth2PermissionScopes": [
                {
                    "adminConsentDescription": name,
                    "adminConsentDisplayName": name,
                    "id": key,
                    "isEnabled": True,
                    "type": "Admin" if name.endswith(".All") else "User",
                    "userConsentDescription": None,
                    "userConsentDisplayName": None,
                    "value": name,
                }
                for name, key in GRAPH_SCOPES.items()
            ],
        },
    )


def _put(directory: Directory, kind: str, key: str, properties: Mapping[str, object]) -> None:
    if directory.store.get(kind, key) is None:
        doc = directory.new(ENTITIES[kind], dict(properties), key=key)
        doc["_created"] = 0.0  # has always been there: no replication lag
        directory.save(doc)
