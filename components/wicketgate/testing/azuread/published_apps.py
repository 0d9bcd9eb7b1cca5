"""Application IDs of well-known Microsoft APIs, for `getApplicationPublishedAppIds`.

Public facts, the same in every tenant; the real plugin knows some more. Source: go-azure-sdk
`sdk/environments/application_ids.go`, Microsoft's "Verify first-party Microsoft applications in sign-in reports".
"""

from collections.abc import Mapping
from typing import Final

PUBLISHED_APPS: Final[Mapping[str, str]] = {
    "ApiManagement": "8602e328-9b72-4f2d-a4ae-1387d013a2b3",
    "AzureActiveDirectoryGraph": "00000002-0000-0000-c000-000000000000",
    "AzureContainerRegistry": "6a0ec4d3-30cb-4a83-91c0-ae56bc0e3d26",
    "AzureDataBricks": "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d",
    "AzureDevOps": "499b84ac-1321-427f-aa17-267ca6975798",
    "AzureKeyVault": "cfa8b339-82a2-471a-a3c9-0fc0be7a4093",
    "AzureKubernetesServiceAadServer": "6dae42f8-4368-4678-94ff-3960e28e3630",
    "AzureLinuxVirtualMachineSignIn": "ce6ff14a-7fdc-4685-bbe0-f6afdfcfa8e0",
    "AzureResourceManager": "797f4846-ba00-4fd7-ba43-dac1f8f63013",
    "AzureServiceManagement": "797f4846-ba00-4fd7-ba43-dac1f8f63013",
    "AzureVPN": "41b23e61-6c1e-4545-b367-cd054e0ed4b4",
    "AzureWindowsVirtualMachineSignIn": "372140e0-b3b7-4226-8ef9-d57986796201",
    "InTune": "c161e42e-d4df-4a3d-9b42-e7a3c31f59d4",
    "LogAnalytics": "ca7f3f0b-7d91-482c-8e09-c5d840d0eac5",
    "ManagedHSM": "1341df96-0b28-43da-ba24-7a6ce39be816",
    "MicrosoftAzureCli": "04b07795-8ddb-461a-bbee-02f9e1bf7b46",
    "MicrosoftGraph": "00000003-0000-0000-c000-000000000000",
    "MicrosoftIntune": "0000000a-0000-0000-c000-000000000000",
    "MicrosoftTeams": "1fec8e78-bce4-4aaf-ab1b-5451cc387264",
    "Office365ExchangeOnline": "00000002-0000-0ff1-ce00-000000000000",
    "Office365Management": "c5393580-f805-4401-95e8-94b7a6ef2fc2",
    "Office365SharePointOnline": "00000003-0000-0ff1-ce00-000000000000",
    "OssRdbms": "123cd850-d9df-40bd-94d5-c9f07b7fa203",
    "OssRdbmsPostgreSqlFlexibleServerAadAuthentication": "5657e26c-cc92-45d9-bc47-9da6cfdb4ed9",
}
