"""The provider's configuration: the real plugin's keys and `ARM_*` variables, checked in its words.

How this works: the engine sends CheckConfig and Configure what the program or the stack set, everything but
text as JSON in a string. `Settings` adds the environment and defaults; `credentials` picks the way of signing
in, in the order of the real provider. This stand-in knows two: a client secret, and an OIDC token given as
text or file. Sources: terraform-provider-azuread `internal/provider/`, pulumi-azuread `provider/resources.go`.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from wicketgate.provider.values import Secret, holds_unknown, reveal

_PACKAGE: Final = "azuread"
_ENVIRONMENTS: Final = frozenset(
    {"public", "global", "china", "canary", "usgovernment", "usgovernmentl4", "usgovernmentl5", "dod"}
)
_SECRET_KEYS: Final = frozenset({"clientCertificatePassword", "clientId", "clientSecret"})
_FLAGS: Final = frozenset({"useOidc", "useAksWorkloadIdentity", "useCli", "useMsi", "disableTerraformPartnerId"})
_IGNORED: Final = frozenset({"version", "pluginDownloadURL"})
VARIABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "adoPipelineServiceConnectionId": (
        "ARM_ADO_PIPELINE_SERVICE_CONNECTION_ID",
        "ARM_OIDC_AZURE_SERVICE_CONNECTION_ID",
    ),
    "clientCertificate": ("ARM_CLIENT_CERTIFICATE",),
    "clientCertificatePassword": ("ARM_CLIENT_CERTIFICATE_PASSWORD",),
    "clientCertificatePath": ("ARM_CLIENT_CERTIFICATE_PATH",),
    "clientId": ("ARM_CLIENT_ID",),
    "clientIdFilePath": ("ARM_CLIENT_ID_FILE_PATH",),
    "clientSecret": ("ARM_CLIENT_SECRET",),
    "clientSecretFilePath": ("ARM_CLIENT_SECRET_FILE_PATH",),
    "disableTerraformPartnerId": ("ARM_DISABLE_TERRAFORM_PARTNER_ID",),
    "environment": ("ARM_ENVIRONMENT",),
    "metadataHost": ("ARM_METADATA_HOSTNAME",),
    "msiEndpoint": ("ARM_MSI_ENDPOINT",),
    "oidcRequestToken": ("ARM_OIDC_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "SYSTEM_ACCESSTOKEN"),
    "oidcRequestUrl": ("ARM_OIDC_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_URL", "SYSTEM_OIDCREQUESTURI"),
    "oidcToken": ("ARM_OIDC_TOKEN",),
    "oidcTokenFilePath": ("ARM_OIDC_TOKEN_FILE_PATH",),
    "partnerId": ("ARM_PARTNER_ID",),
    "tenantId": ("ARM_TENANT_ID",),
    "useAksWorkloadIdentity": ("ARM_USE_AKS_WORKLOAD_IDENTITY",),
    "useCli": ("ARM_USE_CLI",),
    "useMsi": ("ARM_USE_MSI",),
    "useOidc": ("ARM_USE_OIDC",),
}
"""Each key of the provider's configuration, and the variables that stand in for it."""


class ConfigError(Exception):
    """The configuration cannot be used; the text says why."""


@dataclass(frozen=True)
class Credentials:
    """How to sign in: as which application of which tenant, by a secret or by a federated assertion."""

    tenant: str
    client: str
    secret: str = field(default="", repr=False)
    assertion: str = field(default="", repr=False)


@dataclass(frozen=True)
class Settings:
    """The configuration as given, with the environment behind it."""

    given: Mapping[str, Any]
    environ: Mapping[str, str]

    def text(self, key: str) -> str:
        """A value as text; the first variable that is set if the configuration lacks it."""
        value = reveal(self.given.get(key))
        if value is None or value == "":
            value = next((self.environ[name] for name in VARIABLES[key] if self.environ.get(name)), "")
        return value if isinstance(value, str) else json.dumps(value)

    def flag(self, key: str, *, default: bool = False) -> bool:
        """A value as a boolean. Raises ConfigError if it is none."""
        said = self.text(key).strip().lower()
        if said in ("", "null"):
            return default
        if said in ("1", "t", "true"):
            return True
        if said in ("0", "f", "false"):
            return False
        raise ConfigError(f"`{_PACKAGE}:{key}` must be true or false")

    def from_file(self, key: str, path_key: str, what: str) -> str:
        """A value given as text or in a file. Raises ConfigError if the two differ or the file is unreadable."""
        said, path = self.text(key).strip(), self.text(path_key)
        if not path:
            return said
        try:
            read = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise ConfigError(f'reading {what} from file "{path}": {reason}') from None
        if said and said != read:
            raise ConfigError(
                f"mismatch between supplied {what} and supplied {what} file contents - "
                "please either remove one or ensure they match"
            )
        return read

    @property
    def metadata_host(self) -> str:
        """The host (and port) that tells where to sign in and where Graph is.

        Raises ConfigError if there is none: without it the real plugin talks to Microsoft's cloud, and this
        stand-in must not.
        """
        host = self.text("metadataHost")
        if not host:
            raise ConfigError(
                f"the stand-in for the {_PACKAGE} plugin needs `{_PACKAGE}:metadataHost` (or ARM_METADATA_HOSTNAME): "
                "it serves an emulator, never Microsoft's own cloud"
            )
        return host


def credentials(settings: Settings) -> Credentials:
    """The way of signing in that the configuration allows. Raises ConfigError if there is none."""
    tenant, client = settings.text("tenantId").strip(), settings.from_file("clientId", "clientIdFilePath", "Client ID")
    secret = settings.from_file("clientSecret", "clientSecretFilePath", "Client Secret")
    token = settings.from_file("oidcToken", "oidcTokenFilePath", "OIDC token")
    if tenant and client and (settings.text("clientCertificate") or settings.text("clientCertificatePath")):
        raise ConfigError(_no_credentials("the stand-in does not sign in by certificate"))
    if tenant and client and secret:
        return Credentials(tenant, client, secret=secret)
    federated = settings.flag("useOidc") or settings.flag("useAksWorkloadIdentity")
    if tenant and client and federated and token:
        return Credentials(tenant, client, assertion=token)
    raise ConfigError(
        _no_credentials(
            "no Authorizer could be configured, please check your configuration: the stand-in signs in by "
            "tenantId, clientId and either clientSecret, or useOidc with oidcToken or oidcTokenFilePath"
        )
    )


def _no_credentials(details: str) -> str:
    return (
        f"failed to load Azure credentials.\nDetails: {details}\n\n"
        "\tPlease make sure you have signed in via 'az login' or configured another authentication method.\n\n"
        "\tSee https://www.pulumi.com/registry/packages/azuread/installation-configuration/ for more information"
    )


def check(news: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> tuple[dict[str, Any], list[str]]:
    """CheckConfig: the configuration with its secrets marked, and what is wrong with it.

    Raises ConfigError for what the real plugin's own pre-check refuses.
    """
    settings = Settings(news, os.environ if environ is None else environ)
    if not holds_unknown(news):
        _pre_check(settings)
    failures = [_invalid_key(key) for key in news if key not in VARIABLES and key not in _IGNORED]
    inputs = {key: _encoded(key, value) for key, value in news.items()}
    return inputs, failures


def _pre_check(settings: Settings) -> None:
    environment = settings.text("environment") or "public"
    if environment.lower() not in _ENVIRONMENTS:
        raise ConfigError(
            f'failed to read Azure environment "{environment}": no environment was found with the name "{environment}"'
        )
    credentials(settings)


def _encoded(key: str, value: Any) -> Any:
    if isinstance(value, Secret) or value is None:
        return value
    shown = value if isinstance(value, str) or holds_unknown(value) else json.dumps(value)
    return Secret(shown) if key in _SECRET_KEYS else shown


def _invalid_key(key: str) -> str:
    close = [name for name in VARIABLES if _distance(key, name) <= 2]
    hint = f" Did you mean {' or '.join(f'`{_PACKAGE}:{name}`' for name in close)}?" if close else ""
    return (
        f"could not validate provider configuration: `{_PACKAGE}:{key}` is not a valid configuration key for the "
        f"{_PACKAGE} provider.{hint} If the referenced key is not intended for the provider, please choose a different "
        f"namespace from `{_PACKAGE}:`."
    )


def _distance(left: str, right: str) -> int:
    """The number of insertions, deletions and replacements between two texts (Levenshtein)."""
    row = list(range(len(right) + 1))
    for index, char in enumerate(left, 1):
        previous, row[0] = row[0], index
        for at, other in enumerate(right, 1):
            previous, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, previous + (char != other))
    return row[-1]
