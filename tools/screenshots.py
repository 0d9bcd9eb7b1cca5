"""`python -m tools.screenshots`: the pictures in docs/images, made from the running product.

How this works: the end-to-end test of the pages (`tests/e2e/test_ui.py`) starts a gateway, an agent, a database, a host
and an HTTP service, has a bot work, and walks through the pages in a real Chromium; with `WICKETGATE_SCREENSHOTS` set
it keeps a picture of each. Those that the documentation shows are taken over with at most 128 colours, which keeps them
small.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
MAX_BYTES = 150 * 1024
CHOSEN = (
    "approval-light",
    "approval-dark",
    "approval-narrow-dark",
    "approvals-narrow",
    "session-light",
    "terminal-dark",
    "requests-light",
    "policy-light",
    "audit-dark",
    "access-light",
)
"""What the documentation shows: 1440 and 390 pixels wide, light and dark."""
_COLOURS = (128, 64, 32)


def take(source: Path, target: Path) -> None:
    """Write a picture with few colours, and no more bytes than the documentation's pictures may have. Raises
    ValueError for one that is larger even so."""
    with Image.open(source) as picture:
        plain = picture.convert("RGB")
    for colours in _COLOURS:
        plain.quantize(colours, dither=Image.Dither.NONE).save(target, optimize=True)
        if target.stat().st_size <= MAX_BYTES:
            return
    raise ValueError(f"`{target.name}` is {target.stat().st_size} bytes: show less on it")


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 once all that were asked for are there."""
    parser = argparse.ArgumentParser(prog="python -m tools.screenshots", description="Make the pictures of the docs.")
    parser.add_argument("--from", dest="folder", type=Path, help="a folder with pictures, instead of a run")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="wicketgate-shots-") as scratch:
        folder: Path = options.folder or Path(scratch)
        if options.folder is None:
            command = [sys.executable, "-m", "pytest", "-q", "tests/e2e/test_ui.py"]
            subprocess.run(command, cwd=ROOT, env={**os.environ, "WICKETGATE_SCREENSHOTS": scratch}, check=True)
        IMAGES.mkdir(exist_ok=True)
        for name in CHOSEN:
            take(folder / f"{name}.png", IMAGES / f"{name}.png")
            print(f"docs/images/{name}.png: {(IMAGES / f'{name}.png').stat().st_size // 1024} KB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
