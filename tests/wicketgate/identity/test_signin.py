"""Who signs in, by the environment; and what a token's own claims say."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from azure.identity import AzureCliCredential, ClientAssertionCredential, ClientSecretCredential

from wicketgate.identity.signin import Cloud, SignInError, claims_of, credential, principal, read_proof

IDS = {"ARM_TENANT_ID": "11111111-1111-4111-8111-111111111111", "ARM_CLIENT_ID": "c"}
AZURE = {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c"}
OWN = Cloud("https://login.example", "https://graph.example", None)


def token(**claims: Any) -> str:
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"e30.{part}.c2ln"


@pytest.mark.parametrize(
    ("environ", "kind"),
    [
        (IDS | {"ARM_OIDC_TOKEN": "a.b.c", "ARM_CLIENT_SECRET": "s"}, ClientAssertionCredential),
        (IDS | {"ARM_CLIENT_SECRET": "s"}, ClientSecretCredential),
        (AZURE | {"AZURE_FEDERATED_TOKEN_FILE": "/f"}, ClientAssertionCredential),
        ({}, AzureCliCredential),
    ],
)
def test_the_environment_says_who(environ: dict[str, str], kind: type) -> None:
    assert isinstance(credential(Cloud(), environ), kind)


@pytest.mark.parametrize(("cloud", "environ"), [(OWN, {}), (Cloud(), {"ARM_USE_CLI": "false"}), (OWN, IDS)])
def test_nobody_is_an_error(cloud: Cloud, environ: dict[str, str]) -> None:
    with pytest.raises(SignInError, match="does not say who"):
        credential(cloud, environ)


def test_a_certificate_that_is_none_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "c.pem"
    file.write_text("hunter2")
    with pytest.raises(SignInError) as caught:
        credential(Cloud(), IDS | {"ARM_CLIENT_CERTIFICATE_PATH": str(file)})
    assert "hunter2" not in str(caught.value)


def test_only_another_authority_skips_the_public_one() -> None:
    assert "disable_instance_discovery" not in Cloud().options()
    assert OWN.options()["disable_instance_discovery"] is True


def test_an_app_and_a_person_are_told_apart() -> None:
    app = principal(token(oid="O", tid="T", appid="A", idtyp="app", roles=["Group.Create"], wids=["w"]))
    assert (app.person, app.object_id, app.permissions, app.roles) == (False, "o", {"Group.Create"}, {"w"})
    person = principal(token(oid="o", tid="t", scp="User.Read Directory.AccessAsUser.All", upn="ada@example"))
    assert (person.person, person.name) == (True, "ada@example")
    assert person.permissions == {"User.Read", "Directory.AccessAsUser.All"}


@pytest.mark.parametrize("text", ["", "secret", "a.!!!.c", f"a.{base64.urlsafe_b64encode(b'[]').decode()}.c"])
def test_what_is_no_token_is_not_quoted(text: str) -> None:
    with pytest.raises(SignInError) as caught:
        claims_of(text)
    assert str(caught.value) == "what should be a token is none"


def test_a_proof_is_read_or_its_lack_is_told(tmp_path: Path) -> None:
    file = tmp_path / "p.jwt"
    file.write_text(" a.b.c\n")
    assert read_proof(file) == "a.b.c"
    file.write_text("hunter2")
    with pytest.raises(SignInError) as caught:
        read_proof(file)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(SignInError, match="No such file"):
        read_proof(tmp_path / "none")
