"""Images for a test's node, made of files of this machine: BusyBox, and programs with the libraries that they load."""

from __future__ import annotations

import io
import json
import re
import subprocess
import tarfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

_FOLDERS = ("bin", "tmp", "etc", "proc", "sys", "dev", "root", "lib")


def archive(name: str, busybox: Path, files: Mapping[str, Path] | None = None) -> bytes:
    """An image of BusyBox, and of `files` by their paths within it, as `docker save` writes it."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for folder in _FOLDERS:
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        for path, source in {"bin/busybox": busybox, **(files or {})}.items():
            entry = tarfile.TarInfo(path)
            data = source.read_bytes()
            entry.size, entry.mode = len(data), 0o755
            tar.addfile(entry, io.BytesIO(data))
        applets = subprocess.run([str(busybox), "--list"], capture_output=True, text=True, check=True, timeout=10)
        for applet in applets.stdout.split():
            if applet != "busybox":
                entry = tarfile.TarInfo(f"bin/{applet}")
                entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, "busybox", 0o777
                tar.addfile(entry)
    content = layer.getvalue()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["sleep", "2147483647"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(content).hexdigest()}"]},
    }
    text = json.dumps(config).encode()
    inner = f"{sha256(text).hexdigest()}.json"
    manifest = [{"Config": inner, "RepoTags": [name], "Layers": ["layer.tar"]}]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, data in ((inner, text), ("layer.tar", content), ("manifest.json", json.dumps(manifest).encode())):
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def program(path: Path) -> dict[str, Path]:
    """A program and all libraries that it loads, by their paths within an image; it becomes `/bin/NAME`."""
    said = subprocess.run(["ldd", str(path)], capture_output=True, text=True, check=True, timeout=20).stdout
    found = {f"bin/{path.name}": path}
    for library in re.findall(r"(/\S+) \(0x", said):
        # The loader stands where the program says; the others where the loader looks.
        found[library.lstrip("/") if "/ld-linux" in library else f"lib/{Path(library).name}"] = Path(library)
    return found
