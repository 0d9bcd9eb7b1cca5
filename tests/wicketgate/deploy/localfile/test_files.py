"""Files: written whole or not at all, with their mode, and removed only as they were written."""

import os
import stat
from pathlib import Path

import pytest

from wicketgate.deploy.localfile import files


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_parents_are_the_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        files.write(tmp_path / "a" / "b" / "c.txt", b"text", 0o640)
    finally:
        os.umask(previous)
    assert [_mode(tmp_path / part) for part in ("a", "a/b", "a/b/c.txt")] == [0o700, 0o700, 0o640]
    assert (tmp_path / "a/b/c.txt").read_bytes() == b"text"
    assert os.listdir(tmp_path / "a/b") == ["c.txt"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.txt"
    files.write(path, b"old", 0o600)

    def fail(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        files.write(path, b"new", 0o600)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["c.txt"]


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_text("theirs")
    link = tmp_path / "link"
    link.symlink_to(theirs)
    assert files.look(link) == files.Found(None, "0777")
    files.write(link, b"ours", 0o600)
    assert theirs.read_text() == "theirs"
    assert not link.is_symlink()


def test_looking(tmp_path: Path) -> None:
    assert files.look(tmp_path / "none") is None
    files.write(tmp_path / "c.txt", b"text", 0o600)
    assert files.look(tmp_path / "c.txt") == files.Found(files.digest(b"text"), "0600")
    assert files.look(tmp_path / "c.txt" / "below") is None
    found = files.look(tmp_path)
    assert found is not None
    assert found.digest is None


def test_only_our_own_file_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    files.write(path, b"ours", 0o600)
    path.write_bytes(b"theirs")
    assert not files.remove(path, files.digest(b"ours"))
    assert path.read_bytes() == b"theirs"
    assert files.remove(path, files.digest(b"theirs"))
    assert not path.exists()
    assert files.remove(path, "gone already")
    assert not files.remove(tmp_path, "a folder")


def test_the_digest_is_sha256() -> None:
    assert files.digest(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
