"""The issuer as a context manager.

```python
with WorkloadIssuer(tmp_path) as issuer:
    issuer.token("repo:acme/shop:ref:refs/heads/main", "api://AzureADTokenExchange")
    url, request_token = issuer.allow("ci", "repo:acme/shop:ref:refs/heads/main")
    issuer.project("system:serviceaccount:bots:a", "api://AzureADTokenExchange", tmp_path / "token")
```
"""

import contextlib
import json
import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Any

from wicketgate.testing.certs import CertificateAuthority, LeafFiles
from wicketgate.testing.files import private_folder, sole_owner, write_atomic
from wicketgate.testing.issuer.app import Issuing, build_app
from wicketgate.testing.issuer.config import IssuerConfig, Projected, Workflow
from wicketgate.testing.issuer.keys import IssuerKey
from wicketgate.testing.issuer.projected import TokenFiles
from wicketgate.testing.serving import ThreadedServer, bind


class WorkloadIssuer:
    """An issuer with its key in a folder, served from a thread while the context lasts.

    With `port` 0 it comes back on the port it had, if that is free, since its URL is in every federated credential.
    """

    def __init__(
        self,
        state: Path,
        *,
        host: str = "127.0.0.1",
        public_host: str = "localhost",
        port: int = 0,
        ca_dir: Path | None = None,
        config: IssuerConfig | None = None,
    ) -> None:
        """Prepares key and certificate, binds the port, writes request tokens and token files. Raises OSError."""
        self.state = private_folder(state)
        with contextlib.ExitStack() as cleanup:
            cleanup.enter_context(sole_owner(state))
            self.listener = cleanup.enter_context(bind(host, port, remembered=state / "port"))
            self.url = f"https://{public_host}:{self.listener.getsockname()[1]}"
            self._ca = CertificateAuthority.open(ca_dir or state / "ca")
            names = dict.fromkeys([public_host, "localhost", "127.0.0.1", "::1"])
            self.leaf: LeafFiles = self._ca.issue_files(state, "server", names)
            self.key = IssuerKey.open(state / "issuer.key")
            self._issuing = Issuing(self.url, self.key)
            self.files = TokenFiles(self.url, self.key)
            cleanup.callback(self.files.stop)
            self.app = build_app(self._issuing)
            self._server = ThreadedServer(self.app, self.listener, self.leaf)
            for workflow in config.workflows if config else []:
                self.add_workflow(workflow)
            for projected in config.projected if config else []:
                self.files.add(projected)
            self._cleanup = cleanup.pop_all()

    @property
    def ca_file(self) -> Path:
        """The certificate authority (PEM), for the emulator's `trust`."""
        return self._ca.cert_file

    @property
    def token_request_url(self) -> str:
        """What `ACTIONS_ID_TOKEN_REQUEST_URL` holds; clients append `&audience=`."""
        return f"{self.url}/token?api-version=2.0"

    def __enter__(self) -> "WorkloadIssuer":
        self._server.__enter__()
        self.files.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.__exit__(kind, error, trace)
        self.close()

    def close(self) -> None:
        """Removes the token files, which nobody keeps fresh any more, and lets port and folder go."""
        self._cleanup.close()

    def token(self, subject: str, audience: str, *, lifetime: float = 300, claims: dict[str, Any] | None = None) -> str:
        """A signed token for a workload."""
        return self.key.token(self.url, subject, audience, lifetime, claims)

    def allow(self, name: str, subject: str, *, claims: dict[str, Any] | None = None) -> tuple[str, str]:
        """Lets a workflow ask for tokens; what to put into its ACTIONS_ID_TOKEN_REQUEST_URL and _TOKEN."""
        return self.token_request_url, self.add_workflow(Workflow(name=name, subject=subject, claims=claims or {}))

    def project(self, subject: str, audience: str, path: Path, *, lifetime: float = 3600) -> None:
        """Keeps a token file fresh at `path`. Raises OSError."""
        self.files.add(Projected(subject=subject, audience=audience, path=path, lifetime=lifetime))

    def add_workflow(self, workflow: Workflow) -> str:
        """Lets a workflow ask for tokens; its request token. Raises OSError."""
        file = private_folder(self.state / "requests") / f"{workflow.name}.token"
        if workflow.request_token is not None:
            token = workflow.request_token.get_secret_value()
        else:
            if not file.exists():
                write_atomic(file, secrets.token_urlsafe(32))
            token = file.read_text()
        self._issuing.allow(workflow, token)
        return token

    def description(self) -> dict[str, Any]:
        """What `issuer.json` says."""
        return {
            "url": self.url,
            "ca_file": str(self.ca_file),
            "token_request_url": self.token_request_url,
            "requests": str(self.state / "requests"),
            "pid": os.getpid(),
        }

    def write_description(self) -> None:
        """Writes `issuer.json` into the state folder."""
        write_atomic(self.state / "issuer.json", json.dumps(self.description(), indent=2) + "\n", mode=0o644)
