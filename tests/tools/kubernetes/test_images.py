"""Images are what containerd takes: a layer whose digest is told, and programs that find their libraries."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
from hashlib import sha256
from pathlib import Path

from tools.kubernetes.images import archive, program


def test_an_image_holds_its_files(tmp_path: Path) -> None:
    busybox = tmp_path / "busybox"
    busybox.write_text("#!/bin/sh\necho busybox\necho sh\n")
    busybox.chmod(0o755)
    (tmp_path / "file").write_text("content")
    data = archive("docker.io/library/one:test", busybox, {"bin/one": tmp_path / "file"})
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        read = {m.name: (tar.extractfile(m) or io.BytesIO()).read() for m in tar.getmembers()}
    (manifest,) = json.loads(read["manifest.json"])
    assert manifest["RepoTags"] == ["docker.io/library/one:test"]
    config = json.loads(read[manifest["Config"]])
    assert config["rootfs"]["diff_ids"] == [f"sha256:{sha256(read['layer.tar']).hexdigest()}"]
    with tarfile.open(fileobj=io.BytesIO(read["layer.tar"])) as layer:
        names = {m.name: m for m in layer.getmembers()}
        assert (layer.extractfile("bin/one") or io.BytesIO()).read() == b"content"
    assert names["bin/sh"].linkname == "busybox"


def test_a_program_brings_its_loader_and_libraries(tmp_path: Path) -> None:
    found = program(Path(shutil.which("true") or sys.executable))
    for path, source in found.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, tmp_path / path)
    (loader,) = (tmp_path / path for path in found if "/ld-linux" in f"/{path}")
    done = subprocess.run([loader, "--library-path", tmp_path / "lib", tmp_path / "bin/true"], check=False, env={})
    assert done.returncode == 0
