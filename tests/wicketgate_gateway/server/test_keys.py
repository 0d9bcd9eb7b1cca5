"""The masking key is made once, for its owner alone."""

from pathlib import Path

import pytest

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.server.keys import KEY_BYTES, mask_key


def test_made_once_and_private(tmp_path: Path) -> None:
    key = mask_key(tmp_path)
    assert len(key) == KEY_BYTES
    assert mask_key(tmp_path) == key
    assert (tmp_path / "mask.key").stat().st_mode & 0o777 == 0o600
    assert mask_key_of_another(tmp_path) != key


def mask_key_of_another(tmp_path: Path) -> bytes:
    (tmp_path / "other").mkdir()
    return mask_key(tmp_path / "other")


def test_a_damaged_key_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "mask.key").write_bytes(b"short")
    with pytest.raises(WicketgateError, match="damaged"):
        mask_key(tmp_path)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(WicketgateError, match="nowhere"):
        mask_key(tmp_path / "nowhere")
