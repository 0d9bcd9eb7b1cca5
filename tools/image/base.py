"""A base image from Debian's packages, for where no registry can be had: Python, CA certificates, tzdata, no shell."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path
from typing import Final

from tools.engine import cache
from tools.engine.cache import Progress
from tools.image.engine import unpack

PACKAGES: Final = (
    "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "libc6", "libgcc-s1", "libstdc++6", "zlib1g",
    "libssl3", "libexpat1", "libffi8", "libbz2-1.0", "liblzma5", "libsqlite3-0", "libuuid1", "libcrypt1", "libnsl2",
    "libtirpc3", "ca-certificates", "tzdata", "netbase", "media-types",
)  # fmt: skip
_UNUSED: Final = (
    "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian", "usr/share/bug", "usr/share/doc-base",
    "usr/share/binfmts", "usr/share/apport", "usr/share/zoneinfo/right", "usr/sbin", "sbin", "usr/share/applications",
    "usr/share/pixmaps", "usr/lib/x86_64-linux-gnu/gconv", "usr/lib/x86_64-linux-gnu/audit", "etc/ld.so.conf.d",
)  # fmt: skip
_USERS: Final = "root:x:0:0:root:/root:/nologin\nnonroot:x:65532:65532:nonroot:/var/lib/wicketgate:/nologin\n"


def files(progress: Progress) -> Path:
    """The base's root folder. Raises ProvideError."""

    def make(folder: Path) -> None:
        unpack(folder, PACKAGES)
        for name in _UNUSED:
            shutil.rmtree(folder / name, ignore_errors=True)
        for path in (folder / "usr" / "bin").iterdir():
            if not path.name.startswith("python3"):
                path.unlink()
        (folder / "usr/bin/python3").symlink_to("python3.11")
        certificates = sorted((folder / "usr/share/ca-certificates").rglob("*.crt"))
        target = folder / "etc/ssl/certs/ca-certificates.crt"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"".join(path.read_bytes() for path in certificates))
        (folder / "usr/lib/ssl").mkdir(parents=True, exist_ok=True)
        (folder / "usr/lib/ssl/cert.pem").symlink_to("/etc/ssl/certs/ca-certificates.crt")  # where OpenSSL looks
        (folder / "etc/passwd").write_text(_USERS)
        (folder / "etc/group").write_text("root:x:0:\nnonroot:x:65532:\n")
        (folder / "etc/nsswitch.conf").write_text("hosts: files dns\n")
        for name in ("proc", "sys", "dev", "run", "var/lib", "tmp"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "tmp").chmod(0o1777)

    key = cache.key({"base": Path(__file__).read_bytes()}, list(PACKAGES))
    progress("unpacking the packages of the base image")
    return cache.made("image-base", key, make, progress, "the base image")


def archive(root: Path) -> bytes:
    """The folder as a tar archive with fixed owners and times, for `docker import`."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path in sorted(root.rglob("*")):
            entry = tar.gettarinfo(str(path), str(path.relative_to(root)))
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
            with path.open("rb") if entry.isreg() else io.BytesIO() as content:
                tar.addfile(entry, content if entry.isreg() else None)
    return out.getvalue()
