"""The pictures of the documentation: few, small, shown, and made by the script."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tools import screenshots


def test_pictures_are_those_that_the_script_makes_and_are_shown() -> None:
    found = sorted(path.name for path in screenshots.IMAGES.iterdir())
    assert found == sorted(f"{name}.png" for name in screenshots.CHOSEN)
    assert len(found) <= 12
    pages = [screenshots.ROOT / "README.md", *(screenshots.ROOT / "docs").glob("*.md")]
    text = "\n".join(page.read_text() for page in pages)
    for name in found:
        assert f"images/{name}" in text, name
        assert (screenshots.IMAGES / name).stat().st_size <= screenshots.MAX_BYTES
        with Image.open(screenshots.IMAGES / name) as picture:
            assert picture.width == (390 if "narrow" in name else 1440)


def test_a_picture_gets_few_colours(tmp_path: Path) -> None:
    source, target = tmp_path / "a.png", tmp_path / "b.png"
    Image.radial_gradient("L").convert("RGB").resize((390, 800)).save(source)
    screenshots.take(source, target)
    with Image.open(target) as picture:
        assert picture.mode == "P"
        assert picture.size == (390, 800)
    Image.effect_noise((600, 600), 200).convert("RGB").save(source)
    with pytest.raises(ValueError, match="show less"):
        screenshots.take(source, target)
