"""A person's own settings and token: where they come from, and where the token is kept.

How this works: settings come from `people.yaml` (or the gateway's own `gateway.yaml`). The token is an access token of
an hour or so, without a refresh token: what is stolen ends soon by itself. It is kept in a file that only this user can
read, one for each tenant, gateway and API address: a token that was got for one address is never sent to another.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from cyclopts import Parameter

from wicketgate_gateway.contract import model
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import Entra, GatewayConfig, PeopleConfig
from wicketgate_gateway.identity.exchange import AccessToken

ENVIRONMENT = "WICKETGATE_CONFIG"
SPARE_SECONDS = 30.0
"""A token that ends sooner is not sent any more."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a sign-in and a call of the API need."""

    entra: Entra
    audience: str
    client: str
    url: str
    ca_file: str | None


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Which gateway."""

    config: Annotated[Path | None, Parameter(help="`people.yaml`, or the gateway's `gateway.yaml`.")] = None
    api: Annotated[str, Parameter(help="The API's address, if it is another than the file says.")] = ""

    def settings(self, environ: Mapping[str, str] = os.environ) -> Settings:
        """The settings, from `--config`, else WICKETGATE_CONFIG, else the user's own people.yaml.

        Raises WicketgateError.
        """
        found = _read(_path(self.config, environ))
        if not self.api:
            return found
        parts = urlsplit(self.api)
        loopback = parts.hostname in ("127.0.0.1", "::1", "localhost")
        if (
            not parts.hostname
            or "@" in parts.netloc
            or not (parts.scheme == "https" or (parts.scheme == "http" and loopback))
        ):
            raise WicketgateError("`--api` is no https address", code="api-invalid", remedy="write `https://HOST:PORT`")
        return replace(found, url=self.api)


def _path(given: Path | None, environ: Mapping[str, str]) -> Path:
    if given is not None:
        return given
    if named := environ.get(ENVIRONMENT):
        return Path(named)
    own = _home(environ, "XDG_CONFIG_HOME", ".config") / "people.yaml"
    if own.is_file():
        return own
    raise WicketgateError(
        "which gateway is not said",
        code="people-config-missing",
        remedy=f"give people.yaml by --config or {ENVIRONMENT}, or put it at `{own}`",
    )


def _home(environ: Mapping[str, str], variable: str, default: str) -> Path:
    return Path(environ.get(variable) or Path(os.path.expanduser("~")) / default) / "wicketgate"


def _read(path: Path) -> Settings:
    document = model.load(path)
    data: Any = document.data
    if isinstance(data, dict) and "listen" in data:
        config = model.validate(GatewayConfig, document)
        if config.people is None:
            raise WicketgateError(f"`{path}` has no `people`: this gateway has no API", code="api-off")
        return Settings(config.entra, config.audience, config.people.client, config.people.url, config.entra.ca_file)
    if isinstance(data, dict) and "bot" in data:
        raise WicketgateError(
            f"`{path}` is a bot's", code="people-config-missing", remedy="give people.yaml by --config"
        )
    people = model.validate(PeopleConfig, document)
    return Settings(people.entra, people.audience, people.client, people.url, people.ca_file)


def token_file(settings: Settings, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the token for these settings is kept."""
    parts = urlsplit(settings.url)
    what = (settings.entra.authority, settings.entra.tenant, settings.audience, settings.client)
    key = hashlib.sha256("\n".join((*what, parts.scheme, parts.netloc)).encode()).hexdigest()[:24]
    return _home(environ, "XDG_STATE_HOME", ".local/state") / "people" / f"{key}.json"


def keep(settings: Settings, token: AccessToken, environ: Mapping[str, str] = os.environ) -> Path:
    """Write the token for its owner alone. Raises WicketgateError."""
    path = token_file(settings, environ)
    new = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.chmod(path.parent, 0o700)
        new.unlink(missing_ok=True)
        # Exclusive, and without following links: nobody can have put something of theirs there.
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
            json.dump({"access_token": token.token, "expires_at": int(token.expires_at)}, file)
        new.replace(path)
    except OSError as error:
        raise WicketgateError(
            f"the token cannot be kept in `{path}`: {error.strerror}", code="token-not-kept"
        ) from None
    return path


def kept(settings: Settings, environ: Mapping[str, str] = os.environ) -> AccessToken:
    """The token of the last sign-in. Raises WicketgateError (`not-signed-in`) if there is none that still counts."""
    path = token_file(settings, environ)
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW)) as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.getuid() or status.st_mode & 0o077:
                raise WicketgateError(
                    f"`{path}` can be read by others", code="token-exposed", remedy="`wicketgate logout`, then log in"
                )
            data = json.load(file)
        token = AccessToken(str(data["access_token"]), float(data["expires_at"]))
    except (OSError, ValueError, KeyError, TypeError):
        raise WicketgateError("you are not signed in", code="not-signed-in", remedy="`wicketgate login`") from None
    if token.expires_at - SPARE_SECONDS <= time.time():
        raise WicketgateError("your sign-in has ended", code="not-signed-in", remedy="`wicketgate login`")
    return token


def forget(settings: Settings, environ: Mapping[str, str] = os.environ) -> bool:
    """Remove the token; gives whether there was one."""
    path = token_file(settings, environ)
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
        return True
    return False
