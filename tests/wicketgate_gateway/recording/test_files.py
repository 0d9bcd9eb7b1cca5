from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from wicketgate_gateway.recording.files import AppendFile, make_folder


def test_modes(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    file = AppendFile.create(tmp_path / "a" / "b" / "f")
    file.close()
    file.close()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_no_link_is_followed_and_no_file_overwritten(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        AppendFile.create(tmp_path / "link")
    with pytest.raises(FileExistsError):
        AppendFile.create(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        AppendFile.open(tmp_path / "link", 0)


def test_a_half_write_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = AppendFile.create(tmp_path / "f")
    file.append(b"first")
    real = os.pwrite
    sizes = iter([2, 1])

    def short(fd: int, data: bytes, offset: int) -> int:
        size = next(sizes, None)
        if size is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, bytes(data)[:size], offset)

    monkeypatch.setattr(os, "pwrite", short)
    with pytest.raises(OSError, match="No space"):
        file.append(b"second")
    assert file.path.read_bytes() == b"first"
    monkeypatch.setattr(os, "pwrite", real)
    file.append(b"third")
    assert file.path.read_bytes() == b"firstthird"


def test_a_half_that_cannot_be_cut_is_cut_before_the_next_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = AppendFile.create(tmp_path / "f")
    file.append(b"first")
    write, cut = os.pwrite, os.ftruncate
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: write(fd, b"sec", offset) * 0)

    def broken(fd: int, length: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "ftruncate", broken)
    with pytest.raises(OSError, match="nothing was written"):
        file.append(b"second")
    with pytest.raises(OSError, match="Input/output"):
        file.append(b"again")
    assert file.path.read_bytes() == b"firstsec"
    monkeypatch.setattr(os, "pwrite", write)
    monkeypatch.setattr(os, "ftruncate", cut)
    file.append(b"x")
    assert file.path.read_bytes() == b"firstx"


def test_a_real_limit_in_mid_write(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom wicketgate_gateway.recording.files import AppendFile\n"
        "file = AppendFile.create(Path(sys.argv[1]))\nfile.append(b'x' * 900)\n"
        "try:\n    file.append(b'y' * 900)\nexcept OSError as error:\n    print(error.errno)\n"
        "file.append(b'z' * 10)\nprint(file.end)\n"
    )

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))

    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "f")],
        preexec_fn=limit,
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.stdout.split() == [str(errno.EFBIG), "910"]
    assert (tmp_path / "f").read_bytes() == b"x" * 900 + b"z" * 10


def test_a_removed_or_replaced_file_is_noticed(tmp_path: Path) -> None:
    file = AppendFile.create(tmp_path / "f")
    assert not file.gone()
    (tmp_path / "f").unlink()
    assert file.gone()
    (tmp_path / "f").write_bytes(b"another")
    assert file.gone()
