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


def test_a_shared_key_is_taken_and_none_is_made(tmp_path: Path) -> None:
    file = tmp_path / "shared"
    file.write_text("0f" * KEY_BYTES + "\n")
    assert mask_key(tmp_path, str(file)) == b"\x0f" * KEY_BYTES
    assert not (tmp_path / "mask.key").exists()


@pytest.mark.parametrize("content", [None, "", "0f" * 31, "0f" * 33, "zz" * KEY_BYTES])
def test_a_shared_key_that_is_none_stops_the_gateway(tmp_path: Path, content: str | None) -> None:
    mask_key(tmp_path)  # one of its own, which must not be taken instead
    file = tmp_path / "shared"
    if content is not None:
        file.write_text(content)
    with pytest.raises(WicketgateError, match="does not hold the key of masks") as caught:
        mask_key(tmp_path, str(file))
    assert caught.value.code == "mask-key-unreadable"
    assert not content or content not in str(caught.value)
