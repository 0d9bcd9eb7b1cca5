"""The Kubernetes deployment: the objects of `manifests.py` as resources of the kubernetes provider."""

from __future__ import annotations

import hashlib
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from wicketgate.deploy import description, manifests
from wicketgate.deploy.description import Identities
from wicketgate.deploy.inputs import DeploymentArgs, rendered
from wicketgate.places import ClusterAccess, KubernetesDeploy

MOST_BYTES = 1_000_000
"""What a ConfigMap holds is less than 1 MiB."""

_CLASSES: dict[str, Any] = {
    "v1/Namespace": kubernetes.core.v1.Namespace,
    "v1/ServiceAccount": kubernetes.core.v1.ServiceAccount,
    "v1/ConfigMap": kubernetes.core.v1.ConfigMap,
    "v1/Service": kubernetes.core.v1.Service,
    "apps/v1/StatefulSet": kubernetes.apps.v1.StatefulSet,
    "apps/v1/Deployment": kubernetes.apps.v1.Deployment,
    "policy/v1/PodDisruptionBudget": kubernetes.policy.v1.PodDisruptionBudget,
    "autoscaling/v2/HorizontalPodAutoscaler": kubernetes.autoscaling.v2.HorizontalPodAutoscaler,
    "networking.k8s.io/v1/NetworkPolicy": kubernetes.networking.v1.NetworkPolicy,
}
_ARGUMENTS = {"automountServiceAccountToken": "automount_service_account_token"}


class KubernetesDeployment(pulumi.ComponentResource):
    """Makes the gateway, and each agent on its own cluster. Credentials are existing Secrets: none is in the state."""

    folder: pulumi.Output[str]
    """The gateway's namespace."""

    def __init__(self, name: str, args: DeploymentArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("wicketgate:index:KubernetesDeployment", name, {}, opts)
        config = args["config"]
        deploy = config.gateway.deploy
        assert isinstance(deploy, KubernetesDeploy)
        inside = manifests.within(config, deploy)
        clusters = _Clusters(self, name)

        def gateway(ids: Identities) -> str:
            made = description.gateway(inside, ids, manifests.place(deploy, "gateway"))
            return description.render(made, "The gateway")

        settings = rendered(args, gateway)
        bundle = pulumi.Output.from_input(args["bundle"]).apply(_small)
        objects = manifests.gateway_objects(inside, deploy, settings, settings.apply(_digest), bundle)
        clusters.make("gateway", objects, deploy, keep=deploy.keep_state)
        for agent in sorted(args["agents"]):
            text = rendered(args, lambda ids, agent=agent: _agent(inside, deploy, ids, agent))
            access = deploy.agents[agent] if manifests.elsewhere(deploy, agent) else deploy
            identity = pulumi.Output.all(args["tenant_id"], pulumi.Output.from_input(args["agents"][agent])[0])
            objects = manifests.agent_objects(inside, deploy, agent, text, text.apply(_digest), identity)
            clusters.make(f"agent-{agent}", objects, access)
        self.folder = pulumi.Output.from_input(deploy.namespace)
        self.register_outputs({"folder": self.folder})


class _Clusters:
    """A provider for each cluster, and what is made there."""

    def __init__(self, parent: KubernetesDeployment, name: str) -> None:
        self._parent = parent
        self._name = name
        self._made: dict[tuple[str | None, str | None], pulumi.ProviderResource | None] = {(None, None): None}

    def provider(self, access: ClusterAccess) -> pulumi.ProviderResource | None:
        """The cluster's provider; None is the environment's."""
        key = (access.kubeconfig_file, access.context)
        if key not in self._made:
            # The file's path, not what is in it: that would be a credential in the state.
            self._made[key] = kubernetes.Provider(
                f"{self._name}-cluster-{_digest(repr(key))[:8]}",
                kubeconfig=access.kubeconfig_file,
                context=access.context,
                opts=pulumi.ResourceOptions(parent=self._parent),
            )
        return self._made[key]

    def make(
        self, slug: str, objects: dict[str, manifests.Document], access: ClusterAccess, *, keep: bool = False
    ) -> None:
        """A namespace is made before what is in it, and pods when what they mount is there.

        `keep` leaves the namespace where it is when the stack lets it go.
        """
        provider = self.provider(access)
        before: list[pulumi.Resource] = []
        for stage in (_is_namespace, _is_mounted, lambda _: True):
            now = {n: objects.pop(n) for n in sorted(objects) if stage(objects[n])}
            made = [
                _resource(
                    f"{self._name}-{slug}-{name}",
                    document,
                    pulumi.ResourceOptions(
                        parent=self._parent,
                        provider=provider,
                        depends_on=list(before),
                        retain_on_delete=keep and _is_namespace(document),
                    ),
                )
                for name, document in now.items()
            ]
            before += made


def _is_namespace(document: manifests.Document) -> bool:
    return document["kind"] == "Namespace"


def _is_mounted(document: manifests.Document) -> bool:
    return document["kind"] in ("ServiceAccount", "ConfigMap", "Certificate", "SecretProviderClass")


def _resource(name: str, document: manifests.Document, opts: pulumi.ResourceOptions) -> pulumi.Resource:
    api, kind = document["apiVersion"], document["kind"]
    rest = {key: value for key, value in document.items() if key not in ("apiVersion", "kind")}
    made = _CLASSES.get(f"{api}/{kind}")
    if made is None:
        return kubernetes.apiextensions.CustomResource(name, api_version=api, kind=kind, opts=opts, **rest)
    return made(name, opts=opts, **{_ARGUMENTS.get(key, key): value for key, value in rest.items()})


def _agent(inside: Any, deploy: KubernetesDeploy, ids: Identities, name: str) -> str:
    made = description.agent(inside, ids, manifests.place(deploy, name), name)
    made = made.model_copy(update={"gateways": manifests.gateways(inside, deploy, name)})
    return description.render(made, f"The agent `{name}`")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _small(bundle: str) -> str:
    size = len(bundle.encode())
    if size > MOST_BYTES:
        raise pulumi.RunError(
            f"the policy bundle has {size} bytes, and a ConfigMap holds {MOST_BYTES}; split the stack"
        )
    return bundle
