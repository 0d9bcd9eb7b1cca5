"""A bot's own token on a bot's machine: where its settings come from, and the exchange.

How this works: settings come from `client.yaml` or from the variables that Azure's SDKs use; the platform's token comes
from a file or from GitHub's token service. Only the standard library and the YAML parser are loaded: a client runs this
before every connection. A file that is not plainly right is read again by the strict reader, which says what is wrong.

No file of the current folder is read unless it is named: a bot works in folders that others filled, and whoever says
where Entra is gets the platform's token. Nothing is kept on disk.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.identity import exchange
from wicketgate_gateway.identity.exchange import AccessToken, ExchangeError

SECONDS = 15.0
_TRIES = 3
_PAUSE_SECONDS = 0.5
_PUBLIC = "https://login.microsoftonline.com"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
# The parts of client.yaml that matter here; a test holds them against `ClientConfig`.
KEYS: dict[str, frozenset[str]] = {
    "": frozenset(
        {"version", "bot", "entra", "audience", "workload", "gateway", "targets", "http", "kubernetes", "ssh"}
    ),
    "entra": frozenset({"tenant", "authority", "graph", "caFile"}),
    "workload": frozenset({"clientId", "tokenFile"}),
}
_EXCHANGE_AUDIENCES = {".us": "api://AzureADTokenExchangeUSGov", ".cn": "api://AzureADTokenExchangeChina"}


@dataclass(frozen=True)
class Settings:
    """What an exchange needs. `token_file` is None where the platform's token comes from a service alone."""

    tenant: str
    authority: str
    client_id: str
    audience: str
    token_file: str | None
    ca_file: str | None


def config_path(given: Path | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The client.yaml to use: as given, as `WICKETGATE_CONFIG` says, or the user's own; None if there is none."""
    if given is not None:
        return given
    if named := environ.get("WICKETGATE_CONFIG"):
        return Path(named)
    home = environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    own = Path(home) / "wicketgate" / "client.yaml"
    return own if own.is_file() else None


def settings(config: Path | None, environ: Mapping[str, str] = os.environ) -> Settings:
    """From the file at `config`, else from AZURE_* and WICKETGATE_AUDIENCE. Raises WicketgateError."""
    if config is not None:
        return _quickly(config) or _strictly(config)
    wanted = {
        "AZURE_TENANT_ID": "the tenant",
        "AZURE_CLIENT_ID": "the bot's client id",
        "WICKETGATE_AUDIENCE": "the gateway's client id",
    }
    missing = [name for name in wanted if not environ.get(name)]
    if missing:
        raise WicketgateError(
            "there is neither a client.yaml nor " + ", ".join(f"`{name}`" for name in missing),
            code="client-config-missing",
            remedy="give the file by --config, or set the variables",
        )
    return Settings(
        tenant=environ["AZURE_TENANT_ID"],
        authority=environ.get("AZURE_AUTHORITY_HOST") or _PUBLIC,
        client_id=environ["AZURE_CLIENT_ID"],
        audience=environ["WICKETGATE_AUDIENCE"],
        token_file=environ.get("AZURE_FEDERATED_TOKEN_FILE") or None,
        ca_file=None,
    )


def fetch_token(settings: Settings, environ: Mapping[str, str] = os.environ) -> AccessToken:
    """A fresh token for the gateway. Raises WicketgateError, without any part of a token in it."""
    authority = urlsplit(settings.authority)
    if authority.scheme != "https" or not authority.hostname:
        raise WicketgateError(
            f"`{settings.authority}` is no https address",
            code="authority-invalid",
            remedy="write it as `https://login.microsoftonline.com`",
        )
    context = _context(settings.ca_file)
    for attempt in range(1, _TRIES + 1):
        try:
            proof = _assertion(settings, context, environ)
            what = exchange.request(
                settings.authority, settings.tenant, settings.client_id, f"{settings.audience}/.default", proof
            )
            return exchange.answer(*send("POST", what.url, what.headers, what.body, context, environ))
        except ExchangeError as error:
            # Federated credentials of a new application answer unsteadily for a while (keda#8152).
            if not error.transient or attempt == _TRIES:
                raise
        time.sleep(_PAUSE_SECONDS * attempt)
    raise AssertionError


def send(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None,
    context: ssl.SSLContext,
    environ: Mapping[str, str] = os.environ,
) -> tuple[int, bytes]:
    """One https request: status and body. No redirects; HTTPS_PROXY and NO_PROXY count. Raises ExchangeError."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    proxy = environ.get("https_proxy") or environ.get("HTTPS_PROXY")
    if proxy and not _bypassed(host, environ):
        via = urlsplit(proxy if "//" in proxy else f"//{proxy}")
        connection = http.client.HTTPSConnection(via.hostname or "", via.port or 8080, timeout=SECONDS, context=context)
        connection.set_tunnel(host, port)
    else:
        connection = http.client.HTTPSConnection(host, port, timeout=SECONDS, context=context)
    try:
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        data = response.read(exchange.MAX_ANSWER + 1)
        if len(data) > exchange.MAX_ANSWER:
            raise ExchangeError(f"the answer of `{host}` is too long")
        return response.status, data
    except ssl.SSLCertVerificationError as error:
        raise ExchangeError(
            f"the certificate of `{host}` was refused: {error.verify_message}",
            code="certificate-refused",
            remedy="check `caFile` or SSL_CERT_FILE",
        ) from None
    except (OSError, http.client.HTTPException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise ExchangeError(
            f"`{host}` cannot be reached: {reason}", code="entra-unreachable", remedy="check network and proxy"
        ) from None
    finally:
        connection.close()


def _assertion(settings: Settings, context: ssl.SSLContext, environ: Mapping[str, str]) -> str:
    """The platform's token: the file if it is there, else GitHub's token service."""
    url, bearer = environ.get("ACTIONS_ID_TOKEN_REQUEST_URL"), environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
    file = settings.token_file
    if (file is None or not os.path.exists(file)) and url and bearer:
        return _from_github(settings, url, bearer, context, environ)
    if file is None:
        raise ExchangeError(
            "there is no token of this machine's platform",
            code="assertion-missing",
            remedy="set AZURE_FEDERATED_TOKEN_FILE; in a GitHub workflow, give the job `permissions: id-token: write`",
        )
    try:
        with open(file, encoding="ascii") as opened:
            return exchange.assertion(opened.read(exchange.MAX_ASSERTION + 1), file)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a JWT"
        raise ExchangeError(
            f"the platform's token in `{file}` cannot be read: {reason}",
            code="assertion-unreadable",
            remedy="check the path and its permissions; in a GitHub workflow, give the job "
            "`permissions: id-token: write`",
        ) from None


def _from_github(settings: Settings, url: str, bearer: str, context: ssl.SSLContext, environ: Mapping[str, str]) -> str:
    if urlsplit(url).scheme != "https":
        raise ExchangeError("`ACTIONS_ID_TOKEN_REQUEST_URL` is no https address", code="assertion-missing")
    host = urlsplit(settings.authority).hostname or ""
    audience = next((a for end, a in _EXCHANGE_AUDIENCES.items() if host.endswith(end)), "api://AzureADTokenExchange")
    joiner = "&" if "?" in url else "?"
    headers = {"Authorization": f"Bearer {bearer}", "Accept": "application/json"}
    try:
        status, body = send("GET", f"{url}{joiner}audience={quote(audience, safe='')}", headers, None, context, environ)
        value = json.loads(body).get("value") if status == 200 else None
    except (ValueError, AttributeError, RecursionError):
        status, value = 200, None
    if not isinstance(value, str):
        raise ExchangeError(
            f"GitHub's token service gave no token (HTTP {status})",
            code="assertion-missing",
            remedy="give the job `permissions: id-token: write`",
            transient=status >= 500,
        )
    return exchange.assertion(value, "GitHub's token service")


def _quickly(path: Path) -> Settings | None:
    """The settings of a file that is plainly right; None for the strict reader to say what is not."""
    from wicketgate_gateway.contract import yaml

    try:
        data = yaml.parse(path.read_text("utf-8"), str(path)).data
    except (OSError, ValueError, WicketgateError):
        return None
    parts: dict[str, Any] = {"": data}
    if isinstance(data, dict):
        parts |= {name: data.get(name) for name in ("entra", "workload")}
    for name, part in parts.items():
        if not isinstance(part, dict) or not part.keys() <= KEYS[name]:
            return None
    entra, workload = parts["entra"], parts["workload"]
    ids = (entra.get("tenant"), workload.get("clientId"), data.get("audience"))
    texts = (entra.get("authority", _PUBLIC), workload.get("tokenFile"))
    ca_file = entra.get("caFile")
    if not all(isinstance(i, str) and _UUID.fullmatch(i) for i in ids) or not all(isinstance(t, str) for t in texts):
        return None
    if ca_file is not None and not isinstance(ca_file, str):
        return None
    return Settings(str(ids[0]), str(texts[0]), str(ids[1]), str(ids[2]), str(texts[1]), ca_file)


def _strictly(path: Path) -> Settings:
    from wicketgate_gateway.contract.gateway import ClientConfig
    from wicketgate_gateway.contract.model import read

    return of_config(read(ClientConfig, path))


def of_config(config: Any) -> Settings:
    """The settings in a `ClientConfig`."""
    return Settings(
        tenant=config.entra.tenant,
        authority=config.entra.authority,
        client_id=config.workload.client_id,
        audience=config.audience,
        token_file=config.workload.token_file,
        ca_file=config.entra.ca_file,
    )


def _context(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            raise WicketgateError(
                f"the CA certificates in `{ca_file}` cannot be read: {error.strerror or 'no PEM'}",
                code="ca-file-invalid",
                remedy="give a PEM file",
            ) from None
    return context


def _bypassed(host: str, environ: Mapping[str, str]) -> bool:
    names = [
        n.strip().lower().lstrip(".") for n in (environ.get("no_proxy") or environ.get("NO_PROXY") or "").split(",")
    ]
    return any(n and (n == "*" or host == n or host.endswith(f".{n}")) for n in names)
