"""The image's command line: `python -m tools.image context|base|build`.

context FOLDER                       the build context; then `docker build --build-arg BASE=… FOLDER`, or podman
base                                 a base image from Debian's packages, as a tar archive for `docker import`
build --base IMAGE --tag TAG         both, with the engine that the client `docker` (or `--engine podman`) reaches
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.engine.cache import ProvideError
from tools.image import base, context


def build_arguments(folder: Path, base_image: str, tag: str) -> list[str]:
    """The arguments of `docker build` (or `podman build`) for a context; its steps need no network."""
    return ["build", "--network", "none", "--build-arg", f"BASE={base_image}", "--tag", tag, str(folder)]


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 done, 1 it could not be built."""
    parser = argparse.ArgumentParser(prog="python -m tools.image", description="Builds the gateway's image.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("context", help="make the build context from uv.lock")
    one.add_argument("folder", type=Path)
    two = verbs.add_parser("base", help="write a base image from Debian's packages, for `docker import`")
    two.add_argument("file", type=Path)
    three = verbs.add_parser("build", help="build the image")
    three.add_argument("--base", required=True, help="an image with Python 3.11, CA certificates and tzdata")
    three.add_argument("--tag", default="wicketgate:local")
    three.add_argument("--engine", default="docker", help="docker or podman")
    for each in (one, three):
        each.add_argument("--native-wheel", type=Path, help="instead of building the native core")
    options = parser.parse_args(arguments)

    def progress(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        if options.verb == "context":
            context.make(options.folder, progress, options.native_wheel)
        elif options.verb == "base":
            options.file.write_bytes(base.archive(base.files(progress)))
        else:
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch, "context")
                context.make(folder, progress, options.native_wheel)
                command = [options.engine, *build_arguments(folder, options.base, options.tag)]
                return subprocess.run(command, check=False).returncode
    except ProvideError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
