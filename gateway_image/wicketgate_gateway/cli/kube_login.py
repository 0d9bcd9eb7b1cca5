"""`wicketgate kube login`: a kubeconfig that goes through the gateway. `wicketgate kube token`: what it runs.

How this works: each target of kind `kubernetes` becomes a cluster whose server is the gateway, and a context. The user
is an exec credential plugin (client.authentication.k8s.io/v1), so that kubectl, Helm and client libraries ask for a
fresh token by themselves and keep it until it ends; no token is in the file. `kube token` loads as little as `token`
does, since it runs before every command. What `WICKETGATE_REASON` says goes behind the token
(`wire/kubernetes/reason.py`), since kubectl and Helm can send nothing else.
"""

from __future__ import annotations

import json as jsonlib
import os
import sys
import time
from pathlib import Path
from typing import Any

from wicketgate_gateway.cli import client
from wicketgate_gateway.contract.errors import WicketgateError

API_VERSION = "client.authentication.k8s.io/v1"
SPARE_SECONDS = 120
"""A client asks again this long before the token ends."""


def token(*, config: Path | None = None) -> None:
    """Print the bot's token as an ExecCredential, as kubectl asks for it.

    What WICKETGATE_REASON says is what people read who are asked to approve a held request.

    Parameters
    ----------
    config
        client.yaml; else WICKETGATE_CONFIG, else ~/.config/wicketgate/client.yaml.
    """
    got = client.fetch_token(client.settings(client.config_path(config)))
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(got.expires_at - SPARE_SECONDS))
    status = {"token": _with_reason(got.token), "expirationTimestamp": ends}
    credential = {"apiVersion": API_VERSION, "kind": "ExecCredential", "status": status}
    sys.stdout.write(jsonlib.dumps(credential) + "\n")


def _with_reason(token: str) -> str:
    """With `WICKETGATE_REASON` behind it, for approvers. Raises WicketgateError if they could not read it."""
    why = os.environ.get("WICKETGATE_REASON", "")
    if not why:
        return token
    from wicketgate_gateway.wire.kubernetes import reason

    return reason.written(token, why)


def login(
    *,
    config: Path | None = None,
    kubeconfig: Path | None = None,
    target: str | None = None,
    namespace: str | None = None,
    json: bool = False,
) -> None:
    """Write a kubeconfig with a context for each Kubernetes target of the bot.

    Parameters
    ----------
    config
        client.yaml; else WICKETGATE_CONFIG, else ~/.config/wicketgate/client.yaml.
    kubeconfig
        The file to write; else ~/.kube/wicketgate. A file that holds anything else is not touched.
    target
        The context that is current; else the first.
    namespace
        The namespace of the contexts.
    json
        Print one object with `kubeconfig`, `contexts` and `current`.
    """
    from wicketgate_gateway.contract.gateway import ClientConfig, TargetKind
    from wicketgate_gateway.contract.model import read

    path = client.config_path(config)
    if path is None:
        raise WicketgateError(
            "there is no client.yaml", code="client-config-missing", remedy="give it by --config, or WICKETGATE_CONFIG"
        )
    document = read(ClientConfig, path)
    targets = sorted(name for name, kind in document.targets.items() if kind is TargetKind.KUBERNETES)
    if document.kubernetes is None or not targets:
        raise WicketgateError(
            "this bot has no Kubernetes target",
            code="kubernetes-off",
            remedy="client.yaml needs `kubernetes`, and a target of kind `kubernetes`",
        )
    if target is not None and target not in targets:
        raise WicketgateError(f"`{target}` is none of {', '.join(f'`{t}`' for t in targets)}", code="target-unknown")
    where = (kubeconfig or Path.home() / ".kube" / "wicketgate").absolute()
    made = kubeconfig_of(document, path.absolute(), targets, target or targets[0], namespace)
    _write(where, made)
    if json:
        from wicketgate_gateway.cli.output import print_json

        print_json({"kubeconfig": str(where), "contexts": targets, "current": made["current-context"]})
    else:
        print(f"wrote {where} for {', '.join(targets)}")
        print(f"export KUBECONFIG={where}")


def kubeconfig_of(
    document: Any, config: Path, targets: list[str], current: str, namespace: str | None
) -> dict[str, Any]:
    """The kubeconfig, as JSON, which is YAML."""
    endpoint = document.kubernetes
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    clusters: list[dict[str, Any]] = []
    contexts: list[dict[str, Any]] = []
    for name in targets:
        cluster = {"server": f"https://{host}:{endpoint.port}/t/{name}"}
        if endpoint.ca_file is not None:
            cluster["certificate-authority"] = str((config.parent / endpoint.ca_file).resolve())
        clusters.append({"name": name, "cluster": cluster})
        context = {"cluster": name, "user": document.bot}
        if namespace is not None:
            context["namespace"] = namespace
        contexts.append({"name": name, "context": context})
    command, *arguments = _command(config)
    plugin = {
        "apiVersion": API_VERSION,
        "command": command,
        "args": arguments,
        "interactiveMode": "Never",
        "provideClusterInfo": False,
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": clusters,
        "users": [{"name": document.bot, "user": {"exec": plugin}}],
        "contexts": contexts,
        "current-context": current,
        "preferences": {},
    }


def _command(config: Path) -> list[str]:
    program = Path(sys.argv[0])
    if program.name == "wicketgate":
        own = [str(program.absolute())]
    else:
        own = [sys.executable, "-m", "wicketgate_gateway.cli"]
    return [*own, "kube", "token", "--config", str(config)]


def _write(where: Path, document: dict[str, Any]) -> None:
    try:
        if where.exists() and '"kube", "token"' not in jsonlib.dumps(_read(where)):
            raise WicketgateError(
                f"`{where}` is another kubeconfig",
                code="kubeconfig-not-ours",
                remedy="name another file by --kubeconfig",
            )
        where.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = where.with_name(f".{where.name}.{os.getpid()}")
        new.touch(0o600)
        new.write_text(jsonlib.dumps(document, indent=2) + "\n")
        new.replace(where)
    except OSError as error:
        raise WicketgateError(f"`{where}` cannot be written: {error.strerror}", code="kubeconfig-unwritable") from None


def _read(where: Path) -> Any:
    try:
        return jsonlib.loads(where.read_text())
    except ValueError:
        return None
