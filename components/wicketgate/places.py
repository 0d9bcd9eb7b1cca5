"""The kinds of place that gateway and agents run in: what a stack says below `gateway.deploy`."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from wicketgate_gateway.contract import model
from wicketgate_gateway.contract.values import Duration, Name, Port

TOKENS, SECRETS, SETTINGS, STATE = "/run/tokens", "/run/secrets", "/etc/wicketgate", "/var/lib/wicketgate"
"""Folders within the containers."""
_IMAGE = re.compile(r"[a-z0-9][a-z0-9._:/-]*[a-z0-9](:[\w.-]{1,128})?(@sha256:[0-9a-f]{64})?\Z")
_QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?\Z")


def _image(value: str) -> str:
    if not _IMAGE.match(value) or value.endswith(":latest"):
        raise ValueError("write `registry/name:version` or, better, `registry/name@sha256:…`; `latest` says nothing")
    return value


def _quantity(value: str) -> str:
    if not _QUANTITY.match(value):
        raise ValueError("write a quantity of Kubernetes, as in `500m`, `256Mi` or `10Gi`")
    return value


VaultFile = Annotated[str, Field(pattern=r"^[a-z][a-z0-9._-]{0,62}$")]
VaultName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,127}$")]
Image = Annotated[str, AfterValidator(_image)]
Quantity = Annotated[str, AfterValidator(_quantity)]


class LocalDeploy(model.Model):
    """Gateway and agent as processes on this machine: the quickstart and development."""

    kind: Literal["local"]
    """The kind of place."""
    folder: str
    """Folder for the rendered files and the processes' state."""
    certificate_file: str
    """The gateway's certificate and its chain (PEM)."""
    key_file: str
    """Its private key (PEM)."""
    ca_file: str
    """The CA of the gateway's certificate, for clients and agents."""
    token_folder: str
    """Folder with the platform's token of each workload, `NAME.jwt`: `gateway`, and each agent's and bot's name."""
    secret_folder: str
    """Folder with a folder per secret that targets name, and in it the files `username` and `password`."""


class ComposeDeploy(model.Model):
    """Gateway and agents as containers of one rendered `compose.yaml`."""

    kind: Literal["compose"]
    """The kind of place."""
    folder: str
    """Folder for the rendered files; `docker compose up` there starts everything."""
    image: Image
    """The image of `gateway_image/Dockerfile`, best by digest."""
    project: Name = "wicketgate"
    """The Compose project; its networks are `PROJECT-bots` and `PROJECT-targets`."""
    publish: str = "127.0.0.1"
    """The machine's address that the gateway's ports are published on."""
    user: Annotated[str, Field(pattern=r"^[1-9]\d*:[1-9]\d*$")] = "65532:65532"
    """User and group of all processes, as numbers: they must be able to read the files below, and are not root."""
    certificate_file: str
    """The gateway's certificate and its chain (PEM)."""
    key_file: str
    """Its private key (PEM)."""
    ca_file: str
    """The CA of the gateway's certificate, for clients and agents."""
    token_folder: str
    """Folder with a folder per workload, `gateway` and each agent's name, and in it the platform's token `NAME.jwt`;
    folders, so that a token that the platform replaces is seen."""
    secret_folder: str
    """Folder with a folder per secret that targets name, and in it the credential's files."""
    gateway_secrets: list[Name] = Field(default_factory=list[Name])
    """Folders in `secretFolder` that the gateway gets, such as one with the control store's URL: at
    `/run/secrets/NAME`."""


class ClusterAccess(model.Model):
    """Which cluster; left out, that of the environment (`KUBECONFIG`, or the Pulumi provider's own settings)."""

    kubeconfig_file: str | None = None
    """A kubeconfig."""
    context: str | None = None
    """The context in it."""


class GivenCertificate(model.Model):
    """The gateway's certificate: an existing Secret, or one that cert-manager makes. Give one of both."""

    secret: Name | None = None
    """An existing Secret of type `kubernetes.io/tls`."""
    issuer: Name | None = None
    """An issuer of cert-manager."""
    issuer_kind: Literal["Issuer", "ClusterIssuer"] = "ClusterIssuer"
    """Whose issuer it is."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.secret is None) == (self.issuer is None):
            raise ValueError("needs exactly one of `secret`, `issuer`")
        return self


class Autoscale(model.Model):
    """A HorizontalPodAutoscaler for the gateway."""

    max: Annotated[int, Field(ge=2, le=50)]
    """The most replicas; agents connect to each."""
    cpu: Annotated[int, Field(ge=10, le=100)] = 70
    """The target of average CPU, in percent of what is requested."""


class Monitoring(model.Model):
    """Who reads the gateway's metrics, at `gateway.metricsPort`."""

    namespaces: Annotated[list[Name], Field(min_length=1)]
    """Namespaces whose pods may reach that port; nobody else may."""
    service_monitor: bool = True
    """Whether a ServiceMonitor tells the Prometheus operator of the gateways."""
    labels: dict[str, str] = Field(default_factory=dict[str, str])
    """Labels of the ServiceMonitor, by which a Prometheus chooses its own."""
    interval: Duration = "30s"
    """How often they are read."""


class VaultSecret(model.Model):
    """A credential in Azure Key Vault: the Secrets Store CSI driver mounts it into the agent's pods."""

    vault: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{1,22}[A-Za-z0-9]$")]
    """The vault's name."""
    files: Annotated[dict[VaultFile, VaultName], Field(min_length=1)]
    """The credential's files, such as `username` and `password`, and the vault's secret that each is."""


class Resources(model.Model):
    """What a container may use; the memory is both request and limit."""

    cpu: Quantity = "250m"
    """CPU requested."""
    memory: Quantity = "512Mi"
    """Memory."""


class KubernetesAgent(ClusterAccess):
    """Where an agent runs, if not beside the gateway."""

    namespace: Name | None = None
    """Its namespace; left out, the gateway's."""
    replicas: Annotated[int, Field(ge=1, le=20)] = 2
    """How many."""
    resources: Resources = Field(default_factory=Resources)
    """What each may use."""


class KubernetesDeploy(ClusterAccess):
    """Gateway and agents in Kubernetes."""

    kind: Literal["kubernetes"]
    """The kind of place."""
    image: Image
    """The image of `gateway_image/Dockerfile`, best by digest."""
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    """When the image is fetched."""
    image_pull_secrets: list[Name] = Field(default_factory=list[Name])
    """Existing Secrets with which it is fetched."""
    namespace: Name = "wicketgate"
    """The namespace."""
    create_namespace: bool = True
    """Whether this stack makes it (with Pod Security `restricted` enforced), or it is there."""
    replicas: Annotated[int, Field(ge=1, le=50)] = 2
    """Gateways. More than one need `gateway.control.urlFile` and `gateway.masks.keyFile`, which they share."""
    autoscale: Autoscale | None = None
    """Between `replicas` and more, by CPU."""
    resources: Resources = Field(default_factory=Resources)
    """What each gateway may use."""
    state_size: Quantity = "10Gi"
    """Size of each gateway's own volume: its journal, and recordings until the object store has them."""
    keep_state: bool = True
    """Whether those volumes, and a namespace of this stack with them, stay when the gateway is destroyed: they hold the
    journal, and recordings that no object store has."""
    storage_class: str | None = None
    """The StorageClass of those volumes; left out, the cluster's default. `""` is none at all."""
    certificate: GivenCertificate
    """The gateway's certificate, also for `*.gateway-replicas.NAMESPACE.svc`, where agents connect to each replica."""
    ca_config_map: Name | None = None
    """An existing ConfigMap with `ca.crt`, the CA of that certificate, for agents; left out, the system's CAs."""
    entra_ca_config_map: Name | None = None
    """An existing ConfigMap with `ca.crt`, the CA of `entra.authority` and `entra.graph`, if it is none of the
    system's."""
    target_ca_config_map: Name | None = None
    """An existing ConfigMap with the CAs of targets: each target's `caFile` is a name in it."""
    gateway_secrets: list[Name] = Field(default_factory=list[Name])
    """Existing Secrets that the gateway gets, such as one with the control store's URL: at `/run/secrets/NAME`."""
    service_type: Literal["ClusterIP", "LoadBalancer"] = "ClusterIP"
    """The type of the Services per protocol."""
    service_annotations: dict[str, str] = Field(default_factory=dict[str, str])
    """Annotations of those Services."""
    agent_hosts: list[str] = Field(default_factory=list[str])
    """Names by which agents of other clusters reach each replica, in order: each gets a Service of its own. Left out,
    they connect to `gateway.host` alone."""
    store_ports: list[Port] = Field(default_factory=lambda: [5432])
    """Ports of the stores, collectors and webhooks that the gateway may reach, beside Entra's."""
    bot_namespaces: list[Name] = Field(default_factory=list[Name])
    """Namespaces whose pods may reach the gateway; left out, whoever can."""
    monitoring: Monitoring | None = None
    """Who reads the gateway's metrics; it needs `gateway.metricsPort`."""
    key_vault: dict[Name, VaultSecret] = Field(default_factory=dict[str, VaultSecret])
    """Secrets that targets name which are in Azure Key Vault, and no Secrets of the cluster: the agent's own identity
    reads them."""
    agents: dict[Name, KubernetesAgent] = Field(default_factory=dict[str, KubernetesAgent])
    """Where agents run that do not run beside the gateway."""


Deploy: TypeAlias = Annotated[LocalDeploy | ComposeDeploy | KubernetesDeploy, Field(discriminator="kind")]
"""Where and how gateway and agents run."""
