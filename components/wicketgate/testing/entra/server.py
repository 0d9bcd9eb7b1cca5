"""The emulator as one ASGI application, and as a context manager for tests.

```python
with EntraEmulator(trust=[issuer.ca_file], seed={...}) as entra:
    ClientSecretCredential(entra.tenant, client, secret, authority=entra.authority,
                           connection_verify=str(entra.ca_file), disable_instance_discovery=True)
```
"""

import contextlib
import json
import os
import secrets
import sys
import tempfile
import traceback
import uuid
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from wicketgate.testing.certs import CertificateAuthority, LeafFiles, client_context
from wicketgate.testing.entra import admin, authorize, device, discovery, graph, login, people, saml, tokens
from wicketgate.testing.entra.builtin import furnish
from wicketgate.testing.entra.core import Core
from wicketgate.testing.entra.directory import Directory
from wicketgate.testing.entra.errors import LoginError
from wicketgate.testing.entra.keys import SigningKeys
from wicketgate.testing.entra.seed import apply_seed
from wicketgate.testing.entra.store import Store
from wicketgate.testing.files import private_folder, sole_owner, write_atomic
from wicketgate.testing.serving import Asgi, ThreadedServer, bind

DEFAULT_TENANT = "6f1c9a52-7a53-4c0e-9a55-3f2e6b1d8c40"
_GRANTS: dict[str, login.GrantHandler] = {
    "authorization_code": authorize.redeem_code,
    "refresh_token": people.redeem_refresh,
    "urn:ietf:params:oauth:grant-type:device_code": device.redeem_device,
    "device_code": device.redeem_device,
}
Handler = Callable[[Core, Request], Awaitable[Response]]


def build_app(core: Core) -> Asgi:
    """The ASGI application over a core."""

    def route(path: str, handler: Handler, *methods: str) -> Route:
        async def endpoint(request: Request) -> Response:
            return await handler(core, request)

        return Route(path, endpoint, methods=list(methods))

    async def token(_: Core, request: Request) -> Response:
        return await login.token(core, request, _GRANTS)

    async def sign_out(_: Core, request: Request) -> Response:
        return authorize.logout(core, request)

    well_known = "/.well-known/openid-configuration"
    graph_methods = ("GET", "POST", "PATCH", "PUT", "DELETE")
    routes = [
        route("/_emulator/{name:path}", admin.admin, "GET", "POST", "PATCH", "DELETE"),
        route("/metadata/endpoints", _metadata, "GET"),
        route("/common/discovery/instance", _plain(discovery.instance), "GET"),
        route("/common/oauth2/deviceauth", device.approve_page, "GET", "POST"),
        route("/{tenant}/oauth2/v2.0/token", token, "POST"),
        route("/{tenant}/oauth2/token", token, "POST"),
        route("/{tenant}/oauth2/v2.0/authorize", authorize.authorize, "GET", "POST"),
        route("/{tenant}/oauth2/v2.0/devicecode", device.device_code, "POST"),
        route("/{tenant}/oauth2/v2.0/logout", sign_out, "GET"),
        route("/oidc/userinfo", _userinfo, "GET", "POST"),
        route("/{tenant}/login", authorize.pick, "POST"),
        route("/{tenant}/saml2", saml.sign_in, "GET"),
        route("/{tenant}/saml2/login", saml.pick, "POST"),
        route("/{tenant}/federationmetadata/2007-06/federationmetadata.xml", saml.metadata, "GET"),
        route(f"/{{tenant}}/v2.0{well_known}", _of_tenant(discovery.openid_configuration, v2=True), "GET"),
        route(f"/{{tenant}}{well_known}", _of_tenant(discovery.openid_configuration, v2=False), "GET"),
        route("/{tenant}/discovery/v2.0/keys", _of_tenant(discovery.jwks, v2=True), "GET"),
        route("/{tenant}/discovery/keys", _of_tenant(discovery.jwks, v2=False), "GET"),
    ]
    for version in ("v1.0", "beta"):
        routes.insert(1, route(f"/{version}/{{path:path}}", graph.of_version(version), *graph_methods))
    return Starlette(routes=routes, exception_handlers={Exception: report_bug})


async def _userinfo(core: Core, request: Request) -> Response:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    claims = tokens.verify_graph_token(core, token) if scheme.lower() == "bearer" else None
    found = people.userinfo(core, claims) if claims else None
    if found is None:
        return JSONResponse(
            {"error": "invalid_token"}, 401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'}
        )
    return JSONResponse(found)


async def _metadata(core: Core, _: Request) -> Response:
    return JSONResponse(discovery.metadata_endpoints(core))


def _plain(document: Callable[[Core], dict[str, Any]]) -> Handler:
    async def handler(core: Core, _: Request) -> Response:
        return JSONResponse(document(core))

    return handler


def _of_tenant(document: Callable[..., dict[str, Any]], *, v2: bool) -> Handler:
    async def handler(core: Core, request: Request) -> Response:
        try:
            login.check_tenant(core, request.path_params["tenant"], people=True)
        except LoginError as error:
            return login.refuse(core, error, request)
        return JSONResponse(document(core, v2=v2), headers={"Access-Control-Allow-Origin": "*"})

    return handler


async def report_bug(request: Request, error: Exception) -> Response:
    """A bug of ours. 501, since Graph's clients retry every other 5xx for minutes and hide it."""
    traceback.print_exception(error, file=sys.stderr)
    message = f"the emulator failed at {request.method} {request.url.path}: {type(error).__name__}"
    return JSONResponse({"error": {"code": "EmulatorBug", "message": message}}, 501)


class EntraEmulator:
    """An emulator with its state in a folder, served from a thread while the context lasts.

    `state` None keeps everything in memory and a temporary folder. `trust` are CA files of federated issuers beside the
    system's roots. `ca_dir` shares a certificate authority with other servers.
    """

    def __init__(
        self,
        state: Path | None = None,
        *,
        tenant: str = DEFAULT_TENANT,
        domain: str = "contoso.onmicrosoft.com",
        host: str = "127.0.0.1",
        public_host: str = "localhost",
        port: int = 0,
        trust: Iterable[Path] = (),
        ca_dir: Path | None = None,
        seed: dict[str, Any] | None = None,
    ) -> None:
        """Prepares the state and binds the port. Raises OSError, SeedError, ValueError for a tenant that is no GUID."""
        self.tenant = str(uuid.UUID(tenant))
        trusted = list(trust)
        with contextlib.ExitStack() as cleanup:
            folder = state or Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="wicketgate-entra-")))
            self.state = private_folder(folder)
            cleanup.enter_context(sole_owner(folder))
            self.listener = cleanup.enter_context(bind(host, port, remembered=folder / "port"))
            self.port: int = self.listener.getsockname()[1]
            self.url = f"https://{public_host}:{self.port}"
            self._ca = CertificateAuthority.open(ca_dir or folder / "ca")
            names = dict.fromkeys([public_host, "localhost", "127.0.0.1", "::1"])
            self.leaf: LeafFiles = self._ca.issue_files(folder, "server", names)
            self.bundle_file = self._ca.write_bundle(folder / "ca-bundle.pem", extra=trusted)
            self.store = Store(None if state is None else folder / "emulator.db")
            cleanup.callback(self.store.close)
            directory = Directory(self.store, self.tenant, domain=domain.lower())
            furnish(directory)
            self.core = Core(
                self.url,
                directory,
                SigningKeys(self.store),
                client_context(self._ca.cert_file, *trusted),
                self._admin_key(),
            )
            if seed:
                apply_seed(directory, seed)
            self.app = build_app(self.core)
            self._server = ThreadedServer(self.app, self.listener, self.leaf)
            self._cleanup = cleanup.pop_all()

    def _admin_key(self) -> str:
        file = self.admin_key_file
        if not file.exists():
            write_atomic(file, secrets.token_urlsafe(32))
        return file.read_text()

    def __enter__(self) -> "EntraEmulator":
        self._server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.__exit__(kind, error, trace)
        self.close()

    def close(self) -> None:
        """Closes port and store, lets the folder go, and forgets a temporary one."""
        self._cleanup.close()

    # --- where things are

    @property
    def authority(self) -> str:
        """The authority host for azure-identity; for msal append the tenant."""
        return self.url

    @property
    def graph(self) -> str:
        """Graph's root, without a version: also the resource in `{graph}/.default`."""
        return self.url

    @property
    def metadata_host(self) -> str:
        """For `ARM_METADATA_HOSTNAME`."""
        return self.url.removeprefix("https://")

    @property
    def ca_file(self) -> Path:
        """The certificate authority (PEM)."""
        return self._ca.cert_file

    @property
    def admin_key_file(self) -> Path:
        """The file (0600) with the key of the admin API."""
        return self.state / "admin.key"

    def description(self) -> dict[str, Any]:
        """What `emulator.json` says."""
        return {
            "url": self.url,
            "graph": self.graph,
            "authority": self.authority,
            "issuer": self.core.issuer,
            "tenant": self.tenant,
            "metadata_host": self.metadata_host,
            "ca_file": str(self.ca_file),
            "ca_bundle_file": str(self.bundle_file),
            "admin_key_file": str(self.admin_key_file),
            "pid": os.getpid(),
        }

    def write_description(self) -> None:
        """Writes `emulator.json` into the state folder."""
        write_atomic(self.state / "emulator.json", json.dumps(self.description(), indent=2) + "\n", mode=0o644)

    # --- what tests do

    def seed(self, document: dict[str, Any]) -> None:
        """Adds people, groups, applications; see `seed`. Raises SeedError."""
        apply_seed(self.core.directory, document)

    def set_quirks(self, **changes: Any) -> None:
        """Sets switches. Raises QuirkError."""
        self.core.quirks.update(changes)

    def graph_token(self, oid: str | None = None, roles: list[str] | None = None) -> str:
        """A token that Graph accepts, with every application permission or these."""
        claims: dict[str, Any] = {} if oid is None else {"oid": oid, "sub": oid}
        return admin.mint(self.core, claims if roles is None else claims | {"roles": roles}, graph=True)

    def mint(
        self, claims: dict[str, Any] | None = None, header: dict[str, Any] | None = None, alg: str = "RS256"
    ) -> str:
        """A token with any claims, signed or missigned; see `admin.mint`."""
        return admin.mint(self.core, claims, header, alg)

    def roll_keys(self, *, retire: bool = False, app: str | None = None) -> str:
        """A new signing key of the tenant, or of the application with the client id `app` for SAML; with `retire` the
        old ones are void. Returns the new `kid`."""
        keys = self.core.keys if app is None else saml.keys_of(self.core, app)
        return keys.roll(retire=retire).kid

    def approve_device(self, user_code: str, user: str) -> None:
        """Signs `user` in for a device's code. Raises ValueError, LoginError."""
        device.decide(self.core, user_code, user, approve=True)
