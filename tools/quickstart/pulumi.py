"""The real `pulumi up` of the stack `quickstart`."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tools.provide import Engine
from tools.quickstart.layout import DEPLOYER_CLIENT, ROOT, TENANT, Layout
from tools.quickstart.services import BUNDLE
from wicketgate.testing.postgres import PostgresServer
from wicketgate_gateway.contract.errors import WicketgateError

PASSPHRASE = "quickstart"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an `up` ended: counts by operation (`create`, `update`, `same`, …)."""

    counts: dict[str, int]

    @property
    def changed(self) -> bool:
        """Whether anything was created, updated, replaced or deleted."""
        return any(n for what, n in self.counts.items() if what != "same")

    def __str__(self) -> str:
        past = {
            "create": "created",
            "update": "updated",
            "delete": "deleted",
            "replace": "replaced",
            "same": "unchanged",
        }
        return ", ".join(f"{n} {past.get(what, what)}" for what, n in self.counts.items() if n) or "nothing to do"


def environment(layout: Layout, engine: Engine, server: PostgresServer) -> dict[str, str]:
    """What `pulumi` needs beside this process's environment, for us and for a person typing it by hand."""
    return {
        **{name: value for name, value in engine.env.items() if name != "PULUMI_CONFIG_PASSPHRASE_FILE"},
        "WICKETGATE_PULUMI": str(engine.command),
        "PULUMI_BACKEND_URL": f"file://{_folder(layout.path('pulumi'))}",
        "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
        "SSL_CERT_FILE": str(layout.path("ca", BUNDLE)),
        "ARM_METADATA_HOSTNAME": layout.entra.removeprefix("https://"),
        "ARM_TENANT_ID": TENANT,
        "ARM_CLIENT_ID": DEPLOYER_CLIENT,
        "ARM_USE_OIDC": "true",
        "ARM_USE_CLI": "false",
        "ARM_DISABLE_TERRAFORM_PARTNER_ID": "true",
        "ARM_OIDC_TOKEN": layout.path("tokens", "deployer.jwt").read_text().strip(),
        # The real provider watches a real, eventually consistent directory; the emulator has one copy.
        "WICKETGATE_AZUREAD_WAIT_SECONDS": "0.01",
        "WICKETGATE_QUICKSTART_ENTRA": layout.entra,
        "WICKETGATE_QUICKSTART_CA": str(layout.ca),
        "WICKETGATE_QUICKSTART_ISSUER": layout.issuer,
        "WICKETGATE_QUICKSTART_GATEWAY_PORT": str(layout.ports["gateway"]),
        "WICKETGATE_QUICKSTART_AGENTS_PORT": str(layout.ports["agents"]),
        "WICKETGATE_QUICKSTART_API_PORT": str(layout.ports["api"]),
        "WICKETGATE_QUICKSTART_FOLDER": str(layout.rendered),
        "WICKETGATE_QUICKSTART_CERTIFICATE": str(layout.path("tls", "gateway.pem")),
        "WICKETGATE_QUICKSTART_KEY": str(layout.path("tls", "gateway.key")),
        "WICKETGATE_QUICKSTART_TOKENS": str(layout.path("tokens")),
        "WICKETGATE_QUICKSTART_SECRETS": str(layout.path("secrets")),
        "WICKETGATE_QUICKSTART_DATABASE": f"{server.host}:{server.port}",
        "WICKETGATE_QUICKSTART_DATABASE_CA": str(server.ca_file or layout.ca),
        "WICKETGATE_QUICKSTART_DATABASE_TLS": "verify-full" if server.ca_file else "disable",
        **(_cluster(layout) if layout.extra else {}),
    }


def _cluster(layout: Layout) -> dict[str, str]:
    return {
        "WICKETGATE_QUICKSTART_KUBERNETES_PORT": str(layout.ports["kubernetes"]),
        "WICKETGATE_QUICKSTART_CLUSTER": f"https://localhost:{layout.ports['cluster']}",
        "WICKETGATE_QUICKSTART_CLUSTER_CA": str(layout.path("cluster", "ca", "ca.pem")),
    }


def _folder(path: Path) -> Path:
    path.mkdir(exist_ok=True, mode=0o700)
    return path


def up(layout: Layout, engine: Engine, env: dict[str, str]) -> Outcome:
    """Select (or create) the stack and run `pulumi up`; raises WicketgateError with the engine's own words."""
    _run(engine, env, "stack", "select", "--create", layout.stack)
    text = _run(
        engine, env, "up", "--yes", "--skip-preview", "--stack", layout.stack, "--color", "never", "--non-interactive"
    )
    layout.path("logs", "pulumi.log").write_text(text)
    counts = {
        {"created": "create", "updated": "update", "deleted": "delete", "replaced": "replace"}.get(what, "same"): int(n)
        for n, what in re.findall(
            r"^\s+[+~\-]*\s*(\d+) (created|updated|deleted|replaced|unchanged)", text, re.MULTILINE
        )
    }
    return Outcome(counts)


def _run(engine: Engine, env: dict[str, str], *arguments: str) -> str:
    result = subprocess.run(
        [engine.command, *arguments],
        cwd=ROOT,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        words = (result.stdout + result.stderr).strip().splitlines()
        tail = "\n".join(line for line in words if line.strip())[-4000:]
        raise WicketgateError(
            f"`pulumi {' '.join(arguments[:2])}` failed:\n{tail}", remedy="mend what it names and run it again"
        )
    return result.stdout
