"""The documents that clients read before anything else: OpenID configuration, keys, instance and cloud metadata.

Sources: OpenID Connect Discovery 1.0; Entra's own documents; Azure's `/metadata/endpoints` (2022-09-01), from which the
azuread provider takes the login and Graph addresses.
"""

from typing import Any

from wicketgate.testing.entra.core import Core


def openid_configuration(core: Core, *, v2: bool) -> dict[str, Any]:
    """`/{tenant}[/v2.0]/.well-known/openid-configuration`."""
    base = f"{core.url}/{core.tenant}"
    oauth = f"{base}/oauth2/v2.0"  # people sign in there for either version
    document: dict[str, Any] = {
        "token_endpoint": f"{oauth}/token" if v2 else f"{base}/oauth2/token",
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        "jwks_uri": f"{base}/discovery/v2.0/keys" if v2 else f"{base}/discovery/keys",
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "issuer": core.issuer if v2 else f"https://sts.windows.net/{core.tenant}/",
        "request_uri_parameter_supported": False,
        "userinfo_endpoint": f"{core.url}/oidc/userinfo",
        "authorization_endpoint": f"{oauth}/authorize",
        "device_authorization_endpoint": f"{oauth}/devicecode",
        "http_logout_supported": True,
        "frontchannel_logout_supported": True,
        "end_session_endpoint": f"{oauth}/logout",
        "claims_supported": [
            "sub", "iss", "cloud_instance_name", "cloud_instance_host_name", "cloud_graph_host_name", "msgraph_host",
            "aud", "exp", "iat", "auth_time", "acr", "nonce", "preferred_username", "name", "tid", "ver", "at_hash",
            "c_hash", "email",
        ],
        "code_challenge_methods_supported": ["plain", "S256"],
        "tenant_region_scope": "EU",
        "cloud_instance_name": "microsoftonline.com",
        "cloud_graph_host_name": "graph.windows.net",
        "msgraph_host": core.url.removeprefix("https://"),
        "rbac_url": "https://pas.windows.net",
    }  # fmt: skip
    return document


def jwks(core: Core, *, v2: bool) -> dict[str, Any]:
    """`/{tenant}/discovery[/v2.0]/keys`: the current key and those not retired yet."""
    issuer = core.issuer if v2 else f"https://sts.windows.net/{core.tenant}/"
    return {"keys": [key.jwk(issuer) for key in core.keys.published]}


def instance(core: Core) -> dict[str, Any]:
    """`/common/discovery/instance`: says that this host is an authority of its own."""
    host = core.url.removeprefix("https://")
    return {
        "tenant_discovery_endpoint": f"{core.url}/{core.tenant}/v2.0/.well-known/openid-configuration",
        "api-version": "1.1",
        "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
    }


def metadata_endpoints(core: Core) -> dict[str, Any]:
    """`/metadata/endpoints?api-version=2022-09-01`: one cloud, this one."""
    return {
        "portal": core.url,
        "authentication": {
            "loginEndpoint": core.url,
            "audiences": [core.url],
            "tenant": "common",
            "identityProvider": "AAD",
        },
        "media": core.url,
        "graphAudience": f"{core.url}/",
        "graph": f"{core.url}/",
        "name": "WicketgateEmulator",
        "suffixes": {},
        "batch": core.url,
        "resourceManager": f"{core.url}/",
        "vmImageAliasDoc": core.url,
        "activeDirectoryDataLake": core.url,
        "sqlManagement": core.url,
        "microsoftGraphResourceId": f"{core.url}/",
        "appInsightsResourceId": core.url,
        "appInsightsTelemetryChannelResourceId": core.url,
        "attestationResourceId": core.url,
        "synapseAnalyticsResourceId": core.url,
        "logAnalyticsResourceId": core.url,
        "ossrDbmsResourceId": core.url,
        "gallery": core.url,
    }
