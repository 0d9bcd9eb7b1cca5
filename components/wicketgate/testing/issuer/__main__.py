"""`python -m wicketgate.testing.issuer --state DIR`: the issuer as a process.

Writes DIR/issuer.json once it answers and removes it when it ends, which it does on SIGTERM. SIGHUP is not needed:
restart it to read its configuration again; key and port stay.
"""

import argparse
import sys
from pathlib import Path

from pydantic import ValidationError

from wicketgate.testing.issuer.config import IssuerConfig
from wicketgate.testing.issuer.server import WorkloadIssuer
from wicketgate.testing.serving import run_until_signalled


def main(arguments: list[str] | None = None) -> int:
    """Runs the issuer; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m wicketgate.testing.issuer", description="OIDC issuer for workloads"
    )
    parser.add_argument("--state", type=Path, required=True, help="folder for the key and issuer.json")
    parser.add_argument("--port", type=int, default=0, help="0: the port of the last run if it is free, else any")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--public-host", default="localhost", help="host name in the issuer's URL and certificate")
    parser.add_argument("--ca-dir", type=Path, help="folder of a certificate authority to share")
    parser.add_argument("--config", type=Path, help="JSON file with workflows and projected tokens")
    given = parser.parse_args(arguments)
    try:
        config = IssuerConfig.model_validate_json(given.config.read_bytes()) if given.config else None
        issuer = WorkloadIssuer(
            given.state,
            host=given.host,
            public_host=given.public_host,
            port=given.port,
            ca_dir=given.ca_dir,
            config=config,
        )
    except ValidationError as error:
        print(f"the issuer's configuration is wrong: {error}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"the issuer cannot start: {error}", file=sys.stderr)
        return 1
    described = issuer.state / "issuer.json"
    described.unlink(missing_ok=True)
    issuer.files.start()

    def ready() -> None:
        issuer.write_description()
        print(f"workload issuer at {issuer.url}, described in {described}", file=sys.stderr)

    run_until_signalled(
        issuer.app,
        issuer.listener,
        issuer.leaf,
        ready,
        [lambda: described.unlink(missing_ok=True), issuer.close],
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
