"""Property values: what goes out comes back, and what the engine sends is understood."""

import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from wicketgate.provider.values import (
    OUTPUT_SIGNATURE,
    SIGNATURE_KEY,
    UNKNOWN,
    Secret,
    decode,
    encode,
    holds_secret,
    holds_unknown,
    reveal,
)

_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.just(UNKNOWN),
)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4) | inner.map(Secret)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=8), _VALUES, max_size=4))
def test_what_goes_out_comes_back(properties: dict[str, object]) -> None:
    assert decode(encode(properties)) == properties


def test_an_absent_map_is_empty() -> None:
    assert decode(None) == {}


def test_whole_numbers_are_ints() -> None:
    port = decode(encode({"port": 5432.0}))["port"]
    assert port == 5432
    assert isinstance(port, int)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"value": "x"}, "x"),
        ({}, UNKNOWN),
        ({"value": "x", "secret": True}, Secret("x")),
        ({"secret": True}, Secret(UNKNOWN)),
        ({"value": None, "dependencies": ["urn:a"]}, None),
    ],
)
def test_output_values(fields: dict[str, object], expected: object) -> None:
    wire = struct_pb2.Struct()
    wire.update({"p": {SIGNATURE_KEY: OUTPUT_SIGNATURE, **fields}})
    assert decode(wire)["p"] == expected


@pytest.mark.parametrize("text", ["1c4a061d-8072-4f0a-a4cb-0ff528b18fe7", "dd056dcd-154b-4c76-9bd3-c8f88648b5ff"])
def test_unknowns_of_every_type(text: str) -> None:
    wire = struct_pb2.Struct()
    wire.update({"p": text})
    assert decode(wire)["p"] is UNKNOWN


def test_a_secret_does_not_show_itself() -> None:
    assert "hunter2" not in repr({"a": [Secret("hunter2")]})
    assert reveal({"a": [Secret({"b": Secret("hunter2")})]}) == {"a": [{"b": "hunter2"}]}


def test_looking_inside() -> None:
    value = {"a": [{"b": Secret([UNKNOWN])}]}
    assert holds_secret(value)
    assert holds_unknown(value)
    assert not holds_secret({"a": [UNKNOWN]})
    assert not holds_unknown({"a": Secret("x")})


def test_an_unknown_has_no_truth() -> None:
    with pytest.raises(TypeError):
        bool(UNKNOWN)


def test_what_has_no_form_is_refused() -> None:
    with pytest.raises(TypeError, match="bytes"):
        encode({"a": b"raw"})
