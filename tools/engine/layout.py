"""Lays out a self-contained engine for one checkout: a CLI, its language host, its plugins, state and environment.

<folder>/bin/pulumi                    the CLI (a hard link into the cache)
<folder>/bin/pulumi-language-python    the stand-in, beside the CLI, where the engine looks without a warning
<folder>/home/plugins/…                PULUMI_HOME: plugins by exact version
<folder>/stacks/                       the state, for stacks that use no other backend
<folder>/passphrase                    made once, readable by the owner alone: what encrypts the state's secrets
"""

import os
import secrets
import shlex
import shutil
import tempfile
from pathlib import Path

from tools.engine.official import OURS

_WRAPPER = """\
#!/bin/sh
# Written by tools/engine/layout.py. -P: the working directory is a program's, and must not shadow our modules.
exec {python} -P -m {module} "$@"
"""


def link_cli(folder: Path, binary: Path) -> Path:
    """Put the CLI `binary` into `folder/bin`; gives its path there."""
    place = _ours(folder / "bin") / "pulumi"
    if place.exists() and (place.samefile(binary) or _same(place, binary)):
        return place
    with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
        copy = Path(scratch) / "pulumi"
        try:
            os.link(binary, copy)
        except OSError:  # another file system
            shutil.copy2(binary, copy)
        copy.replace(place)
    return place


def write_language_host(folder: Path, python: Path) -> None:
    """The stand-in for the language host, beside the CLI."""
    _write(_ours(folder / "bin") / "pulumi-language-python", _wrapper(python, "wicketgate.testing.language_host"))


def write_stand_in(folder: Path, name: str, version: str, python: Path) -> None:
    """A stand-in for a resource plugin: `python -m wicketgate.testing.<name>`."""
    place = _plugin(folder, name, version)
    if place.exists() and not (place / OURS).exists():
        shutil.rmtree(place)  # links to a real plugin: the wrapper would be written through them
    _write(_ours(place) / f"pulumi-resource-{name}", _wrapper(python, f"wicketgate.testing.{name}"))


def link_plugin(folder: Path, name: str, version: str, installed: Path) -> None:
    """A real plugin that lies elsewhere, in the folder `installed`: its files are linked, one by one.

    Not the folder: the engine passes over symbolic links when it lists its plugins.
    """
    place = _plugin(folder, name, version)
    wanted = {entry.name: entry for entry in installed.iterdir()}
    if place.is_dir() and {link.name: link.resolve() for link in place.iterdir()} == wanted:
        return
    if place.exists():
        shutil.rmtree(place)
    place.mkdir(parents=True)
    for file, target in wanted.items():
        (place / file).symlink_to(target)


def remove_stand_in(folder: Path, name: str, version: str) -> None:
    """Make room for a download: the engine takes a folder of that name for the plugin, and would download nothing."""
    place = _plugin(folder, name, version)
    if (place / OURS).exists():
        shutil.rmtree(place)


def has_plugin(folder: Path, name: str, version: str) -> bool:
    """Whether a real plugin (no stand-in of ours) is in the layout."""
    place = _plugin(folder, name, version)
    return (place / f"pulumi-resource-{name}").is_file() and not (place / OURS).exists()


def environ(folder: Path, *, closed: bool, path: list[str]) -> dict[str, str]:
    """What to add to a process's environment so that its `pulumi` is this engine.

    `path` goes before the PATH that is. `closed` also forbids the engine to download plugins by itself, which would
    only time out.
    """
    passphrase = folder / "passphrase"
    if not passphrase.exists():
        _write(passphrase, secrets.token_urlsafe(32) + "\n", mode=0o600)
    stacks = folder / "stacks"
    stacks.mkdir(parents=True, exist_ok=True)
    (folder / "home").mkdir(exist_ok=True)
    current = os.environ.get("PATH", os.defpath).split(os.pathsep)
    added = {
        "PULUMI_HOME": str(folder / "home"),
        "PULUMI_BACKEND_URL": stacks.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(passphrase),
        "PULUMI_CREDENTIAL_STORE": "plaintext",  # nothing is stored: the backend is a folder
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        # The language host brings the environment in step with the lock file; the lock itself is not its business.
        "UV_FROZEN": "true",
        "PATH": os.pathsep.join(dict.fromkeys([*path, *current])),
    }
    if closed:
        added["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
    return added


def _plugin(folder: Path, name: str, version: str) -> Path:
    return folder / "home" / "plugins" / f"resource-{name}-v{version}"


def _ours(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / OURS).touch()
    return folder


def _wrapper(python: Path, module: str) -> str:
    return _WRAPPER.format(python=shlex.quote(str(python)), module=module)


def _write(path: Path, text: str, mode: int = 0o755) -> None:
    if path.is_file() and path.read_text() == text and path.stat().st_mode & 0o777 == mode:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        os.fchmod(descriptor, mode)
        with open(descriptor, "w") as file:
            file.write(text)
        os.replace(scratch, path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


def _same(place: Path, binary: Path) -> bool:
    """Whether a copy is of this binary: its size and time came along."""
    ours, theirs = place.stat(), binary.stat()
    return (ours.st_size, int(ours.st_mtime)) == (theirs.st_size, int(theirs.st_mtime))
