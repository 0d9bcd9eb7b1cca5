"""Objects of kinds that operators of a cluster define: cert-manager, the Prometheus operator, the Secrets Store CSI
driver with its Azure provider. Pure functions; what Entra gives later may be an Output.
"""

from __future__ import annotations

import json
from typing import Any, Final

import pulumi

from wicketgate.config import StackConfig
from wicketgate.deploy.objects import GATEWAY, REPLICAS, Document, named
from wicketgate.places import KubernetesDeploy, Monitoring, VaultSecret

SECRETS_STORE: Final = "secrets-store.csi.k8s.io"
MONITORED: Final = {"wicketgate/metrics": "gateway"}
"""The label of the Service that a ServiceMonitor chooses."""


def certificate(config: StackConfig, deploy: KubernetesDeploy) -> Document:
    """The gateway's certificate, which cert-manager makes and renews."""
    spec = {
        "secretName": "gateway-tls",
        "dnsNames": [config.gateway.host, f"*.{REPLICAS}.{deploy.namespace}.svc", *deploy.agent_hosts],
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
        "usages": ["digital signature", "server auth"],
        "issuerRef": {
            "name": deploy.certificate.issuer,
            "kind": deploy.certificate.issuer_kind,
            "group": "cert-manager.io",
        },
    }
    return named("cert-manager.io/v1", "Certificate", GATEWAY, deploy.namespace, spec=spec)


def service_monitor(deploy: KubernetesDeploy, monitoring: Monitoring) -> Document:
    """Tells the Prometheus operator of each gateway."""
    spec = {
        "selector": {"matchLabels": MONITORED},
        "namespaceSelector": {"matchNames": [deploy.namespace]},
        "endpoints": [{"port": "metrics", "path": "/metrics", "scheme": "http", "interval": monitoring.interval}],
    }
    labels = dict(monitoring.labels)
    return named("monitoring.coreos.com/v1", "ServiceMonitor", GATEWAY, deploy.namespace, labels=labels, spec=spec)


def secret_provider(namespace: str, full: str, secret: str, where: VaultSecret, identity: Any) -> Document:
    """What the Azure provider reads, as the agent's own workload identity, and the file that each becomes.

    `identity` is the tenant and the agent's client id.
    """
    items = [
        json.dumps({"objectName": name, "objectType": "secret", "objectAlias": file})
        for file, name in sorted(where.files.items())
    ]
    tenant, client = (identity.apply(lambda i, n=n: i[n]) if isinstance(identity, pulumi.Output) else identity[n]
                      for n in (0, 1))  # fmt: skip
    parameters = {
        "usePodIdentity": "false",
        "useVMManagedIdentity": "false",
        "clientID": client,
        "tenantId": tenant,
        "keyvaultName": where.vault,
        # Its text is YAML with a text of YAML (or JSON) for each.
        "objects": json.dumps({"array": items}),
    }
    spec = {"provider": "azure", "parameters": parameters}
    return named("secrets-store.csi.x-k8s.io/v1", "SecretProviderClass",
                 f"{full}-{secret}", namespace, spec=spec)  # fmt: skip
