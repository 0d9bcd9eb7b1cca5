"""`compose.yaml`: gateway and agents as containers, as a pure function of the stack's settings.

Three networks: bots reach the gateway on `bots`, the agents alone reach targets on `targets`; both are internal, with
no way out. Gateway and agents meet on `outside`, by which they reach Entra and the gateway's ports are published.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import yaml

from wicketgate.config import StackConfig
from wicketgate.deploy.description import Place
from wicketgate.places import SECRETS, SETTINGS, STATE, TOKENS, ComposeDeploy

CERTIFICATE, KEY = "gateway-certificate", "gateway-key"
READY = "/run/wicketgate/agent.ready"
_ENTRA_CA, _GATEWAY_CA = "/etc/wicketgate-ca/entra.pem", "/etc/wicketgate-ca/gateway.pem"


def within(config: StackConfig) -> StackConfig:
    """The settings with the paths that files have within the containers."""
    entra = config.entra
    if entra.ca_file is not None:
        entra = entra.model_copy(update={"ca_file": _ENTRA_CA})
    targets = {
        name: target.model_copy(update={"ca_file": _target_ca(name)}) if getattr(target, "ca_file", None) else target
        for name, target in config.targets.items()
    }
    return config.model_copy(update={"entra": entra, "targets": targets})


def place(config: StackConfig, workload: str) -> Place:
    """Where things are within the container of a workload."""
    return Place(
        state=f"{STATE}/state",
        bundle_file=f"{SETTINGS}/bundle.json",
        certificate_file=f"{SECRETS}/{CERTIFICATE}",
        key_file=f"{SECRETS}/{KEY}",
        ca_file=_GATEWAY_CA,
        listen_host="0.0.0.0",  # within its own network namespace
        token_folder=f"{TOKENS}/{workload}",
        secret_folder=SECRETS,
    )


def ports(config: StackConfig) -> list[int]:
    """The ports that bots and people connect to."""
    gateway = config.gateway
    every = (gateway.postgres_port, gateway.http_port, gateway.kubernetes_port, gateway.ssh_port, gateway.api_port)
    return [port for port in every if port is not None]


def document(config: StackConfig, deploy: ComposeDeploy, digests: dict[str, str]) -> dict[str, Any]:
    """The document. `digests` are those of each workload's settings: when they change, `up` makes its container anew.

    The policy bundle is none of them: the gateway reads a new one while it runs.
    """
    folder = Path(deploy.folder).absolute()
    services = {"gateway": _gateway(config, deploy, folder, digests)}
    services |= {f"agent-{name}": _agent(config, deploy, folder, name, digests) for name in sorted(config.agents)}
    return {
        "name": deploy.project,
        "services": services,
        "networks": {
            "bots": {"name": f"{deploy.project}-bots", "internal": True},
            "targets": {"name": f"{deploy.project}-targets", "internal": True},
            "outside": {},
        },
        "volumes": {"state": {}},
        "secrets": {
            CERTIFICATE: {"file": str(Path(deploy.certificate_file).absolute())},
            KEY: {"file": str(Path(deploy.key_file).absolute())},
        },
    }


def render(config: StackConfig, deploy: ComposeDeploy, settings: dict[str, str]) -> str:
    """`compose.yaml` for these rendered settings by workload."""
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in settings.items()}
    body = yaml.safe_dump(_escaped(document(config, deploy, digests)), sort_keys=False, width=120)
    return f"# Gateway and agents; rendered by `pulumi up`, which overwrites changes made here.\n{body}"


def _escaped(value: Any) -> Any:
    # Compose would put variables of the environment in.
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return value.replace("$", "$$") if isinstance(value, str) else value


def _common(deploy: ComposeDeploy) -> dict[str, Any]:
    return {
        "image": deploy.image,
        "user": deploy.user,
        "restart": "unless-stopped",
        "init": True,
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "pids_limit": 512,
        "stop_grace_period": "30s",
    }


def _health(*check: str) -> dict[str, Any]:
    command = ["CMD", "python3", "-S", "-m", "wicketgate_gateway.health", *check]
    return {"test": command, "interval": "5s", "timeout": "5s", "retries": 3, "start_period": "60s"}


def _bind(source: str | Path, target: str) -> dict[str, Any]:
    # No folder is made where one is missing: it would be empty, and root's.
    how = {"create_host_path": False}
    return {"type": "bind", "source": str(Path(source).absolute()), "target": target, "read_only": True, "bind": how}


def _tmpfs(deploy: ComposeDeploy, *targets: str) -> list[str]:
    user, _, group = deploy.user.partition(":")
    return [f"{target}:mode=0700,uid={user},gid={group}" for target in targets]


def _entra_ca(config: StackConfig) -> list[dict[str, Any]]:
    return [_bind(config.entra.ca_file, _ENTRA_CA)] if config.entra.ca_file is not None else []


def _gateway(config: StackConfig, deploy: ComposeDeploy, folder: Path, digests: dict[str, str]) -> dict[str, Any]:
    mounts = [
        {"type": "volume", "source": "state", "target": STATE},
        _bind(folder / "gateway", SETTINGS),
        _bind(Path(deploy.token_folder, "gateway"), f"{TOKENS}/gateway"),
        *(_bind(Path(deploy.secret_folder, name), f"{SECRETS}/{name}") for name in deploy.gateway_secrets),
        *_entra_ca(config),
    ]
    return {
        **_common(deploy),
        "command": ["wicketgate_gateway.server", "--config", f"{SETTINGS}/gateway.yaml"],
        "labels": {"wicketgate.settings": digests["gateway"]},
        "healthcheck": _health("gateway", f"{STATE}/state"),
        "secrets": [CERTIFICATE, KEY],
        "volumes": mounts,
        "tmpfs": _tmpfs(deploy, "/tmp"),  # noqa: S108 - the container's own
        "networks": {
            "bots": {"aliases": [config.gateway.host]},
            "outside": {"aliases": [config.gateway.host]},
        },
        "ports": [f"{deploy.publish}:{port}:{port}" for port in ports(config)],
    }


def _target_ca(name: str) -> str:
    return f"/etc/wicketgate-ca/target-{name}.pem"


def _agent(
    config: StackConfig, deploy: ComposeDeploy, folder: Path, name: str, digests: dict[str, str]
) -> dict[str, Any]:
    targets = {n: t for n, t in sorted(config.targets.items()) if t.agent == name}
    secrets = sorted({t.credential.secret for t in targets.values() if t.credential is not None})
    mounts = [
        _bind(folder / "agents" / name, SETTINGS),
        _bind(Path(deploy.token_folder, name), f"{TOKENS}/{name}"),
        _bind(deploy.ca_file, _GATEWAY_CA),
        *(_bind(Path(deploy.secret_folder, secret), f"{SECRETS}/{secret}") for secret in secrets),
        *(
            _bind(file, _target_ca(target))
            for target, one in targets.items()
            if (file := getattr(one, "ca_file", None)) is not None
        ),
        *_entra_ca(config),
    ]
    return {
        **_common(deploy),
        "command": ["wicketgate_gateway.agent", "--config", f"{SETTINGS}/agent.yaml", "--ready", READY],
        "labels": {"wicketgate.settings": digests[name]},
        "healthcheck": _health("agent", READY),
        "volumes": mounts,
        "tmpfs": _tmpfs(deploy, "/tmp", "/run/wicketgate"),  # noqa: S108 - the container's own
        "networks": ["targets", "outside"],
        "depends_on": {"gateway": {"condition": "service_healthy"}},
    }
