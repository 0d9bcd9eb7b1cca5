"""`python -m wicketgate_gateway.health gateway STATE` or `agent READY_FILE`: exit status 0 healthy, 1 not.

How this works: it runs every few seconds in a container without a shell, so it imports the standard library alone. A
gateway is healthy when its `ports.json` stands, its process lives and it listens on the ports for agents and for
PostgreSQL, as the kernel tells (a connection would be on record as one that was refused); an agent when one of its
tunnels is up, which it says by a file that it keeps young.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

BEAT_SECONDS = 2.0
"""How often the agent touches its file."""
OLD_SECONDS = 15.0
_LISTEN = "0A"
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_PORTS = ("agents", "postgres")


def gateway(state: str) -> str | None:
    """What is wrong with the gateway that runs on this state folder; None if nothing is."""
    try:
        ports = json.loads(Path(state, "ports.json").read_text())
        os.kill(int(ports["pid"]), 0)
    except PermissionError:
        return "its process is another user's"
    except (OSError, ValueError, KeyError, TypeError):
        return "it has not started, or it ended"
    listening = _listening()
    for name in _PORTS:
        if ports.get(name) not in listening:
            return f"it does not listen on its port for {name}"
    return None


def _listening() -> set[int]:
    """The ports that somebody listens on in this network namespace (proc_net_tcp)."""
    found: set[int] = set()
    for table in _TABLES:
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue  # without IPv6 there is no second table
        for line in lines:
            _, local, _, state, *_ = line.split()
            if state == _LISTEN:
                found.add(int(local.rpartition(":")[2], 16))
    return found


def agent(ready_file: str) -> str | None:
    """What is wrong with the agent that keeps this file; None if nothing is."""
    try:
        age = time.time() - Path(ready_file).stat().st_mtime
    except OSError:
        return "no tunnel is up"
    return None if age < OLD_SECONDS else "it stopped saying that a tunnel is up"


def main(arguments: list[str]) -> int:
    """Say what is wrong on standard error."""
    checks = {"gateway": gateway, "agent": agent}
    if len(arguments) != 2 or arguments[0] not in checks:
        print("usage: python -m wicketgate_gateway.health gateway STATE | agent READY_FILE", file=sys.stderr)
        return 2
    wrong = checks[arguments[0]](arguments[1])
    if wrong is not None:
        print(f"{arguments[0]}: {wrong}", file=sys.stderr)
    return int(wrong is not None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
