"""Places are few, and are given back."""

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from wicketgate_gateway.api import stream
from wicketgate_gateway.contract.errors import WicketgateError


def caller(name: str) -> Any:
    return SimpleNamespace(person=SimpleNamespace(principal=SimpleNamespace(object_id=name)))


def test_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MAX_STREAMS", 6)
    with contextlib.ExitStack() as stack:
        for _ in range(stream.MAX_EACH):
            stack.enter_context(stream.place(caller("dana")))
        with pytest.raises(WicketgateError), stream.place(caller("dana")):
            pass
        for _ in range(2):
            stack.enter_context(stream.place(caller("erik")))
        with pytest.raises(WicketgateError) as error, stream.place(caller("ada")):
            pass
        assert error.value.code == "too-many-streams"
    assert stream._places.total() == 0
