"""Masks for bodies: by path, by line, by event, split anywhere; what cannot be read is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wicketgate_gateway.contract.policy import Mask
from wicketgate_gateway.masking.documents import FieldMasks, body_filter, masked_json
from wicketgate_gateway.wire.http.head import HttpError, ResponseHead

KEY = b"k" * 32
MASKS = [
    Mask.model_validate({"json": ["$.**.email"], "with": "partial"}),
    Mask.model_validate({"json": ["$.card", "$.items[*].card", "$.list[0]"], "with": "redact"}),
    Mask.model_validate({"json": "$.total", "with": None}),
]


def filtered(data: bytes, kind: str, cut: int = 0, masks: Any = MASKS) -> bytes:
    """A body through its filter, in two pieces."""
    head = ResponseHead(1, (("Content-Type", kind),), 200, "OK")
    found = body_filter(masks, None, KEY, head)
    assert found is not None
    return found.feed(data[:cut]) + found.feed(data[cut:]) + found.finish()


def test_fields() -> None:
    """Any depth, lists, whole values; keys in any case."""
    document = {
        "email": "ann@example.com", "a": [{"email": "bob@example.com", "Email": ["x@example.com"]}],
        "card": {"n": "4111"},
        "items": [{"card": 4111}, {"card": None}], "list": ["s", "t"], "total": 5, "name": "Ann",
    }  # fmt: skip
    found = json.loads(masked_json(json.dumps(document).encode(), FieldMasks.of(MASKS, KEY), None))
    assert "ann@" not in json.dumps(found)
    assert "bob@" not in json.dumps(found)
    assert "x@example" not in json.dumps(found)
    assert found["card"] == {"n": "•••"}
    assert found["items"] == [{"card": "•••"}, {"card": None}]
    assert found["list"] == ["•••", "t"]
    assert (found["total"], found["name"]) == (None, "Ann")


@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_split_anywhere(cut: int) -> None:
    """JSON, lines and events."""
    line = b'{"email": "ann@example.com", "n": 1}'
    assert b"ann@" not in filtered(line, "application/json", cut)
    lines = filtered(line + b"\n" + line, "application/x-ndjson", cut)
    assert b"ann@" not in lines
    assert lines.count(b"\n") == 1
    events = filtered(b"id: 1\r\ndata: " + line + b"\r\n\r\ndata: x\n\n", "text/event-stream", cut)
    assert b"ann@" not in events
    assert events.endswith(b"data: x\n\n")


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"email\nann@example.com", "text/csv"), (b"<email>ann@example.com</email>", "application/xml"),
        (b"{", "application/json"), (b'{"a": 1}', "application/json; charset=utf-16"), (b"\xff", "application/json"),
        (b"{}\nnope\n", "application/x-ndjson"), (b'data: {"email": \n\n', "text/event-stream"),
        (b'{"a": 1e999}', "application/json"),
    ],
)  # fmt: skip
def test_refused(data: bytes, kind: str) -> None:
    """Rather than passed as it is."""
    with pytest.raises(HttpError) as failed:
        filtered(data, kind)
    assert failed.value.code == "answer-unmaskable"


def test_json_by_another_name_is_masked_too() -> None:
    """Whatever it says that it is."""
    assert b"ann@" not in filtered(b'{"email": "ann@example.com"}', "text/plain")


def test_nothing_to_mask() -> None:
    """No filter at all."""
    assert body_filter([], None, KEY, ResponseHead(1, (), 200, "OK")) is None
