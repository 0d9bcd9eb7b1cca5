"""What a deployment renders: golden pairs. After a wanted change: `WICKETGATE_GOLDEN=write ./test PATH`, then read."""

import dataclasses
import os
from pathlib import Path

import pytest
import yaml

from wicketgate import config
from wicketgate.deploy import description
from wicketgate.deploy.description import Identities, Place
from wicketgate_gateway.contract import model
from wicketgate_gateway.contract.gateway import AgentConfig, ClientConfig, GatewayConfig, PeopleConfig
from wicketgate_gateway.contract.policy import Policy

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "local"

SETTINGS = config.load(yaml.safe_load((GOLDEN / "settings.yaml").read_text()))
IDS = Identities(
    tenant="11111111-1111-1111-1111-111111111111",
    gateway_client_id="22222222-2222-2222-2222-222222222222",
    agents={"desk": ("33333333-3333-3333-3333-333333333333", "44444444-4444-4444-4444-444444444444")},
    bots={"code-review": "55555555-5555-5555-5555-555555555555"},
    cli_client_id="77777777-7777-7777-7777-777777777777",
)
PLACE = Place(
    state="/var/lib/wicketgate",
    bundle_file="/etc/wicketgate/bundle.json",
    certificate_file="/etc/wicketgate/tls.pem",
    key_file="/etc/wicketgate/tls.key",
    ca_file="/etc/wicketgate/ca.pem",
    listen_host="0.0.0.0",
    token_folder="/var/run/tokens",
    secret_folder="/var/run/secrets",
)

POLICIES = {
    "orders-readonly": Policy.model_validate(
        {
            "policy": "orders-readonly",
            "targets": {"labels": {"env": "prod"}},
            "rules": [{"allow": {"sql": {"statements": ["read"]}}}],
        }
    )
}

RENDERED = {
    "gateway.yaml": (GatewayConfig, lambda: description.gateway(SETTINGS, IDS, PLACE)),
    "agent.yaml": (AgentConfig, lambda: description.agent(SETTINGS, IDS, PLACE, "desk")),
    "people.yaml": (PeopleConfig, lambda: description.people(SETTINGS, IDS, PLACE)),
    "client.yaml": (ClientConfig, lambda: description.client(SETTINGS, IDS, PLACE, "code-review", POLICIES)),
}


@pytest.mark.parametrize("name", RENDERED)
def test_rendered_files_are_those_on_record(name: str) -> None:
    _, make = RENDERED[name]
    text = description.render(make(), "A golden file")
    if os.environ.get("WICKETGATE_GOLDEN") == "write":
        (GOLDEN / name).write_text(text)
    assert text == (GOLDEN / name).read_text()


@pytest.mark.parametrize("name", RENDERED)
def test_the_processes_read_what_is_rendered(name: str) -> None:
    kind, make = RENDERED[name]
    assert model.read(kind, GOLDEN / name) == make()


def test_the_gateway_learns_neither_address_nor_credential_of_a_target() -> None:
    text = (GOLDEN / "gateway.yaml").read_text()
    assert "db.internal" not in text
    assert "/var/run/secrets" not in text


def test_without_a_port_for_it_there_is_no_api_and_nobody_to_sign_in() -> None:
    settings = yaml.safe_load((GOLDEN / "settings.yaml").read_text())
    del settings["gateway"]["apiPort"]
    gateway = description.gateway(config.load(settings), IDS, PLACE)
    assert (gateway.listen.api, gateway.people) == (None, None)


def test_sign_in_by_saml_is_a_switch() -> None:
    settings = yaml.safe_load((GOLDEN / "settings.yaml").read_text())
    settings["gateway"]["saml"] = True
    ids = dataclasses.replace(IDS, saml_client_id="88888888-8888-8888-8888-888888888888")
    people = description.gateway(config.load(settings), ids, PLACE).people
    assert people is not None
    assert people.saml is not None
    assert people.saml.entity_id == "api://88888888-8888-8888-8888-888888888888"
    assert not people.saml.bearer
    settings["gateway"]["samlBearer"] = True
    people = description.gateway(config.load(settings), ids, PLACE).people
    assert people is not None
    assert people.saml is not None
    assert people.saml.bearer
    plain = description.gateway(SETTINGS, IDS, PLACE).people
    assert plain is not None
    assert plain.saml is None


def test_an_agent_gets_its_own_targets_only() -> None:
    agent = description.agent(SETTINGS, IDS, PLACE, "desk")
    assert set(agent.targets) == {"orders-db"}


def test_a_bots_file_lists_only_targets_that_its_policies_are_about() -> None:
    client = description.client(SETTINGS, IDS, PLACE, "code-review", POLICIES)
    assert set(client.targets) == {"orders-db"}
