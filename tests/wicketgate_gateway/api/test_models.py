"""Parameters are shown whole, and as what they are."""

import base64

import pytest
from pydantic import ValidationError

from wicketgate_gateway.api import models
from wicketgate_gateway.approvals.model import Parameter


@pytest.mark.parametrize(
    ("parameter", "text"),
    [
        (Parameter("23", 1, b"\0\0\0\x2a"), "42"),
        (Parameter("25", 1, b"abc"), "abc"),
        (Parameter("25", 0, "ä".encode()), "ä"),
        (Parameter("0", 0, b"\xff\xfe"), "\\xfffe"),
        (Parameter("17", 1, b"\x01\x02"), "\\x0102"),
        (Parameter("23", 1, b"\0"), "0"),
        (Parameter("99999", 1, b"\x01"), "\\x01"),
        (Parameter("no-number", 1, b"\x01"), "\\x01"),
        (Parameter("23", 1, None), None),
    ],
)
def test_values(parameter: Parameter, text: str | None) -> None:
    shown = models.value(parameter)
    assert shown.text == text
    assert shown.base64 == (None if parameter.value is None else base64.b64encode(parameter.value).decode())


@pytest.mark.parametrize("kind", ["25", "17", "1700", "0"])
@pytest.mark.parametrize("format_", [0, 1])
def test_nothing_is_cut(kind: str, format_: int) -> None:
    data = b"x" * 50_000
    text = models.value(Parameter(kind, format_, data)).text
    assert text in ("x" * 50_000, "\\x" + data.hex())
    numeric = b"\0\1\x09\xc0\0\0\0\0\0\1"  # 1 with 9,996 zeros: too long to be decoded whole
    shown = models.value(Parameter("1700", 1, numeric)).text
    assert shown is not None
    assert "…" not in shown


@pytest.mark.parametrize("seal", ["", "0" * 63, "0" * 65, "G" * 64, "0" * 64 + "\n", "A" * 64])
def test_seals_that_are_none(seal: str) -> None:
    with pytest.raises(ValidationError):
        models.Approve(seal=seal)


def test_moments() -> None:
    assert models.moment(1_500_000_000) == "1970-01-01T00:00:01.500Z"
