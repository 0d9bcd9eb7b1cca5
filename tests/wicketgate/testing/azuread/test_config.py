"""The provider's configuration: keys, variables, secrets, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from wicketgate.provider.values import UNKNOWN, Secret
from wicketgate.testing.azuread.config import ConfigError, Settings, check, credentials

GIVEN: dict[str, Any] = {"tenantId": "t", "clientId": "c", "clientSecret": "s3cret"}


def settings(environ: dict[str, str] | None = None, **given: Any) -> Settings:
    return Settings(given, environ or {})


def test_secrets_are_marked_and_flags_are_json() -> None:
    inputs, failures = check({**GIVEN, "useOidc": False, "useCli": "false", "version": "6.11.1"}, {})
    assert failures == []
    assert inputs == {
        "tenantId": "t",
        "clientId": Secret("c"),
        "clientSecret": Secret("s3cret"),
        "useOidc": "false",
        "useCli": "false",
        "version": "6.11.1",
    }


def test_unknown_keys_are_refused_with_a_guess() -> None:
    _, failures = check({**GIVEN, "tenantid": "t"}, {})
    assert failures == [
        (
            "could not validate provider configuration: `azuread:tenantid` is not a valid configuration key for the "
            "azuread provider. Did you mean `azuread:tenantId`? If the referenced key is not intended for the "
            "provider, please choose a different namespace from `azuread:`."
        )
    ]


def test_an_unknown_value_puts_the_pre_check_off() -> None:
    inputs, failures = check({"tenantId": UNKNOWN}, {})
    assert (inputs, failures) == ({"tenantId": UNKNOWN}, [])


def test_variables_stand_in_and_the_configuration_goes_first() -> None:
    environ = {"ARM_TENANT_ID": "t2", "ARM_CLIENT_ID": "c2", "ARM_CLIENT_SECRET": "s2"}
    found = credentials(settings(environ, tenantId="t"))
    assert (found.tenant, found.client, found.secret) == ("t", "c2", "s2")
    assert settings({"ARM_METADATA_HOSTNAME": "h:1"}).metadata_host == "h:1"
    assert settings(clientId=Secret("c")).text("clientId") == "c"


def test_a_secret_goes_before_a_token() -> None:
    found = credentials(settings(**GIVEN, useOidc="true", oidcToken="jwt"))
    assert (found.secret, found.assertion) == ("s3cret", "")


def test_a_federated_token_from_text_or_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("jwt\n")
    by_file = {"tenantId": "t", "clientId": "c", "useOidc": True, "oidcTokenFilePath": str(file)}
    assert credentials(settings(**by_file)).assertion == "jwt"
    assert credentials(settings(**by_file, oidcToken="jwt")).assertion == "jwt"
    with pytest.raises(ConfigError, match="mismatch between supplied OIDC token and supplied OIDC token file contents"):
        credentials(settings(**by_file, oidcToken="other"))
    file.unlink()
    with pytest.raises(ConfigError, match="reading OIDC token from file"):
        credentials(settings(**by_file))


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"tenantId": "t", "clientId": "c"},
        {"tenantId": "t", "clientId": "c", "oidcToken": "jwt"},  # without useOidc
        {"tenantId": "t", "clientSecret": "s"},
        {"clientId": "c", "clientSecret": "s"},
        {"tenantId": "t", "clientId": "c", "useMsi": True},
        {"tenantId": "t", "clientId": "c", "clientCertificatePath": "/x"},
    ],
)
def test_without_a_way_to_sign_in_nothing_goes(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="failed to load Azure credentials"):
        check(given, {})


def test_environments_have_names() -> None:
    assert check({**GIVEN, "environment": "usgovernment"}, {})[1] == []
    with pytest.raises(ConfigError, match='failed to read Azure environment "mars"'):
        check({**GIVEN, "environment": "mars"}, {})


def test_flags() -> None:
    assert settings(useOidc="true").flag("useOidc")
    assert not settings({"ARM_USE_OIDC": "0"}).flag("useOidc")
    assert settings().flag("useCli", default=True)
    with pytest.raises(ConfigError, match="`azuread:useOidc` must be true or false"):
        settings(useOidc="maybe").flag("useOidc")


def test_without_a_metadata_host_it_would_be_microsofts_cloud() -> None:
    with pytest.raises(ConfigError, match="never Microsoft's own cloud"):
        _ = settings(**GIVEN).metadata_host


def test_credentials_do_not_show() -> None:
    found = credentials(settings(**GIVEN))
    assert "s3cret" not in repr(found)
