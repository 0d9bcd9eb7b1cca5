"""One description of a deployment; every kind of place (local, Compose, Kubernetes) renders its files from it.

Pure functions: plain values in, documents out. What differs between places is in `Place`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from wicketgate.config import StackConfig
from wicketgate_gateway.contract.gateway import (
    AgentConfig,
    ClientConfig,
    Endpoint,
    Entra,
    GatewayConfig,
    GatewayListeners,
    GatewayTarget,
    Listen,
    People,
    PeopleConfig,
    PostgresListen,
    Saml,
    ServerTls,
    TargetKind,
    Workload,
)
from wicketgate_gateway.contract.model import Model
from wicketgate_gateway.contract.policy import Policy


@dataclass(frozen=True, slots=True)
class Identities:
    """Ids that exist once Entra has answered."""

    tenant: str
    gateway_client_id: str
    agents: Mapping[str, tuple[str, str]]
    """Per agent: client id, object id."""
    bots: Mapping[str, str]
    """Per bot: client id."""
    cli_client_id: str = ""
    """Of the public client that people sign in with."""
    saml_client_id: str = ""
    """Of the registration for sign-in by SAML."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where things are on the machine or in the container that runs them."""

    state: str
    bundle_file: str
    certificate_file: str
    key_file: str
    ca_file: str
    listen_host: str
    token_folder: str
    secret_folder: str

    def workload(self, client_id: str, name: str) -> Workload:
        """The identity of the process `name`."""
        return Workload(client_id=client_id, token_file=f"{self.token_folder}/{name}.jwt")


_KEEPING = ("control", "masks", "audit", "retention", "recordings")


def _entra(config: StackConfig, tenant: str) -> Entra:
    return Entra(
        tenant=tenant, authority=config.entra.authority, graph=config.entra.graph, ca_file=config.entra.ca_file
    )


def _listen(place: Place, port: int | None) -> Listen | None:
    return None if port is None else Listen(host=place.listen_host, port=port)


def gateway(config: StackConfig, ids: Identities, place: Place) -> GatewayConfig:
    """`gateway.yaml`."""
    settings = config.gateway
    return GatewayConfig(
        version=1,
        name=settings.name,
        entra=_entra(config, ids.tenant),
        audience=ids.gateway_client_id,
        workload=place.workload(ids.gateway_client_id, "gateway"),
        agents={object_id: name for name, (_, object_id) in sorted(ids.agents.items())},
        listen=GatewayListeners(
            postgres=PostgresListen(host=place.listen_host, port=settings.postgres_port),
            agents=Listen(host=place.listen_host, port=settings.agents_port),
            http=_listen(place, settings.http_port),
            kubernetes=_listen(place, settings.kubernetes_port),
            ssh=_listen(place, settings.ssh_port),
            api=_listen(place, settings.api_port),
            metrics=_listen(place, settings.metrics_port),
        ),
        tls=ServerTls(certificate_file=place.certificate_file, key_file=place.key_file),
        state=place.state,
        policies=place.bundle_file,
        targets={
            name: GatewayTarget(
                kind=TargetKind(target.kind), agent=target.agent, labels=dict(sorted(target.labels.items()))
            )
            for name, target in sorted(config.targets.items())
        },
        people=_people(config, ids),
        # What the stack does not say stays unsaid: the gateway's defaults are then those of its version.
        **{part: getattr(settings, part) for part in _KEEPING if part in settings.model_fields_set},
    )


def _api_url(config: StackConfig) -> str:
    return f"https://{config.gateway.host}:{config.gateway.api_port}"


def _people(config: StackConfig, ids: Identities) -> People | None:
    settings = config.gateway
    if settings.api_port is None:
        return None
    return People(
        url=_api_url(config),
        client=ids.cli_client_id,
        sign_in=settings.sign_in,
        webhooks=dict(settings.webhooks),
        **_more(config, ids),
    )


def _more(config: StackConfig, ids: Identities) -> dict[str, Any]:
    # What is off stays unsaid.
    settings = config.gateway
    found: dict[str, Any] = {"apply_policies": True} if settings.apply_policies else {}
    return found | ({"saml": _saml(ids, bearer=settings.saml_bearer)} if settings.saml else {})


def _saml(ids: Identities, *, bearer: bool) -> Saml:
    # The gateway's own default for the metadata is the tenant's, of this registration.
    more: dict[str, Any] = {"bearer": True} if bearer else {}
    return Saml(client=ids.saml_client_id, entity_id=f"api://{ids.saml_client_id}", **more)


def people(config: StackConfig, ids: Identities, place: Place) -> PeopleConfig:
    """`people.yaml`: what a person's machine needs; nothing in it is secret."""
    return PeopleConfig(
        version=1,
        entra=_entra(config, ids.tenant),
        audience=ids.gateway_client_id,
        client=ids.cli_client_id,
        url=_api_url(config),
        ca_file=place.ca_file,
    )


def agent(config: StackConfig, ids: Identities, place: Place, name: str) -> AgentConfig:
    """`agent.yaml` of the agent `name`."""
    client_id, _ = ids.agents[name]
    return AgentConfig(
        version=1,
        name=name,
        gateways=[Endpoint(host=config.gateway.host, port=config.gateway.agents_port, ca_file=place.ca_file)],
        entra=_entra(config, ids.tenant),
        audience=ids.gateway_client_id,
        workload=place.workload(client_id, name),
        targets={
            target_name: target.for_agent(place.secret_folder)
            for target_name, target in sorted(config.targets.items())
            if target.agent == name
        },
    )


def _endpoint(config: StackConfig, place: Place, port: int) -> Endpoint:
    return Endpoint(host=config.gateway.host, port=port, ca_file=place.ca_file)


def _optional(config: StackConfig, place: Place, port: int | None) -> Endpoint | None:
    return None if port is None else _endpoint(config, place, port)


def client(
    config: StackConfig, ids: Identities, place: Place, name: str, policies: Mapping[str, Policy]
) -> ClientConfig:
    """`client.yaml` of the bot `name`: what its machine needs; nothing in it is secret.

    It lists those targets that a policy of the bot's groups is about.
    """
    about = [policies[p] for group in config.bots[name].groups for p in config.groups[group].policies]
    return ClientConfig(
        version=1,
        bot=name,
        entra=_entra(config, ids.tenant),
        audience=ids.gateway_client_id,
        workload=place.workload(ids.bots[name], name),
        gateway=_endpoint(config, place, config.gateway.postgres_port),
        http=_optional(config, place, config.gateway.http_port),
        kubernetes=_optional(config, place, config.gateway.kubernetes_port),
        ssh=_optional(config, place, config.gateway.ssh_port),
        targets={
            target_name: TargetKind(target.kind)
            for target_name, target in sorted(config.targets.items())
            if any(policy.covers(target_name, target.kind, target.labels) for policy in about)
        },
    )


def render(document: Model, what: str) -> str:
    """A document as YAML, the same bytes for the same content."""
    body = yaml.safe_dump(document.document(), sort_keys=False, allow_unicode=True, width=120)
    return f"# {what}; rendered by `pulumi up`, which overwrites changes made here.\n{body}"
