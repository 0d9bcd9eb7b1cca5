"""Settings of a person, and the one file that holds a token."""

import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from wicketgate_gateway.cli import people
from wicketgate_gateway.cli.people import Gate, Settings
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import Entra
from wicketgate_gateway.identity.exchange import AccessToken

ID = "00000000-0000-4000-8000-00000000000"
PEOPLE = f"""
entra: {{tenant: {ID}1}}
audience: {ID}2
client: {ID}3
url: https://gate.example:8444
"""
SETTINGS = Settings(Entra(tenant=f"{ID}1"), f"{ID}2", f"{ID}3", "https://gate.example:8444", None)


def refused(call: Any) -> str:
    with pytest.raises(WicketgateError) as error:
        call()
    return error.value.code


def test_people_yaml_and_where_it_is_looked_for(tmp_path: Path) -> None:
    file = tmp_path / "people.yaml"
    file.write_text(PEOPLE)
    assert Gate(config=file).settings({}) == SETTINGS
    assert Gate().settings({"WICKETGATE_CONFIG": str(file)}) == SETTINGS
    own = tmp_path / "xdg" / "wicketgate"
    own.mkdir(parents=True)
    (own / "people.yaml").write_text(PEOPLE)
    assert Gate().settings({"XDG_CONFIG_HOME": str(tmp_path / "xdg")}) == SETTINGS
    assert refused(lambda: Gate().settings({"XDG_CONFIG_HOME": str(tmp_path)})) == "people-config-missing"


def test_a_bots_file_is_not_a_persons(tmp_path: Path) -> None:
    file = tmp_path / "client.yaml"
    file.write_text("bot: code-review\n")
    assert refused(lambda: Gate(config=file).settings({})) == "people-config-missing"


def test_the_gateways_own_file(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    base = f"""
name: gate
entra: {{tenant: {ID}1}}
audience: {ID}2
workload: {{clientId: {ID}2, tokenFile: x}}
agents: {{}}
tls: {{certificateFile: x, keyFile: x}}
state: x
policies: x
targets: {{}}
"""
    file.write_text(base + "listen: {postgres: {port: 0}, agents: {port: 0}}\n")
    assert refused(lambda: Gate(config=file).settings({})) == "api-off"
    file.write_text(
        base
        + "listen: {postgres: {port: 0}, agents: {port: 0}, api: {port: 0}}\n"
        + f"people: {{url: 'https://gate.example:8444', client: {ID}3}}\n"
    )
    assert Gate(config=file).settings({}) == SETTINGS


@pytest.mark.parametrize(
    "url", ["http://gate.example", "gate.example", "https://user@gate.example", "file:///x", "https://"]
)
def test_an_api_that_is_no_https_address(tmp_path: Path, url: str) -> None:
    file = tmp_path / "people.yaml"
    file.write_text(PEOPLE)
    assert refused(lambda: Gate(config=file, api=url).settings({})) == "api-invalid"


def test_a_token_is_kept_for_its_owner_and_its_address_alone(tmp_path: Path) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    previous = os.umask(0)
    try:
        path = people.keep(SETTINGS, AccessToken("a.b.c", time.time() + 3600), environ)
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert people.kept(SETTINGS, environ).token == "a.b.c"
    for other in (
        Settings(SETTINGS.entra, SETTINGS.audience, SETTINGS.client, "https://evil.example", None),
        Settings(SETTINGS.entra, SETTINGS.audience, SETTINGS.client, "https://gate.example:8445", None),
        Settings(SETTINGS.entra, f"{ID}9", SETTINGS.client, SETTINGS.url, None),
        Settings(Entra(tenant=f"{ID}8"), SETTINGS.audience, SETTINGS.client, SETTINGS.url, None),
    ):
        assert refused(lambda other=other: people.kept(other, environ)) == "not-signed-in"
    path.chmod(0o644)
    assert refused(lambda: people.kept(SETTINGS, environ)) == "token-exposed"
    assert people.forget(SETTINGS, environ)
    assert not people.forget(SETTINGS, environ)


def test_a_token_near_its_end_or_a_broken_file(tmp_path: Path) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    path = people.keep(SETTINGS, AccessToken("a.b.c", time.time() + 10), environ)
    assert refused(lambda: people.kept(SETTINGS, environ)) == "not-signed-in"
    for content in ("", "[]", '{"access_token": "x"}', '{"access_token": "x", "expires_at": "soon"}'):
        path.write_text(content)
        assert refused(lambda: people.kept(SETTINGS, environ)) == "not-signed-in"


def test_a_link_in_the_files_place_is_not_followed(tmp_path: Path) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path / "s")}
    path = people.token_file(SETTINGS, environ)
    path.parent.mkdir(parents=True)
    target = tmp_path / "target"
    target.write_text("mine")
    path.symlink_to(target)
    assert refused(lambda: people.kept(SETTINGS, environ)) == "not-signed-in"
    people.keep(SETTINGS, AccessToken("a.b.c", time.time() + 3600), environ)
    assert target.read_text() == "mine"
    assert not path.is_symlink()
