"""Token files stay fresh and whole."""

import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wicketgate.testing import jws
from wicketgate.testing.issuer.config import Projected
from wicketgate.testing.issuer.keys import IssuerKey
from wicketgate.testing.issuer.projected import TokenFiles


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.01)


def short(path: Path, lifetime: float) -> Projected:
    """A lifetime below what the configuration allows, so that a test need not wait for a renewal."""
    return Projected(subject="s", audience="a", path=path).model_copy(update={"lifetime": lifetime})


@pytest.fixture
def files(tmp_path: Path) -> TokenFiles:
    return TokenFiles("https://issuer.example", IssuerKey.open(tmp_path / "key"))


def test_files_are_private_and_renewed_before_they_expire(files: TokenFiles, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "token"
    files.start()
    files.add(short(path, 1.0))
    first = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert jws.parse(first).claims["sub"] == "s"
    wait_for(lambda: path.read_text() != first)
    assert jws.parse(path.read_text()).claims["jti"] != jws.parse(first).claims["jti"]
    files.stop()
    assert not path.exists()


def test_a_renewal_that_fails_is_tried_again(
    files: TokenFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[OSError] = []
    write = files.write

    def counting(projected: Projected) -> float:
        try:
            return write(projected)
        except OSError as error:
            failures.append(error)
            raise

    monkeypatch.setattr(files, "write", counting)
    folder = tmp_path / "gone"
    files.start()
    files.add(short(folder / "token", 0.2))
    (folder / "token").unlink()
    folder.rmdir()
    folder.write_text("in the way")
    wait_for(lambda: bool(failures))
    folder.unlink()
    wait_for(lambda: (folder / "token").exists())
    files.stop()


def test_a_file_that_cannot_be_written_is_told_at_once(files: TokenFiles, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file"):
        files.add(short(tmp_path / "file" / "token", 60))
    files.stop()
