"""The objects of the Kubernetes deployment, as pure functions: settings in, documents out, by the resource's name.

The gateway is a StatefulSet: each replica keeps its journal on a volume of its own, and has a name of its own, so that
agents connect to every replica. No pod has a token for the cluster's API, so there is no Role either: the only token
that is mounted is the one for Entra. Values that exist once Entra has answered may be
Outputs: they are only put in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from wicketgate.config import StackConfig
from wicketgate.deploy import operators
from wicketgate.deploy.description import Place
from wicketgate.deploy.objects import GATEWAY, REPLICAS, Document, named
from wicketgate.places import SECRETS, SETTINGS, STATE, TOKENS, KubernetesAgent, KubernetesDeploy, Resources
from wicketgate_gateway.contract.gateway import TOKEN_EXCHANGE_AUDIENCE, Endpoint

USER = 65532
POLICIES, READY = "/etc/wicketgate-policies", "/run/wicketgate/ready"
_TLS, _CA = "/run/tls", "/etc/wicketgate-ca"
_RESTRICTED = {
    f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")
}  # what our own pods meet


def within(config: StackConfig, deploy: KubernetesDeploy) -> StackConfig:
    """The settings with the paths that files have within the containers."""
    entra = config.entra
    if deploy.entra_ca_config_map is not None:
        entra = entra.model_copy(update={"ca_file": f"{_CA}/entra/ca.crt"})
    targets = {
        name: target.model_copy(update={"ca_file": f"{_CA}/targets/{file}"})
        if (file := getattr(target, "ca_file", None))
        else target
        for name, target in config.targets.items()
    }
    return config.model_copy(update={"entra": entra, "targets": targets})


def place(deploy: KubernetesDeploy, workload: str) -> Place:
    """Where things are within the container of a workload."""
    return Place(
        state=f"{STATE}/state",
        bundle_file=f"{POLICIES}/bundle.json",
        certificate_file=f"{_TLS}/tls.crt",
        key_file=f"{_TLS}/tls.key",
        ca_file=f"{_CA}/gateway/ca.crt",
        listen_host="0.0.0.0",  # the pod's own address
        token_folder=f"{TOKENS}/{workload}",
        secret_folder=SECRETS,
    )


def most(deploy: KubernetesDeploy) -> int:
    """How many gateways there may be."""
    return deploy.replicas if deploy.autoscale is None else deploy.autoscale.max


def elsewhere(deploy: KubernetesDeploy, name: str) -> bool:
    """Whether an agent is on another cluster than the gateway."""
    agent = deploy.agents.get(name)
    return agent is not None and (agent.kubeconfig_file, agent.context) != (None, None)


def namespace_of(deploy: KubernetesDeploy, name: str) -> str:
    """An agent's namespace."""
    agent = deploy.agents.get(name)
    return (agent.namespace if agent is not None else None) or deploy.namespace


def gateways(config: StackConfig, deploy: KubernetesDeploy, name: str) -> list[Endpoint]:
    """Where an agent dials: every replica by its own name."""
    ca_file = f"{_CA}/gateway/ca.crt" if deploy.ca_config_map is not None else None
    if elsewhere(deploy, name):
        hosts = deploy.agent_hosts or [config.gateway.host]
    else:
        hosts = [f"{GATEWAY}-{i}.{REPLICAS}.{deploy.namespace}.svc" for i in range(most(deploy))]
    return [Endpoint(host=host, port=config.gateway.agents_port, ca_file=ca_file) for host in hosts]


def ports(config: StackConfig) -> dict[str, int]:
    """The ports that bots and people connect to, by protocol."""
    gateway = config.gateway
    every = {
        "postgres": gateway.postgres_port,
        "http": gateway.http_port,
        "kubernetes": gateway.kubernetes_port,
        "ssh": gateway.ssh_port,
        "api": gateway.api_port,
    }
    return {name: port for name, port in every.items() if port is not None}


def gateway_objects(
    config: StackConfig, deploy: KubernetesDeploy, settings: Any, digest: Any, bundle: Any
) -> dict[str, Document]:
    """All objects of the gateway. A new `digest` of the settings rolls its pods; a new bundle does not."""
    made = {
        "account": _account(deploy.namespace, GATEWAY),
        "settings": _config_map(deploy.namespace, "gateway-settings", GATEWAY, {"gateway.yaml": settings}),
        "policies": _config_map(deploy.namespace, "gateway-policies", GATEWAY, {"bundle.json": bundle}),
        "gateway": _stateful_set(config, deploy, digest),
        "replicas": _replicas(config, deploy),
        "disruption": _disruption(deploy.namespace, GATEWAY),
        "deny": _deny(deploy.namespace),
        "network": _gateway_network(config, deploy),
    }
    if deploy.create_namespace:
        made["namespace"] = named("v1", "Namespace", deploy.namespace, None, labels=_RESTRICTED)
    for protocol, port in ports(config).items():
        made[f"service-{protocol}"] = _service(deploy, protocol, port)
    for i in range(len(deploy.agent_hosts)):
        made[f"service-agents-{i}"] = _agents_service(config, deploy, i)
    if deploy.certificate.issuer is not None:
        made["certificate"] = operators.certificate(config, deploy)
    if deploy.autoscale is not None:
        made["autoscaler"] = _autoscaler(deploy)
    if deploy.monitoring is not None and config.gateway.metrics_port is not None:
        made["service-metrics"] = _metrics_service(deploy, config.gateway.metrics_port)
        if deploy.monitoring.service_monitor:
            made["monitor"] = operators.service_monitor(deploy, deploy.monitoring)
    return made


def agent_objects(
    config: StackConfig, deploy: KubernetesDeploy, name: str, settings: Any, digest: Any, identity: Any = ("", "")
) -> dict[str, Document]:
    """All objects of an agent; its namespace's default is to deny, too. `identity` is the tenant and its client id."""
    namespace, full = namespace_of(deploy, name), f"agent-{name}"
    apart = elsewhere(deploy, name) or namespace != deploy.namespace
    made = {
        "account": _account(namespace, full),
        "settings": _config_map(namespace, f"{full}-settings", full, {"agent.yaml": settings}),
        "agent": _deployment(config, deploy, name, digest),
        "disruption": _disruption(namespace, full),
        "network": _agent_network(config, deploy, name),
    }
    for secret in _vaulted(config, deploy, name):
        made[f"vault-{secret}"] = operators.secret_provider(namespace, full, secret, deploy.key_vault[secret], identity)
    if apart:
        made["deny"] = _deny(namespace, full)
        if deploy.create_namespace:
            made["namespace"] = named("v1", "Namespace", namespace, None, labels=_RESTRICTED)
    return made


def _selector(component: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": "wicketgate", "app.kubernetes.io/component": component}


def _account(namespace: str, name: str) -> Document:
    return named("v1", "ServiceAccount", name, namespace, automountServiceAccountToken=False)


def _config_map(namespace: str, name: str, component: str, data: Document) -> Document:
    return named("v1", "ConfigMap", name, namespace, labels=_selector(component), data=data)


def _volume(name: str, path: str, **source: Any) -> tuple[Document, Document]:
    return {"name": name, **source}, {"name": name, "mountPath": path, "readOnly": True}


def _token(workload: str) -> tuple[Document, Document]:
    token = {"audience": TOKEN_EXCHANGE_AUDIENCE, "expirationSeconds": 3600, "path": f"{workload}.jwt"}
    sources = [{"serviceAccountToken": token}]
    return _volume("token", f"{TOKENS}/{workload}", projected={"sources": sources, "defaultMode": 0o440})


def _secret(name: str, secret: str, path: str) -> tuple[Document, Document]:
    return _volume(name, path, secret={"secretName": secret, "defaultMode": 0o440})


def _vaulted(config: StackConfig, deploy: KubernetesDeploy, name: str) -> list[str]:
    """The secrets of an agent's targets that are in Azure Key Vault."""
    used = {t.credential.secret for t in config.targets.values() if t.agent == name and t.credential is not None}
    return sorted(used & deploy.key_vault.keys())


def _vault(full: str, secret: str) -> tuple[Document, Document]:
    attributes = {"secretProviderClass": f"{full}-{secret}"}
    driver = {"driver": operators.SECRETS_STORE, "readOnly": True, "volumeAttributes": attributes}
    return _volume(f"secret-{secret}", f"{SECRETS}/{secret}", csi=driver)


def _ca(name: str, config_map: str | None) -> list[tuple[Document, Document]]:
    return [] if config_map is None else [_volume(f"ca-{name}", f"{_CA}/{name}", configMap={"name": config_map})]


def _scratch(name: str, path: str) -> tuple[Document, Document]:
    volume, mount = _volume(name, path, emptyDir={"medium": "Memory", "sizeLimit": "16Mi"})
    return volume, {**mount, "readOnly": False}


def _pod(
    deploy: KubernetesDeploy,
    component: str,
    arguments: list[str],
    health: list[str],
    resources: Resources,
    digest: Any,
    mounts: list[tuple[Document, Document]],
    **container: Any,
) -> Document:
    probe = {"exec": {"command": ["python3", "-S", "-m", "wicketgate_gateway.health", *health]}, "timeoutSeconds": 10}
    spread = [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": _selector(component)},
        }
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]
    pulled = {"imagePullSecrets": [{"name": name} for name in deploy.image_pull_secrets]}
    return {
        "metadata": {"labels": _selector(component), "annotations": {"wicketgate/settings": digest}},
        "spec": {
            "serviceAccountName": component,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 60,
            "topologySpreadConstraints": spread,
            **(pulled if deploy.image_pull_secrets else {}),
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": component.partition("-")[0],
                    "image": deploy.image,
                    "imagePullPolicy": deploy.image_pull_policy,
                    "args": arguments,
                    **container,
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "resources": {
                        "requests": {"cpu": resources.cpu, "memory": resources.memory},
                        "limits": {"memory": resources.memory},
                    },
                    "startupProbe": {**probe, "periodSeconds": 2, "failureThreshold": 60},
                    "readinessProbe": {**probe, "periodSeconds": 10},
                    "livenessProbe": {**probe, "periodSeconds": 20, "failureThreshold": 6},
                    "volumeMounts": [mount for _, mount in mounts],
                }
            ],
            "volumes": [volume for volume, _ in mounts if "name" in volume],
        },
    }


def _stateful_set(config: StackConfig, deploy: KubernetesDeploy, digest: Any) -> Document:
    mounts = [
        ({}, {"name": "state", "mountPath": STATE}),  # of the template below
        _volume("settings", SETTINGS, configMap={"name": "gateway-settings"}),
        _volume("policies", POLICIES, configMap={"name": "gateway-policies"}),
        _secret("tls", deploy.certificate.secret or "gateway-tls", _TLS),
        _token(GATEWAY),
        *_ca("entra", deploy.entra_ca_config_map),
        *(_secret(f"secret-{name}", name, f"{SECRETS}/{name}") for name in deploy.gateway_secrets),
        _scratch("tmp", "/tmp"),  # noqa: S108 - the container's own
    ]
    arguments = ["wicketgate_gateway.server", "--config", f"{SETTINGS}/gateway.yaml"]
    listening = {**ports(config), "agents": config.gateway.agents_port}
    if config.gateway.metrics_port is not None:
        listening["metrics"] = config.gateway.metrics_port
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": deploy.state_size}},
        **({} if deploy.storage_class is None else {"storageClassName": deploy.storage_class}),
    }
    template = _pod(
        deploy,
        GATEWAY,
        arguments,
        [GATEWAY, f"{STATE}/state"],
        deploy.resources,
        digest,
        mounts,
        ports=[{"name": name, "containerPort": port} for name, port in listening.items()],
    )
    spec = {
        # The autoscaler sets it where there is one.
        **({"replicas": deploy.replicas} if deploy.autoscale is None else {}),
        "serviceName": REPLICAS,
        "podManagementPolicy": "Parallel",
        # A replica that goes away for less load comes back with what its journal has not handed on yet.
        "persistentVolumeClaimRetentionPolicy": {
            "whenDeleted": "Retain" if deploy.keep_state else "Delete",
            "whenScaled": "Retain",
        },
        "selector": {"matchLabels": _selector(GATEWAY)},
        "template": template,
        "volumeClaimTemplates": [{"metadata": {"name": "state"}, "spec": claim}],
    }
    return named("apps/v1", "StatefulSet", GATEWAY, deploy.namespace, labels=_selector(GATEWAY), spec=spec)


def _deployment(config: StackConfig, deploy: KubernetesDeploy, name: str, digest: Any) -> Document:
    full = f"agent-{name}"
    settings = deploy.agents.get(name) or KubernetesAgent()
    targets = [target for _, target in sorted(config.targets.items()) if target.agent == name]
    secrets = sorted({t.credential.secret for t in targets if t.credential is not None})
    with_ca = any(getattr(t, "ca_file", None) for t in targets)
    mounts = [
        _volume("settings", SETTINGS, configMap={"name": f"{full}-settings"}),
        _token(name),
        *_ca("gateway", deploy.ca_config_map),
        *_ca("entra", deploy.entra_ca_config_map),
        *_ca("targets", deploy.target_ca_config_map if with_ca else None),
        *(
            _vault(full, secret)
            if secret in deploy.key_vault
            else _secret(f"secret-{secret}", secret, f"{SECRETS}/{secret}")
            for secret in secrets
        ),
        _scratch("ready", "/run/wicketgate"),
        _scratch("tmp", "/tmp"),  # noqa: S108 - the container's own
    ]
    arguments = ["wicketgate_gateway.agent", "--config", f"{SETTINGS}/agent.yaml", "--ready", READY]
    spec = {
        "replicas": settings.replicas,
        "selector": {"matchLabels": _selector(full)},
        "template": _pod(deploy, full, arguments, ["agent", READY], settings.resources, digest, mounts),
    }
    return named("apps/v1", "Deployment", full, namespace_of(deploy, name), labels=_selector(full), spec=spec)


def _service(deploy: KubernetesDeploy, protocol: str, port: int) -> Document:
    spec = {
        "type": deploy.service_type,
        "selector": _selector(GATEWAY),
        "ports": [{"name": protocol, "port": port, "targetPort": protocol}],
        # The audit names the client's address.
        **({"externalTrafficPolicy": "Local"} if deploy.service_type == "LoadBalancer" else {}),
    }
    metadata = {"annotations": dict(deploy.service_annotations)} if deploy.service_annotations else {}
    return named("v1", "Service", f"{GATEWAY}-{protocol}", deploy.namespace, metadata=metadata, spec=spec)


def _metrics_service(deploy: KubernetesDeploy, port: int) -> Document:
    spec = {
        "clusterIP": "None",  # each gateway is read for itself
        "selector": _selector(GATEWAY),
        "ports": [{"name": "metrics", "port": port, "targetPort": "metrics"}],
    }
    return named("v1", "Service", f"{GATEWAY}-metrics", deploy.namespace, labels=operators.MONITORED, spec=spec)


def _agents_service(config: StackConfig, deploy: KubernetesDeploy, number: int) -> Document:
    spec = {
        "type": deploy.service_type,
        "selector": {**_selector(GATEWAY), "statefulset.kubernetes.io/pod-name": f"{GATEWAY}-{number}"},
        "ports": [{"name": "agents", "port": config.gateway.agents_port, "targetPort": "agents"}],
    }
    metadata = {"annotations": dict(deploy.service_annotations)} if deploy.service_annotations else {}
    return named("v1", "Service", f"{GATEWAY}-agents-{number}", deploy.namespace, metadata=metadata, spec=spec)


def _replicas(config: StackConfig, deploy: KubernetesDeploy) -> Document:
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,  # agents may connect before bots do
        "selector": _selector(GATEWAY),
        "ports": [{"name": "agents", "port": config.gateway.agents_port, "targetPort": "agents"}],
    }
    return named("v1", "Service", REPLICAS, deploy.namespace, spec=spec)


def _autoscaler(deploy: KubernetesDeploy) -> Document:
    assert deploy.autoscale is not None
    target = {"type": "Utilization", "averageUtilization": deploy.autoscale.cpu}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": GATEWAY},
        "minReplicas": deploy.replicas,
        "maxReplicas": deploy.autoscale.max,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        # A gateway that goes ends its sessions.
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 1800}},
    }
    return named("autoscaling/v2", "HorizontalPodAutoscaler", GATEWAY, deploy.namespace, spec=spec)


def _disruption(namespace: str, component: str) -> Document:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": _selector(component)}}
    return named("policy/v1", "PodDisruptionBudget", component, namespace, spec=spec)


def _policy(namespace: str, name: str, selector: Mapping[str, str], **rules: Any) -> Document:
    spec = {"podSelector": {"matchLabels": dict(selector)}, "policyTypes": ["Ingress", "Egress"], **rules}
    return named("networking.k8s.io/v1", "NetworkPolicy", name, namespace, spec=spec)


def _deny(namespace: str, component: str | None = None) -> Document:
    """All pods of ours: nothing in, nothing out, but what another policy lets through."""
    selector = {"app.kubernetes.io/name": "wicketgate"} if component is None else _selector(component)
    return _policy(namespace, "wicketgate-deny" if component is None else f"{component}-deny", selector)


def _tcp(*numbers: int) -> list[Document]:
    return [{"protocol": "TCP", "port": number} for number in sorted(set(numbers))]


_DNS = {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]}


def _entra_ports(config: StackConfig) -> list[int]:
    return [urlsplit(url).port or 443 for url in (config.entra.authority, config.entra.graph)]


def _namespace(name: str) -> Document:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def _pods(component: str, namespace: str) -> Document:
    return {"podSelector": {"matchLabels": _selector(component)}, **_namespace(namespace)}


def _gateway_network(config: StackConfig, deploy: KubernetesDeploy) -> Document:
    bots = [_namespace(name) for name in deploy.bot_namespaces]
    agents = [_pods(f"agent-{n}", namespace_of(deploy, n)) for n in sorted(config.agents) if not elsewhere(deploy, n)]
    anywhere = any(elsewhere(deploy, name) for name in config.agents)
    ingress = [
        {"ports": _tcp(*ports(config).values()), **({"from": bots} if bots else {})},
        {"ports": _tcp(config.gateway.agents_port), **({} if anywhere else {"from": agents})},
    ]
    if deploy.monitoring is not None and config.gateway.metrics_port is not None:
        readers = [_namespace(name) for name in deploy.monitoring.namespaces]
        ingress.append({"ports": _tcp(config.gateway.metrics_port), "from": readers})
    # Entra, and the stores that it was given; targets are the agents' alone.
    egress = [_DNS, {"ports": _tcp(*_entra_ports(config), *deploy.store_ports)}]
    return _policy(deploy.namespace, GATEWAY, _selector(GATEWAY), ingress=ingress, egress=egress)


def _agent_network(config: StackConfig, deploy: KubernetesDeploy, name: str) -> Document:
    """An agent dials out: the gateway, Entra, its targets. Nobody dials it."""
    full = f"agent-{name}"
    targets = [t for t in config.targets.values() if t.agent == name]
    numbers = [target_port(target.address) for target in targets]
    gateway: Document = {"ports": _tcp(config.gateway.agents_port)}
    if not elsewhere(deploy, name):
        gateway["to"] = [_pods(GATEWAY, deploy.namespace)]
    egress = [_DNS, gateway, {"ports": _tcp(*_entra_ports(config), *numbers)}]
    return _policy(namespace_of(deploy, name), full, _selector(full), ingress=[], egress=egress)


def target_port(address: str) -> int:
    """The port of `host:port` or of an address with a scheme."""
    if "://" in address:
        parts = urlsplit(address)
        return parts.port or (443 if parts.scheme == "https" else 80)
    return int(address.rpartition(":")[2])
