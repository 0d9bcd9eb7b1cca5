"""The reference page is made from the code, is current, and explains every key."""

import pytest
from pydantic import BaseModel

from tools import reference


def test_the_page_is_current() -> None:
    assert reference.TARGET.read_text() == reference.render(), "run `python -m tools.reference`"


def undescribed(model: type[BaseModel], seen: set[type[BaseModel]]) -> list[str]:
    if model in seen:
        return []
    seen.add(model)
    found = [f"{model.__name__}.{name}" for name, info in model.model_fields.items() if not info.description]
    for info in model.model_fields.values():
        for inner in reference._models(info.annotation):
            found += undescribed(inner, seen)
    return found


@pytest.mark.parametrize("model", [m for _, _, m in reference.DOCUMENTS], ids=lambda m: m.__name__)
def test_every_key_says_what_it_means(model: type[BaseModel]) -> None:
    assert undescribed(model, set()) == []
