"""`python -m wicketgate.testing.entra --state DIR`: the emulator as a process.

Writes DIR/emulator.json once it answers and removes it when it ends, which it does on SIGTERM. Switches are given
with `--quirk` or in the seed's `quirks`, and changed through the admin API.
"""

import argparse
import json
import sys
from pathlib import Path

from wicketgate.testing.entra.seed import SeedError
from wicketgate.testing.entra.server import DEFAULT_TENANT, EntraEmulator
from wicketgate.testing.serving import run_until_signalled


def _quirk(text: str) -> tuple[str, object]:
    """`NAME=VALUE`, the value as JSON or else as text. Raises ValueError."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"`{text}` is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def main(arguments: list[str] | None = None) -> int:
    """Runs the emulator; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m wicketgate.testing.entra", description="Entra ID and Graph emulator"
    )
    parser.add_argument("--state", type=Path, required=True, help="folder for keys, database and emulator.json")
    parser.add_argument("--port", type=int, default=0, help="0: the port of the last run if it is free, else any")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--public-host", default="localhost", help="host name in URLs and in the certificate")
    parser.add_argument("--tenant", default=DEFAULT_TENANT, help="tenant id (a GUID)")
    parser.add_argument("--domain", default="contoso.onmicrosoft.com", help="the tenant's domain")
    parser.add_argument("--trust", type=Path, nargs="*", default=[], help="CA files of federated issuers")
    parser.add_argument("--ca-dir", type=Path, help="folder of a certificate authority to share")
    parser.add_argument("--seed", type=Path, help="JSON file with people, groups, applications, quirks")
    parser.add_argument("--quirk", action="append", default=[], metavar="NAME=VALUE", help="a switch, as in quirks.py")
    given = parser.parse_args(arguments)
    try:
        seed = json.loads(given.seed.read_text()) if given.seed else None
        emulator = EntraEmulator(
            given.state,
            tenant=given.tenant,
            domain=given.domain,
            host=given.host,
            public_host=given.public_host,
            port=given.port,
            trust=given.trust,
            ca_dir=given.ca_dir,
            seed=seed,
        )
        emulator.set_quirks(**dict(_quirk(one) for one in given.quirk))
    except (OSError, SeedError, ValueError) as error:
        print(f"the emulator cannot start: {error}", file=sys.stderr)
        return 1
    described = emulator.state / "emulator.json"
    described.unlink(missing_ok=True)

    def ready() -> None:
        emulator.write_description()
        print(f"Entra emulator at {emulator.url}, described in {described}", file=sys.stderr)

    run_until_signalled(
        emulator.app,
        emulator.listener,
        emulator.leaf,
        ready,
        [lambda: described.unlink(missing_ok=True), emulator.close],
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
