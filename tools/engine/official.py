"""The official Pulumi CLI and plugins: where they are installed, and how they are downloaded.

The archive is checked against the published list of SHA-256 sums before it is unpacked; a list that cannot be had, or
that does not name the archive, counts as "downloads are closed".
"""

import hashlib
import os
import platform
import queue
import re
import shutil
import subprocess
import tarfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.engine import cache, pins
from tools.engine.cache import Progress, ProvideError

SITE: Final = "https://get.pulumi.com"
PROBE_SECONDS: Final = 4.0
_DOWNLOAD_SECONDS: Final = 60.0  # without a byte
_MAX_LIST_BYTES: Final = 1 << 20
_LANGUAGE_HOST: Final = "pulumi-language-python"
OURS: Final = ".wicketgate-engine"
"""Marks a folder that `layout` wrote: what is found there is not an installation."""

_SYSTEMS: Final = {"Linux": "linux", "Darwin": "darwin"}
_MACHINES: Final = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class Installed:
    """A CLI with its Python language host."""

    command: Path
    version: str


def on_path() -> tuple[Installed | None, str]:
    """The CLI on PATH if it can be used, and one clause on why or why not."""
    found = next((place for place in _places("pulumi") if not (place.parent / OURS).exists()), None)
    if found is None:
        return None, "no `pulumi` on PATH"
    try:
        done = subprocess.run([str(found), "version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None, f"`{found}` does not run"
    version = re.match(r"v?(\d+)\.(\d+)\.(\d+)", done.stdout.strip())
    if done.returncode != 0 or version is None:
        return None, f"`{found} version` gave no version"
    numbers = tuple(int(part) for part in version.groups())
    text = ".".join(version.groups())
    if numbers < pins.OLDEST_PULUMI or numbers[0] != pins.OLDEST_PULUMI[0]:
        oldest = ".".join(map(str, pins.OLDEST_PULUMI))
        return None, f"`{found}` is {text}, not {oldest} or a newer 3.x"
    beside = [found.resolve().parent / _LANGUAGE_HOST, *_places(_LANGUAGE_HOST)]
    if not any(os.access(place, os.X_OK) and not (place.parent / OURS).exists() for place in beside):
        return None, f"`{found}` has no `{_LANGUAGE_HOST}`"
    return Installed(found, text), f"`pulumi` {text} is installed"


def archive_name() -> str:
    """The archive for this machine. Raises ProvideError where there is none."""
    system, machine = _SYSTEMS.get(platform.system()), _MACHINES.get(platform.machine().lower())
    if system is None or machine is None:
        raise ProvideError(f"Pulumi publishes no archive for {platform.system()} on {platform.machine()}")
    return f"pulumi-v{pins.PULUMI}-{system}-{machine}.tar.gz"


def published_digest(site: str = SITE, timeout: float = PROBE_SECONDS) -> str:
    """The archive's SHA-256 as published: also the probe of whether downloads are open. Raises ProvideError."""
    url = f"{site}/releases/sdk/pulumi-{pins.PULUMI}-checksums.txt"
    name = archive_name()
    try:
        text = _bounded(lambda: _fetch(url, timeout), 2 * timeout).decode("ascii", errors="replace")
    except (OSError, ValueError, urllib.error.URLError) as cause:
        reason = getattr(cause, "reason", None) or cause
        raise ProvideError(f"{site} is not reachable ({reason})") from cause
    for line in text.splitlines():
        digest, _, listed = line.strip().partition(" ")
        if listed.strip().lstrip("*") == name and re.fullmatch(r"[0-9a-fA-F]{64}", digest):
            return digest.lower()
    raise ProvideError(f"{url} lists no SHA-256 of `{name}`")


def download(digest: str, progress: Progress, site: str = SITE) -> Path:
    """The CLI's path, from the archive whose SHA-256 is `digest`. Raises ProvideError."""
    url = f"{site}/releases/sdk/{archive_name()}"

    def make(folder: Path) -> None:
        progress(f"downloading the Pulumi CLI {pins.PULUMI} from {site}")
        archive = folder / "archive.tar.gz"
        found = hashlib.sha256()
        try:
            with urllib.request.urlopen(url, timeout=_DOWNLOAD_SECONDS) as answer, open(archive, "wb") as file:
                while chunk := answer.read(1 << 20):
                    found.update(chunk)
                    file.write(chunk)
        except (OSError, urllib.error.URLError) as cause:
            raise ProvideError(f"{url} could not be downloaded: {cause}") from cause
        if found.hexdigest() != digest:
            raise ProvideError(f"{url} has the SHA-256 {found.hexdigest()}, not the published {digest}; it is not used")
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
        except tarfile.TarError as cause:
            raise ProvideError(f"{url} could not be unpacked: {cause}") from cause
        archive.unlink()
        if not (folder / "pulumi" / "pulumi").is_file():
            raise ProvideError(f"{url} holds no `pulumi/pulumi`")

    folder = cache.made("official", digest[:20], make, progress, f"the Pulumi CLI {pins.PULUMI}")
    return folder / "pulumi" / "pulumi"


def installed_plugin(name: str, version: str) -> Path | None:
    """The folder of a plugin that the user's own Pulumi has installed, if it is complete."""
    home = os.environ.get("PULUMI_HOME") or os.path.join(os.environ.get("HOME", ""), ".pulumi")
    folder = Path(home) / "plugins" / f"resource-{name}-v{version}"
    whole = (folder / f"pulumi-resource-{name}").is_file() and not (folder / OURS).exists()
    return folder if whole and not folder.with_name(folder.name + ".partial").exists() else None


def install_plugin(command: Path, home: Path, name: str, version: str, progress: Progress) -> bool:
    """Have the CLI download a plugin into `home`; False, with a line of why, if it cannot."""
    progress(f"downloading the {name} plugin {version}")
    try:
        done = subprocess.run(
            [str(command), "plugin", "install", "resource", name, version],
            env={**os.environ, "PULUMI_HOME": str(home), "PULUMI_SKIP_UPDATE_CHECK": "true"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as cause:
        progress(f"the {name} plugin could not be downloaded: {cause}")
        return False
    if done.returncode != 0:
        progress(f"the {name} plugin could not be downloaded: {done.stderr.strip()[-500:]}")
    return done.returncode == 0


def _fetch(url: str, timeout: float) -> bytes:
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read(_MAX_LIST_BYTES)


def _bounded(call: Callable[[], bytes], seconds: float) -> bytes:
    """The call's result, or TimeoutError: a socket's time-out bounds neither the look-up of a name nor a slow drip."""
    outcome: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcome.put(call())
        except Exception as error:
            outcome.put(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        found = outcome.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:.0f} s") from None
    if isinstance(found, Exception):
        raise found
    return found


def _places(name: str) -> list[Path]:
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    found = (shutil.which(name, path=folder) for folder in folders if folder)
    return [Path(place) for place in found if place]
