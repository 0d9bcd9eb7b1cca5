"""Provides Kubernetes for end-to-end tests: `python -m tools.kubernetes.provide [--server|--node]`.

`--server` stops at etcd, kube-apiserver and both kubectl; without it the controllers, scheduler and kubelet are built
too. Prints one JSON object: each binary's name and path.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from tools.engine.cache import Progress, ProvideError
from tools.kubernetes import build, pins


@dataclass(frozen=True)
class Binaries:
    """Where the binaries are."""

    etcd: Path
    apiserver: Path
    kubectl: Path
    older_kubectl: Path
    controller_manager: Path | None = None
    scheduler: Path | None = None
    kubelet: Path | None = None


def provide(*, node: bool = True, progress: Progress | None = None) -> Binaries:
    """The binaries, built if need be. Raises ProvideError."""
    say = progress or _say
    server = build.build(pins.SERVER, say)
    older = build.build(pins.OLDER_KUBECTL, say)
    rest = build.build(pins.NODE, say) if node else None
    return Binaries(
        etcd=server / "etcd",
        apiserver=server / "kube-apiserver",
        kubectl=server / "kubectl",
        older_kubectl=older / "kubectl",
        controller_manager=rest / "kube-controller-manager" if rest else None,
        scheduler=rest / "kube-scheduler" if rest else None,
        kubelet=rest / "kubelet" if rest else None,
    )


def _say(line: str) -> None:
    sys.stderr.write(f"  {line}\n")
    sys.stderr.flush()


def main(arguments: list[str]) -> int:
    """The command: prints one JSON object; progress goes to standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.kubernetes.provide", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--server", action="store_true", help="only etcd, kube-apiserver and kubectl")
    given = parser.parse_args(arguments)
    try:
        binaries = provide(node=not given.server)
    except ProvideError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    print(json.dumps({name: str(path) for name, path in vars(binaries).items() if path is not None}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
