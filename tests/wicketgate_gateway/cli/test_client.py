"""Settings and exchanges of a bot's machine, against the emulator and the issuer."""

import json
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from wicketgate_gateway.cli import client
from wicketgate_gateway.cli.client import Settings
from wicketgate_gateway.contract.errors import DocumentError, WicketgateError
from wicketgate_gateway.contract.gateway import ClientConfig, Entra, Workload
from wicketgate_gateway.identity.exchange import ExchangeError


@pytest.fixture
def document(cloud: Any) -> dict[str, Any]:
    return {
        "bot": "code-review",
        "entra": cloud.document(),
        "audience": cloud.audience,
        "workload": cloud.workload("bot"),
        "gateway": {"host": "localhost", "port": 5432},
        "targets": {"orders-db": "postgres"},
    }


@pytest.fixture
def config(document: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "client.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_PAUSE_SECONDS", 0.01)


def test_the_quick_reader_knows_what_the_document_knows() -> None:
    def keys(model: Any) -> set[str]:
        return {field.alias or name for name, field in model.model_fields.items()}

    assert keys(ClientConfig) == client.KEYS[""]
    assert keys(Entra) == client.KEYS["entra"]
    assert keys(Workload) == client.KEYS["workload"]
    assert Entra.model_fields["authority"].default == client._PUBLIC


def test_quick_and_strict_agree(config: Path, cloud: Any) -> None:
    quick = client._quickly(config)
    assert quick == client._strictly(config)
    assert quick is not None
    assert quick.client_id == cloud.clients["bot"]


@pytest.mark.parametrize(
    "change",
    [
        {"audience": "NOT-A-UUID"},
        {"audience": 5},
        {"surplus": 1},
        {"entra": {"tenant": "x"}},
        {"entra": {"tenant": "6f1c9a52-7a53-4c0e-9a55-3f2e6b1d8c40", "authorty": "https://evil.example"}},
        {"entra": {"tenant": "6f1c9a52-7a53-4c0e-9a55-3f2e6b1d8c40", "caFile": 7}},
        {"workload": {"clientId": "6f1c9a52-7a53-4c0e-9a55-3f2e6b1d8c40"}},
        {"workload": []},
        {"entra": None},
    ],
)
def test_a_file_that_is_not_plainly_right_goes_to_the_strict_reader(
    config: Path, document: dict[str, Any], change: dict[str, Any]
) -> None:
    config.write_text(yaml.safe_dump({**document, **change}))
    assert client._quickly(config) is None
    with pytest.raises(DocumentError, match=r"client\.yaml"):
        client.settings(config)


@pytest.mark.parametrize("text", ["", "[]", "text", "a: 1\na: 2", "a: *b", "\0"])
def test_files_that_are_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "client.yaml"
    path.write_text(text)
    with pytest.raises(DocumentError):
        client.settings(path)
    with pytest.raises(DocumentError):
        client.settings(tmp_path / "absent.yaml")


def test_which_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # One in the current folder is nobody's: a bot works in folders that others filled.
    (tmp_path / "client.yaml").write_text("")
    monkeypatch.chdir(tmp_path)
    home = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    assert client.config_path(None, home) is None
    assert client.config_path(Path("given"), {"WICKETGATE_CONFIG": "named"}) == Path("given")
    assert client.config_path(None, {"WICKETGATE_CONFIG": "named"}) == Path("named")
    own = tmp_path / "config" / "wicketgate" / "client.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("")
    assert client.config_path(None, home) == own


def test_variables_of_azures_sdks(cloud: Any) -> None:
    environ = {
        "AZURE_TENANT_ID": cloud.entra.tenant,
        "AZURE_CLIENT_ID": cloud.clients["bot"],
        "AZURE_AUTHORITY_HOST": cloud.entra.authority + "/",
        "AZURE_FEDERATED_TOKEN_FILE": str(cloud.folder / "bot.token"),
        "WICKETGATE_AUDIENCE": cloud.audience,
    }
    found = client.settings(None, environ)
    assert found.token_file == environ["AZURE_FEDERATED_TOKEN_FILE"]
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "WICKETGATE_AUDIENCE"):
        with pytest.raises(WicketgateError, match=name):
            client.settings(None, {k: v for k, v in environ.items() if k != name})
    del environ["AZURE_AUTHORITY_HOST"]
    assert client.settings(None, environ).authority == "https://login.microsoftonline.com"


def test_a_token_by_the_file(config: Path) -> None:
    token = client.fetch_token(client.settings(config), {})
    assert token.token.count(".") == 2


def test_a_token_by_githubs_service(config: Path, cloud: Any) -> None:
    url, request_token = cloud.issuer.allow("ci", "workload:bot")
    settings = client.settings(config)
    both = cloud.folder / "both.pem"
    both.write_bytes(cloud.entra.ca_file.read_bytes() + cloud.issuer.ca_file.read_bytes())
    settings = Settings(**{**settings.__dict__, "token_file": None, "ca_file": str(both)})
    environ = {"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": request_token}
    assert client.fetch_token(settings, environ).token
    environ["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] = "wrong-request-token"
    with pytest.raises(ExchangeError) as error:
        client.fetch_token(settings, environ)
    assert error.value.code == "assertion-missing"
    assert "wrong-request-token" not in str(error.value)
    with pytest.raises(ExchangeError, match="no https"):
        client.fetch_token(settings, {**environ, "ACTIONS_ID_TOKEN_REQUEST_URL": url.replace("https", "http")})


def test_stray_failures_are_tried_again(config: Path, cloud: Any) -> None:
    cloud.entra.set_quirks(stray_700213_next=2)
    assert client.fetch_token(client.settings(config), {}).token
    cloud.entra.set_quirks(stray_700213_next=3)
    with pytest.raises(ExchangeError) as error:
        client.fetch_token(client.settings(config), {})
    assert error.value.code == "subject-unknown"


def test_errors_hold_no_token(config: Path, cloud: Any, tmp_path: Path) -> None:
    settings = client.settings(config)
    file = tmp_path / "token"
    token = cloud.issuer.token("workload:nobody", "api://AzureADTokenExchange")
    file.write_text(token)
    with pytest.raises(ExchangeError) as error:
        client.fetch_token(Settings(**{**settings.__dict__, "token_file": str(file)}), {})
    assert not any(part in str(error.value) for part in token.split("."))
    file.write_text("this-is-no-jwt-but-a-secret")
    with pytest.raises(ExchangeError) as error:
        client.fetch_token(Settings(**{**settings.__dict__, "token_file": str(file)}), {})
    assert "secret" not in str(error.value)


def test_without_any_proof(config: Path) -> None:
    settings = client.settings(config)
    with pytest.raises(ExchangeError) as error:
        client.fetch_token(Settings(**{**settings.__dict__, "token_file": None}), {})
    assert error.value.code == "assertion-missing"
    with pytest.raises(ExchangeError) as error:
        client.fetch_token(Settings(**{**settings.__dict__, "token_file": "/no/such/file"}), {})
    assert error.value.code == "assertion-unreadable"


@pytest.mark.parametrize("authority", ["http://login.example", "login.example", "ftp://x", ""])
def test_the_platforms_token_goes_out_by_https_alone(config: Path, authority: str) -> None:
    settings = client.settings(config)
    with pytest.raises(WicketgateError, match="no https address"):
        client.fetch_token(Settings(**{**settings.__dict__, "authority": authority}), {})


def test_certificates_are_verified(config: Path) -> None:
    settings = client.settings(config)
    with pytest.raises(ExchangeError) as error:
        client.fetch_token(Settings(**{**settings.__dict__, "ca_file": None}), {})
    assert error.value.code == "certificate-refused"
    with pytest.raises(WicketgateError) as wrong:
        client.fetch_token(Settings(**{**settings.__dict__, "ca_file": str(config)}), {})
    assert wrong.value.code == "ca-file-invalid"


def test_proxies(cloud: Any) -> None:
    context = ssl.create_default_context(cafile=str(cloud.entra.ca_file))
    url = f"{cloud.entra.url}/common/discovery/instance"
    proxied = {"HTTPS_PROXY": "http://127.0.0.1:1"}
    with pytest.raises(ExchangeError, match="cannot be reached"):
        client.send("GET", url, {}, None, context, proxied)
    for names in ("localhost", "*", "x,.localhost", " LOCALHOST "):
        assert client.send("GET", url, {}, None, context, {**proxied, "NO_PROXY": names})[0] == 200
    assert not client._bypassed("notlocalhost", {"NO_PROXY": "localhost,"})
    assert client._bypassed("a.corp.example", {"no_proxy": "corp.example"})


def test_nothing_heavy_is_imported(config: Path) -> None:
    heavy = ("pydantic", "msal", "httpx2", "cyclopts", "rich", "asyncio", "joserfc", "cryptography")
    script = (
        "import sys, json\n"
        "from pathlib import Path\n"
        "from wicketgate_gateway.cli.token import token\n"
        f"token(config=Path({str(config)!r}))\n"
        f"sys.stderr.write(json.dumps([name for name in {heavy!r} if name in sys.modules]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stderr) == []
    assert done.stdout.count(".") == 2
