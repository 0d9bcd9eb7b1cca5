"""`wicketgate token`: a fresh Entra token for the gateway, on standard output."""

from __future__ import annotations

import sys
from pathlib import Path

from wicketgate_gateway.cli import client


def token(*, config: Path | None = None, json: bool = False) -> None:
    """Print the bot's Entra token for the gateway, as psql's password: PGPASSWORD=$(wicketgate token).

    The bot proves who it is by its platform's token: a file, or GitHub's token service. Without a client.yaml the
    variables of Azure's SDKs count (AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_FEDERATED_TOKEN_FILE,
    AZURE_AUTHORITY_HOST), and WICKETGATE_AUDIENCE.

    Parameters
    ----------
    config
        client.yaml; else WICKETGATE_CONFIG, else ~/.config/wicketgate/client.yaml.
    json
        Print one object with `token` and `expires_at` (seconds since 1970).
    """
    got = client.fetch_token(client.settings(client.config_path(config)))
    if json:
        from wicketgate_gateway.cli.output import print_json

        print_json({"token": got.token, "expires_at": int(got.expires_at)})
    else:
        sys.stdout.write(got.token + "\n")
